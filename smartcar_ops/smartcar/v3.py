"""Smartcar's V3: connections, vehicles and signals, asked with the application token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from smartcar_ops.errors import AuthenticationError, NotSmartcarError
from smartcar_ops.smartcar import times
from smartcar_ops.smartcar.failures import mapping, text, word
from smartcar_ops.smartcar.tokens import ApplicationToken
from smartcar_ops.smartcar.transport import Request, Transport

PAGE_SIZE = 100
PASSES = 3
"""How often a list is read again where rows arrived or left while it was paged."""

VIN = "vehicleidentification-vin"


@dataclass(frozen=True)
class Connection:
    """One Smartcar user's consent for one vehicle: (``user_id``, ``vehicle_id``) is its key.

    The connection's own ``id`` changes with a new consent. Times are UTC, ids lower case.
    """

    id: str
    user_id: str
    vehicle_id: str
    mode: str
    make: str
    model: str
    year: int | None
    powertrain: str
    permissions: tuple[str, ...]
    external_id: str | None
    created_at: datetime | None


@dataclass(frozen=True)
class Listing:
    """All connections of a mode; ``complete`` is False where the count never agreed with ``totalCount``."""

    connections: tuple[Connection, ...]
    complete: bool


@dataclass(frozen=True)
class Signal:
    """One signal as the store has it; ``status`` is SUCCESS, ERROR or another word, None where missing."""

    code: str
    status: str | None
    error_type: str | None
    error_code: str | None
    body: Mapping[str, Any] | None = field(repr=False)
    oem_updated_at: datetime | None
    retrieved_at: datetime | None


@dataclass(frozen=True)
class Signals:
    """All signals of a vehicle, by code, and the vehicle's own attributes (make, model, year, …)."""

    signals: Mapping[str, Signal]
    vehicle: Mapping[str, Any] = field(default_factory=dict)


class V3:
    """A client of V3; every method needs one application token and raises SmartcarError."""

    def __init__(self, transport: Transport, origin: str, token: ApplicationToken) -> None:
        self._transport, self._origin, self._token = transport, origin, token

    def connections(self, mode: str, progress: Callable[[int, int], None] | None = None) -> Listing:
        """Every connection of the mode, each once; read again where the list moved while it was paged.

        The mode is always sent and checked on every row; no user filter, no ``sc-user-id`` (it would narrow
        the list). ``progress`` gets (read, total). One unit a page of 100.
        """
        found: dict[tuple[str, str], Connection] = {}
        for _ in range(PASSES):
            total, seen, ids = 0, set(), set()
            for rows, total in self._pages(mode):
                for row in rows:
                    seen.add((row.user_id, row.vehicle_id))
                    ids.add((row.id, row.user_id, row.vehicle_id))
                    if row.mode == mode:
                        found[row.user_id, row.vehicle_id] = row
                if progress:
                    progress(len(ids), total)
            if len(ids) == total:
                return Listing(tuple(row for key, row in found.items() if key in seen), complete=True)
        return Listing(tuple(found.values()), complete=False)

    def connections_page(self, mode: str) -> int:
        """The application's number of connections, from a page of one; one unit."""
        return next(self._pages(mode, size=1))[1]

    def signals(self, vehicle_id: str, user_id: str) -> Signals:
        """All signals of the vehicle in one call; one unit."""
        body = mapping(
            self._get(f"/vehicles/{quote(vehicle_id, safe='')}/signals", "/vehicles/{id}/signals", user_id=user_id)
        )
        rows = body.get("data")
        if not isinstance(rows, list):
            raise NotSmartcarError("smartcar: V3 signals answered 200 without a list `data`; check the origin.")
        signals = (read_signal(row) for row in rows)
        vehicle = mapping(mapping(body.get("included")).get("vehicle"))
        return Signals({signal.code: signal for signal in signals if signal.code}, vehicle_attributes(vehicle))

    def signal(self, vehicle_id: str, user_id: str, code: str) -> Signal:
        """One signal; NotFoundError where the store has none. One unit."""
        path = f"/vehicles/{quote(vehicle_id, safe='')}/signals/{code}"
        body = mapping(self._get(path, f"/vehicles/{{id}}/signals/{code}", user_id=user_id))
        return read_signal(body.get("data", body))

    def vin(self, vehicle_id: str, user_id: str) -> str | None:
        """The VIN as the maker gave it, upper case; None where V3 can't tell it. One unit."""
        signal = self.signal(vehicle_id, user_id, VIN)
        value = (signal.body or {}).get("value")
        if signal.status not in ("SUCCESS", None) or not isinstance(value, str):
            return None
        return value.strip().upper() or None

    def _pages(self, mode: str, size: int = PAGE_SIZE) -> Iterator[tuple[list[Connection], int]]:
        path, params = (
            "/connections",
            {"page[size]": str(size), "page[number]": "1", "filter[vehicle.mode]": mode},
        )
        url: str | None = f"{self._origin}/v3{path}"
        read, visited = 0, set()
        while url:
            visited.add(url)
            body = mapping(self._get(url, "/connections", params=params))
            rows = body.get("data")
            if not isinstance(rows, list):
                raise NotSmartcarError("smartcar: V3 connections answered 200 without a list `data`; check the origin.")
            total = mapping(body.get("meta")).get("totalCount")
            read += len(rows)
            yield [read_connection(row) for row in rows], total if isinstance(total, int) else read
            url, params = self._next(url, mapping(body.get("links")).get("next")), {}
            if url in visited:
                raise NotSmartcarError("smartcar: V3 connections pages go in circles; check the origin.")

    def _next(self, url: str, link: Any) -> str | None:
        """The next page's address; a link to another origin is an error, for a token must not follow it."""
        if not link or not isinstance(link, str):
            return None
        try:
            resolved = urljoin(url, link)
            there = urlsplit(resolved)
        except ValueError:
            raise NotSmartcarError("smartcar: links.next is no address; nothing was sent there.") from None
        if there[:2] != urlsplit(self._origin)[:2]:
            raise NotSmartcarError(
                f"smartcar: links.next points to another host ({there.hostname}); nothing was sent there. "
                "Check SMARTCAR_VEHICLE_API_V3_ORIGIN."
            )
        return resolved

    def _get(
        self, path: str, template: str, *, user_id: str | None = None, params: Mapping[str, str] | None = None
    ) -> Any:
        url = path if path.startswith("http") else f"{self._origin}/v3{path}"
        token = self._token()
        try:
            return self._transport.json(_request(url, template, token, user_id, params))
        except AuthenticationError:
            renewed = self._token(instead_of=token)
            return self._transport.json(_request(url, template, renewed, user_id, params))


def _request(url: str, template: str, token: str, user_id: str | None, params: Mapping[str, str] | None) -> Request:
    headers = {"authorization": f"Bearer {token}"} | ({"sc-user-id": user_id} if user_id else {})
    return Request("v3", "GET", url, template, headers=headers, params=params or {})


def read_connection(row: Any) -> Connection:
    """A connection from its JSON; NotSmartcarError where its user or vehicle is missing."""
    attributes, relationships = (
        mapping(mapping(row).get("attributes")),
        mapping(mapping(row).get("relationships")),
    )
    vehicle, person = mapping(attributes.get("vehicle")), mapping(attributes.get("user"))
    related = {key: mapping(mapping(relationships.get(key)).get("data")).get("id") for key in ("user", "vehicle")}
    user_id, vehicle_id = text(related["user"]) or text(person.get("id")), text(related["vehicle"])
    if not user_id or not vehicle_id:
        raise NotSmartcarError("smartcar: a V3 connection names no user or no vehicle; expected both in relationships.")
    year, permissions = vehicle.get("year"), attributes.get("permissions")
    return Connection(
        id=(text(row.get("id")) or "").lower(),
        user_id=user_id.strip().lower(),
        vehicle_id=vehicle_id.strip().lower(),
        mode=(text(vehicle.get("mode")) or "").lower(),
        make=(text(vehicle.get("make")) or "").upper(),
        model=text(vehicle.get("model")) or "",
        year=int(year) if isinstance(year, int | str) and str(year).isdecimal() else None,
        powertrain=(text(vehicle.get("powertrainType")) or "").upper(),
        permissions=tuple(str(scope) for scope in permissions) if isinstance(permissions, list) else (),
        external_id=text(person.get("externalId")),
        created_at=times.parse(mapping(row.get("meta")).get("createdAt")),
    )


def read_signal(row: Any) -> Signal:
    """A signal from its JSON, in the REST shape (under ``attributes``) or flat."""
    outer = mapping(row)
    inner = mapping(outer.get("attributes")) or outer
    status, meta, body = mapping(inner.get("status")), mapping(outer.get("meta")), inner.get("body")
    error = mapping(status.get("error"))
    return Signal(
        code=(text(inner.get("code")) or text(outer.get("id")) or "").lower(),
        status=(text(status.get("value")) or "").upper() or None,
        error_type=word(error.get("type")),
        error_code=word(error.get("code")),
        body=body if isinstance(body, dict) else None,
        oem_updated_at=times.parse(meta.get("oemUpdatedAt")),
        retrieved_at=times.parse(meta.get("retrievedAt")),
    )


def vehicle_attributes(vehicle: Mapping[str, Any]) -> dict[str, Any]:
    """The vehicle resource's attributes with its id, as one flat mapping."""
    inner = mapping(vehicle.get("attributes"))
    return {"id": vehicle.get("id"), **inner} if inner else dict(vehicle)
