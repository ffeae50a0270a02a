"""The token endpoint of V3: `POST /oauth2/token`, client credentials only (documented)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .state import APPLICATION_TOKEN_LIFE, state_of
from .token_requests import answer, read_parameters, refuse


async def give_token(request: Request) -> Response:
    """An application token; 400 for a malformed request, 401 for a wrong id or secret."""
    given = await read_parameters(request)
    if given is None or "grant_type" not in given:
        return refuse(400, "invalid_request", "The grant_type parameter is missing or the body is malformed.")
    if given["grant_type"] != "client_credentials":
        return refuse(400, "unsupported_grant_type", f"Grant type {given['grant_type']} is not supported.")
    if not given.get("client_id") or not given.get("client_secret"):
        return refuse(400, "invalid_request", "The client_id or client_secret parameter is missing.")
    state = state_of(request)
    known = state.world.credentials
    if (given["client_id"], given["client_secret"]) != (known.client_id, known.client_secret):
        return refuse(401, "invalid_client", "Client authentication failed.")
    return answer(
        200,
        {
            "access_token": state.hand_out_token(),
            "token_type": "Bearer",
            "expires_in": int(APPLICATION_TOKEN_LIFE.total_seconds()),
        },
    )


routes = [Route("/oauth2/token", give_token, methods=["POST"])]
