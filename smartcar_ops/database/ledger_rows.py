"""The ledger's rows that other folders read and write, as dictionaries with known keys; times are naive UTC."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict


class Link(TypedDict):
    """A Smartcar user's vehicle according to a list: Smartcar's ids, in lower case."""

    vehicle_id: str
    smartcar_user_id: str


class ListedConnection(Link):
    """A connection of V3's list, as the ledger stores it.

    ``permissions`` are separated by spaces, ``external_id`` is the company's own id of the user. ``connection_id`` is
    None if it is too long to be stored.
    """

    connection_id: str | None
    make: str
    model: str
    year: int | None
    powertrain: str
    permissions: str | None
    external_id: str | None


class StoredConnection(ListedConnection):
    """A row of ``connections``: when it was first listed, and since when a complete list lacks it."""

    service: str
    mode: str
    first_seen: datetime
    gone_at: datetime | None


class StoredChoice(TypedDict):
    """A row of ``choices``: a person's decision for a user; the Smartcar id is None if the user has none."""

    service: str
    mode: str
    layout: str
    user_id: str
    smartcar_user_id: str | None
    chosen_by: str
    reason: str
    chosen_at: datetime
