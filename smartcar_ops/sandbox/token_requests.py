"""What both token endpoints have in common: reading a request, refusing it, answering it."""

from __future__ import annotations

import base64
import binascii
import json
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .errors import new_request_id


async def read_parameters(request: Request) -> dict[str, str] | None:
    """What the body (form or JSON) and HTTP Basic give together; None where they cannot be read."""
    raw = await request.body()
    try:
        given = _from_json(raw) if _is_json(request) else dict(parse_qsl(raw.decode()))
        return {**given, **_from_basic(request)}
    except (ValueError, AttributeError, binascii.Error):  # not JSON, no object, no base64
        return None


def refuse(status: int, error: str, description: str) -> Response:
    """An OAuth error: `error` and `error_description`."""
    return answer(status, {"error": error, "error_description": description})


def answer(status: int, body: dict[str, object]) -> Response:
    """Any answer of a token endpoint; not to be cached."""
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
