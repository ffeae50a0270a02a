"""Who is named by whom: facts and buckets as SQL."""
