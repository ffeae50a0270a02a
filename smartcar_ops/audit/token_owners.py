"""Which Smartcar user a V2 token belongs to and which vehicles it opens: queried once per token, then stored."""

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
"""Units per token: one for ``/user``, one for ``/vehicles``."""

PROBE = 10
"""If this many tokens are refused in the same way, and none is accepted, the fault is not the tokens'."""


@dataclass(frozen=True)
class TokenOwner:
    """The Smartcar user of a token (None if it was refused) and the vehicles it opens."""

    user: str | None
    vehicles: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenAnswer:
    """An owner, and the cars that hold this token."""

    cars: tuple[Car, ...]
    owner: TokenOwner


class TokenOwners:
    """Queries V2 and stores its answers in the ledger, as evidence and under the token's digest.

    A refusal is only stored if V2 accepted another token. If V2 refuses all of them in the same way, because of a wrong
    ``open_token`` or because all have expired, none is stored as refused.
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
        """Whether V2 is known to have stopped, so that tokens are no longer a source."""
        return v2_state.has_stopped(self._ledger)

    @property
    def refused_alike(self) -> str:
        """Why no further token is worth a call, in words: `PROBE` or more were all refused in the same way."""
        with self._lock:
            same_refusal = not self._answered and len(self._refusals) == 1 and self._refusals.total() >= PROBE
        return self._in_words() if same_refusal else ""

    def note_stop(self) -> None:
        """Record that V2 has stopped."""
        v2_state.note(self._ledger, self._now.replace(tzinfo=UTC))

    def known(self, token: str) -> TokenOwner | None:
        """Return the owner of a token according to the ledger; None if the token was never queried."""
        with self._lock:
            if self._known is None:
                rows = self._ledger.rows(t.tokens)
                self._known = {row["digest"]: owner for row in rows if (owner := _owner(row))}
            return self._known.get(digest(token))

    def of(self, car: Car) -> TokenOwner:
        """Return the owner of a car's token, from the ledger or from V2 (two units); thread-safe per token.

        RefusedAlikeError, without a call, if all tokens so far were refused in the same way; V2StoppedError if V2 has
        stopped.
        """
        token = car.token or ""
        with self._lock:
            turn = self._locks[digest(token)]
        with turn:
            found = self.known(token)
            if found is None:
                if why := self.refused_alike:
                    raise RefusedAlikeError(f"smartcar: {why}.", status=401)
                answer = self.ask(token, [car])
                self.keep([answer])
                found = answer.owner
            return found

    def ask(self, token: str, cars: Sequence[Car]) -> TokenAnswer:
        """Query V2 (two units); a refusal is an answer too. V2StoppedError, which is recorded, if V2 has stopped."""
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
        """Store answers: the token's owner, evidence for the local user, and the link of a car if it is unambiguous.

        Refusals are held back until V2 accepts another token in this run; see `settle`.
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
        """End the querying: store the refusals held back, or return why they are not stored, in words.

        Fewer than `PROBE` are stored if V2 ever accepted a token of this company.
        """
        before = any(row["smartcar_user_id"] for row in self._ledger.rows(t.tokens))
        with self._lock:
            held, self._held = self._held, []
            same_refusal = not self._answered and len(self._refusals) == 1
            few = self._refusals.total() < PROBE
            doubtful = same_refusal and (bool(held) or not few) and not (few and before)
        if doubtful:
            return self._in_words()
        self._write(held)
        return ""

    def _in_words(self) -> str:
        count, (kind, _) = self._refusals.total(), self._refusals.most_common(1)[0]
        return (
            f"V2 refused every token sent, {count:,} in all, in the same way ({kind}), so no more were sent, and no "
            "user has to reconnect because of it. Check that [vehicles] open_token is the right function, that "
            "token_created_at is right and the tokens have not expired, and that SMARTCAR_API_ORIGIN is right"
        )

    def _write(self, answers: Iterable[TokenAnswer]) -> None:
        personal: dict[tuple[str, str], dict[str, Any]] = {}
        links, asked, tokens = [], [], {}
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
                links.append(link("tokens", answer.cars[0], owner.vehicles[0], self._now))
        self._ledger.record(t.personal, list(personal.values()))
        self._ledger.record(t.ties, links)
        self._ledger.record(t.asked, asked)
        self._ledger.record(t.tokens, [_row(name, owner, self._now) for name, owner in tokens.items()])


def _is_refusal(error: SmartcarError) -> bool:
    """Return whether V2 refused the token, or it could not be sent; not a rate limit, and not a failure of V2."""
    if isinstance(error, RateLimitError):
        return False
    return isinstance(error, AuthenticationError) or 400 <= (error.status or 0) < 500


def _refusal(error: SmartcarError) -> str:
    """Return the kind of a refusal: its status, type and code."""
    words = (str(error.status or "it can't be sent"), error.type, error.code)
    return " ".join(word for word in words if word)


def link(source: str, car: Car, vehicle_id: str, now: datetime) -> dict[str, Any]:
    """Return the ledger row that links a car to one of Smartcar's vehicles."""
    return {"source": source, "local_vehicle_id": car.local_vehicle_id, "vehicle_id": vehicle_id, "seen_at": now}


def digest(secret: str) -> str:
    """Return a digest of a VIN or a token, to match by; the secret itself is never stored in the ledger."""
    return hashlib.sha256(secret.strip().upper().encode()).hexdigest()[:32]


def _owner(row: dict[str, Any]) -> TokenOwner | None:
    """Return the owner in a ledger row; None if an id in it is invalid, which earlier versions of the kit allowed."""
    user, vehicles = row["smartcar_user_id"], tuple(json.loads(row["vehicles"]))
    ids = vehicles if user is None else (user, *vehicles)
    return TokenOwner(user, vehicles) if all(smartcar_id(id) for id in ids) else None


def _row(name: str, owner: TokenOwner, now: datetime) -> dict[str, Any]:
    known = {"digest": name, "smartcar_user_id": owner.user, "vehicles": json.dumps(owner.vehicles)}
    return {**known, "asked_at": now}
