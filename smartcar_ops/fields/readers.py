"""What both versions are turned into: one reading a field, in one unit, with the maker's time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

from smartcar_ops.errors import NotSmartcarError, SmartcarError, UnreachableError
from smartcar_ops.fields.field_map import CONNECTION, TOKEN_PATHS, VEHICLE, WAYS, Field, Place, field_map
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

FAILED = frozenset({401, 429, 430, 500, 502, 503, 504})
FULL = 110.0
"""Percent: more than full is a slip of the maker's scale; a little more is how some makers count."""

BY_STATUS: dict[int, ReadingState] = {403: "not_permitted", 501: "not_capable"}
BY_LACK: dict[Lacks, ReadingState] = {"powertrain": "not_capable", "permission": "not_permitted", "limit": "failed"}


def read_v2(field: Field, answer: BatchAnswer | SmartcarError) -> Reading:
    """The field from a V2 batch, or from the error that came instead of one."""
    if field.v2 is None:
        return Reading("no_value", reason="V2 has no such field")
    if isinstance(answer, SmartcarError):
        return _from_error(answer)
    item = answer.items.get(field.v2.source)
    if item is None:
        return _not_asked(field.v2.source, answer)
    if item.code != 200:
        words = " ".join(word for word in (item.error_type, item.error_code) if word)
        return Reading(_state(item.code), at=item.data_age, reason=f"V2 {item.code} {words}".strip())
    if field.parts:
        return parts_of_v2(field, field.v2, item)
    raw = getter(field.v2.member)(item.body)
    if isinstance(raw, list) and len(raw) < (more := _counted(item.body)):
        return Reading("failed", reason=f"V2 told the first {len(raw)} of {more}")
    if raw is None and _is_empty_list(field.v2, item.body):
        return Reading("not_capable", at=item.data_age, reason="V2 lists none")
    return _possible(parsed(field, field.v2, raw, v2_unit(field.v2, item), item.data_age, item.body))


def read_v3(field: Field, answer: Signals | SmartcarError) -> Reading:
    """The field from V3's signals, or from the error that came instead of them.

    Of a list that is not whole, nothing is taken for missing: that reading failed.
    """
    if field.v3 is None:
        return Reading("no_value", reason="V3 has no such field")
    if isinstance(answer, SmartcarError):
        return _from_error(answer)
    found = _from_signals(field, field.v3, answer)
    if answer.untold and (found.state != "value" or field.parts) and _is_untold(field, field.v3, answer):
        return Reading("failed", reason=f"V3 counted {answer.untold} more signals than it told, perhaps this one")
    return found


def _from_signals(field: Field, place: Place, answer: Signals) -> Reading:
    if field.parts:
        return parts_of_v3(field, place, answer)
    if place.codes:
        return _listed(place.codes, answer)
    found = _v3_place(field, place, answer)
    others = [other for other in place.others if not _is_silent(other, place, answer)]
    if not others:
        return found
    told = [found] if place.source in answer.signals else []
    return strongest([*told, *(_v3_place(field, other, answer) for other in others)], EITHER_SAYS)


def _is_untold(field: Field, place: Place, answer: Signals) -> bool:
    """Whether a signal that the field is read from is not in the list."""
    codes = field_map().systems.values() if field.parts == "systems" else place.codes or (place.source,)
    sources = {*codes, *(other.source for other in place.others)} - {VEHICLE, CONNECTION}
    return any(code not in answer.signals for code in sources)


def _v3_place(field: Field, place: Place, answer: Signals) -> Reading:
    if place.source in (VEHICLE, CONNECTION):
        told = answer.vehicle if place.source == VEHICLE else answer.connection
        return parsed(field, place, told.get(place.member), place.unit, None)
    signal = answer.signals.get(place.source)
    trouble = signal_trouble(signal)
    if trouble is not None or signal is None:
        return trouble or Reading("no_value")
    body = signal.body or {}
    raw, unit = getter(place.member)(body), body.get("unit")
    number = number_of(raw) or 0.0
    if place.unit == "percent" and not unit and 0 < number <= 1:
        return Reading("no_value", raw=raw, at=signal.oem_updated_at, reason="V3 gives a share without a unit")
    unit = unit if isinstance(unit, str) and place.unit != "m" else place.unit
    return parsed(field, place, raw, unit, signal.oem_updated_at, body)


def _possible(reading: Reading) -> Reading:
    """V2's reading; no value where no car can have that share: it is V2 that is wrong then, and V3 lost nothing."""
    number = reading.value
    if reading.unit != "percent" or not isinstance(number, float) or 0 <= number <= FULL:
        return reading
    shifted = "; a percentage told as a share?" if 0 < number <= 100 * FULL else ""
    reason = f"V2 tells {number:,.10g} percent, which no car can have{shifted}"
    return Reading("no_value", reading.raw, at=reading.at, reason=reason)


def _is_silent(place: Place, first: Place, answer: Signals) -> bool:
    """Whether a further place says nothing: its signal is not there, or is the first one's and has no such member."""
    signal = answer.signals.get(place.source)
    return signal is None or (place.source == first.source and getter(place.member)(signal.body) is None)


def _listed(codes: tuple[str, ...], answer: Signals) -> Reading:
    """Signals that only V3 has, as they came; nothing is compared."""
    found = {code: signal for code in codes if (signal := answer.signals.get(code)) and not signal_trouble(signal)}
    raw = {code: signal.body for code, signal in found.items() if has_value(signal.body)}
    if raw:
        times = [found[code].oem_updated_at for code in raw]
        return Reading("value", raw, at=max((at for at in times if at), default=None))
    troubles = [trouble for code in codes if (trouble := signal_trouble(answer.signals.get(code)))]
    return strongest(troubles) if troubles else Reading("no_value", reason="the value is null")


def _counted(body: object) -> int:
    """How long a V2 list says that it is; 0 where it does not."""
    count = mapping(mapping(body).get("paging")).get("count")
    return count if isinstance(count, int) else 0


def _not_asked(path: str, answer: BatchAnswer) -> Reading:
    lack = answer.left_out.get(path)
    if lack:
        return Reading(BY_LACK[lack], reason=WAYS[lack])
    if path in TOKEN_PATHS:
        return Reading("no_value", reason=f"V2 {path} was not asked for this token")
    return Reading("failed", reason=f"the batch has no answer for {path}")


def _from_error(error: SmartcarError) -> Reading:
    silent = isinstance(error, NotSmartcarError | UnreachableError) or error.status is None
    return Reading("failed" if silent else _state(error.status or 0), reason=str(error))


def _state(status: int) -> ReadingState:
    return "failed" if status in FAILED else BY_STATUS.get(status, "no_value")


def _is_empty_list(place: Place, body: object) -> bool:
    """Whether the first member of the path is an empty list: V2's way to say that a car has no such part."""
    head, bracket, _ = place.member.partition("[")
    return bool(bracket) and isinstance(body, dict) and body.get(head) == []


NUMERIC = frozenset({"number", "pressure", "count", "integer"})
PLACE = ("latitude", "longitude")


def is_number_as_text(code: str, body: Any) -> bool:
    """Whether a signal's body has a number as text, where the field map reads a number."""
    found = (get(body) for get in _number_members().get(code, ()))
    return any(isinstance(raw, str) and number_of(raw) is not None for raw in found)


@cache
def _number_members() -> dict[str, list[Callable[[Any], Any]]]:
    """Signal code -> what gives the members of its body that the field map reads as numbers."""
    found: dict[str, list[Callable[[Any], Any]]] = defaultdict(list)
    for row in field_map().fields:
        for place in (row.v3, *row.v3.others) if row.v3 and not row.parts else ():
            members = PLACE if row.rule == "place" else (place.member,) if row.rule in NUMERIC else ()
            found[place.source] += map(getter, members)
    return found
