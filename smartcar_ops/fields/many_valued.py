"""Many-valued fields: doors and windows by place, systems by name, service visits by record.

Each version's body becomes parts, with keys to match them by; a part is read by the same rules as a single value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from smartcar_ops.fields import normalize
from smartcar_ops.fields.field_map import Field, PartsKind, Place, field_map
from smartcar_ops.fields.paths import getter
from smartcar_ops.fields.reading import EITHER_SAYS, Part, Reading, parsed, signal_trouble, strongest, v2_unit
from smartcar_ops.fields.units import convert
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.signals import Signals
from smartcar_ops.smartcar.v2 import BatchItem

PLACES = {"0 0": "frontLeft", "0 1": "frontRight", "1 0": "backLeft", "1 1": "backRight"}
"""V3's row and column -> V2's name of the place."""


def parts_of_v2(field: Field, place: Place, item: BatchItem) -> Reading:
    """Return the field's parts in a V2 body; ``no_value`` if it has none."""
    return V2_PARTS[field.parts](field, place, item)


def parts_of_v3(field: Field, place: Place, answer: Signals) -> Reading:
    """Return the field's parts in V3's signals; ``no_value`` if they have none."""
    return V3_PARTS[field.parts](field, place, answer)


# --- doors and windows ------------------------------------------------------------------------------------


def _places_of_v2(field: Field, place: Place, item: BatchItem) -> Reading:
    raw = getter(place.member)(item.body)
    if raw == []:
        return Reading("not_capable", raw, at=item.data_age, reason="V2's list is empty")
    if not isinstance(raw, list):
        return Reading("no_value", raw, at=item.data_age, reason="the value is not a list")
    entries = [entry for entry in raw if isinstance(entry, dict)]
    readings = (
        (str(entry.get("type")), parsed(field, place, entry.get("status"), None, item.data_age)) for entry in entries
    )
    return _from_parts(raw, item.data_age, [Part(name, (name,), reading) for name, reading in readings])


def _places_of_v3(field: Field, place: Place, answer: Signals) -> Reading:
    signal = answer.signals.get(place.source)
    trouble = signal_trouble(signal)
    if trouble is not None or signal is None:
        return trouble or Reading("no_value")
    candidates = (getter(one.member)(signal.body or {}) for one in (place, *place.others))
    raw = next((entries for entries in candidates if isinstance(entries, list)), None)
    if raw is None:
        return Reading("no_value", at=signal.oem_updated_at, reason="the value is null")
    parts = [_place_of_v3(field, place, entry, signal.oem_updated_at) for entry in raw if isinstance(entry, dict)]
    return _from_parts(raw, signal.oem_updated_at, [part for part in parts if part.reading.state == "value"])


def _place_of_v3(field: Field, place: Place, entry: dict[str, Any], at: datetime | None) -> Part:
    """Return whether a door is open; if it is locked, LOCKED may also agree, because V2 may report either."""
    row, column = entry.get("row"), entry.get("column")
    name = PLACES.get(f"{row} {column}") or f"row {row} column {column}"
    reading = parsed(field, place, entry.get("isOpen"), None, at)
    if reading.state == "value" and entry.get("isLocked") is True:
        reading.others = (Reading("value", True, "LOCKED", None, True, at),)
    return Part(name, (name,), reading)


# --- systems ----------------------------------------------------------------------------------------------


def _systems_of_v2(field: Field, place: Place, item: BatchItem) -> Reading:
    raw = getter(place.member)(item.body)
    if not isinstance(raw, list):
        return Reading("no_value", raw, at=item.data_age, reason="the value is not a list")
    codes, parts = field_map().systems, []
    for entry in raw:
        name = str(entry.get("systemId")) if isinstance(entry, dict) else ""
        if name in codes:
            reading = parsed(field, place, entry.get("status"), None, item.data_age)
            parts.append(Part(name, (codes[name],), reading))
    return _from_parts(raw, item.data_age, parts)


def _systems_of_v3(field: Field, place: Place, answer: Signals) -> Reading:
    """Return one part per system, even if its signal has no value: V2 may have one."""
    parts, values = [], {}
    for name, code in field_map().systems.items():
        signal = answer.signals.get(code)
        trouble = signal_trouble(signal)
        if trouble is None and signal is not None:
            raw = getter(place.member)(signal.body or {})
            trouble = parsed(field, place, raw, None, signal.oem_updated_at)
            values[code] = raw
        parts.append(Part(name, (code,), trouble or Reading("no_value")))
    present = [part.reading for part in parts if part.keys[0] in answer.signals]
    best = strongest(present or [part.reading for part in parts], EITHER_SAYS)
    if best.state != "value":
        return best
    times = [part.reading.at for part in parts if part.reading.state == "value" and part.reading.at]
    return Reading("value", values, at=max(times, default=None), parts=tuple(parts))


# --- service visits ---------------------------------------------------------------------------------------


def _records_of_v2(field: Field, place: Place, item: BatchItem) -> Reading:
    """Read V2's list of visits; older documentation has a single object instead."""
    raw = [item.body] if isinstance(item.body, dict) else item.body
    if not isinstance(raw, list):
        return Reading("no_value", raw, at=item.data_age, reason="the value is not a list")
    km = v2_unit(Place("", unit="km"), item)
    names = ("serviceId", "serviceDate", "odometerDistance")
    parts = _records(field, place, raw, names, km, v2_unit(place, item), item.data_age)
    return _from_parts([getter(place.member)(entry) for entry in raw], item.data_age, list(parts), empty=True)


def _records_of_v3(field: Field, place: Place, answer: Signals) -> Reading:
    signal = answer.signals.get(place.source)
    trouble = signal_trouble(signal)
    if trouble is not None or signal is None:
        return trouble or Reading("no_value")
    raw = (signal.body or {}).get("values")
    if not isinstance(raw, list):
        return Reading("no_value", at=signal.oem_updated_at, reason="the value is null")
    parts = _records(field, place, raw, ("id", "time", "odometer"), "km", place.unit, signal.oem_updated_at)
    return _from_parts([getter(place.member)(entry) for entry in raw], signal.oem_updated_at, list(parts), empty=True)


def _records(
    field: Field,
    place: Place,
    entries: list[Any],
    names: tuple[str, str, str],
    km: str | None,
    unit: str | None,
    at: datetime | None,
) -> Iterator[Part]:
    """Yield one part per record, to be matched by its id, or by date and odometer, or by date alone."""
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        own, date, odometer = (entry.get(name) for name in names)
        moment = json_values.parse(date)
        number = normalize.number_of(odometer)
        distance = None if number is None else round(convert(number, km or "")[0])
        id_ = normalize.plain(own)
        keys = (id_ or None, (moment, distance) if moment and distance else None, moment)
        name = f"visit on {moment:%Y-%m-%d}" if moment else f"visit {id_}" if id_ else "visit without a date"
        raw = getter(place.member)(entry)
        yield Part(name, keys, parsed(field, place, raw, unit, at, entry))


# --- shared -----------------------------------------------------------------------------------------------


def _from_parts(raw: Any, at: datetime | None, parts: list[Part], *, empty: bool = False) -> Reading:
    """Return a reading of these parts; with ``empty``, an empty list is a value too."""
    with_value = [part for part in parts if part.reading.state == "value"]
    if with_value or (empty and not parts):
        return Reading("value", raw, at=at, parts=tuple(parts))
    return Reading("no_value", raw, at=at, reason=parts[0].reading.reason if parts else "nothing is listed")


V2_PARTS: Mapping[PartsKind, Callable[[Field, Place, BatchItem], Reading]] = {
    "places": _places_of_v2,
    "systems": _systems_of_v2,
    "records": _records_of_v2,
}
V3_PARTS: Mapping[PartsKind, Callable[[Field, Place, Signals], Reading]] = {
    "places": _places_of_v3,
    "systems": _systems_of_v3,
    "records": _records_of_v3,
}
"""How each kind of many-valued field is split into parts on each version."""
