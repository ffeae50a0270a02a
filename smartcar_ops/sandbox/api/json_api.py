"""The envelope of V3's responses: paged lists, single resources, links and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smartcar_ops.sandbox.api.state import State, iso, state_of
from smartcar_ops.sandbox.faults.switches import Behaviour
from smartcar_ops.sandbox.fleet.seeded import one_in
from smartcar_ops.sandbox.wire_errors import V3Error

Json = dict[str, Any]
Item = TypeVar("Item")
FOREIGN = "http://other.invalid"


def origin(request: Request) -> str:
    """Return scheme, host and port as the caller wrote them; empty in the older envelope, whose links are paths."""
    return "" if state_of(request).behaviour.old_envelope else str(request.base_url).rstrip("/")


def write_time(moment: datetime, state: State, vehicle_id: str) -> str | int:
    """Return a time as ISO-8601 text; under `epoch-times`, as a number in milliseconds or seconds, by vehicle."""
    if not state.behaviour.epoch_times:
        return iso(moment)
    return int(moment.timestamp() * (1000 if counts_milliseconds(vehicle_id) else 1))


def counts_milliseconds(vehicle_id: str) -> bool:
    """Return whether this vehicle's epoch times are in milliseconds rather than seconds."""
    return one_in(2, "milliseconds", vehicle_id)


def answer_one(request: Request, resource: Json, included: Json | None = None) -> Response:
    """Return a single resource under `data`; in the older envelope, without `data`."""
    if state_of(request).behaviour.old_envelope:
        return JSONResponse(resource)
    return JSONResponse({"data": resource, **({"included": included} if included else {})})


@dataclass(frozen=True, slots=True)
class Page:
    """The requested page: its number, its size and the filters."""

    number: int
    size: int
    filters: Mapping[str, str]

    def link(self, path: str, number: int) -> str:
        """Return path and query of another page of the same list, with percent-encoded brackets (seen)."""
        return f"{path}?{urlencode({'page[number]': number, 'page[size]': self.size, **self.filters})}"


def read_page(request: Request, filters: Mapping[str, str], default: int) -> Page:
    """Return the requested page, its size limited to the maximum. Raises V3Error 400 for an invalid number or size."""
    size = min(_number(request, "page[size]", default), state_of(request).behaviour.max_page)
    return Page(_number(request, "page[number]", 1), size, filters)


def answer_page(
    request: Request,
    page: Page,
    found: Sequence[Item],
    write: Callable[[Item], Json],
    order: Mapping[str, str] | None = None,
    included: Json | None = None,
) -> Response:
    """Return one page of a list. Only the rows of this page are written."""
    behaviour = state_of(request).behaviour
    start = (page.number - 1) * page.size
    size = 0 if behaviour.empty_page_size_zero and not found else page.size
    number = {"page" if behaviour.old_envelope else "pageNumber": page.number}
    return JSONResponse(
        {
            "data": [write(item) for item in found[start : start + page.size]],
            "meta": {**number, "pageSize": size, "totalCount": len(found), **(order or {})},
            "links": _links(request, page, len(found), behaviour),
            **({"included": included} if included else {}),
        }
    )


def _links(request: Request, page: Page, total: int, behaviour: Behaviour) -> Json:
    """Return the links, normally absolute; `next` is null on the last page, `prev` on the first."""
    last = max(1, -(-total // page.size))
    own = "" if behaviour.next_link == "relative" else origin(request)

    def link(number: int, host: str = own) -> str:
        return host + page.link(request.url.path, number)

    onward = FOREIGN if behaviour.next_link == "foreign" else own
    return {
        "self": link(page.number),
        "first": link(1),
        "last": link(last),
        "next": link(page.number + 1, onward) if page.number < last else None,
        "previous" if behaviour.old_envelope else "prev": (
            link(min(page.number - 1, last)) if page.number > 1 else None
        ),
    }


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise V3Error(400, "VALIDATION", "INVALID_INPUT_FORMAT", f"{name} must be a whole number from 1")
    return int(text)
