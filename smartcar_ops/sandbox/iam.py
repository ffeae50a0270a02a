"""The token endpoint of V3: `POST /oauth2/token`, client credentials only (documented)."""

from __future__ import annotations

import base64
import binascii
import json
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import new_request_id
from .state import APPLICATION_TOKEN_LIFE, state_of


async def give_token(request: Request) -> Response:
    """An application token; 400 for a malformed request, 401 for a wrong id or secret."""
    given = await _parameters(request)
    if given is None or "grant_type" not in given:
        return _refuse(400, "invalid_request", "The grant_type parameter is missing or the body is malformed.")
    if given["grant_type"] != "client_credentials":
        return _refuse(400, "unsupported_grant_type", f"Grant type {given['grant_type']} is not supported.")
    if not given.get("client_id") or not given.get("client_secret"):
        return _refuse(400, "invalid_request", "The client_id or client_secret parameter is missing.")
    state = state_of(request)
    known = state.world.credentials
    if (given["client_id"], given["client_secret"]) != (known.client_id, known.client_secret):
        return _refuse(401, "invalid_client", "Client authentication failed.")
    return _json(
        200,
        {
            "access_token": state.hand_out_token(),
            "token_type": "Bearer",
            "expires_in": int(APPLICATION_TOKEN_LIFE.total_seconds()),
        },
    )


async def _parameters(request: Request) -> dict[str, str] | None:
    """What the body (form or JSON) and HTTP Basic give together; None where they cannot be read."""
    raw = await request.body()
    try:
        given = _from_json(raw) if _is_json(request) else dict(parse_qsl(raw.decode()))
        return {**given, **_from_basic(request)}
    except (ValueError, AttributeError, binascii.Error):  # not JSON, no object, no base64
        return None


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


def _refuse(status: int, error: str, description: str) -> Response:
    return _json(status, {"error": error, "error_description": description})


def _json(status: int, body: dict[str, object]) -> Response:
    return JSONResponse(body, status, {"sc-request-id": new_request_id(), "cache-control": "no-store"})


routes = [Route("/oauth2/token", give_token, methods=["POST"])]
