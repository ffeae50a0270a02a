"""The token endpoint of V2: `POST /oauth/token`, codes and refresh tokens (documented)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .grants import ACCESS_LIFE, GrantRefused
from .records import UserToken
from .state import State, state_of
from .token_requests import answer, read_parameters, refuse

NEEDED = {"authorization_code": "code", "refresh_token": "refresh_token"}
"""Grant type -> the parameter it cannot do without."""


async def give_tokens(request: Request) -> Response:
    """A new pair of tokens.

    400 `invalid_request` or `invalid_grant`, 401 `invalid_client` unless HTTP Basic (or the body) carries the
    Application ID and the legacy secret.
    """
    given = await read_parameters(request)
    if given is None or "grant_type" not in given:
        return refuse(400, "invalid_request", "The grant_type parameter is missing or the body is malformed.")
    state = state_of(request)
    known = state.world.credentials
    if (given.get("client_id"), given.get("client_secret")) != (known.application_id, known.v2_client_secret):
        return refuse(401, "invalid_client", "Invalid or missing client credentials.")
    if given["grant_type"] not in NEEDED:
        return refuse(400, "unsupported_grant_type", f"Grant type {given['grant_type']} is not supported.")
    if not given.get(NEEDED[given["grant_type"]]):
        return refuse(400, "invalid_request", f"The {NEEDED[given['grant_type']]} parameter is missing.")
    try:
        return _write(_exchange(given, state))
    except GrantRefused as error:
        return refuse(400, "invalid_grant", str(error))


def _exchange(given: dict[str, str], state: State) -> UserToken:
    now = state.clock()
    if given["grant_type"] == "authorization_code":
        return state.grants.exchange(given["code"], given.get("redirect_uri"), now)
    # Somebody who disconnected has taken the consent back.
    if not state.directory.find(state.grants.peek(given["refresh_token"], now).user_id):
        raise GrantRefused("The user has no connection to this application any more.")
    return state.grants.refresh(given["refresh_token"], now)


def _write(token: UserToken) -> Response:
    return answer(
        200,
        {
            "access_token": token.text,
            "token_type": "Bearer",
            "expires_in": int(ACCESS_LIFE.total_seconds()),
            "refresh_token": token.refresh_token,
        },
    )


routes = [Route("/oauth/token", give_tokens, methods=["POST"])]
