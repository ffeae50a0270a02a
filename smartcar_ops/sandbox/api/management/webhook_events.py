"""Webhook events in the 4.0 envelope: flat signals, times in epoch milliseconds, no VIN."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from smartcar_ops.sandbox.api.state import State
from smartcar_ops.sandbox.api.v3.signals import write_signals
from smartcar_ops.sandbox.fleet.model import LIVE, Car, Connection
from smartcar_ops.sandbox.subscribed import WEBHOOK_NAME, webhook_id
from smartcar_ops.sandbox.wire_errors import DOCS

Json = dict[str, Any]
VERSION = "4.0"


def write_events(state: State, count: int, own_url: str = "") -> list[Json]:
    """Return `count` events of the subscribed vehicles in turn, newest connection first; [] if none is subscribed."""
    subscribed = [c for c in state.directory.all if state.is_subscribed(c)]
    return [
        _event(state, subscribed[number % len(subscribed)], is_error=number % 4 == 3, own_url=own_url)
        for number in range(count if subscribed else 0)
    ]


def _event(state: State, connection: Connection, *, is_error: bool, own_url: str) -> Json:
    car = state.cars[connection.vehicle_id]
    read = write_signals(car, state, f"{own_url}/v3/vehicles/{car.id}")
    failed = [signal for signal in read if signal["attributes"]["status"]["value"] == "ERROR"]
    user: Json = {"id": connection.user_id}
    if connection.external_id is not None:
        user["externalId"] = connection.external_id
    data: Json = {"user": user, "vehicle": _vehicle(car)}
    event: Json = {"eventId": str(uuid.uuid4()), "eventType": "VEHICLE_ERROR" if is_error else "VEHICLE_STATE"}
    meta = write_meta(state, _milliseconds(state.clock()), connection.mode)
    if is_error:
        return {**event, "data": {**data, "errors": _errors(failed)}, "meta": meta}
    found = [_flat(signal) for signal in read]
    triggers = {"triggers": [{"type": "SIGNAL_UPDATED", "signal": _named(found[0])}]}
    meta["signalCount"] = len(found)
    data["signals"] = found
    if state.behaviour.triggers_under_data:
        return {**event, "data": {**data, **triggers}, "meta": meta}
    return {**event, "data": data, **triggers, "meta": meta}


def _vehicle(car: Car) -> Json:
    """Return the id, make, model and year of the car, without the VIN (seen)."""
    return {"id": car.id, **{part: car.v3[f"vehicle-{part}"].value for part in ("make", "model", "year")}}


def _flat(signal: Json) -> Json:
    """Return a signal as webhooks write it: no `attributes` level, times in epoch milliseconds, 0 for no time."""
    times = {name: _from_rest(signal["meta"].get(name)) for name in ("retrievedAt", "oemUpdatedAt")}
    return {**signal["attributes"], "meta": times}


def _from_rest(moment: str | int | None) -> int:
    if isinstance(moment, str):
        return _milliseconds(datetime.fromisoformat(moment))
    # Under `epoch-times`, some cars use seconds.
    return 0 if moment is None else moment * (1 if moment >= 10**11 else 1000)


def _errors(failed: list[Json]) -> list[Json]:
    """Return one error for each type and code, with the signals it affects."""
    kinds: dict[tuple[str, str], list[Json]] = {}
    for signal in failed:
        error = signal["attributes"]["status"]["error"]
        kinds.setdefault((error["type"], error["code"]), []).append(signal["attributes"])
    return [
        {
            "type": type_,
            "code": None if type_ == "PERMISSION" else code,
            "description": struck[0]["status"]["error"]["detail"],
            "docURL": f"{DOCS}/{type_.lower().replace('_', '-')}-errors",
            "resolution": {"type": "REAUTHENTICATE" if type_ == "PERMISSION" else None},
            "state": "ERROR",
            "signals": [_named(signal) for signal in struck],
        }
        for (type_, code), struck in kinds.items()
    ]


def _named(signal: Json) -> Json:
    return {name: signal[name] for name in ("code", "name", "group")}


def write_meta(state: State, delivered_at: str | int, mode: str = LIVE) -> Json:
    """Return an event's `meta`. The time is text for VERIFY (documented), epoch milliseconds for all others."""
    return {
        "version": VERSION,
        "deliveryId": str(uuid.uuid4()),
        "deliveredAt": delivered_at,
        "webhookId": webhook_id(state.world),
        "webhookName": WEBHOOK_NAME,
        "mode": mode.upper(),
    }


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
