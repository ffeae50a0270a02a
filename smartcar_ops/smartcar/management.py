"""Smartcar's two management APIs, read only: V2's list of connections, V3's webhook subscriptions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from smartcar_ops.errors import AuthenticationError, NotSmartcarError
from smartcar_ops.smartcar import times
from smartcar_ops.smartcar.envelopes import Page, read_page
from smartcar_ops.smartcar.failures import body_of, mapping, text
from smartcar_ops.smartcar.paging import Pager
from smartcar_ops.smartcar.tokens import ApplicationToken
from smartcar_ops.smartcar.transport import Request, Transport

PAGE_SIZE = 100
"""The documented maximum of both lists."""

MANAGED = frozenset({"userId", "vehicleId", "connectedAt", "createdAt", "mode"})
"""The members of V2's rows."""


@dataclass(frozen=True)
class ManagedConnection:
    """A connection as V2 management lists it; ``mode`` is empty where the row has none. Ids in lower case."""

    user_id: str
    vehicle_id: str
    mode: str
    connected_at: datetime | None


@dataclass(frozen=True)
class Subscription:
    """A vehicle that a webhook is fed with: its V3 data are fresh; others' may be a day old."""

    id: str
    webhook_id: str
    user_id: str
    vehicle_id: str


class ManagementV2:
    """A client of V2 management, asked with the application management token."""

    def __init__(self, transport: Transport, origin: str, token: SecretStr) -> None:
        self._transport, self._origin, self._token = transport, origin, token

    def connections(self, mode: str) -> tuple[ManagedConnection, ...]:
        """Every connection of the mode, each once; one unit a page of 100. Rows of another mode are left out.

        AuthenticationError where the management token is missing or refused.
        """
        found: dict[tuple[str, str], ManagedConnection] = {}
        cursor, visited = "", set()
        while cursor not in visited:
            visited.add(cursor)
            rows, cursor = self._page(mode, cursor)
            found |= {(row.user_id, row.vehicle_id): row for row in rows if row.mode in ("", mode)}
            if not cursor:
                return tuple(found.values())
        raise NotSmartcarError("smartcar: the pages of V2 management go in circles; check the origin.")

    def connections_page(self, mode: str) -> int:
        """How many connections the first page of one has; one unit: whether the token is taken."""
        return len(mapping(self._get("/management/connections", {"limit": "1", "mode": mode})).get("connections") or ())

    def _page(self, mode: str, cursor: str) -> tuple[list[ManagedConnection], str]:
        """A page's rows, and the next cursor, empty at the end (null or missing)."""
        params = {"limit": str(PAGE_SIZE), "mode": mode} | ({"cursor": cursor} if cursor else {})
        body = mapping(self._get("/management/connections", params))
        rows = body.get("connections")
        if not isinstance(rows, list):
            raise NotSmartcarError("smartcar: V2 management answered 200 without `connections`; check the origin.")
        read = [read_managed(row) for row in rows]
        for row in rows:
            self._transport.oddities.members("managed connection", mapping(row), MANAGED)
        return read, text(mapping(body.get("paging")).get("cursor")) or ""

    def _get(self, path: str, params: Mapping[str, str]) -> Any:
        secret = self._token.get_secret_value()
        if not secret:
            raise AuthenticationError(
                'smartcar: V2 management needs SMARTCAR_MANAGEMENT_TOKEN, which is not set; see README, "Credentials".'
            )
        basic = base64.b64encode(f"default:{secret}".encode()).decode()
        url, headers = f"{self._origin}/v2.0{path}", {"authorization": f"Basic {basic}"}
        return self._transport.json(Request("management", "GET", url, path, headers=headers, params=params))


def read_managed(row: Any) -> ManagedConnection:
    """A row of V2 management from its JSON; NotSmartcarError where its user or vehicle is missing."""
    found = mapping(row)
    user_id, vehicle_id = text(found.get("userId")), text(found.get("vehicleId"))
    if not user_id or not vehicle_id:
        raise NotSmartcarError("smartcar: a V2 management row names no user or no vehicle; expected both.")
    return ManagedConnection(
        user_id.strip().lower(),
        vehicle_id.strip().lower(),
        (text(found.get("mode")) or "").lower(),
        times.parse(found.get("connectedAt") or found.get("createdAt")),
    )


class ManagementV3:
    """A client of V3 management, asked with the application token."""

    def __init__(self, transport: Transport, origin: str, token: ApplicationToken) -> None:
        self._transport, self._origin, self._token = transport, origin, token

    def subscriptions(self, mode: str) -> tuple[Subscription, ...]:
        """Every webhook subscription of the mode's vehicles; one unit a page of 100."""
        filters = {"filter[vehicle.mode]": mode}
        paged = Pager(
            lambda address: self._page(address, filters),
            read_subscription,
            lambda row: (row.id, row.vehicle_id, row.webhook_id),
        ).all()
        return tuple(paged.rows)

    def subscriptions_page(self, mode: str) -> int:
        """How many subscriptions there are, from a page of one; one unit."""
        page = self._page(None, {"filter[vehicle.mode]": mode}, size=1)
        return page.total if page.total is not None else len(page.rows)

    def _page(self, address: str | None, filters: Mapping[str, str], size: int = PAGE_SIZE) -> Page:
        url = address or f"{self._origin}/v3/subscriptions"
        params = {} if address else {"page[size]": str(size), "page[number]": "1", **filters}
        request = Request("management_v3", "GET", url, "/subscriptions", params=params)
        return read_page(body_of(self._token.send(self._transport, request)), url, "subscriptions")


def read_subscription(row: Any) -> Subscription:
    """A subscription from its JSON; NotSmartcarError where it names no vehicle."""
    attributes, related = mapping(mapping(row).get("attributes")), mapping(mapping(row).get("relationships"))

    def named(what: str) -> str:
        found = text(mapping(mapping(related.get(what)).get("data")).get("id")) or text(attributes.get(f"{what}Id"))
        return (found or "").strip().lower()

    if not named("vehicle"):
        raise NotSmartcarError("smartcar: a V3 subscription names no vehicle; check the origin.")
    return Subscription(text(mapping(row).get("id")) or "", named("webhook"), named("user"), named("vehicle"))
