"""What the sandbox tells about itself: `/`, `/health`, `/truth.json`; and how it is ended: `/stop`."""

from __future__ import annotations

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from .errors import new_request_id
from .faults import FAULTS
from .state import state_of
from .truth import count_buckets, tell_truth
from .world import World

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Pretend Smartcar</title>
<style>body{{font:16px/1.5 system-ui;max-width:42rem;margin:2rem auto}}td{{padding-right:2rem}}</style>
<h1>Pretend Smartcar</h1>
<p>A sandbox: invented people, cars and connections (seed {seed}). Nothing here reaches the real service.</p>
<p>{users} local users, {vehicles} local vehicles, {connections} connections.
The whole truth: <a href="/truth.json">truth.json</a>.</p>
<h2>Audit buckets after the Connect callbacks</h2><table>{buckets}</table>
<h2>Faults</h2><ul>{faults}</ul></html>
"""


def _id_header() -> dict[str, str]:
    return {"sc-request-id": new_request_id()}


async def home(request: Request) -> Response:
    """A small page for people."""
    world = state_of(request).world
    return HTMLResponse(_write_page(world, request.app.state.faults), headers=_id_header())


def _write_page(world: World, faults: tuple[str, ...]) -> str:
    buckets = count_buckets(world, "before").items()
    return PAGE.format(
        seed=world.seed,
        users=len(world.users),
        vehicles=len(world.vehicles),
        connections=len(world.connections),
        buckets="".join(f"<tr><td>{escape(name)}<td>{count}" for name, count in buckets),
        faults="".join(f"<li><b>{name}</b>: {FAULTS[name].sentence}" for name in faults) or "<li>none",
    )


async def health(request: Request) -> Response:
    """The nonce of this very server; not counted as activity."""
    return JSONResponse({"nonce": state_of(request).nonce, "sandbox": True}, headers=_id_header())


async def truth(request: Request) -> Response:
    """What an audit, a backfill and a comparison must find."""
    return JSONResponse(tell_truth(state_of(request).world), headers=_id_header())


async def stop(request: Request) -> Response:
    """Ask the server to end; 403 unless the body is its own nonce, so that nobody ends a stranger's."""
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
]
