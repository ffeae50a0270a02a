"""Tests of compare/report."""
