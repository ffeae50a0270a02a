"""A small path language for values in a body, so that the field map can be data.

``capacity.nominal`` goes into objects, ``values[row=0,column=1].tirePressure`` takes the first entry of a list whose
members have these values (text or whole numbers), ``chargingPort[0].status`` an entry by its index. An empty path is
the body itself. A missing value is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

EntryFilter = tuple[tuple[str, tuple[str | int, ...]], ...]
PathStep = str | int | EntryFilter
STEP = re.compile(r"\.?(?:(?P<name>[\w-]+)|\[(?P<index>\d+)\]|\[(?P<chosen>[\w-]+=[^],]+(?:,[\w-]+=[^],]+)*)\])")


@cache
def getter(path: str) -> Callable[[Any], Any]:
    """Return a function that gets the value at a path of a body; ValueError for an invalid path."""
    steps = _steps(path)
    if len(steps) == 1 and isinstance(steps[0], str):
        name = steps[0]
        return lambda body: body.get(name) if isinstance(body, dict) else None
    return lambda body: _follow(body, steps)


def _steps(path: str) -> tuple[PathStep, ...]:
    steps: list[PathStep] = []
    position = 0
    while position < len(path):
        found = STEP.match(path, position)
        if found is None:
            raise ValueError(f"{path!r} is not a path into a body; it is wrong from {path[position:]!r} on")
        if found["name"]:
            steps.append(found["name"])
        elif found["index"]:
            steps.append(int(found["index"]))
        else:
            pairs = (pair.partition("=") for pair in found["chosen"].split(","))
            steps.append(tuple((name, _either(value)) for name, _, value in pairs))
        position = found.end()
    return tuple(steps)


def _follow(body: Any, steps: tuple[PathStep, ...]) -> Any:
    for step in steps:
        if isinstance(step, str):
            body = body.get(step) if isinstance(body, dict) else None
        elif not isinstance(body, list):
            return None
        elif isinstance(step, int):
            body = body[step] if step < len(body) else None
        else:
            body = _chosen(body, step)
        if body is None:
            return None
    return body


def _chosen(entries: list[Any], wanted: EntryFilter) -> Any:
    """Return the first entry with these members; None if there is none."""
    for entry in entries:
        if isinstance(entry, dict):
            for name, values in wanted:
                if entry.get(name) not in values:
                    break
            else:
                return entry
    return None


def _either(value: str) -> tuple[str | int, ...]:
    """Return a value as text and, if it is one, also as a whole number."""
    return (value, int(value)) if value.isdecimal() else (value,)
