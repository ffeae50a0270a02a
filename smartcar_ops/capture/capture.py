"""Reads files of redirects and webhooks and stores the ids in them as evidence, as the notebook drives it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import SecretStr

from smartcar_ops.capture import files
from smartcar_ops.capture.files import Delivery, SentBack
from smartcar_ops.capture.result import COLUMNS, SHOWN, Captured, CapturedRow
from smartcar_ops.database import captures
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.session import Outcome, Session
from smartcar_ops.settings.layout import Webhooks
from smartcar_ops.settings.logs import counts
from smartcar_ops.smartcar.http.rate_limit import Cost
from smartcar_ops.smartcar.inbound import is_signed, read_event, read_redirect


class Capture:
    """Stores the ids from two files in the ledger; makes no API call and writes nothing to the company's tables.

    ParameterError, before anything is stored, if a file is missing or can't be read.
    """

    def __init__(self, session: Session, *, redirects: str = "", webhooks: str = "") -> None:
        self.session = session
        self._redirects, self._webhooks = files.find("redirects", redirects), files.find("webhooks", webhooks)
        self.result = Captured(files=0, counts={}, rows=pd.DataFrame(columns=COLUMNS))

    def cost(self) -> Cost:
        """Return nothing: no call is made."""
        return self.session.priced({})

    def read(self) -> Captured:
        """Read the files, and store the lines that identify a user."""
        session = self.session
        self.result = capture(
            session.company,
            session.ledger,
            redirects=self._redirects,
            webhooks=self._webhooks,
            management_tokens=session.settings.credentials.management_tokens,
            now=session.now,
        )
        return self.result

    def lines(self) -> pd.DataFrame:
        """Return how many lines of each kind had which outcome."""
        return self.result.table()

    def remarks(self) -> str:
        """Return what else you should know about the lines."""
        return self.result.remarks

    def people(self) -> pd.DataFrame:
        """Return the lines that a person must look at."""
        return self.result.people()

    def finish(self) -> Outcome:
        """Save the table and end the session: exit code 1 if lines are unroutable or invalid, 3 if there were none."""
        self.session.save(captured=self.result.rows)
        return self.session.finish(self.result.verdict, exit_code=self.result.exit_code, **self.result.summary())


log = logging.getLogger("smartcar_ops.capture")

CHUNK = 2000
"""Lines that are looked up and stored together."""

UNSIGNED, UNCHECKED, MISFIT, SIGNED = "unsigned", "unchecked", "wrong_signature", "signed"
MODELESS, REORDERED = "without_mode", "reordered"

PROOFS = {
    UNSIGNED: "has no signature",
    UNCHECKED: "its signature was not checked",
    MISFIT: "its signature does not match its body",
    SIGNED: "signed by Smartcar",
}
"""Whether a webhook is proved to be from Smartcar, in words."""


class JudgedLine(NamedTuple):
    """A line judged by its content alone: its outcome, the local user in it, and its proof and mode as ``marks``.

    ``second_local`` is another id of a local user in the same line. Whether the company has these users is not known
    yet.
    """

    row: CapturedRow
    local: str | None = None
    marks: tuple[str, ...] = ()
    second_local: str | None = None
    checked: bool = False
    """True if the company checked the redirect's state."""


@dataclass
class _Tally:
    """The counts so far: lines by kind and outcome, and webhooks by mark, both kept ones and all."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    marked: Counter[str] = field(default_factory=Counter)
    rows: list[CapturedRow] = field(default_factory=list)
    new: int = 0

    def in_words(self, kind: str) -> str:
        """Return how many lines of a kind had which outcome."""
        return counts({outcome: lines for (of, outcome), lines in self.counts.items() if of == kind})

    def add(self, rows: Iterable[CapturedRow], judged: Iterable[JudgedLine]) -> None:
        for row, one in zip(rows, judged, strict=True):
            self.counts[row.kind, row.outcome] += 1
            self.marked.update(one.marks)
            if row.outcome == "kept":
                self.kept.update(one.marks)
            if row.outcome != "kept" or self.counts[row.kind, "kept"] <= SHOWN:
                self.rows.append(row)


def capture(
    company: Company,
    ledger: Ledger,
    *,
    redirects: Path | None = None,
    webhooks: Path | None = None,
    management_tokens: Sequence[SecretStr],
    now: datetime,
) -> Captured:
    """Read the files and store what identifies a user in the ledger; makes no API call.

    Writes nothing to the company's tables; reading a file again stores nothing new. ``[webhooks]`` of the layout
    decides whether webhooks without proof are accepted. ParameterError if a file of redirects does not begin with one.
    """
    store, tally, rules = _EvidenceStore(company, ledger, now), _Tally(), company.layout.webhooks
    if redirects:
        for judged in _chunks(_judge_redirect(one) for one in files.redirects(redirects)):
            tally.add(store.keep_redirects(judged, tally), judged)
        log.info("redirects: %s", tally.in_words("redirects"))
    if webhooks:
        judge = _Judge(management_tokens, rules, ledger.scope.mode)
        for judged in _chunks(judge(one) for one in files.webhooks(webhooks)):
            tally.add(store.keep_webhooks(judged, tally), judged)
        log.info("webhooks: %s", tally.in_words("webhooks"))
    frame = pd.DataFrame(tally.rows, columns=COLUMNS).astype({name: "str" for name in COLUMNS if name != "line"})
    return Captured(
        files=sum(path is not None for path in (redirects, webhooks)),
        counts=dict(tally.counts),
        rows=frame.astype({"line": "int64"}),
        new=tally.new,
        kept={mark: tally.kept[mark] for mark in (UNSIGNED, UNCHECKED, MISFIT, MODELESS)},
        believed=tuple(name for name, rule in rules if rule == "believe"),
        no_signature_fits=tally.marked[MISFIT] > 0 and not tally.marked[SIGNED],
        misfits=tally.marked[MISFIT],
        reordered=tally.marked[REORDERED],
    )


def _chunks(judged: Iterator[JudgedLine]) -> Iterator[list[JudgedLine]]:
    while rows := list(islice(judged, CHUNK)):
        yield rows


def _judge_redirect(given: SentBack) -> JudgedLine:
    row = CapturedRow("redirects", given.line, "kept", "is about one of your users")

    def refused(outcome: str, reason: str) -> JudgedLine:
        return JudgedLine(row._replace(outcome=outcome, reason=reason))

    if given.problem:
        return refused("invalid", given.problem)
    try:
        redirect = read_redirect(given.address)
    except NotSmartcarError as error:
        return refused("invalid", str(error).removeprefix("smartcar: "))
    row = row._replace(vehicle_id=redirect.vehicle_id)
    if redirect.error:
        return refused("declined", "Connect ended with an error")
    if not redirect.user_id:
        return refused("unroutable", "has no user_id, as after a re-authentication")
    row = row._replace(smartcar_user_id=redirect.user_id)
    local = given.user_id or redirect.external_id
    if not local:
        return refused("unroutable", "has no id of a local user: neither user_id nor external_id")
    second = redirect.external_id if given.user_id else None
    return JudgedLine(row, local, second_local=second, checked=given.checked)


class _Judge:
    """Judges a webhook by its content, and decides whether it is accepted.

    Without a management token no signature can be checked: events are then accepted, and counted, unless the layout
    refuses them explicitly.
    """

    def __init__(self, tokens: Sequence[SecretStr], rules: Webhooks, mode: str) -> None:
        self._tokens, self._mode = tokens, mode
        refuses = rules.unsigned == "refuse"
        self._refused = {
            UNSIGNED: refuses and (bool(tokens) or "unsigned" in rules.model_fields_set),
            UNCHECKED: refuses and "unsigned" in rules.model_fields_set,
            MISFIT: rules.wrong_signature == "refuse",
            SIGNED: False,
        }

    def __call__(self, given: Delivery) -> JudgedLine:
        """Return the judged line; its local user is looked up later."""
        row = CapturedRow("webhooks", given.line, "kept", "")
        marks: tuple[str, ...] = ()

        def refused(outcome: str, reason: str) -> JudgedLine:
            return JudgedLine(row._replace(outcome=outcome, reason=reason), None, marks)

        if given.problem:
            return refused("invalid", given.problem)
        try:
            event = read_event(given.body)
        except NotSmartcarError:
            return refused("invalid", "its body is not an event")
        if event.type == "VERIFY":
            return refused("verify", "checks that the receiver is yours")
        proof = self._proof(given)
        reordered = proof == MISFIT and given.parsed
        marks = (proof, *([] if event.modes else [MODELESS]), *([REORDERED] if reordered else []))
        row = row._replace(reason=PROOFS[proof], smartcar_user_id=event.user_id, vehicle_id=event.vehicle_id)
        if any(mode != self._mode for mode in event.modes):
            return refused("other_mode", f"this run is for mode {self._mode}")
        if self._refused[proof]:
            return refused("invalid", self._why(proof, given))
        if event.problem:
            return refused("invalid", event.problem)
        if not event.user_id or not event.vehicle_id:
            return refused("unroutable", f"has no {'vehicle' if event.user_id else 'user'} id")
        if not event.modes:
            row = row._replace(reason=f"{row.reason}; has no mode")
        return JudgedLine(row, event.external_id, marks)

    def _proof(self, given: Delivery) -> str:
        if not given.signature:
            return UNSIGNED
        if not self._tokens:
            return UNCHECKED
        fits = is_signed(given.body.encode("utf-8", "replace"), given.signature, *self._tokens)
        return SIGNED if fits else MISFIT

    @staticmethod
    def _why(proof: str, given: Delivery) -> str:
        if proof == MISFIT and given.parsed:
            return f"{PROOFS[proof]}; it was stored parsed, and can't be checked if the database changed its order"
        if proof == MISFIT:
            return f"{PROOFS[proof]}, according to SMARTCAR_MANAGEMENT_TOKEN"
        return f'{PROOFS[proof]}, and [webhooks] unsigned is not "believe"'


class _EvidenceStore:
    """Looks up the users of a chunk of lines, and stores its evidence in the ledger."""

    def __init__(self, company: Company, ledger: Ledger, now: datetime) -> None:
        self._company, self._ledger = company, ledger
        self._now = t.as_kept(now)

    def keep_redirects(self, judged: list[JudgedLine], tally: _Tally) -> list[CapturedRow]:
        """Store redirects and return their rows: without one of the company's users they are unroutable, with two
        invalid."""
        users = self._users(judged)
        rows = [self._redirect(one, users) for one in judged]
        kept = [(row, one.checked) for row, one in zip(rows, judged, strict=True) if row.outcome == "kept"]
        self._record(t.personal, "user_id", (_personal(row) for row, _ in kept), tally)
        seen = {"seen_at": self._now, "checked": 1}
        self._ledger.record(t.personal, [{**_personal(row), **seen} for row, checked in kept if checked])
        return rows

    @staticmethod
    def _redirect(judged: JudgedLine, users: dict[str, str]) -> CapturedRow:
        row, local = judged.row, judged.local
        if local is None:
            return row
        if local not in users:
            reason = "has a user id that is not in your table"
            return row._replace(outcome="unroutable", reason=reason)
        if users.get(judged.second_local or "", users[local]) != users[local]:
            return row._replace(outcome="invalid", reason="its user_id and its external_id are different users")
        return row._replace(user_id=users[local])

    def keep_webhooks(self, judged: list[JudgedLine], tally: _Tally) -> list[CapturedRow]:
        """Store webhooks and return their rows: each has a user of a vehicle, some also the local user."""
        users = self._users(judged)
        rows = [one.row._replace(user_id=users.get(one.local or "")) for one in judged]
        kept = [row for row in rows if row.outcome == "kept"]
        self._record(t.sightings, "vehicle_id", (_sighting(row) for row in kept), tally)
        self._record(t.personal, "user_id", (_personal(row) for row in kept if row.user_id), tally)
        return rows

    def _users(self, judged: list[JudgedLine]) -> dict[str, str]:
        ids = {id for one in judged for id in (one.local, one.second_local) if id}
        return captures.known_users(self._company, ids)

    def _record(self, table: Any, by: str, rows: Iterable[dict[str, Any]], tally: _Tally) -> None:
        """Add the rows that the ledger does not have yet; the others keep the time at which they were first seen."""
        new_rows = captures.news(self._ledger, table, list(rows), by)
        self._ledger.record(table, [{**row, "seen_at": self._now} for row in new_rows])
        tally.new += len(new_rows)


def _personal(row: CapturedRow) -> dict[str, Any]:
    return {"source": row.kind, "user_id": row.user_id, "smartcar_user_id": row.smartcar_user_id}


def _sighting(row: CapturedRow) -> dict[str, Any]:
    return {"source": row.kind, "vehicle_id": row.vehicle_id, "smartcar_user_id": row.smartcar_user_id}
