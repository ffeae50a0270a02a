"""Choices by hash: the same for the same ids in any process, whatever was drawn before."""

from __future__ import annotations

import hashlib
import random
import uuid


def one_in(n: int, *parts: str) -> bool:
    """Return whether these strings are among the one in `n` chosen."""
    return _number(parts) % n == 0


def choices_of(*parts: str) -> random.Random:
    """Return a generator for these strings; it takes no draws from any other generator."""
    return random.Random(_number(parts))


def id_of(*parts: str) -> str:
    """Return a lower-case UUID for these strings; the same strings give the same one."""
    return str(uuid.UUID(int=_number(parts), version=4))


def _number(parts: tuple[str, ...]) -> int:
    return int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:16], "big")
