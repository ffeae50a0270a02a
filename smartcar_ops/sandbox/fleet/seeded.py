"""Choices by hash: the same for the same ids in any process, whatever was drawn before."""

from __future__ import annotations

import hashlib
import random
import uuid


def one_in(n: int, *parts: str) -> bool:
    """Whether these texts are among the one in `n` chosen."""
    return _number(parts) % n == 0


def choices_of(*parts: str) -> random.Random:
    """A generator of its own for these texts; it takes no draw from any other."""
    return random.Random(_number(parts))


def id_of(*parts: str) -> str:
    """A lower-case UUID that belongs to these texts."""
    return str(uuid.UUID(int=_number(parts), version=4))


def _number(parts: tuple[str, ...]) -> int:
    return int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:16], "big")
