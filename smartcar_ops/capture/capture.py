"""The capture of what arrived, as its notebook drives it."""

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
    """Keeps the ids of two files in the ledger; asks nobody, changes no row of the company.

    ParameterError for a file that is missing or can't be read, before anything is kept.
    """

    def __init__(self, session: Session, *, redirects: str = "", webhooks: str = "") -> None:
        self.session = session
        self._redirects, self._webhooks = files.find("redirects", redirects), files.find("webhooks", webhooks)
        self.result = Captured(files=0, counts={}, rows=pd.DataFrame(columns=COLUMNS))

    def cost(self) -> Cost:
        """Return nothing: no call is made."""
        return self.session.priced({})

    def read(self) -> Captured:
        """Reads the files, and keeps what names a user."""
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
        """Return what else is to be known of the lines."""
        return self.result.remarks

    def people(self) -> pd.DataFrame:
        """Return the lines that somebody must look at."""
        return self.result.people()

    def finish(self) -> Outcome:
        """Keep the table and end the session: exit code 1 if lines are unroutable or invalid, 3 if there were none."""
        self.session.save(captured=self.result.rows)
        return self.session.finish(self.result.verdict, exit_code=self.result.exit_code, **self.result.summary())


log = logging.getLogger("smartcar_ops.capture")

CHUNK = 2000
"""Lines that are looked up and kept together."""

UNSIGNED, UNCHECKED, MISFIT, SIGNED = "unsigned", "unchecked", "wrong_signature", "signed"
MODELESS, REORDERED = "without_mode", "reordered"

PROOFS = {
    UNSIGNED: "came without a signature",
    UNCHECKED: "its signature was not checked",
    MISFIT: "its signature is not that of its body",
    SIGNED: "signed by Smartcar",
}
"""How far a webhook is proved to be Smartcar's, in words."""


class JudgedLine(NamedTuple):
    """What a line says by itself, the local user it names, how far it is proved and whether it tells a mode.

    ``beside`` is a second name of a local user. Whether the company has these users is not known yet.
    """

    row: CapturedRow
    local: str | None = None
    marks: tuple[str, ...] = ()
    beside: str | None = None
    checked: bool = False
    """Whether the company checked the redirect's state."""


@dataclass
class _Tally:
    """What is known so far: lines by kind and outcome, webhooks by what marks them, kept and in all."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    marked: Counter[str] = field(default_factory=Counter)
    rows: list[CapturedRow] = field(default_factory=list)
    new: int = 0

    def in_words(self, kind: str) -> str:
        """How many lines of a kind had which outcome."""
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
    """Reads the files and keeps what names a user in the ledger; asks nobody, changes no row of the company.

    Reading a file again keeps nothing new. What is believed of a webhook that nothing proves is the layout's to say.
    ParameterError where a file of redirects begins with none.
    """
    keeper, tally, rules = _Keeper(company, ledger, now), _Tally(), company.layout.webhooks
    if redirects:
        for judged in _chunks(_judge_redirect(one) for one in files.redirects(redirects)):
            tally.add(keeper.keep_redirects(judged, tally), judged)
        log.info("redirects: %s", tally.in_words("redirects"))
    if webhooks:
        judge = _Judge(management_tokens, rules, ledger.scope.mode)
        for judged in _chunks(judge(one) for one in files.webhooks(webhooks)):
            tally.add(keeper.keep_webhooks(judged, tally), judged)
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
    row = CapturedRow("redirects", given.line, "kept", "names a user of the company")

    def refused(outcome: str, reason: str) -> JudgedLine:
        return JudgedLine(row._replace(outcome=outcome, reason=reason))

    if given.problem:
        return refused("invalid", given.problem)
    try:
        found = read_redirect(given.address)
    except NotSmartcarError as error:
        return refused("invalid", str(error).removeprefix("smartcar: "))
    row = row._replace(vehicle_id=found.vehicle_id)
    if found.error:
        return refused("declined", "Connect ended with an error")
    if not found.user_id:
        return refused("unroutable", "has no user_id, as after a re-authentication")
    row = row._replace(smartcar_user_id=found.user_id)
    local = given.user_id or found.external_id
    if not local:
        return refused("unroutable", "names no local user: neither user_id nor external_id")
    return JudgedLine(row, local, beside=found.external_id if given.user_id else None, checked=given.checked)


class _Judge:
    """Tells what a webhook says by itself, and whether that may be believed.

    Without a management token nothing can be checked: events are then believed, and counted, unless the layout says
    itself that they are refused.
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
        """The line as it ends, unless its local user is none."""
        row = CapturedRow("webhooks", given.line, "kept", "")
        marks: tuple[str, ...] = ()

        def refused(outcome: str, reason: str) -> JudgedLine:
            return JudgedLine(row._replace(outcome=outcome, reason=reason), None, marks)

        if given.problem:
            return refused("invalid", given.problem)
        try:
            event = read_event(given.body)
        except NotSmartcarError:
            return refused("invalid", "its body is no event")
        if event.type == "VERIFY":
            return refused("verify", "asks the receiver to prove itself")
        proof = self._proof(given)
        reordered = proof == MISFIT and given.parsed
        marks = (proof, *([] if event.modes else [MODELESS]), *([REORDERED] if reordered else []))
        row = row._replace(reason=PROOFS[proof], smartcar_user_id=event.user_id, vehicle_id=event.vehicle_id)
        if any(mode != self._mode for mode in event.modes):
            return refused("other_mode", f"this run is about mode {self._mode}")
        if self._refused[proof]:
            return refused("invalid", self._why(proof, given))
        if event.problem:
            return refused("invalid", event.problem)
        if not event.user_id or not event.vehicle_id:
            return refused("unroutable", f"names no {'vehicle' if event.user_id else 'user'}")
        if not event.modes:
            row = row._replace(reason=f"{row.reason}; tells no mode")
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
            return f"{PROOFS[proof]}; its body was stored parsed, and what a database re-ordered can't be checked"
        if proof == MISFIT:
            return f"{PROOFS[proof]}, by SMARTCAR_MANAGEMENT_TOKEN"
        return f'{PROOFS[proof]}, and [webhooks] unsigned is not "believe"'


class _Keeper:
    """Looks a chunk's users up, and keeps what it says."""

    def __init__(self, company: Company, ledger: Ledger, now: datetime) -> None:
        self._company, self._ledger = company, ledger
        self._now = t.as_kept(now)

    def keep_redirects(self, judged: list[JudgedLine], tally: _Tally) -> list[CapturedRow]:
        """The chunk's rows as they end: a redirect that names nobody of the company is unroutable, one that names two
        is nobody's."""
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
            reason = "names a user that the company's table does not have"
            return row._replace(outcome="unroutable", reason=reason)
        if users.get(judged.beside or "", users[local]) != users[local]:
            return row._replace(outcome="invalid", reason="names one user by user_id and another by external_id")
        return row._replace(user_id=users[local])

    def keep_webhooks(self, judged: list[JudgedLine], tally: _Tally) -> list[CapturedRow]:
        """The chunk's rows as they end: each says who is connected to a car, some also which local user that is."""
        users = self._users(judged)
        rows = [one.row._replace(user_id=users.get(one.local or "")) for one in judged]
        kept = [row for row in rows if row.outcome == "kept"]
        self._record(t.sightings, "vehicle_id", (_sighting(row) for row in kept), tally)
        self._record(t.personal, "user_id", (_personal(row) for row in kept if row.user_id), tally)
        return rows

    def _users(self, judged: list[JudgedLine]) -> dict[str, str]:
        return captures.known_users(self._company, {name for one in judged for name in (one.local, one.beside) if name})

    def _record(self, table: Any, by: str, rows: Iterable[dict[str, Any]], tally: _Tally) -> None:
        """Adds the rows that the ledger does not have yet; the others stay as they were seen first."""
        fresh = captures.news(self._ledger, table, list(rows), by)
        self._ledger.record(table, [{**row, "seen_at": self._now} for row in fresh])
        tally.new += len(fresh)


def _personal(row: CapturedRow) -> dict[str, Any]:
    return {"source": row.kind, "user_id": row.user_id, "smartcar_user_id": row.smartcar_user_id}


def _sighting(row: CapturedRow) -> dict[str, Any]:
    return {"source": row.kind, "vehicle_id": row.vehicle_id, "smartcar_user_id": row.smartcar_user_id}
