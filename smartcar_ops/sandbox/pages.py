"""What the sandbox tells about itself: `/`, `/health`, `/truth.json`, `/units.json`; and how it is ended: `/stop`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from .errors import new_request_id
from .home import write_home
from .state import state_of
from .truth import tell_truth


def _id_header() -> dict[str, str]:
    return {"sc-request-id": new_request_id()}


async def home(request: Request) -> Response:
    """A page for people: what this is, who is in it, and what is wrong with it on purpose."""
    return HTMLResponse(write_home(state_of(request), request.app.state.faults), headers=_id_header())


async def health(request: Request) -> Response:
    """The nonce of this very server; not counted as activity."""
    return JSONResponse({"nonce": state_of(request).nonce, "sandbox": True}, headers=_id_header())


async def truth(request: Request) -> Response:
    """What an audit, a backfill and a comparison must find."""
    return JSONResponse(tell_truth(state_of(request).world), headers=_id_header())


async def units(request: Request) -> Response:
    """What all requests took so far: a unit each, in a V2 batch one a path; these pages took none."""
    spent = request.app.state.arrivals.units({route.path for route in routes})
    return JSONResponse({"units": spent}, headers=_id_header())


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
    Route("/units.json", units),
]
