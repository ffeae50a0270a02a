"""The error bodies of each API."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Json = dict[str, Any]
DOCS = "https://smartcar.com/docs/errors/api-errors"
RESOLUTIONS = {
    "AUTHENTICATION": "REAUTHENTICATE",
    "PERMISSION": "REAUTHENTICATE",
    "RATE_LIMIT": "RETRY_LATER",
    "SERVER": "RETRY_LATER",
    "BILLING": "CONTACT_SUPPORT",
}


def new_request_id() -> str:
    """Return a new request id."""
    return str(uuid.uuid4())


class V2Error(Exception):
    """An error of the V2 API. A route raises it, and the response has V2's shape (documented)."""

    def __init__(self, status: int, type_: str, code: str | None, description: str) -> None:
        super().__init__(description)
        self.status, self.type, self.code, self.description = status, type_, code, description

    def body(self, request_id: str) -> Json:
        """Return the flat V2 body, which a batch item also uses."""
        page = self.type.lower().replace("_", "-")
        return {
            "type": self.type,
            "code": self.code,
            "description": self.description,
            "docURL": f"{DOCS}/{page}-errors#{(self.code or 'null').lower().replace('_', '-')}",
            "statusCode": self.status,
            "requestId": request_id,
            "resolution": {"type": RESOLUTIONS.get(self.type)},
        }

    def response(self, headers: dict[str, str] | None = None, *, flat: bool = True) -> Response:
        """Return the response, with the request id in a header and in the body. It is flat, whatever `flat` is."""
        request_id = new_request_id()
        sent = {"sc-request-id": request_id, **(headers or {})}
        return JSONResponse(self.body(request_id), self.status, sent)


class V3Error(Exception):
    """An error of the V3 API. A route raises it, and the response is `{"errors": [...]}` (reported)."""

    def __init__(self, status: int, type_: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.type, self.code, self.detail = status, type_, code, detail

    def body(self, request_id: str) -> Json:
        """Return the list of errors; `status` is text."""
        return {
            "errors": [
                {
                    "status": str(self.status),
                    "type": self.type,
                    "code": self.code,
                    "title": self.code.replace("_", " ").title(),
                    "detail": self.detail,
                    "meta": {"debug": {"requestId": request_id}},
                }
            ]
        }

    def response(self, headers: dict[str, str] | None = None, *, flat: bool = False) -> Response:
        """Return the response; `flat`: in V2's shape."""
        if flat:
            return V2Error(self.status, self.type, self.code, self.detail).response(headers)
        return JSONResponse(self.body(new_request_id()), self.status, headers)


WireError = V2Error | V3Error


def data_error(path: str, status: int, type_: str, code: str, text: str) -> WireError:
    """Return the error in the shape of the API that `path` belongs to."""
    shape = V3Error if path.startswith("/v3/") else V2Error
    return shape(status, type_, code, text)


def unknown_path(path: str) -> WireError:
    """Return the error for a path, or a method, that the API version does not have."""
    if path.startswith("/v3"):
        return V3Error(404, "RESOURCE_NOT_FOUND", "INVALID_PATH", f"The path {path} does not exist.")
    return V2Error(404, "RESOURCE_NOT_FOUND", "PATH", "The requested resource could not be found.")


async def answer_wire_error(request: Request, error: Exception) -> Response:
    """Turn a raised V2Error or V3Error into its response."""
    assert isinstance(error, WireError)
    return error.response(flat=_is_flat(request))


async def answer_unknown_path(request: Request, error: Exception) -> Response:
    """Turn the router's 404 and 405 into the error of the API version."""
    return unknown_path(request.url.path).response(flat=_is_flat(request))


def _is_flat(request: Request) -> bool:
    return bool(request.app.state.sandbox.behaviour.flat_errors)
