"""Clients of Smartcar's two management APIs, read-only: V2's list of connections, V3's webhook subscriptions."""

from __future__ import annotations

import base64
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from smartcar_ops.errors import AuthenticationError, NotSmartcarError, SmartcarError
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.auth import ApplicationToken
from smartcar_ops.smartcar.error_responses import body_of, mapping, text
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.smartcar.http.transport import Request, Transport
from smartcar_ops.smartcar.ids import read_id, read_mode
from smartcar_ops.smartcar.pagination import Page, Pager, RowT, read_page
from smartcar_ops.smartcar.v2 import GONE, has_stopped

PAGE_SIZE = 100
"""The documented maximum for both lists."""

MANAGED = frozenset({"userId", "vehicleId", "connectedAt", "createdAt", "mode"})
"""Members of a V2 row."""


@dataclass(frozen=True)
class ManagedConnection:
    """A connection from V2 management; ids and mode are in lower case."""

    user_id: str
    vehicle_id: str
    mode: str
    connected_at: datetime | None


@dataclass(frozen=True)
class ManagedConnectionList:
    """V2 management's connections of a mode, and the number of rows without a readable user, vehicle or mode."""

    connections: tuple[ManagedConnection, ...]
    dropped: int = 0


@dataclass(frozen=True)
class Subscription:
    """A vehicle's subscription to a webhook. V3 data of subscribed vehicles are fresh; others' may be a day old.

    ``user_id`` and ``vehicle_id`` are None if the row has no valid one.
    """

    id: str
    webhook_id: str
    user_id: str | None
    vehicle_id: str | None


@dataclass(frozen=True)
class Webhook:
    """A webhook of the application; it keeps V3 data fresh only if it is enabled and has data to send."""

    id: str
    name: str
    enabled: bool
    sends: bool

    @property
    def feeds(self) -> bool:
        """Whether Smartcar sends anything to it."""
        return self.enabled and self.sends


@dataclass(frozen=True)
class Feeding:
    """The vehicles with an effective subscription: to a webhook that is enabled and has data to send.

    ``subscribed`` is the number of vehicles with any subscription; ``idle`` are the webhooks without effect.
    """

    vehicles: frozenset[str]
    subscribed: int
    idle: tuple[Webhook, ...]

    def in_words(self) -> str:
        """Return the counts and the webhooks without effect; empty if there are no such webhooks."""
        why = [f"webhook {hook.name!r} {'sends no data' if hook.enabled else 'is disabled'}" for hook in self.idle]
        effective = len(self.vehicles)
        without = self.subscribed - effective
        return f"{effective:,} effective, {without:,} without effect ({'; '.join(why)})" if why else ""


class ManagementV2:
    """A client of V2 management; it uses the application management token."""

    def __init__(self, transport: Transport, origin: str, token: SecretStr, *, off: bool = False) -> None:
        self._transport, self._origin, self._token, self._off = transport, origin, token, off

    def connections(self, mode: str) -> ManagedConnectionList:
        """Return every connection of the mode once; one unit per page of 100.

        Rows that can't be read are counted. AuthenticationError if the management token is missing or refused,
        V2StoppedError if it answers 410 or V2 is ``off``.
        """
        by_key: dict[tuple[str, str], ManagedConnection] = {}
        cursor, visited, dropped = "", set(), 0
        while cursor not in visited:
            visited.add(cursor)
            rows, cursor = self._page(mode, cursor)
            dropped += sum(row is None for row in rows)
            by_key |= {(row.user_id, row.vehicle_id): row for row in rows if row}
            if not cursor:
                return ManagedConnectionList(tuple(by_key.values()), dropped)
        raise NotSmartcarError("smartcar: the pages of V2 management form a loop; check the origin.")

    def connections_page(self, mode: str) -> int:
        """Return the number of connections on a first page of size 1; one unit. It shows that the token works."""
        rows = mapping(self._get("/management/connections", {"limit": "1", "mode": mode})).get("connections")
        return len(rows) if isinstance(rows, list) else 0

    def _page(self, mode: str, cursor: str) -> tuple[list[ManagedConnection | None], str]:
        """Return a page's rows of the mode, None for each that can't be read, and the next cursor (empty: the end)."""
        params = {"limit": str(PAGE_SIZE), "mode": mode} | ({"cursor": cursor} if cursor else {})
        body = mapping(self._get("/management/connections", params))
        rows = body.get("connections")
        if not isinstance(rows, list):
            raise NotSmartcarError("smartcar: V2 management answered 200 without `connections`; check the origin.")
        ours = (row for row in rows if read_mode(mapping(row).get("mode")) in ("", mode))
        read = [read_managed(row, self._transport.oddities) for row in ours]
        return read, text(mapping(body.get("paging")).get("cursor")) or ""

    def _get(self, path: str, params: Mapping[str, str]) -> object:
        secret = self._token.get_secret_value()
        if not secret:
            raise AuthenticationError(
                'smartcar: V2 management needs SMARTCAR_MANAGEMENT_TOKEN, which is not set; see README, "Credentials".'
            )
        basic = base64.b64encode(f"default:{secret}".encode()).decode()
        url, headers = f"{self._origin}/v2.0{path}", {"authorization": f"Basic {basic}"}
        if self._off:
            raise has_stopped("SMARTCAR_V2 is off", what="V2 management")
        try:
            return self._transport.json(Request("management", "GET", url, path, headers=headers, params=params))
        except SmartcarError as error:
            if error.status != GONE:
                raise
            raise has_stopped(f"it answered {GONE}", what="V2 management", status=GONE) from None


def read_managed(row: object, oddities: Oddities | None = None) -> ManagedConnection | None:
    """Parse a row of V2 management; None if its user, vehicle or mode is missing or invalid.

    Such rows, and unknown members, are counted as oddities.
    """
    odd, found = oddities or Oddities(), mapping(row)
    odd.members("managed connection", found, MANAGED)
    user_id, vehicle_id = (
        read_id(found.get(f"{what}Id"), f"managed connection {what}", odd) for what in ("user", "vehicle")
    )
    mode = read_mode(found.get("mode"))
    if not (user_id and vehicle_id and mode):
        odd.note("managed connection: names no user, no vehicle or no mode")
        return None
    return ManagedConnection(
        user_id, vehicle_id, mode, json_values.parse(found.get("connectedAt") or found.get("createdAt"))
    )


class ManagementV3:
    """A client of V3 management; it uses the application token."""

    def __init__(self, transport: Transport, origin: str, token: ApplicationToken) -> None:
        self._transport, self._origin, self._token = transport, origin, token

    def feeding(self, mode: str) -> Feeding:
        """Return the mode's vehicles with an effective subscription.

        One unit per page of 100 subscriptions or webhooks. A subscription without a webhook id counts if any
        webhook has an effect.
        """
        webhooks = self.webhooks()
        effective = {hook.id for hook in webhooks if hook.feeds}
        rows = self.subscriptions(mode)
        active = {row.vehicle_id for row in rows if (row.webhook_id in effective if row.webhook_id else effective)}
        subscribed = {row.vehicle_id for row in rows}
        vehicles = frozenset(vehicle_id for vehicle_id in active if vehicle_id)
        return Feeding(vehicles, len(subscribed), tuple(hook for hook in webhooks if not hook.feeds))

    def subscriptions(self, mode: str) -> tuple[Subscription, ...]:
        """Return every webhook subscription of the mode's vehicles; one unit per page of 100.

        Rows without a vehicle are left out. NotSmartcarError if rows are missing, because the list must be complete.
        """
        paged = self._all(
            "subscriptions",
            {"filter[vehicle.mode]": mode},
            lambda row: read_subscription(row, self._transport.oddities),
            lambda row: (row.id, row.vehicle_id, row.webhook_id),
        )
        return tuple(row for row in paged if row.vehicle_id)

    def webhooks(self) -> tuple[Webhook, ...]:
        """Return every webhook of the application; one unit per page of 100."""
        return tuple(self._all("webhooks", {}, read_webhook, lambda row: row.id))

    def _all(
        self, what: str, filters: Mapping[str, str], read: Callable[[object], RowT], key: Callable[[RowT], Hashable]
    ) -> list[RowT]:
        """Return a whole list; NotSmartcarError if its rows don't match its ``totalCount``."""
        paged = Pager(lambda address: self._page(what, address, filters), read, key).all()
        if not paged.complete:
            raise NotSmartcarError(f"smartcar: V3 {what} gave fewer rows than their totalCount; run again later.")
        return paged.rows

    def subscriptions_page(self, mode: str) -> int:
        """Return the number of subscriptions, from a page of size 1; one unit."""
        page = self._page("subscriptions", None, {"filter[vehicle.mode]": mode}, size=1)
        return page.total if page.total is not None else len(page.rows)

    def _page(self, what: str, address: str | None, filters: Mapping[str, str], size: int = PAGE_SIZE) -> Page:
        url = address or f"{self._origin}/v3/{what}"
        params = {} if address else {"page[size]": str(size), "page[number]": "1", **filters}
        request = Request("management_v3", "GET", url, f"/{what}", params=params)
        return read_page(body_of(self._token.send(self._transport, request)), url, what)


def read_subscription(row: object, oddities: Oddities | None = None) -> Subscription:
    """Parse a subscription; invalid ids and a missing vehicle are counted as oddities."""
    odd = oddities or Oddities()
    attributes, related = mapping(mapping(row).get("attributes")), mapping(mapping(row).get("relationships"))

    def related_id(what: str) -> object:
        return mapping(mapping(related.get(what)).get("data")).get("id") or attributes.get(f"{what}Id")

    user_id, vehicle_id = (read_id(related_id(what), f"subscription {what}", odd) for what in ("user", "vehicle"))
    if not vehicle_id:
        odd.note("subscription: names no vehicle")
    return Subscription(text(mapping(row).get("id")) or "", text(related_id("webhook")) or "", user_id, vehicle_id)


def read_webhook(row: object) -> Webhook:
    """Parse a webhook; it counts as enabled and with data to send unless it says otherwise."""
    found = mapping(row)
    attributes = mapping(found.get("attributes"))
    enabled = attributes.get("isEnabled") is not False
    return Webhook(
        text(found.get("id")) or "",
        text(attributes.get("name")) or "",
        enabled,
        _has_data(attributes.get("data", True)),
    )


def _has_data(data: object) -> bool:
    """Return whether a webhook's ``data`` contains anything to send; it is a list, or an object of lists."""
    return any(map(_has_data, data.values())) if isinstance(data, dict) else bool(data)
