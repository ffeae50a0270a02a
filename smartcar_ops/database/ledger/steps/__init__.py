"""The ledger's tables, made and changed by numbered steps; each is recorded, and none is ever edited.

A new step is a new file in ``versions``. It looks at the schema before it acts: MySQL commits every change of a table
at once, so a step that was interrupted there is taken up again from the middle. Elsewhere all are one transaction.
"""
