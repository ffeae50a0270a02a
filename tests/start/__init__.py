"""Tests of start."""
