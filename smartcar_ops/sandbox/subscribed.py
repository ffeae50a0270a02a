"""Which vehicles the application's one webhook is subscribed to; the others refresh once a day (documented)."""

from __future__ import annotations

from smartcar_ops.sandbox.fleet.model import LIVE, Connection
from smartcar_ops.sandbox.fleet.seeded import id_of, one_in
from smartcar_ops.sandbox.world import World

WEBHOOK_NAME = "Pretend webhook"
CALLBACK = "https://app.example.com/smartcar/webhook"


def webhook_id(world: World) -> str:
    """The id of the application's webhook."""
    return id_of("webhook", world.credentials.application_id)


def stale_vehicles(world: World) -> frozenset[str]:
    """The vehicles with a planted `stale` difference: nobody subscribed them."""
    return frozenset(d.vehicle.car.id for d in world.differences if d.kind == "stale")


def is_subscribed(connection: Connection, stale: frozenset[str]) -> bool:
    """Live, not stale, and not among the one in twelve nobody thought of; simulated ones never (documented)."""
    vehicle_id = connection.vehicle_id
    return connection.mode == LIVE and vehicle_id not in stale and not one_in(12, "unsubscribed", vehicle_id)
