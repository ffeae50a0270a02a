"""Tests of smartcar."""
