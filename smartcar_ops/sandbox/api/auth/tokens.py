"""The token endpoints: V3's `POST /oauth2/token` (client credentials), V2's `POST /oauth/token` (codes, refreshes)."""

from __future__ import annotations

import base64
import binascii
import json
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.auth.grants import GrantRefused
from smartcar_ops.sandbox.api.auth.lifetimes import ACCESS_LIFE, APPLICATION_TOKEN_LIFE
from smartcar_ops.sandbox.api.state import State, state_of
from smartcar_ops.sandbox.fleet.model import UserToken
from smartcar_ops.sandbox.wire_errors import new_request_id


async def read_parameters(request: Request) -> dict[str, str] | None:
    """Return the parameters of the body (form or JSON) and of HTTP Basic; None if they can't be parsed."""
    raw = await request.body()
    try:
        given = _from_json(raw) if _is_json(request) else dict(parse_qsl(raw.decode()))
        return {**given, **_from_basic(request)}
    except (ValueError, AttributeError, binascii.Error):  # not JSON, not an object, or not base64
        return None


def refuse(status: int, error: str, description: str) -> Response:
    """Return an OAuth error: `error` and `error_description`."""
    return answer(status, {"error": error, "error_description": description})


def answer(status: int, body: dict[str, object]) -> Response:
    """Return a token endpoint's response, which must not be cached."""
    return JSONResponse(body, status, {"sc-request-id": new_request_id(), "cache-control": "no-store"})


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip() == "application/json"


def _from_json(raw: bytes) -> dict[str, str]:
    given = json.loads(raw)
    return {str(key): str(value) for key, value in given.items()}


def _from_basic(request: Request) -> dict[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return {}
    name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    return {"client_id": unquote_plus(name), "client_secret": unquote_plus(secret)}


async def give_application_token(request: Request) -> Response:
    """Issue an application token. Answers 400 for a malformed request, 401 for a wrong id or secret."""
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


NEEDED = {"authorization_code": "code", "refresh_token": "refresh_token"}
"""Grant type -> the parameter it requires."""


async def give_user_tokens(request: Request) -> Response:
    """Issue a new pair of tokens.

    Answers 400 `invalid_request`, `unsupported_grant_type` or `invalid_grant`, and 401 `invalid_client` unless HTTP
    Basic (or the body) contains the Application ID and the legacy secret.
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
    # A user who disconnected has withdrawn the consent.
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


routes = [
    Route("/oauth2/token", give_application_token, methods=["POST"]),
    Route("/oauth/token", give_user_tokens, methods=["POST"]),
]
