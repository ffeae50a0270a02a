"""Read a field from V2's or V3's answer: one reading per field, in one unit, with the maker's time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

from smartcar_ops.errors import NotSmartcarError, SmartcarError, UnreachableError
from smartcar_ops.fields.field_map import CONNECTION, LEFT_OUT_REASONS, TOKEN_PATHS, VEHICLE, Field, Place, field_map
from smartcar_ops.fields.many_valued import parts_of_v2, parts_of_v3
from smartcar_ops.fields.normalize import number_of
from smartcar_ops.fields.paths import getter
from smartcar_ops.fields.reading import (
    EITHER_SAYS,
    Reading,
    ReadingState,
    has_value,
    parsed,
    signal_trouble,
    strongest,
    v2_unit,
)
from smartcar_ops.smartcar.error_responses import mapping
from smartcar_ops.smartcar.signals import Signals
from smartcar_ops.smartcar.v2 import BatchAnswer, Lacks
from smartcar_ops.text import thousands

FAILED = frozenset({401, 429, 430, 500, 502, 503, 504})
FULL = 110.0
"""The highest plausible percentage: some makers count slightly above 100; more than this is a wrong scale."""

BY_STATUS: dict[int, ReadingState] = {403: "not_permitted", 501: "not_capable"}
BY_LACK: dict[Lacks, ReadingState] = {"powertrain": "not_capable", "permission": "not_permitted", "limit": "failed"}


def read_v2(field: Field, answer: BatchAnswer | SmartcarError) -> Reading:
    """Return the field's reading from a V2 batch, or from the error that came instead of one."""
    if field.v2 is None:
        return Reading("no_value", reason="V2 does not have this field")
    if isinstance(answer, SmartcarError):
        return _from_error(answer)
    item = answer.items.get(field.v2.source)
    if item is None:
        return _not_in_batch(field.v2.source, answer)
    if item.code != 200:
        words = " ".join(word for word in (item.error_type, item.error_code) if word)
        return Reading(_state(item.code), at=item.data_age, reason=f"V2 {item.code} {words}".strip())
    if field.parts:
        return parts_of_v2(field, field.v2, item)
    raw = getter(field.v2.member)(item.body)
    if isinstance(raw, list) and len(raw) < (more := _counted(item.body)):
        return Reading("failed", reason=f"V2 returned only the first {len(raw)} of {more}")
    if raw is None and _is_empty_list(field.v2, item.body):
        return Reading("not_capable", at=item.data_age, reason="V2's list is empty")
    return _plausible(parsed(field, field.v2, raw, v2_unit(field.v2, item), item.data_age, item.body))


def read_v3(field: Field, answer: Signals | SmartcarError) -> Reading:
    """Return the field's reading from V3's signals, or from the error that came instead of them.

    If the list of signals is incomplete, a missing signal is a failed reading, not a missing value.
    """
    if field.v3 is None:
        return Reading("no_value", reason="V3 does not have this field")
    if isinstance(answer, SmartcarError):
        return _from_error(answer)
    reading = _from_signals(field, field.v3, answer)
    if answer.not_received and (reading.state != "value" or field.parts) and _may_be_missing(field, field.v3, answer):
        more = thousands(answer.not_received, "more signals")
        return Reading("failed", reason=f"V3 has {more} than it returned; this may be one of them")
    return reading


def _from_signals(field: Field, place: Place, answer: Signals) -> Reading:
    if field.parts:
        return parts_of_v3(field, place, answer)
    if place.codes:
        return _listed(place.codes, answer)
    first = _v3_place(field, place, answer)
    others = [other for other in place.others if not _is_absent(other, place, answer)]
    if not others:
        return first
    readings = [first] if place.source in answer.signals else []
    return strongest([*readings, *(_v3_place(field, other, answer) for other in others)], EITHER_SAYS)


def _may_be_missing(field: Field, place: Place, answer: Signals) -> bool:
    """True if one of the signals that the field is read from is not in the list."""
    codes = field_map().systems.values() if field.parts == "systems" else place.codes or (place.source,)
    sources = {*codes, *(other.source for other in place.others)} - {VEHICLE, CONNECTION}
    return any(code not in answer.signals for code in sources)


def _v3_place(field: Field, place: Place, answer: Signals) -> Reading:
    if place.source in (VEHICLE, CONNECTION):
        attributes = answer.vehicle if place.source == VEHICLE else answer.connection
        return parsed(field, place, attributes.get(place.member), place.unit, None)
    signal = answer.signals.get(place.source)
    trouble = signal_trouble(signal)
    if trouble is not None or signal is None:
        return trouble or Reading("no_value")
    body = signal.body or {}
    raw, unit = getter(place.member)(body), body.get("unit")
    number = number_of(raw) or 0.0
    if place.unit == "percent" and not unit and 0 < number <= 1:
        reason = "V3 gives no unit, so this may be a fraction or a percentage"
        return Reading("no_value", raw=raw, at=signal.oem_updated_at, reason=reason)
    unit = unit if isinstance(unit, str) and place.unit != "m" else place.unit
    return parsed(field, place, raw, unit, signal.oem_updated_at, body)


def _plausible(reading: Reading) -> Reading:
    """Return V2's reading; ``no_value`` for an impossible percentage: then V2 is wrong, and V3 has lost nothing."""
    number = reading.value
    if reading.unit != "percent" or not isinstance(number, float) or 0 <= number <= FULL:
        return reading
    suspicion = " (a percentage sent as a fraction?)" if 0 < number <= 100 * FULL else ""
    reason = f"V2 gives {number:,.10g}%, which is impossible{suspicion}"
    return Reading("no_value", reading.raw, at=reading.at, reason=reason)


def _is_absent(place: Place, first: Place, answer: Signals) -> bool:
    """True if an alternative place is absent: no such signal, or no such member in the first place's signal."""
    signal = answer.signals.get(place.source)
    return signal is None or (place.source == first.source and getter(place.member)(signal.body) is None)


def _listed(codes: tuple[str, ...], answer: Signals) -> Reading:
    """Return signals that only V3 has as they were sent; they are not compared."""
    usable = {code: signal for code in codes if (signal := answer.signals.get(code)) and not signal_trouble(signal)}
    raw = {code: signal.body for code, signal in usable.items() if has_value(signal.body)}
    if raw:
        times = [usable[code].oem_updated_at for code in raw]
        return Reading("value", raw, at=max((at for at in times if at), default=None))
    troubles = [trouble for code in codes if (trouble := signal_trouble(answer.signals.get(code)))]
    return strongest(troubles) if troubles else Reading("no_value", reason="the value is null")


def _counted(body: object) -> int:
    """Return the count in a V2 list's ``paging``; 0 if there is none."""
    count = mapping(mapping(body).get("paging")).get("count")
    return count if isinstance(count, int) else 0


def _not_in_batch(path: str, answer: BatchAnswer) -> Reading:
    lack = answer.left_out.get(path)
    if lack:
        return Reading(BY_LACK[lack], reason=LEFT_OUT_REASONS[lack])
    if path in TOKEN_PATHS:
        return Reading("no_value", reason=f"V2 {path} was not requested with this token")
    return Reading("failed", reason=f"the batch has no answer for {path}")


def _from_error(error: SmartcarError) -> Reading:
    no_answer = isinstance(error, NotSmartcarError | UnreachableError) or error.status is None
    return Reading("failed" if no_answer else _state(error.status or 0), reason=str(error))


def _state(status: int) -> ReadingState:
    return "failed" if status in FAILED else BY_STATUS.get(status, "no_value")


def _is_empty_list(place: Place, body: object) -> bool:
    """True if the first member of the path is an empty list, which on V2 means that the car has no such part."""
    head, bracket, _ = place.member.partition("[")
    return bool(bracket) and isinstance(body, dict) and body.get(head) == []


NUMERIC = frozenset({"number", "pressure", "count", "integer"})
PLACE = ("latitude", "longitude")


def is_number_as_text(code: str, body: Any) -> bool:
    """True if a signal's body has a number as text in a member that the field map reads as a number."""
    values = (get(body) for get in _number_members().get(code, ()))
    return any(isinstance(raw, str) and number_of(raw) is not None for raw in values)


@cache
def _number_members() -> dict[str, list[Callable[[Any], Any]]]:
    """Return signal code -> getters of the members that the field map reads as numbers."""
    getters: dict[str, list[Callable[[Any], Any]]] = defaultdict(list)
    for row in field_map().fields:
        for place in (row.v3, *row.v3.others) if row.v3 and not row.parts else ():
            members = PLACE if row.rule == "place" else (place.member,) if row.rule in NUMERIC else ()
            getters[place.source] += map(getter, members)
    return getters
