"""Whose a V2 token is and which vehicles it opens: asked once a token, whoever wants to know, and kept."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from smartcar_ops.company import ledger_tables as t
from smartcar_ops.company.ledger import Ledger
from smartcar_ops.company.tables import Car
from smartcar_ops.errors import AuthenticationError, NotFoundError, NotPermittedError
from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.smartcar.v2 import V2

UNITS = 2
"""What a token costs: ``/user`` and ``/vehicles``."""


@dataclass(frozen=True)
class Owner:
    """What a token said: the Smartcar user (None: it was refused) and the vehicles it opens."""

    user: str | None
    vehicles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """An owner, and the cars that hold this token."""

    cars: tuple[Car, ...]
    owner: Owner


class TokenOwners:
    """Asks V2 and keeps its answers in the ledger, as evidence and under the token's digest."""

    def __init__(self, ledger: Ledger, v2: V2, now: datetime) -> None:
        self._ledger, self._v2, self._now = ledger, v2, now.astimezone(UTC).replace(tzinfo=None)
        self._known: dict[str, Owner] | None = None
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def known(self, token: str) -> Owner | None:
        """What the ledger knows of a token; None where it was never asked."""
        with self._lock:
            if self._known is None:
                rows = self._ledger.rows(t.tokens)
                self._known = {row["digest"]: owner for row in rows if (owner := _owner(row))}
            return self._known.get(digest(token))

    def of(self, car: Car) -> Owner:
        """Whose a car's token is: known, or asked now and kept. Two units at most; callers for one token take turns."""
        token = car.token or ""
        with self._lock:
            turn = self._locks[digest(token)]
        with turn:
            found = self.known(token)
            if found is None:
                answer = self.ask(token, [car])
                self.keep([answer])
                found = answer.owner
            return found

    def ask(self, token: str, cars: Sequence[Car]) -> Answer:
        """Asks V2: two units. A refused token is an answer too."""
        try:
            return Answer(tuple(cars), Owner(self._v2.user(token), self._v2.vehicles(token)))
        except (AuthenticationError, NotPermittedError, NotFoundError):
            return Answer(tuple(cars), Owner(None))

    def keep(self, answers: Iterable[Answer]) -> None:
        """Keeps answers: the token's own, whom it speaks for, the car it is about where that is plain."""
        personal: dict[tuple[str, str], dict[str, Any]] = {}
        ties, asked, tokens = [], [], {}
        for answer in answers:
            owner = answer.owner
            for car in answer.cars:
                word = f"{'answered' if owner.user else 'refused'} {digest(car.token or '')}"
                subject = {"source": "tokens", "subject": car.local_vehicle_id}
                asked.append({**subject, "asked_at": self._now, "answer": word})
                if owner.user and car.user_id:
                    row = {"source": "tokens", "user_id": car.user_id, "smartcar_user_id": owner.user}
                    personal[car.user_id, owner.user] = {**row, "seen_at": self._now}
                tokens[digest(car.token or "")] = owner
            if len(answer.cars) == 1 and len(owner.vehicles) == 1:
                ties.append(tie("tokens", answer.cars[0], owner.vehicles[0], self._now))
        self._ledger.record(t.personal, list(personal.values()))
        self._ledger.record(t.ties, ties)
        self._ledger.record(t.asked, asked)
        self._ledger.record(t.tokens, [_row(name, owner, self._now) for name, owner in tokens.items()])
        with self._lock:
            if self._known is not None:
                self._known |= tokens


def tie(source: str, car: Car, vehicle_id: str, now: datetime) -> dict[str, Any]:
    """The ledger's row that a car is one of Smartcar's vehicles."""
    return {"source": source, "local_vehicle_id": car.local_vehicle_id, "vehicle_id": vehicle_id, "seen_at": now}


def digest(secret: str) -> str:
    """A digest of a VIN or a token: enough to match by, and neither stands in the ledger."""
    return hashlib.sha256(secret.strip().upper().encode()).hexdigest()[:32]


def _owner(row: dict[str, Any]) -> Owner | None:
    """What the ledger keeps of a token; None where an id in it is none, as earlier versions of the kit kept them."""
    user, vehicles = row["smartcar_user_id"], tuple(json.loads(row["vehicles"]))
    told = vehicles if user is None else (user, *vehicles)
    return Owner(user, vehicles) if all(smartcar_id(one) for one in told) else None


def _row(name: str, owner: Owner, now: datetime) -> dict[str, Any]:
    known = {"digest": name, "smartcar_user_id": owner.user, "vehicles": json.dumps(owner.vehicles)}
    return {**known, "asked_at": now}
