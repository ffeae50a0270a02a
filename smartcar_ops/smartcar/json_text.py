"""JSON as it came from others: read, unless it is nested so deep that whoever handles it would fall over."""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 64
"""Lists and objects within each other; Smartcar's own answers have a dozen."""


def loads(text: str | bytes) -> Any:
    """The value; ValueError where the text is no JSON, or is nested deeper than `DEEPEST`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _may_be_deep(text) and is_deep(value):
        raise ValueError("nested too deep")
    return value


def _may_be_deep(text: str | bytes) -> bool:
    """Whether there are enough brackets; few texts have, and counting them is cheap."""
    if isinstance(text, bytes):
        return text.count(b"[") + text.count(b"{") > DEEPEST
    return text.count("[") + text.count("{") > DEEPEST


def is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than `DEEPEST`."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
