"""Tests of database/evidence."""
