"""Refreshes expired V2 tokens: uses each refresh token once, and stores each new pair before using it."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.locks import WRITER, Held, lock
from smartcar_ops.database.stored_tokens import StoredTokens
from smartcar_ops.database.tables import Car, Company
from smartcar_ops.errors import AuthenticationError, LockedError, SmartcarError, V2StoppedError
from smartcar_ops.settings.logs import counts
from smartcar_ops.smartcar.auth import ReconnectError, UserTokens

log = logging.getLogger("smartcar_ops.audit")

UNUSABLE = SmartcarError(
    "refresh: the stored token can't be opened, or its row has changed in the meantime.", code="STORED_TOKEN"
)
"""The error recorded if nothing was sent."""

SOURCE = "refresh"
"""The ledger's source for refused refresh tokens, which are not tried again."""

PROBE = 10
"""If this many refresh tokens are refused, and none is accepted, ``open_token`` is probably wrong."""


@dataclass(frozen=True)
class Renewed:
    """The outcome of refreshing tokens, counted in cars.

    ``tokens``: the live access tokens by local vehicle id, all read back from the database. ``refused``: the user must
    go through Connect again. ``failed_cars``: the errors by car; the next run retries. ``not_tried``: another run held
    the writer lock.
    """

    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    refused: int = 0
    failed_cars: Mapping[str, SmartcarError] = field(default_factory=dict, repr=False)
    not_tried: int = 0

    @property
    def failed(self) -> int:
        """Cars whose token could not be refreshed now."""
        return len(self.failed_cars)

    @property
    def renewed(self) -> int:
        """Cars that have a live token now."""
        return len(self.tokens)


def refresh(
    company: Company,
    ledger: Ledger,
    tokens: UserTokens,
    cars: Iterable[Car],
    *,
    run_id: str,
    now: datetime,
    sleep: Callable[[float], None] = time.sleep,
) -> Renewed:
    """Refresh the tokens of cars whose token has expired and that have a refresh token; costs no units.

    Holds the writer lock. ``now`` is stored as the creation time of new tokens, slightly before the real one.
    AuthenticationError if the application's credentials are refused, V2StoppedError if V2 has stopped, DatabaseError
    if tokens can't be stored; the failure for a single user is counted, not raised.
    """
    wanted = [car.local_vehicle_id for car in cars if car.refreshable and not car.token_alive]
    if not wanted:
        return Renewed()
    log.info("refreshing the tokens of %s vehicles", f"{len(wanted):,}")
    renewal = _Renewal(company, ledger, tokens, StoredTokens(company, sleep=sleep), now)
    with suppress(LockedError), lock(ledger, WRITER, run_id) as held:
        renewal.run(wanted, held)
    done = renewal.outcome(wanted)
    counted = {"refreshed": done.renewed, "refused": done.refused, "failed": done.failed, "not tried": done.not_tried}
    log.info("tokens of vehicles: %s", counts(counted))
    return done


class _Renewal:
    """The state of one `refresh`: the outcome for each car so far."""

    def __init__(self, company: Company, ledger: Ledger, tokens: UserTokens, rows: StoredTokens, now: datetime) -> None:
        self._company, self._ledger, self._tokens, self._rows, self._now = company, ledger, tokens, rows, now
        self._alive: dict[str, str] = {}
        self._refused: set[str] = set()
        self._failed: set[str] = set()
        self._tried = self._taken = 0
        self._refusals: list[dict[str, object]] = []
        self._errors: dict[str, SmartcarError] = {}

    def outcome(self, wanted: Collection[str]) -> Renewed:
        """Return the outcome; cars that were not reached count as not tried."""
        done = {*self._alive, *self._refused, *self._failed}
        failed = {car_id: self._errors.get(car_id, UNUSABLE) for car_id in sorted(self._failed)}
        return Renewed(self._alive, len(self._refused), failed, len(set(wanted) - done))

    def run(self, wanted: list[str], held: Held) -> None:
        """Use one refresh token after the other; LockedError if the lock is lost."""
        groups = self._groups(wanted)
        if not groups:
            return
        self._rows.check()
        copies = self._rows.copies() if self._company.vault.open else {}
        try:
            for refresh_token, cars in groups.items():
                if self._all_refused:
                    break
                held.check()
                stored = {car.stored_refresh_token for car in cars if car.stored_refresh_token is not None}
                self._renew(refresh_token, stored | copies.get(refresh_token, set()), cars)
        finally:
            self._settle_refusals()

    @property
    def _all_refused(self) -> bool:
        return not self._taken and self._tried >= PROBE

    def _settle_refusals(self) -> None:
        """Record the refused tokens, unless all of many were refused: those are tried again in the next run."""
        if self._all_refused:
            self._failed |= {str(row["subject"]) for row in self._refusals}
            self._refused -= self._failed
        else:
            self._ledger.record(t.asked, self._refusals)

    def _groups(self, wanted: list[str]) -> dict[str, list[Car]]:
        """Return usable refresh token -> its cars, from the current rows: another run may have refreshed them."""
        groups: dict[str, list[Car]] = defaultdict(list)
        refused = self._ledger.asked(SOURCE)
        for car in self._read(wanted, self._failed):
            token = self._company.vault.opened(car.stored_refresh_token)
            if refused.get(car.local_vehicle_id, (None, ""))[1] == self._refusal(car):
                self._settle(car, self._refused)
            elif token:
                groups[token].append(car)
                self._failed.discard(car.local_vehicle_id)
        return groups

    def _renew(self, refresh_token: str, stored: set[str | bytes], cars: list[Car]) -> None:
        ids = [car.local_vehicle_id for car in cars]
        if not self._rows.prove(stored):
            self._read(ids, self._failed)
            return
        try:
            pair = self._tokens.refresh(refresh_token)
        except ReconnectError:
            self._tried += 1
            self._refuse(self._read(ids, self._failed), stored)
            return
        except (AuthenticationError, V2StoppedError):
            raise
        except SmartcarError as error:
            self._failed.update(ids)
            self._errors |= dict.fromkeys(ids, error)
            return
        self._taken += 1
        self._rows.store(stored, pair.access_token, pair.refresh_token, created_at=self._now, rows=ids)
        self._read(ids, self._failed)

    def _read(self, ids: list[str], otherwise: set[str]) -> list[Car]:
        """Read the rows again and collect live tokens, whether this run or another process stored them.

        Returns the cars without a live token; their ids, and those of deleted rows, are added to ``otherwise``.
        """
        otherwise.update(ids)
        left = []
        for car in list(self._company.cars_by_id(ids, self._now)):
            if car.token_alive and car.token:
                self._alive[car.local_vehicle_id] = car.token
                otherwise.discard(car.local_vehicle_id)
            else:
                left.append(car)
        return left

    def _refuse(self, cars: list[Car], stored: set[str | bytes]) -> None:
        """Record that Smartcar refused the refresh token of these cars, if they still have it."""
        for car in cars:
            if car.stored_refresh_token in stored:
                self._settle(car, self._refused)
                row = {"source": SOURCE, "subject": car.local_vehicle_id, "answer": self._refusal(car)}
                self._refusals.append({**row, "asked_at": t.as_kept(self._now)})

    def _settle(self, car: Car, where: set[str]) -> None:
        self._failed.discard(car.local_vehicle_id)
        where.add(car.local_vehicle_id)

    def _refusal(self, car: Car) -> str:
        """Return the ledger's entry for the refusal of this refresh token: a digest, bound to the application."""
        stored = car.stored_refresh_token or ""
        text = stored if isinstance(stored, bytes) else stored.encode()
        return f"refused {hashlib.sha256(self._tokens.application_id.encode() + text).hexdigest()[:32]}"
