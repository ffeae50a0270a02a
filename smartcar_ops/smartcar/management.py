"""Smartcar's two management APIs, read only: V2's list of connections, V3's webhook subscriptions."""

from __future__ import annotations

import base64
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
"""The documented maximum of both lists."""

MANAGED = frozenset({"userId", "vehicleId", "connectedAt", "createdAt", "mode"})
"""The members of V2's rows."""


@dataclass(frozen=True)
class ManagedConnection:
    """A connection as V2 management lists it; ids and mode in lower case."""

    user_id: str
    vehicle_id: str
    mode: str
    connected_at: datetime | None


@dataclass(frozen=True)
class ManagedConnectionList:
    """V2 management's connections of a mode, and how many rows had no readable user or vehicle, or no mode."""

    connections: tuple[ManagedConnection, ...]
    dropped: int = 0


@dataclass(frozen=True)
class Subscription:
    """A vehicle that a webhook is fed with: its V3 data are fresh; others' may be a day old.

    ``user_id`` and ``vehicle_id`` are None where the row names none that can be read.
    """

    id: str
    webhook_id: str
    user_id: str | None
    vehicle_id: str | None


@dataclass(frozen=True)
class Webhook:
    """A webhook of the application: it feeds a vehicle's V3 data only while it is enabled and told what to send."""

    id: str
    name: str
    enabled: bool
    sends: bool

    @property
    def feeds(self) -> bool:
        """Whether anything is sent to it."""
        return self.enabled and self.sends


@dataclass(frozen=True)
class Feeding:
    """Which vehicles are fed: subscribed to a webhook that is enabled and sends something.

    ``subscribed`` is how many have a subscription at all; ``idle`` are the webhooks that feed nobody.
    """

    vehicles: frozenset[str]
    subscribed: int
    idle: tuple[Webhook, ...]

    def in_words(self) -> str:
        """What a number can't say: webhooks that feed nobody; empty where there are none."""
        why = [f"webhook {one.name!r} is {'told to send nothing' if one.enabled else 'disabled'}" for one in self.idle]
        unfed = self.subscribed - len(self.vehicles)
        return f"{len(self.vehicles):,} fed, {unfed:,} subscribed in vain ({'; '.join(why)})" if why else ""


class ManagementV2:
    """A client of V2 management, asked with the application management token."""

    def __init__(self, transport: Transport, origin: str, token: SecretStr, *, off: bool = False) -> None:
        self._transport, self._origin, self._token, self._off = transport, origin, token, off

    def connections(self, mode: str) -> ManagedConnectionList:
        """Every connection of the mode, each once; one unit a page of 100. Rows of another mode are left out.

        Rows that can't be read are counted. AuthenticationError where the management token is missing or refused,
        V2StoppedError where it answers 410, or V2 is ``off``.
        """
        found: dict[tuple[str, str], ManagedConnection] = {}
        cursor, visited, dropped = "", set(), 0
        while cursor not in visited:
            visited.add(cursor)
            rows, cursor = self._page(mode, cursor)
            dropped += sum(row is None for row in rows)
            found |= {(row.user_id, row.vehicle_id): row for row in rows if row}
            if not cursor:
                return ManagedConnectionList(tuple(found.values()), dropped)
        raise NotSmartcarError("smartcar: the pages of V2 management go in circles; check the origin.")

    def connections_page(self, mode: str) -> int:
        """How many connections the first page of one has; one unit: whether the token is taken."""
        return len(mapping(self._get("/management/connections", {"limit": "1", "mode": mode})).get("connections") or ())

    def _page(self, mode: str, cursor: str) -> tuple[list[ManagedConnection | None], str]:
        """A page's rows of the mode, None for each that can't be read, and the next cursor.

        The cursor is empty at the end (null or missing).
        """
        params = {"limit": str(PAGE_SIZE), "mode": mode} | ({"cursor": cursor} if cursor else {})
        body = mapping(self._get("/management/connections", params))
        rows = body.get("connections")
        if not isinstance(rows, list):
            raise NotSmartcarError("smartcar: V2 management answered 200 without `connections`; check the origin.")
        ours = (row for row in rows if read_mode(mapping(row).get("mode")) in ("", mode))
        read = [read_managed(row, self._transport.oddities) for row in ours]
        return read, text(mapping(body.get("paging")).get("cursor")) or ""

    def _get(self, path: str, params: Mapping[str, str]) -> Any:
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


def read_managed(row: Any, oddities: Oddities | None = None) -> ManagedConnection | None:
    """A row of V2 management from its JSON; None without a user, a vehicle or a mode that can be read.

    What is missing or is no id, and members not seen before, are counted as oddities.
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
    """A client of V3 management, asked with the application token."""

    def __init__(self, transport: Transport, origin: str, token: ApplicationToken) -> None:
        self._transport, self._origin, self._token = transport, origin, token

    def feeding(self, mode: str) -> Feeding:
        """Which of the mode's vehicles are fed; one unit a page of 100 subscriptions, and one for the webhooks.

        A subscription that names no webhook counts where any feeds.
        """
        webhooks = self.webhooks()
        feeding = {one.id for one in webhooks if one.feeds}
        rows = self.subscriptions(mode)
        fed = {row.vehicle_id for row in rows if (row.webhook_id in feeding if row.webhook_id else feeding)}
        subscribed = {row.vehicle_id for row in rows}
        vehicles = frozenset(vehicle_id for vehicle_id in fed if vehicle_id)
        return Feeding(vehicles, len(subscribed), tuple(one for one in webhooks if not one.feeds))

    def subscriptions(self, mode: str) -> tuple[Subscription, ...]:
        """Every webhook subscription of the mode's vehicles; one unit a page of 100. Rows without a vehicle are left
        out. NotSmartcarError where rows are missing: of the others nobody could say that they are all."""
        paged = self._all(
            "subscriptions",
            {"filter[vehicle.mode]": mode},
            lambda row: read_subscription(row, self._transport.oddities),
            lambda row: (row.id, row.vehicle_id, row.webhook_id),
        )
        return tuple(row for row in paged if row.vehicle_id)

    def webhooks(self) -> tuple[Webhook, ...]:
        """Every webhook of the application; one unit a page of 100."""
        return tuple(self._all("webhooks", {}, read_webhook, lambda row: row.id))

    def _all(
        self, what: str, filters: Mapping[str, str], read: Callable[[Any], RowT], key: Callable[[RowT], Hashable]
    ) -> list[RowT]:
        """A whole list; NotSmartcarError where its length and its rows don't agree."""
        paged = Pager(lambda address: self._page(what, address, filters), read, key).all()
        if not paged.complete:
            raise NotSmartcarError(f"smartcar: V3 {what} gave fewer rows than their totalCount; run again later.")
        return paged.rows

    def subscriptions_page(self, mode: str) -> int:
        """How many subscriptions there are, from a page of one; one unit."""
        page = self._page("subscriptions", None, {"filter[vehicle.mode]": mode}, size=1)
        return page.total if page.total is not None else len(page.rows)

    def _page(self, what: str, address: str | None, filters: Mapping[str, str], size: int = PAGE_SIZE) -> Page:
        url = address or f"{self._origin}/v3/{what}"
        params = {} if address else {"page[size]": str(size), "page[number]": "1", **filters}
        request = Request("management_v3", "GET", url, f"/{what}", params=params)
        return read_page(body_of(self._token.send(self._transport, request)), url, what)


def read_subscription(row: Any, oddities: Oddities | None = None) -> Subscription:
    """A subscription from its JSON; whatever is no id, and a row without a vehicle, are counted as oddities."""
    odd = oddities or Oddities()
    attributes, related = mapping(mapping(row).get("attributes")), mapping(mapping(row).get("relationships"))

    def told(what: str) -> Any:
        return mapping(mapping(related.get(what)).get("data")).get("id") or attributes.get(f"{what}Id")

    user_id, vehicle_id = (read_id(told(what), f"subscription {what}", odd) for what in ("user", "vehicle"))
    if not vehicle_id:
        odd.note("subscription: names no vehicle")
    return Subscription(text(mapping(row).get("id")) or "", text(told("webhook")) or "", user_id, vehicle_id)


def read_webhook(row: Any) -> Webhook:
    """A webhook from its JSON. One that does not tell whether it is enabled, or what it sends, is taken to do so: only
    what is said can be held against it."""
    found = mapping(row)
    attributes = mapping(found.get("attributes"))
    enabled = attributes.get("isEnabled") is not False
    return Webhook(
        text(found.get("id")) or "", text(attributes.get("name")) or "", enabled, _says(attributes.get("data", True))
    )


def _says(data: Any) -> bool:
    """Whether a webhook's ``data`` name anything to send: a list, or an object of lists."""
    return any(map(_says, data.values())) if isinstance(data, dict) else bool(data)
