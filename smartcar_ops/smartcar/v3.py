"""Smartcar's V3: connections, vehicles and signals, asked with the application token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from smartcar_ops.errors import NotSmartcarError, ParameterError
from smartcar_ops.smartcar.auth import ApplicationToken
from smartcar_ops.smartcar.connections import (
    Connection,
    ConnectionList,
    ListedRow,
    listing_of,
    read_connection,
    read_row,
)
from smartcar_ops.smartcar.documents import Document, document, joined
from smartcar_ops.smartcar.error_responses import body_of
from smartcar_ops.smartcar.http.transport import Request, Transport
from smartcar_ops.smartcar.ids import refuse_another_car
from smartcar_ops.smartcar.pagination import Page, Pager, read_page, read_single
from smartcar_ops.smartcar.signals import (
    IsText,
    Signal,
    Signals,
    known_codes,
    never,
    read_signal,
    read_signals,
    vehicle_attributes,
)

PAGE_SIZE = 100
VIN = "vehicleidentification-vin"


class V3:
    """A client of V3; every method needs one application token and raises SmartcarError.

    ``is_text`` knows which signals should have numbers, so that those sent as text are counted as oddities.
    """

    def __init__(self, transport: Transport, origin: str, token: ApplicationToken, is_text: IsText = never) -> None:
        self._transport, self._origin, self._token, self._is_text = transport, origin, token, is_text

    def connections(self, mode: str, progress: Callable[[int, int], None] | None = None) -> ConnectionList:
        """Every connection of the mode, each once, whatever arrives or leaves while the list is paged.

        Rows that contradict each other are all there; those that can't be read are counted. The mode is always sent
        and checked on every row; no user filter, no ``sc-user-id`` (it would narrow the list). ``progress`` gets
        (read, total). One unit a page of 100, and one more each time the list grew shorter between two pages.
        """
        filters = {"filter[vehicle.mode]": mode}
        paged = Pager(
            lambda address: self._page(address, filters),
            lambda row: read_row(row, self._transport.oddities),
            lambda row: row.key,
            progress,
        ).all()
        return listing_of(paged.rows, mode, complete=paged.complete)

    def connections_of(
        self, mode: str, *, user_id: str = "", vehicle_id: str = "", external_id: str = ""
    ) -> tuple[Connection, ...]:
        """The connections of one user, one vehicle or one of the company's own ids; one unit a page.

        NotSmartcarError where a row comes back that was not asked for: a service that ignores a filter would
        answer with the whole application, and one person's car be taken for another's. Also where rows are missing.
        """
        wanted = {"filter[userId]": user_id, "filter[vehicleId]": vehicle_id, "filter[user.externalId]": external_id}
        filters = {"filter[vehicle.mode]": mode, **{name: value for name, value in wanted.items() if value}}
        paged = Pager(
            lambda address: self._page(address, filters),
            lambda row: _expected(read_row(row, self._transport.oddities), user_id, vehicle_id, external_id),
            lambda row: row.key,
        ).all()
        if not paged.complete:
            raise NotSmartcarError("smartcar: V3 connections gave fewer rows than their totalCount; run again later.")
        return listing_of(paged.rows, mode, complete=True).connections

    def connection(self, connection_id: str) -> Connection:
        """One connection by its own id (not the vehicle's); one unit."""
        body = self._get(f"/connections/{quote(connection_id, safe='')}", "/connections/{id}")
        return read_connection(read_single(body), self._transport.oddities)

    def connections_page(self, mode: str) -> int:
        """The application's number of connections, from a page of one; one unit."""
        page = self._page(None, {"filter[vehicle.mode]": mode}, size=1)
        return page.total if page.total is not None else len(page.rows)

    def vehicle(self, vehicle_id: str, user_id: str) -> dict[str, Any]:
        """The vehicle's attributes with its id; one unit. NotSmartcarError where the answer is about another one."""
        path = f"/vehicles/{quote(vehicle_id, safe='')}"
        found = vehicle_attributes(read_single(self._get(path, "/vehicles/{id}", user_id=user_id, vehicle=vehicle_id)))
        refuse_another_car(found, vehicle_id, "V3")
        return found

    def signals(self, vehicle_id: str, user_id: str) -> Signals:
        """All signals of the vehicle; one unit a page, and usually there is one."""
        return read_signals(self.signals_document(vehicle_id, user_id).body)

    def signals_document(self, vehicle_id: str, user_id: str, *, user_token: str = "") -> Document:
        """What ``signals`` is read from, as it came; ``user_token`` is sent in place of the application's.

        A list in pages is followed to its end. NotSmartcarError where the answer is about another vehicle.
        """

        def page(url: str) -> Document:
            request = self._request(url, "/vehicles/{id}/signals", user_id=user_id, vehicle=vehicle_id)
            if not user_token:
                return document(self._token.send(self._transport, request))
            signed = {**request.headers, "authorization": f"Bearer {user_token}"}
            return document(self._transport.send(replace(request, headers=signed)))

        found = joined(page, f"{self._origin}/v3/vehicles/{quote(vehicle_id, safe='')}/signals", "signals")
        told = read_signals(found.body, self._transport.oddities, self._is_text).vehicle
        refuse_another_car(told, vehicle_id, "V3")
        return found

    def signal(self, vehicle_id: str, user_id: str, code: str) -> Signal:
        """One signal; NotFoundError where the store has none. One unit.

        The service can't tell a mistyped code from a missing signal, so a code that is not documented is refused.
        """
        if code not in known_codes():
            raise ParameterError(f"parameters: {code[:40]!r} is no documented signal code; it looks like odometer-….")
        path = f"/vehicles/{quote(vehicle_id, safe='')}/signals/{code}"
        body = self._get(path, f"/vehicles/{{id}}/signals/{code}", user_id=user_id, vehicle=vehicle_id)
        return read_signal(read_single(body), self._transport.oddities, self._is_text)

    def vin(self, vehicle_id: str, user_id: str) -> str | None:
        """The VIN as the maker gave it, upper case; None where V3 can't tell it. One unit.

        An error that still carries a body tells the VIN too: it does not age. What is not permitted is not used.
        """
        signal = self.signal(vehicle_id, user_id, VIN)
        value = (signal.body or {}).get("value")
        if signal.error_type in ("PERMISSION", "COMPATIBILITY") or not isinstance(value, str):
            return None
        return value.strip().upper() or None

    def _page(self, address: str | None, filters: Mapping[str, str], size: int = PAGE_SIZE) -> Page:
        """A page of connections: the first, or the one a link named, whose own query is kept as given."""
        url = address or f"{self._origin}/v3/connections"
        params = {} if address else {"page[size]": str(size), "page[number]": "1", **filters}
        return read_page(self._get(url, "/connections", params=params), url, "connections")

    def _get(self, path: str, template: str, **options: Any) -> Any:
        return body_of(self._token.send(self._transport, self._request(path, template, **options)))

    def _request(
        self,
        path: str,
        template: str,
        *,
        user_id: str | None = None,
        params: Mapping[str, str] | None = None,
        vehicle: str = "",
    ) -> Request:
        url = path if path.startswith("http") else f"{self._origin}/v3{path}"
        user = {"sc-user-id": user_id} if user_id else {}
        return Request("v3", "GET", url, template, headers=user, params=params or {}, vehicle=vehicle)


def _expected(row: ListedRow, user_id: str, vehicle_id: str, external_id: str) -> ListedRow:
    """The row itself, where it is about nobody but who was asked for."""
    wanted = (user_id.lower(), vehicle_id.lower(), external_id)
    told = [(one.user_id, one.vehicle_id, one.external_id) for one in row.connections]
    if not told or any(want and want != found for one in told for want, found in zip(wanted, one, strict=True)):
        raise NotSmartcarError(
            "smartcar: V3 connections answered a filter with somebody else's connection; nothing of that answer is "
            "used. The service may have ignored the filter; report it, with the request id of the last call."
        )
    return row
