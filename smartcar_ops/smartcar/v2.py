"""Smartcar's V2: asked with a user's own token, until it answers that it has stopped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

import httpx

from smartcar_ops.errors import (
    AuthenticationError,
    NotSmartcarError,
    ParameterError,
    SmartcarError,
    V2StoppedError,
)
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.documents import Document, document
from smartcar_ops.smartcar.error_responses import body_of, mapping, resolution, text, word
from smartcar_ops.smartcar.http.transport import Request, Transport
from smartcar_ops.smartcar.ids import read_id, refuse_another_car

PAGE_SIZE = 50

Lacks = Literal["powertrain", "permission", "limit"]
"""Why a path was left out of a batch."""

GONE = 410
"""The one status that means that V2 has stopped; 401 never does."""

READABLE = (
    *("/", "/vin", "/permissions", "/odometer", "/location"),
    *("/battery", "/battery/capacity", "/battery/nominal_capacity", "/charge", "/charge/limit"),
    *("/fuel", "/engine/oil", "/tires/pressure", "/security"),
    *("/diagnostics/system_status", "/diagnostics/dtcs", "/service/history"),
)
"""Every endpoint of a vehicle that answers a read; there is no /info (the migration guide's slip)."""


@dataclass
class BatchItem:
    """One answer of a batch; ``code`` is its own HTTP status, ``data_age`` the maker's time (UTC)."""

    path: str
    code: int
    body: Any = field(repr=False)
    data_age: datetime | None = None
    fetched_at: datetime | None = None
    unit_system: str = "metric"
    error_type: str | None = None
    error_code: str | None = None
    resolution: str | None = None


@dataclass(frozen=True)
class BatchAnswer:
    """A batch's answers by path; ``left_out`` are paths that were not asked, with why."""

    items: Mapping[str, BatchItem] = field(default_factory=dict)
    left_out: Mapping[str, Lacks] = field(default_factory=dict)


class V2:
    """A client of V2; every method takes the token it acts with and raises SmartcarError.

    V2StoppedError where V2 has stopped: after its first 410, or where it is ``off``, nothing is sent any more.
    """

    def __init__(
        self, transport: Transport, origin: str, *, batch_counts: Literal["paths", "one"] = "paths", off: bool = False
    ) -> None:
        self._transport, self._origin, self._batch_counts = transport, origin, batch_counts
        self._stopped: Callable[[], V2StoppedError] | None = None
        if off:
            self._stop("SMARTCAR_V2 is off")

    def user(self, token: str) -> str:
        """The Smartcar user id the token speaks for, lower case; one unit. NotSmartcarError where it is no id."""
        told = mapping(body_of(self._send(self._request("GET", "/user", "/user", token)))).get("id")
        found = read_id(told, "V2 user", self._transport.oddities)
        if found is None:
            raise NotSmartcarError("smartcar: V2 /user answered without an id that is one; check SMARTCAR_API_ORIGIN.")
        return found

    def vehicles(self, token: str) -> tuple[str, ...]:
        """The Smartcar vehicle ids the token opens, lower case; one unit a page of 50.

        NotSmartcarError where one of them is no id: of the others nobody could say that they are all.
        """
        found = [
            read_id(told, "V2 vehicle", self._transport.oddities)
            for told in self._listed(token, "/vehicles", "vehicles")
        ]
        if not all(found):
            raise NotSmartcarError("smartcar: V2 /vehicles lists what is no vehicle's id; check SMARTCAR_API_ORIGIN.")
        return tuple(dict.fromkeys(vehicle_id for vehicle_id in found if vehicle_id))

    def read(self, token: str, vehicle_id: str, path: str = "/") -> BatchItem:
        """One endpoint of a vehicle, in metric units: its body, the maker's time, Smartcar's; one unit.

        ``path`` is one of ``READABLE``; ParameterError for another, since V2 answers 404 to a mistyped path.
        """
        if path not in READABLE:
            raise ParameterError(
                f"parameters: V2 has no endpoint {path[:40]!r}; expected one of {', '.join(READABLE)}."
            )
        place = f"/vehicles/{quote(vehicle_id, safe='')}{path.rstrip('/')}"
        request = self._request("GET", place, f"/vehicles/{{id}}{path.rstrip('/')}", token)
        response = self._send(replace(request, vehicle=vehicle_id))
        row = {"path": path, "code": response.status_code, "body": body_of(response), "headers": dict(response.headers)}
        item = _item(row)
        _refuse_another_car(item, vehicle_id)
        return item

    def permissions(self, token: str, vehicle_id: str) -> tuple[str, ...]:
        """What the vehicle's owner granted; one unit a page of 50."""
        return self._listed(token, f"/vehicles/{quote(vehicle_id, safe='')}/permissions", "permissions")

    def batch(self, token: str, vehicle_id: str, paths: Iterable[str]) -> BatchAnswer:
        """Several reads of one vehicle in one request, in metric units.

        Costs a unit a path, or one in all, as ``SMARTCAR_ALLOWANCE_BATCH`` says. The HTTP answer is 200 even
        where items failed: each has its own code.
        """
        return read_batch(self.batch_document(token, vehicle_id, paths).body)

    def batch_document(self, token: str, vehicle_id: str, paths: Iterable[str]) -> Document:
        """What ``batch`` is read from, as it came; NotSmartcarError where it is about another vehicle."""
        wanted = list(paths)
        request = self._request(
            "POST",
            f"/vehicles/{quote(vehicle_id, safe='')}/batch",
            "/vehicles/{id}/batch",
            token,
            json={"requests": [{"path": path} for path in wanted]},
            units=self.batch_units(len(wanted)),
        )
        found = document(self._send(replace(request, vehicle=vehicle_id, reads=len(wanted))))
        items = read_batch(found.body).items.values()
        if items and all(item.code == GONE for item in items):
            raise self._stop(f"it answered {GONE}", status=GONE)
        for item in items:
            _refuse_another_car(item, vehicle_id)
        return found

    def paths_now(self, vehicle_id: str, paths: Sequence[str], pages: int = 1) -> int:
        """How many of the paths one batch may ask now, and V3 still be read again: all where no limit binds.

        At least one, which VehicleLimitError refuses where nothing is left.
        """
        left = self._transport.meter.left(vehicle_id) if self._transport.meter else None
        return len(paths) if left is None else min(len(paths), max(1, left - pages))

    def paths_a_day(self, make: str, paths: int, pages: int = 1) -> int:
        """How many of so many paths a vehicle of this make is asked for in a day, beside two readings of V3."""
        cap = self._transport.meter.cap(make) if self._transport.meter else None
        return paths if cap is None else min(paths, max(1, cap - 2 * pages))

    def batch_units(self, paths: int) -> int:
        """What a batch of so many paths costs, in units."""
        return paths if self._batch_counts == "paths" else 1

    def _listed(self, token: str, path: str, member: str) -> tuple[str, ...]:
        """A paged list's texts, each once, to its end."""
        ids: list[str] = []
        while True:
            params = {"limit": str(PAGE_SIZE), "offset": str(len(ids))}
            template = path if path == "/vehicles" else f"/vehicles/{{id}}/{member}"
            body = mapping(body_of(self._send(self._request("GET", path, template, token, params=params))))
            page, count = body.get(member), mapping(body.get("paging")).get("count")
            if not isinstance(page, list):
                raise NotSmartcarError(f"smartcar: V2 {template} answered without a list; check SMARTCAR_API_ORIGIN.")
            found = [str(entry).strip() for entry in page]
            nothing_new = set(found) <= set(ids)
            ids += found
            whole = len(ids) >= count if isinstance(count, int) else len(page) < PAGE_SIZE
            if nothing_new or whole:
                return tuple(dict.fromkeys(ids))

    def _send(self, request: Request) -> httpx.Response:
        """A successful answer; V2StoppedError, from the first 410 on without a call."""
        if self._stopped:
            raise self._stopped()
        try:
            return self._transport.send(request)
        except SmartcarError as error:
            if error.status != GONE:
                raise
            raise self._stop(f"it answered {GONE}", status=GONE, type=error.type, code=error.code) from None

    def _stop(self, why: str, **told: Any) -> V2StoppedError:
        """From now on nothing is sent."""
        self._stopped = partial(has_stopped, why, **told)
        return self._stopped()

    def _request(
        self,
        method: str,
        path: str,
        template: str,
        token: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        units: int = 1,
    ) -> Request:
        """A request in metric units; AuthenticationError for a token that no header can carry."""
        if not re.fullmatch(r"[!-~]+", token):
            raise AuthenticationError(
                f"smartcar: the token for V2 {template} can't be sent: expected printable ASCII without blanks. "
                "Check [vehicles] access_token and open_token."
            )
        headers = {"authorization": f"Bearer {token}", "sc-unit-system": "metric"}
        url = f"{self._origin}/v2.0{path}"
        return Request("v2", method, url, template, headers=headers, params=params or {}, json=json, units=units)


def has_stopped(why: str, *, what: str = "V2", **told: Any) -> V2StoppedError:
    """The error that says so; ``told`` are Smartcar's own status, type and code."""
    return V2StoppedError(f"smartcar: {what} has stopped ({why}); nothing more is asked of it.", **told)


def read_batch(body: Any) -> BatchAnswer:
    """A batch's answers from their JSON; NotSmartcarError where they are not a batch (a captive portal's 200)."""
    rows = mapping(body).get("responses")
    if not isinstance(rows, list):
        raise NotSmartcarError("smartcar: a V2 batch answered 200 without `responses`; a proxy may stand in between.")
    items = (_item(mapping(row)) for row in rows)
    return BatchAnswer({item.path: item for item in items if item.path})


def _refuse_another_car(item: BatchItem, vehicle_id: str) -> None:
    """An error where the vehicle's own attributes are another's."""
    if item.path == "/" and 0 < item.code < 400:
        refuse_another_car(mapping(item.body), vehicle_id, "V2")


def _item(row: Mapping[str, Any]) -> BatchItem:
    headers = {str(name).lower(): value for name, value in mapping(row.get("headers")).items()}
    code, body = row.get("code"), row.get("body")
    item = BatchItem(
        path=text(row.get("path")) or "",
        code=code if isinstance(code, int) else 0,
        body=body,
        data_age=json_values.parse(headers.get("sc-data-age")),
        fetched_at=json_values.parse(headers.get("sc-fetched-at")),
        unit_system=text(headers.get("sc-unit-system")) or "metric",
    )
    if 0 < item.code < 400:
        return item
    error = mapping(body)
    return replace(
        item,
        error_type=word(error.get("type")) or word(error.get("error")),
        error_code=word(error.get("code")),
        resolution=resolution(error.get("resolution")),
    )
