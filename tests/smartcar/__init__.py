"""Tests of the room smartcar."""
