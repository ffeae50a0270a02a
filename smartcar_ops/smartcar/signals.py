"""Signals as V3's store has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from smartcar_ops.smartcar import times
from smartcar_ops.smartcar.failures import mapping, text, word
from smartcar_ops.smartcar.oddities import Oddities

STATUSES = frozenset({"SUCCESS", "ERROR", "UNAVAILABLE"})


@cache
def known_codes() -> frozenset[str]:
    """The signal codes that Smartcar documents."""
    listed = (files("smartcar_ops.smartcar") / "signal_codes.txt").read_text(encoding="utf-8")
    return frozenset(listed.split())


@dataclass(frozen=True)
class Signal:
    """One signal as the store has it; ``status`` is SUCCESS, ERROR or another word, None where missing."""

    code: str
    status: str | None
    error_type: str | None
    error_code: str | None
    body: Mapping[str, Any] | None = field(repr=False)
    oem_updated_at: datetime | None
    retrieved_at: datetime | None


@dataclass(frozen=True)
class Signals:
    """All signals of a vehicle, by code, and the vehicle's own attributes (make, model, year, …)."""

    signals: Mapping[str, Signal]
    vehicle: Mapping[str, Any] = field(default_factory=dict)


def read_signal(row: Any, oddities: Oddities | None = None) -> Signal:
    """A signal from its JSON, in the REST shape (under ``attributes``) or flat.

    A code that is not documented is kept, and counted as an oddity like an unknown status.
    """
    outer = mapping(row)
    inner = mapping(outer.get("attributes")) or outer
    status, meta, body = mapping(inner.get("status")), mapping(outer.get("meta")), inner.get("body")
    error = mapping(status.get("error"))
    code = (text(inner.get("code")) or text(outer.get("id")) or "").lower()
    value = (text(status.get("value")) or "").upper() or None
    if oddities is not None and code not in known_codes():
        oddities.note("signal: unknown code", code)
    if oddities is not None and value is not None and value not in STATUSES:
        oddities.note("signal: unknown status", value)
    return Signal(
        code=code,
        status=value,
        error_type=word(error.get("type")),
        error_code=word(error.get("code")),
        body=body if isinstance(body, dict) else None,
        oem_updated_at=times.parse(meta.get("oemUpdatedAt")),
        retrieved_at=times.parse(meta.get("retrievedAt")),
    )


def vehicle_attributes(vehicle: Mapping[str, Any]) -> dict[str, Any]:
    """The vehicle resource's attributes with its id, as one flat mapping."""
    inner = mapping(vehicle.get("attributes"))
    return {"id": vehicle.get("id"), **inner} if inner else dict(vehicle)
