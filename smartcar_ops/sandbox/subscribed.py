"""Decide which vehicles the application's webhook is subscribed to. All others refresh once a day (documented)."""

from __future__ import annotations

from smartcar_ops.sandbox.fleet.model import LIVE, Connection
from smartcar_ops.sandbox.fleet.seeded import id_of, one_in
from smartcar_ops.sandbox.world import World

WEBHOOK_NAME = "Pretend webhook"
CALLBACK = "https://app.example.com/smartcar/webhook"


def webhook_id(world: World) -> str:
    """Return the id of the application's webhook."""
    return id_of("webhook", world.credentials.application_id)


def stale_vehicles(world: World) -> frozenset[str]:
    """Return the ids of the vehicles with a planted `stale` difference; they are not subscribed."""
    return frozenset(d.vehicle.car.id for d in world.differences if d.kind == "stale")


def is_subscribed(connection: Connection, stale: frozenset[str]) -> bool:
    """Return whether a connection is subscribed: it is live, not stale, and not in the one in twelve left out.

    Simulated vehicles are never subscribed (documented).
    """
    vehicle_id = connection.vehicle_id
    return connection.mode == LIVE and vehicle_id not in stale and not one_in(12, "unsubscribed", vehicle_id)
