"""Files: Parquet tables and run folders."""
