"""V3's envelope in the forms it comes in: newer and older member names, absolute and relative links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar.failures import mapping


@dataclass(frozen=True)
class Page:
    """One page of a list: its rows, the list's length where it is told, the next page's address or None."""

    rows: tuple[Any, ...]
    total: int | None
    next: str | None


def read_page(body: Any, url: str, what: str) -> Page:
    """A page from its JSON; NotSmartcarError where it is no list, or points to another origin than ``url``."""
    found = mapping(body)
    rows = found.get("data")
    if not isinstance(rows, list):
        raise NotSmartcarError(f"smartcar: V3 {what} answered 200 without a list `data`; check the origin.")
    return Page(tuple(rows), total_of(found), follow(url, mapping(found.get("links")).get("next")))


def total_of(body: Mapping[str, Any]) -> int | None:
    """The length that a list tells of itself; None where it tells none that can be."""
    total = mapping(body.get("meta")).get("totalCount")
    counted = isinstance(total, int) and not isinstance(total, bool) and 0 <= total < 10**9
    return total if counted else None


def read_single(body: Any) -> Mapping[str, Any]:
    """A single resource: under `data`, or, in the older form, the object itself."""
    found = mapping(body)
    return mapping(found.get("data")) or found


def follow(url: str, link: Any) -> str | None:
    """A link's address, resolved against the request's; a link to another origin is an error, for a token must
    not follow it."""
    if not link or not isinstance(link, str):
        return None
    try:
        resolved = urljoin(url, link)
        there = urlsplit(resolved)
        _ = there.port
    except ValueError:
        raise NotSmartcarError("smartcar: links.next is no address; nothing was sent there.") from None
    if there[:2] != urlsplit(url)[:2]:
        raise NotSmartcarError(
            f"smartcar: links.next points to another host ({there.hostname}); nothing was sent there. "
            "Check SMARTCAR_VEHICLE_API_V3_ORIGIN and SMARTCAR_MANAGEMENT_API_V3_ORIGIN."
        )
    return resolved
