"""A client of Smartcar's V3, which uses the application token: connections, vehicles and signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
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
    """A client of V3; every method raises SmartcarError.

    ``is_text`` returns whether a signal has text in place of a number, which is counted as an oddity.
    """

    def __init__(self, transport: Transport, origin: str, token: ApplicationToken, is_text: IsText = never) -> None:
        self._transport, self._origin, self._token, self._is_text = transport, origin, token, is_text

    def connections(self, mode: str, progress: Callable[[int, int], None] | None = None) -> ConnectionList:
        """Return every connection of the mode once, even if connections are added or removed while the list is read.

        Contradictory rows are all included; rows that can't be read are counted. The mode is always sent, and checked
        on every row; no user filter and no ``sc-user-id`` is sent, which would narrow the list. ``progress`` gets
        (read, total). One unit per page of 100, and one more each time the list became shorter between two pages.
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
        """Return the connections of one user, one vehicle or one of the company's own ids; one unit per page.

        NotSmartcarError if rows are missing, or a row does not match the filters: if the service ignored them, it would
        return the whole application's connections, and one person's car would be taken for another's.
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
        """Return one connection by its own id (not the vehicle's); one unit."""
        body = self._get(f"/connections/{quote(connection_id, safe='')}", "/connections/{id}")
        return read_connection(read_single(body), self._transport.oddities)

    def connections_page(self, mode: str) -> int:
        """Return the application's number of connections, from a page of size 1; one unit."""
        page = self._page(None, {"filter[vehicle.mode]": mode}, size=1)
        return page.total if page.total is not None else len(page.rows)

    def vehicle(self, vehicle_id: str, user_id: str) -> dict[str, object]:
        """Return the vehicle's attributes and id; one unit. NotSmartcarError if the answer is about another vehicle."""
        path = f"/vehicles/{quote(vehicle_id, safe='')}"
        body = self._get(path, "/vehicles/{id}", user_id=user_id, vehicle=vehicle_id)
        vehicle = vehicle_attributes(read_single(body))
        refuse_another_car(vehicle, vehicle_id, "V3")
        return vehicle

    def signals(self, vehicle_id: str, user_id: str) -> Signals:
        """Return all signals of the vehicle; one unit per page, usually one page."""
        return read_signals(self.signals_document(vehicle_id, user_id).body)

    def signals_document(self, vehicle_id: str, user_id: str, *, user_token: str = "") -> Document:
        """Return the unparsed answer of ``signals``, all pages; ``user_token`` is sent in place of the application's.

        NotSmartcarError if the answer is about another vehicle.
        """

        def page(url: str) -> Document:
            request = self._request(url, "/vehicles/{id}/signals", user_id=user_id, vehicle=vehicle_id)
            if not user_token:
                return document(self._token.send(self._transport, request))
            signed = {**request.headers, "authorization": f"Bearer {user_token}"}
            return document(self._transport.send(replace(request, headers=signed)))

        answer = joined(page, f"{self._origin}/v3/vehicles/{quote(vehicle_id, safe='')}/signals", "signals")
        vehicle = read_signals(answer.body, self._transport.oddities, self._is_text).vehicle
        refuse_another_car(vehicle, vehicle_id, "V3")
        return answer

    def signal(self, vehicle_id: str, user_id: str, code: str) -> Signal:
        """Return one signal; one unit. NotFoundError if there is none.

        ParameterError if the code is not documented, because the service does not distinguish a mistyped code from a
        missing signal.
        """
        if code not in known_codes():
            raise ParameterError(f"parameters: {code[:40]!r} is not a documented signal code such as odometer-….")
        path = f"/vehicles/{quote(vehicle_id, safe='')}/signals/{code}"
        body = self._get(path, f"/vehicles/{{id}}/signals/{code}", user_id=user_id, vehicle=vehicle_id)
        return read_signal(read_single(body), self._transport.oddities, self._is_text)

    def vin(self, vehicle_id: str, user_id: str) -> str | None:
        """Return the VIN from the maker, in upper case; None if V3 does not have it. One unit.

        A VIN in an error's body is used too, because a VIN does not change, unless the error is a missing permission
        or capability.
        """
        signal = self.signal(vehicle_id, user_id, VIN)
        value = (signal.body or {}).get("value")
        if signal.error_type in ("PERMISSION", "COMPATIBILITY") or not isinstance(value, str):
            return None
        return value.strip().upper() or None

    def _page(self, address: str | None, filters: Mapping[str, str], size: int = PAGE_SIZE) -> Page:
        """Return a page of connections: the first, or the one at a link's URL, with that URL's own query."""
        url = address or f"{self._origin}/v3/connections"
        params = {} if address else {"page[size]": str(size), "page[number]": "1", **filters}
        return read_page(self._get(url, "/connections", params=params), url, "connections")

    def _get(
        self,
        path: str,
        template: str,
        *,
        user_id: str | None = None,
        params: Mapping[str, str] | None = None,
        vehicle: str = "",
    ) -> object:
        """Return the JSON of an answer; the parameters are those of `_request`."""
        request = self._request(path, template, user_id=user_id, params=params, vehicle=vehicle)
        return body_of(self._token.send(self._transport, request))

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
    """Return the row if it matches the requested ids; NotSmartcarError otherwise."""
    wanted = (user_id.lower(), vehicle_id.lower(), external_id)
    given = [(one.user_id, one.vehicle_id, one.external_id) for one in row.connections]
    if not given or any(want and want != value for ids in given for want, value in zip(wanted, ids, strict=True)):
        raise NotSmartcarError(
            "smartcar: V3 connections answered a filter with another user's connection; nothing in that answer is "
            "used. The service may have ignored the filter; report it to Smartcar with the request id of the last call."
        )
    return row
