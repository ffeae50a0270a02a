"""An answer as it came over the wire, for those who keep it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from smartcar_ops.smartcar.failures import body_of, request_id


@dataclass(frozen=True)
class Document:
    """A successful answer: its JSON, Smartcar's id of the request, how long it took in seconds."""

    body: Any = field(repr=False)
    request_id: str | None = None
    seconds: float = 0.0


def document(response: httpx.Response) -> Document:
    """The document of an answer; NotSmartcarError where it is no JSON."""
    return Document(body_of(response), request_id(response, {}), response.elapsed.total_seconds())
