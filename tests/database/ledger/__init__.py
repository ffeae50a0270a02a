"""Tests of database/ledger."""
