"""The ledger: the kit's own tables and what is stored in them."""
