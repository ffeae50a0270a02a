"""A client of Smartcar's V2, which uses each user's own token; it sends nothing more once V2 has stopped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Literal
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
"""The only status that means that V2 has stopped; 401 never does."""

READABLE = (
    *("/", "/vin", "/permissions", "/odometer", "/location"),
    *("/battery", "/battery/capacity", "/battery/nominal_capacity", "/charge", "/charge/limit"),
    *("/fuel", "/engine/oil", "/tires/pressure", "/security"),
    *("/diagnostics/system_status", "/diagnostics/dtcs", "/service/history"),
)
"""Every readable endpoint of a vehicle; /info does not exist, although the migration guide mentions it."""


@dataclass
class BatchItem:
    """One item of a batch's answer; ``code`` is its own HTTP status, ``data_age`` the maker's time (UTC)."""

    path: str
    code: int
    body: object = field(repr=False)
    data_age: datetime | None = None
    fetched_at: datetime | None = None
    unit_system: str = "metric"
    error_type: str | None = None
    error_code: str | None = None
    resolution: str | None = None


@dataclass(frozen=True)
class BatchAnswer:
    """A batch's items by path; ``left_out`` are the paths that were not requested, with the reason."""

    items: Mapping[str, BatchItem] = field(default_factory=dict)
    left_out: Mapping[str, Lacks] = field(default_factory=dict)


class V2:
    """A client of V2; every method takes the token to use and raises SmartcarError.

    V2StoppedError, with nothing sent, after the first 410 or if V2 is ``off``.
    """

    def __init__(
        self, transport: Transport, origin: str, *, batch_counts: Literal["paths", "one"] = "paths", off: bool = False
    ) -> None:
        self._transport, self._origin, self._batch_counts = transport, origin, batch_counts
        self._stopped: Callable[[], V2StoppedError] | None = None
        if off:
            self._stop("SMARTCAR_V2 is off")

    def user(self, token: str) -> str:
        """Return the Smartcar user id of the token, in lower case; one unit. NotSmartcarError if it is not an id."""
        value = mapping(body_of(self._send(self._request("GET", "/user", "/user", token)))).get("id")
        user_id = read_id(value, "V2 user", self._transport.oddities)
        if user_id is None:
            raise NotSmartcarError("smartcar: V2 /user answered without a valid id; check SMARTCAR_API_ORIGIN.")
        return user_id

    def vehicles(self, token: str) -> tuple[str, ...]:
        """Return the Smartcar ids of the token's vehicles, in lower case; one unit per page of 50.

        NotSmartcarError if one of them is not an id, because the list must be complete.
        """
        ids = [
            read_id(entry, "V2 vehicle", self._transport.oddities)
            for entry in self._listed(token, "/vehicles", "vehicles")
        ]
        if not all(ids):
            raise NotSmartcarError("smartcar: V2 /vehicles lists an invalid id; check SMARTCAR_API_ORIGIN.")
        return tuple(dict.fromkeys(vehicle_id for vehicle_id in ids if vehicle_id))

    def read(self, token: str, vehicle_id: str, path: str = "/") -> BatchItem:
        """Read one endpoint of a vehicle, in metric units, with the maker's and Smartcar's times; one unit.

        ParameterError if ``path`` is not in ``READABLE``, because V2 answers 404 to a mistyped path.
        """
        if path not in READABLE:
            raise ParameterError(
                f"parameters: V2 has no endpoint {path[:40]!r}; expected one of {', '.join(READABLE)}."
            )
        full_path = f"/vehicles/{quote(vehicle_id, safe='')}{path.rstrip('/')}"
        request = self._request("GET", full_path, f"/vehicles/{{id}}{path.rstrip('/')}", token)
        response = self._send(replace(request, vehicle=vehicle_id))
        row = {"path": path, "code": response.status_code, "body": body_of(response), "headers": dict(response.headers)}
        item = _item(row)
        _refuse_another_car(item, vehicle_id)
        return item

    def permissions(self, token: str, vehicle_id: str) -> tuple[str, ...]:
        """Return the permissions that the vehicle's owner granted; one unit per page of 50."""
        return self._listed(token, f"/vehicles/{quote(vehicle_id, safe='')}/permissions", "permissions")

    def batch(self, token: str, vehicle_id: str, paths: Iterable[str]) -> BatchAnswer:
        """Read several paths of one vehicle in one request, in metric units.

        Costs one unit per path, or one in all, depending on ``SMARTCAR_ALLOWANCE_BATCH``. The HTTP status is 200
        even if items failed; each item has its own code.
        """
        return read_batch(self.batch_document(token, vehicle_id, paths).body)

    def batch_document(self, token: str, vehicle_id: str, paths: Iterable[str]) -> Document:
        """Return the unparsed answer of ``batch``; NotSmartcarError if it is about another vehicle."""
        wanted = list(paths)
        request = self._request(
            "POST",
            f"/vehicles/{quote(vehicle_id, safe='')}/batch",
            "/vehicles/{id}/batch",
            token,
            json={"requests": [{"path": path} for path in wanted]},
            units=self.batch_units(len(wanted)),
        )
        answer = document(self._send(replace(request, vehicle=vehicle_id, reads=len(wanted))))
        items = read_batch(answer.body).items.values()
        if items and all(item.code == GONE for item in items):
            raise self._stop(f"it answered {GONE}", status=GONE)
        for item in items:
            _refuse_another_car(item, vehicle_id)
        return answer

    def paths_now(self, vehicle_id: str, paths: Sequence[str], pages: int = 1) -> int:
        """Return how many of the paths one batch may read now, leaving enough to read V3 again.

        All of them if there is no limit; at least one, for which the request raises VehicleLimitError if none is left.
        """
        left = self._transport.meter.left(vehicle_id) if self._transport.meter else None
        return len(paths) if left is None else min(len(paths), max(1, left - pages))

    def paths_a_day(self, make: str, paths: int, pages: int = 1) -> int:
        """Return how many of these paths are read per day from a vehicle of this make, besides two readings of V3."""
        cap = self._transport.meter.cap(make) if self._transport.meter else None
        return paths if cap is None else min(paths, max(1, cap - 2 * pages))

    def batch_units(self, paths: int) -> int:
        """Return the cost of a batch with this number of paths, in units."""
        return paths if self._batch_counts == "paths" else 1

    def _listed(self, token: str, path: str, member: str) -> tuple[str, ...]:
        """Return all entries of a paged list as text, each once."""
        ids: list[str] = []
        while True:
            params = {"limit": str(PAGE_SIZE), "offset": str(len(ids))}
            template = path if path == "/vehicles" else f"/vehicles/{{id}}/{member}"
            body = mapping(body_of(self._send(self._request("GET", path, template, token, params=params))))
            page, count = body.get(member), mapping(body.get("paging")).get("count")
            if not isinstance(page, list):
                raise NotSmartcarError(f"smartcar: V2 {template} answered without a list; check SMARTCAR_API_ORIGIN.")
            entries = [str(entry).strip() for entry in page]
            nothing_new = set(entries) <= set(ids)
            ids += entries
            complete = len(ids) >= count if isinstance(count, int) else len(page) < PAGE_SIZE
            if nothing_new or complete:
                return tuple(dict.fromkeys(ids))

    def _send(self, request: Request) -> httpx.Response:
        """Return a successful response; V2StoppedError on a 410, and without a call after the first one."""
        if self._stopped:
            raise self._stopped()
        try:
            return self._transport.send(request)
        except SmartcarError as error:
            if error.status != GONE:
                raise
            raise self._stop(f"it answered {GONE}", status=GONE, type=error.type, code=error.code) from None

    def _stop(
        self, why: str, *, status: int | None = None, type: str | None = None, code: str | None = None
    ) -> V2StoppedError:
        """Send nothing from now on, and return the error to raise."""
        self._stopped = partial(has_stopped, why, status=status, type=type, code=code)
        return self._stopped()

    def _request(
        self,
        method: str,
        path: str,
        template: str,
        token: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, object] | None = None,
        units: int = 1,
    ) -> Request:
        """Return a request in metric units; AuthenticationError if the token can't be sent in a header."""
        if not re.fullmatch(r"[!-~]+", token):
            raise AuthenticationError(
                f"smartcar: the token for V2 {template} can't be sent: expected printable ASCII without spaces. "
                "Check [vehicles] access_token and open_token."
            )
        headers = {"authorization": f"Bearer {token}", "sc-unit-system": "metric"}
        url = f"{self._origin}/v2.0{path}"
        return Request("v2", method, url, template, headers=headers, params=params or {}, json=json, units=units)


def has_stopped(
    why: str, *, what: str = "V2", status: int | None = None, type: str | None = None, code: str | None = None
) -> V2StoppedError:
    """Return the error for a stopped V2; ``status``, ``type`` and ``code`` are Smartcar's own."""
    message = f"smartcar: {what} has stopped ({why}); it gets no more requests."
    return V2StoppedError(message, status=status, type=type, code=code)


def read_batch(body: object) -> BatchAnswer:
    """Parse a batch's answer; NotSmartcarError if it is not a batch (a captive portal's 200)."""
    rows = mapping(body).get("responses")
    if not isinstance(rows, list):
        raise NotSmartcarError("smartcar: a V2 batch answered 200 without `responses`; a proxy may be in between.")
    items = (_item(mapping(row)) for row in rows)
    return BatchAnswer({item.path: item for item in items if item.path})


def _refuse_another_car(item: BatchItem, vehicle_id: str) -> None:
    """NotSmartcarError if the vehicle's attributes are those of another vehicle."""
    if item.path == "/" and 0 < item.code < 400:
        refuse_another_car(mapping(item.body), vehicle_id, "V2")


def _item(row: Mapping[str, object]) -> BatchItem:
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
