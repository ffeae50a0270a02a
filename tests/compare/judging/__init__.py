"""Tests of compare/judging."""
