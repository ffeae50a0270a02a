"""The truth about a world, as JSON: what an audit, a backfill and a comparison must find."""

from __future__ import annotations

from collections import Counter
from typing import Any

from smartcar_ops.sandbox.fleet.model import LIVE, Difference, LocalUser, LocalVehicle
from smartcar_ops.sandbox.fleet.personas import CONFLICT, DECISIONS
from smartcar_ops.sandbox.subscribed import is_subscribed, stale_vehicles
from smartcar_ops.sandbox.world import World, connected_cars, orphans

Json = dict[str, Any]


def tell_truth(world: World) -> Json:
    """Return users with their buckets, vehicles with the ids a correct backfill stores, and the planted differences.

    Ids are text, as in the kit's tables. `orphans`: live connections that no local user claims after the callbacks
    ran; `orphans_uncalled`: the same if no callback ever ran. `subscribed`: whether a webhook keeps the vehicle
    up to date; null if it is not connected. `differences`: one row per changed field, by its id in the field map.
    In every other field of a comparable car, both versions return the same, or neither returns a value.
    """
    connected = connected_cars(world)
    stale = stale_vehicles(world)
    subscribed = {connection.vehicle_id: is_subscribed(connection, stale) for connection in world.connections}
    return {
        "sandbox": True,
        "seed": world.seed,
        "users": [_user(user) for user in world.users],
        "vehicles": [
            {**_vehicle(user, v, connected), "subscribed": subscribed.get(v.car.id)}
            for user in world.users
            for v in user.vehicles
        ],
        "differences": [_difference(difference) for difference in (*world.differences, *foreign_tokens(world))],
        "buckets": {state: count_buckets(world, state) for state in ("before", "after", "uncalled")},
        "connections": sum(connection.mode == LIVE for connection in world.connections),
        "orphans": len(orphans(world, played=True)),
        "orphans_uncalled": len(orphans(world, played=False)),
    }


def count_buckets(world: World, state: str) -> dict[str, int]:
    """Return the number of local users in each bucket, in the `state` "before", "after" or "uncalled"."""
    counts = Counter(getattr(user, state) for user in world.users)
    return {bucket: counts[bucket] for bucket in DECISIONS}


def expected_vehicle_id(user: LocalUser, vehicle: LocalVehicle) -> str | None:
    """Return the `smartcar_vehicle_id` that a correct backfill stores, or None."""
    if not vehicle.tied or DECISIONS[user.before] == CONFLICT:
        return None
    return vehicle.car.id


def foreign_tokens(world: World) -> list[Difference]:
    """Return the cars whose living token belongs to a user not connected to them: V2 and V3 name different users."""
    connected = connected_cars(world)
    return [
        Difference(vehicle, "user", "previous-owner", True, "mismatch")
        for vehicle in world.vehicles
        if vehicle.token_alive and vehicle.tied
        if world.tokens[vehicle.token].user_id not in connected.get(vehicle.car.id, set())
    ]


def _user(user: LocalUser) -> Json:
    return {
        "user_id": str(user.id),
        "persona": user.persona,
        "smartcar_user_id": user.smartcar_user_id,
        "stores": user.stores,
        "bucket": user.before,
        "bucket_after": user.after,
        "bucket_uncalled": user.uncalled,
        "decision": DECISIONS[user.before],
    }


def _vehicle(user: LocalUser, vehicle: LocalVehicle, connected: dict[str, set[str]]) -> Json:
    return {
        "local_vehicle_id": str(vehicle.id),
        "user_id": str(user.id),
        "vin": vehicle.vin,
        "smartcar_vehicle_id": vehicle.car.id,
        "expected_smartcar_vehicle_id": expected_vehicle_id(user, vehicle),
        "connected": vehicle.car.id in connected,
        "token_alive": vehicle.token_alive,
    }


def _difference(difference: Difference) -> Json:
    return {
        "vehicle_id": difference.vehicle.car.id,
        "local_vehicle_id": str(difference.vehicle.id),
        "field": difference.field,
        "kind": difference.kind,
        "planted": difference.planted,
        "expected": difference.expected,
    }
