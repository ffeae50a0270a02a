"""Responses as received, for recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import httpx

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar.error_responses import body_of, mapping, request_id
from smartcar_ops.smartcar.pagination import read_page

MOST_PAGES = 50
"""Maximum pages of one vehicle's signals, many times the documented number."""


@dataclass(frozen=True)
class Document:
    """A successful response: its JSON, Smartcar's id of the (first) request, and its duration in seconds.

    A paged list is one document with all rows; ``pages`` is the number of its requests.
    """

    body: object = field(repr=False)
    request_id: str | None = None
    seconds: float = 0.0
    pages: int = 1


def document(response: httpx.Response) -> Document:
    """Return the document of a response; NotSmartcarError if it is not JSON."""
    return Document(body_of(response), request_id(response, {}), response.elapsed.total_seconds())


def joined(ask: Callable[[str], Document], url: str, what: str) -> Document:
    """Return all pages of a list as one document; ``ask`` returns the page at a URL.

    NotSmartcarError if it is not a list, or its pages form a loop or exceed `MOST_PAGES`.
    """
    first = latest = ask(url)
    rows, visited = list[object](), {url}
    while True:
        page = read_page(latest.body, url, what)
        rows += page.rows
        if page.next is None or not page.rows:
            break
        if page.next in visited or len(visited) >= MOST_PAGES:
            raise NotSmartcarError(f"smartcar: the pages of V3 {what} form a loop; check the origin.")
        visited.add(page.next)
        latest = ask(page.next)
        first = replace(first, seconds=first.seconds + latest.seconds)
    if len(visited) == 1:
        return first
    return replace(first, body={**mapping(first.body), "data": rows}, pages=len(visited))
