"""An answer as it came over the wire, for those who keep it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar.error_responses import body_of, request_id
from smartcar_ops.smartcar.pagination import read_page

MOST_PAGES = 50
"""Of the signals of one vehicle: many times what is documented."""


@dataclass(frozen=True)
class Document:
    """A successful answer: its JSON, Smartcar's id of the (first) request, how long it took in seconds.

    A list that came in pages is one document, its rows together; ``pages`` is in how many requests.
    """

    body: Any = field(repr=False)
    request_id: str | None = None
    seconds: float = 0.0
    pages: int = 1


def document(response: httpx.Response) -> Document:
    """The document of an answer; NotSmartcarError where it is no JSON."""
    return Document(body_of(response), request_id(response, {}), response.elapsed.total_seconds())


def joined(ask: Callable[[str], Document], url: str, what: str) -> Document:
    """A list's pages as one document, to its last; ``ask`` gets a page by its address.

    NotSmartcarError where it is no list, or its pages go in circles or on for ever.
    """
    first = found = ask(url)
    rows, visited = list[Any](), {url}
    while True:
        page = read_page(found.body, url, what)
        rows += page.rows
        if page.next is None or not page.rows:
            break
        if page.next in visited or len(visited) >= MOST_PAGES:
            raise NotSmartcarError(f"smartcar: the pages of V3 {what} go in circles; check the origin.")
        visited.add(page.next)
        found = ask(page.next)
        first = replace(first, seconds=first.seconds + found.seconds)
    if len(visited) == 1:
        return first
    return replace(first, body={**first.body, "data": rows}, pages=len(visited))
