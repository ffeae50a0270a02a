"""Whose a V2 token is and which vehicles it opens: asked once a token, whoever wants to know, and kept."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger import v2_state
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Car
from smartcar_ops.errors import (
    AuthenticationError,
    NotFoundError,
    NotPermittedError,
    RateLimitError,
    RefusedAlikeError,
    SmartcarError,
    V2StoppedError,
)
from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.smartcar.v2 import V2

UNITS = 2
"""What a token costs: ``/user`` and ``/vehicles``."""

PROBE = 10
"""So many tokens refused alike, and none that was answered, say something of the asking and not of the tokens."""


@dataclass(frozen=True)
class TokenOwner:
    """What a token said: the Smartcar user (None: it was refused) and the vehicles it opens."""

    user: str | None
    vehicles: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenAnswer:
    """An owner, and the cars that hold this token."""

    cars: tuple[Car, ...]
    owner: TokenOwner


class TokenOwners:
    """Asks V2 and keeps its answers in the ledger, as evidence and under the token's digest.

    A refusal is a token's own only beside a token that V2 answered to: where every one is refused alike, as by a wrong
    ``open_token`` or where all are over, nobody is kept as refused.
    """

    def __init__(self, ledger: Ledger, v2: V2, now: datetime) -> None:
        self._ledger, self._v2, self._now = ledger, v2, t.as_kept(now)
        self._known: dict[str, TokenOwner] | None = None
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self._refusals: Counter[str] = Counter()
        self._held: list[TokenAnswer] = []
        self._answered = False

    @property
    def stopped(self) -> bool:
        """Whether V2 has stopped, as far as is known: then no token is a source any more."""
        return v2_state.has_stopped(self._ledger)

    @property
    def refused_alike(self) -> str:
        """Why no further token is worth a call, in words: so many were asked, and each was refused alike."""
        with self._lock:
            alike = not self._answered and len(self._refusals) == 1 and self._refusals.total() >= PROBE
        return self._in_words() if alike else ""

    def note_stop(self) -> None:
        """Keeps that V2 has stopped."""
        v2_state.note(self._ledger, self._now.replace(tzinfo=UTC))

    def known(self, token: str) -> TokenOwner | None:
        """What the ledger knows of a token; None where it was never asked."""
        with self._lock:
            if self._known is None:
                rows = self._ledger.rows(t.tokens)
                self._known = {row["digest"]: owner for row in rows if (owner := _owner(row))}
            return self._known.get(digest(token))

    def of(self, car: Car) -> TokenOwner:
        """Whose a car's token is: known, or asked now and kept. Two units at most; callers for one token take turns.

        RefusedAlikeError, without a call, where every token before was refused alike; V2StoppedError once V2 has
        stopped.
        """
        token = car.token or ""
        with self._lock:
            turn = self._locks[digest(token)]
        with turn:
            found = self.known(token)
            if found is None:
                if why := self.refused_alike:
                    raise RefusedAlikeError(f"smartcar: {why}", status=401)
                answer = self.ask(token, [car])
                self.keep([answer])
                found = answer.owner
            return found

    def ask(self, token: str, cars: Sequence[Car]) -> TokenAnswer:
        """Asks V2: two units. A refused token is an answer too. V2StoppedError, which is kept, where V2 has stopped."""
        try:
            owner = TokenOwner(self._v2.user(token), self._v2.vehicles(token))
        except V2StoppedError:
            self.note_stop()
            raise
        except SmartcarError as error:
            with self._lock:
                self._refusals.update([_refusal(error)] if _is_refusal(error) else [])
            if isinstance(error, AuthenticationError | NotPermittedError | NotFoundError):
                return TokenAnswer(tuple(cars), TokenOwner(None))
            raise
        with self._lock:
            self._answered = True
        return TokenAnswer(tuple(cars), owner)

    def keep(self, answers: Iterable[TokenAnswer]) -> None:
        """Keeps answers: the token's own, whom it speaks for, the car it is about where that is plain.

        Refusals wait until another token was answered, in this asking; see `settle`.
        """
        given = list(answers)
        with self._lock:
            if self._known is not None:
                self._known |= {digest(car.token or ""): answer.owner for answer in given for car in answer.cars}
            self._held += given
            self._answered = self._answered or any(answer.owner.user for answer in given)
            ready, self._held = (self._held, []) if self._answered else ([], self._held)
        self._write(ready)

    def settle(self) -> str:
        """Ends an asking: keeps the refusals that are the tokens' own; in words, why those of the others are not kept.

        Fewer than `PROBE` count as their own where V2 ever answered to a token of this company.
        """
        before = any(row["smartcar_user_id"] for row in self._ledger.rows(t.tokens))
        with self._lock:
            held, self._held = self._held, []
            alike = not self._answered and len(self._refusals) == 1
            few = self._refusals.total() < PROBE
            doubtful = alike and (bool(held) or not few) and not (few and before)
        if doubtful:
            return self._in_words()
        self._write(held)
        return ""

    def _in_words(self) -> str:
        count, (kind, _) = self._refusals.total(), self._refusals.most_common(1)[0]
        return (
            f"V2 refuses every token that was asked, {count:,} alike ({kind}), so no further one was asked, and nobody "
            "has to reconnect for that: is [vehicles] open_token the right function, are the tokens over although "
            "token_created_at is young, is SMARTCAR_API_ORIGIN right?"
        )

    def _write(self, answers: Iterable[TokenAnswer]) -> None:
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


def _is_refusal(error: SmartcarError) -> bool:
    """Whether V2 would not have this token, or could not be sent it: no passing limit, no failure of its own."""
    if isinstance(error, RateLimitError):
        return False
    return isinstance(error, AuthenticationError) or 400 <= (error.status or 0) < 500


def _refusal(error: SmartcarError) -> str:
    """What is alike of refusals that are alike."""
    words = (str(error.status or "it can't be sent"), error.type, error.code)
    return " ".join(word for word in words if word)


def tie(source: str, car: Car, vehicle_id: str, now: datetime) -> dict[str, Any]:
    """The ledger's row that a car is one of Smartcar's vehicles."""
    return {"source": source, "local_vehicle_id": car.local_vehicle_id, "vehicle_id": vehicle_id, "seen_at": now}


def digest(secret: str) -> str:
    """A digest of a VIN or a token: enough to match by, and neither stands in the ledger."""
    return hashlib.sha256(secret.strip().upper().encode()).hexdigest()[:32]


def _owner(row: dict[str, Any]) -> TokenOwner | None:
    """What the ledger keeps of a token; None where an id in it is none, as earlier versions of the kit kept them."""
    user, vehicles = row["smartcar_user_id"], tuple(json.loads(row["vehicles"]))
    told = vehicles if user is None else (user, *vehicles)
    return TokenOwner(user, vehicles) if all(smartcar_id(one) for one in told) else None


def _row(name: str, owner: TokenOwner, now: datetime) -> dict[str, Any]:
    known = {"digest": name, "smartcar_user_id": owner.user, "vehicles": json.dumps(owner.vehicles)}
    return {**known, "asked_at": now}
