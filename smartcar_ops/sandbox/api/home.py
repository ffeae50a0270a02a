"""The sandbox's own pages: `/` (for people, VINs masked), `/health`, `/truth.json`, `/units.json`, `/stop`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.state import State, state_of
from smartcar_ops.sandbox.faults.faults import FAULTS
from smartcar_ops.sandbox.truth import count_buckets, tell_truth
from smartcar_ops.sandbox.wire_errors import new_request_id
from smartcar_ops.sandbox.world import World

SHOWN = 50
STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; vertical-align: top }
td.number { text-align: right }
code { font-size: .85rem }
.on { font-weight: bold }
.on td:first-child::before { content: "● " }
"""
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Pretend Smartcar</title><style>{style}</style>
<h1>Pretend Smartcar</h1>
<p>A sandbox: invented people, cars and connections (seed {seed}), served as Smartcar's V2, V3, Connect and
management APIs would. Nothing here reaches the real service.
{users} local users, {vehicles} local vehicles, {connections} connections.
The whole truth: <a href="/truth.json">truth.json</a>.</p>
<h2>Faults ({on} of {all} in force)</h2>
<table><tr><th>Name<th>What it does{faults}</table>
<h2>Audit buckets after the Connect callbacks</h2>
<table><tr><th>Bucket<th>Users{buckets}</table>
<h2>Users</h2><p>{shown_users} of {users}</p>
<table><tr><th>Id<th>Name<th>Persona<th>Bucket<th>Vehicles<th>Smartcar user{user_rows}</table>
<h2>Vehicles</h2><p>{shown_vehicles} of {vehicles}</p>
<table><tr><th>Id<th>User<th>VIN<th>Car<th>Smartcar vehicle<th>Token{vehicle_rows}</table>
</html>
"""


def write_home(state: State, faults: tuple[str, ...]) -> str:
    """Return the whole page; `faults`: the names of the faults in force."""
    world = state.world
    return PAGE.format(
        style=STYLE,
        seed=world.seed,
        users=len(world.users),
        vehicles=len(world.vehicles),
        connections=len(state.directory.all),
        on=len(set(faults)),
        all=len(FAULTS),
        faults=_faults(faults),
        buckets=_rows(count_buckets(world, "before").items()),
        shown_users=min(SHOWN, len(world.users)),
        user_rows=_rows(_users(world)),
        shown_vehicles=min(SHOWN, len(world.vehicles)),
        vehicle_rows=_rows(_vehicles(world)),
    )


def mask(vin: str | None) -> str:
    """Return the VIN with all but its last four characters hidden; a dash for None."""
    return "–" if vin is None else "•" * (len(vin) - 4) + vin[-4:]


def _faults(names: tuple[str, ...]) -> str:
    return "".join(
        f"<tr{' class=on' if name in names else ''}><td><code>{name}</code><td>{escape(fault.sentence)}"
        for name, fault in FAULTS.items()
    )


def _rows(rows: Iterable[tuple[object, ...]]) -> str:
    return "".join("<tr>" + "".join(_cell(value) for value in row) for row in rows)


def _cell(value: object) -> str:
    return f"<td class=number>{value}" if isinstance(value, int) else f"<td>{escape(str(value))}"


def _users(world: World) -> list[tuple[object, ...]]:
    return [
        (str(user.id), user.name, user.persona, user.before, len(user.vehicles), user.smartcar_user_id or "–")
        for user in world.users[:SHOWN]
    ]


def _vehicles(world: World) -> list[tuple[object, ...]]:
    return [
        (
            str(vehicle.id),
            str(vehicle.user_id),
            mask(vehicle.vin),
            " ".join(str(vehicle.car.v3[f"vehicle-{part}"].value) for part in ("make", "model", "year")),
            vehicle.car.id,
            "alive" if vehicle.token_alive else "dead",
        )
        for vehicle in world.vehicles[:SHOWN]
    ]


def _id_header() -> dict[str, str]:
    return {"sc-request-id": new_request_id()}


async def home(request: Request) -> Response:
    """Return a page for people: what the sandbox is, who is in it, and which faults are in force."""
    return HTMLResponse(write_home(state_of(request), request.app.state.faults), headers=_id_header())


async def health(request: Request) -> Response:
    """Return the nonce of this server. Requests for it do not count as activity."""
    return JSONResponse({"nonce": state_of(request).nonce, "sandbox": True}, headers=_id_header())


async def truth(request: Request) -> Response:
    """Return what an audit, a backfill and a comparison must find."""
    return JSONResponse(tell_truth(state_of(request).world), headers=_id_header())


async def units(request: Request) -> Response:
    """Return the units of all requests so far: one per request, one per path of a V2 batch, none for these pages."""
    spent = request.app.state.arrivals.units({route.path for route in routes})
    return JSONResponse({"units": spent}, headers=_id_header())


async def stop(request: Request) -> Response:
    """End the server. Answers 403 unless the body is its nonce, so that nobody ends another sandbox by mistake."""
    state = state_of(request)
    if (await request.body()).decode(errors="replace") != state.nonce:
        return JSONResponse({"error": "not this sandbox's nonce"}, 403, _id_header())
    state.stop_asked.set()
    return JSONResponse({"stopping": True}, headers=_id_header())


routes = [
    Route("/", home),
    Route("/health", health),
    Route("/stop", stop, methods=["POST"]),
    Route("/truth.json", truth),
    Route("/units.json", units),
]
