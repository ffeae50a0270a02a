"""The V2 to V3 field map, and how a value is read and normalized."""
