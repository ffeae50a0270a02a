"""V3 signals and their parsing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.error_responses import mapping, text, word
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.smartcar.pagination import total_of

STATUSES = frozenset({"SUCCESS", "ERROR", "UNAVAILABLE"})

IsText = Callable[[str, object], bool]
"""Takes a signal's code and body; returns whether the body has text in place of an expected number."""


def never(_code: str, _body: object) -> bool:
    """Return False: an `IsText` for callers that don't know which values are numbers."""
    return False


@cache
def known_codes() -> frozenset[str]:
    """Return the signal codes that Smartcar documents."""
    listed = (files("smartcar_ops.smartcar") / "signal_codes.txt").read_text(encoding="utf-8")
    return frozenset(listed.split())


@dataclass
class Signal:
    """One signal; ``status`` is SUCCESS, ERROR or another word, or None if it is missing."""

    code: str
    status: str | None
    error_type: str | None
    error_code: str | None
    body: Mapping[str, object] | None = field(repr=False)
    oem_updated_at: datetime | None
    retrieved_at: datetime | None


@dataclass(frozen=True)
class Signals:
    """All signals of a vehicle, by code, and the vehicle's own attributes (make, model, year, …).

    ``not_received`` is how many signals the list counted but did not contain; a missing signal may be among them.
    ``connection`` is the consent as stored in the ledger: its user, permissions and that user's vehicles.
    """

    signals: Mapping[str, Signal]
    vehicle: Mapping[str, object] = field(default_factory=dict)
    connection: Mapping[str, object] = field(default_factory=dict)
    not_received: int = 0


def _code(row: Any) -> str:
    """Return a signal's code in lower case; empty if there is none."""
    try:
        code = row["attributes"]["code"]
    except (TypeError, KeyError):
        code = mapping(row).get("code")
    return (code if isinstance(code, str) and code else text(code) or text(mapping(row).get("id")) or "").lower()


def read_signal(row: object, oddities: Oddities | None = None, is_text: IsText = never) -> Signal:
    """Parse a signal, in the REST format (under ``attributes``) or flat.

    An undocumented code (which is kept), an unknown status and a number sent as text are counted as oddities.
    """
    outer = row if isinstance(row, dict) else {}
    inner = mapping(outer.get("attributes")) or outer
    status, meta, body = mapping(inner.get("status")), mapping(outer.get("meta")), inner.get("body")
    error, code, given = status.get("error"), _code(row), status.get("value")
    value = given.upper() if isinstance(given, str) and given else (text(given) or "").upper() or None
    problem = error if isinstance(error, dict) else {}
    if oddities is not None and code not in known_codes():
        oddities.note("signal: unknown code", code)
    if oddities is not None and value is not None and value not in STATUSES:
        oddities.note("signal: unknown status", value)
    if oddities is not None and is_text(code, body):
        oddities.note("signal: a number as text", code)
    return Signal(
        code=code,
        status=value,
        error_type=word(problem.get("type")) if problem else None,
        error_code=word(problem.get("code")) if problem else None,
        body=body if isinstance(body, dict) else None,
        oem_updated_at=json_values.parse(meta.get("oemUpdatedAt")),
        retrieved_at=json_values.parse(meta.get("retrievedAt")),
    )


def read_signals(body: object, oddities: Oddities | None = None, is_text: IsText = never) -> Signals:
    """Parse all signals of a list; NotSmartcarError if it is not a list (a captive portal's 200)."""
    found = mapping(body)
    rows = found.get("data")
    if not isinstance(rows, list):
        raise NotSmartcarError("smartcar: V3 signals answered 200 without a list `data`; check the origin.")
    by_code = {code: row for row in rows if (code := _code(row))}
    read = {code: read_signal(row, oddities, is_text) for code, row in by_code.items()} if oddities else {}
    signals = _LazySignals(read, by_code)
    not_received = max(0, (total_of(found) or 0) - len(by_code) - sum(not _code(row) for row in rows))
    if not_received and oddities:
        oddities.note("signals: fewer than totalCount")
    return Signals(
        signals, vehicle_attributes(mapping(mapping(found.get("included")).get("vehicle"))), not_received=not_received
    )


class _LazySignals(Mapping[str, Signal]):
    """Signals by code, each parsed on first use, because judging a vehicle needs only half of them."""

    def __init__(self, read: dict[str, Signal], rows: dict[str, object]) -> None:
        self._read, self._rows = read, rows

    def __getitem__(self, code: str) -> Signal:
        found = self._read.get(code)
        if found is None:
            found = self._read[code] = read_signal(self._rows[code])
        return found

    def get(self, code: str, default: Any = None) -> Any:
        """Return the signal, or the default if there is none."""
        return self[code] if code in self._rows else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def vehicle_attributes(vehicle: Mapping[str, object]) -> dict[str, object]:
    """Return the vehicle resource's attributes and id as one flat mapping."""
    inner = mapping(vehicle.get("attributes"))
    return {"id": vehicle.get("id"), **inner} if inner else dict(vehicle)
