"""The numbered steps that create and upgrade the ledger's tables; each is recorded, and none is ever edited.

A new step is a new file in ``versions``. It checks the schema before each change, because MySQL commits every change
of a table at once, and an interrupted step must continue from the middle. Elsewhere all steps are one transaction.
"""
