"""Tests of compare/reading."""
