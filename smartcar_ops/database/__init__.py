"""The company's tables and the kit's own ledger. Only this folder uses SQL."""
