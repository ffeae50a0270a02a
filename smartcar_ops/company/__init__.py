"""The only room that speaks SQL: the company's own tables, and the kit's ledger beside them."""
