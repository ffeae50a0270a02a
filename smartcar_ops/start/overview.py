"""The first thing to see: where the kit acts, and for each step of the migration its last run and what to do next."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pandas as pd

from smartcar_ops.backfill.backfill import what_next
from smartcar_ops.database.ledger import acts
from smartcar_ops.database.ledger.history.days import History, Snapshot
from smartcar_ops.database.ledger.ledger import Ledger, Scope, in_database
from smartcar_ops.database.ledger.runs import Run, Runs
from smartcar_ops.database.tables import Company
from smartcar_ops.display import tables
from smartcar_ops.errors import SmartcarOpsError, outcome_of
from smartcar_ops.settings.environment import Settings
from smartcar_ops.text import thousands

CHECK, SCHEMA, AUDIT = "00_start_here", "40_schema_phases", "20_audit_user_ids"
COMPARE, CAPTURE, BACKFILL = "10_compare_v2_v3", "50_capture_user_ids", "30_backfill_user_ids"
PROGRESS = "90_progress_report"

OLD = timedelta(days=2)
"""The age from which an audit is repeated: tokens, connections and your own rows have changed since."""

LONGEST = 160
"""Characters of a run's verdict that are shown."""


@dataclass(frozen=True)
class Step:
    """One step of the migration: the notebook that does it, what it answers, and the units it costs."""

    notebook: str
    name: str
    answers: str
    costs: str


STEPS = (
    Step(CHECK, "Check", "Is everything set up?", "at most 5 units"),
    Step(SCHEMA, "Schema", "Do the columns exist?", "nothing"),
    Step(
        AUDIT,
        "Audit",
        "Which users have no Smartcar user id, and why?",
        "2 units per 100 connections, then 1 or 2 per vehicle that is not linked; shown first",
    ),
    Step(
        COMPARE,
        "Compare",
        "Do V2 and V3 return the same data?",
        "one V2 batch and one or two V3 reads per vehicle; shown first",
    ),
    Step(CAPTURE, "Capture", "Which ids did your redirects and webhooks bring?", "nothing"),
    Step(BACKFILL, "Backfill", "Which ids can be filled in?", "a plan as much as an audit; applying nothing"),
    Step(PROGRESS, "Progress", "How far are you, and does the rest fit before the deadline?", "nothing"),
)
"""The steps in the order of the work."""


@dataclass(frozen=True)
class Overview:
    """Where the kit acts, the newest run of each step, and what to do next. ``problem`` says why nothing is known.

    ``next_steps`` has the notebooks with something to do, in the order of the work; the first one is next.
    """

    where: str
    newest: Mapping[str, Run] = field(default_factory=dict)
    next_steps: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    def table(self) -> pd.DataFrame:
        """Return one row per step: what it answers and costs, its last run, and what to do next."""
        rows = [
            (step.name, step.notebook, step.answers, step.costs, self._last_run(step), self._next(step))
            for step in STEPS
        ]
        return pd.DataFrame(rows, columns=["step", "notebook", "answers", "costs", "last_run", "next_step"])

    def __repr__(self) -> str:
        return f"Acting on {self.where}. {self.verdict}"

    @property
    def verdict(self) -> str:
        """What to do next, in one sentence."""
        if self.problem:
            return self.problem
        for notebook, words in self.next_steps.items():
            return f"Next: {notebook}: {words}"
        return "Nothing is left to do."

    def _repr_html_(self) -> str:
        shown = [
            f"<p><strong>Acting on</strong> {html.escape(self.where)}.</p><p>{html.escape(self.verdict)}</p>",
            tables.LEFT,
            "<table class='smartcar-ops'><caption>The steps, in the order of the work</caption><thead><tr>",
            *(f"<th scope='col'>{name}</th>" for name in ("Step", "What it answers", "Costs", "Last run", "Next")),
            "</tr></thead><tbody>",
            *map(self._row, STEPS),
            "</tbody></table>",
        ]
        return "".join(shown)

    def _row(self, step: Step) -> str:
        link = f"<a href='{step.notebook}.ipynb'>{step.name}</a>"
        cells = [html.escape(words) for words in (step.answers, step.costs, self._last_run(step), self._next(step))]
        if next(iter(self.next_steps), "") == step.notebook:
            cells[-1] = f"<strong>{cells[-1]}</strong>"
        return f"<tr><th scope='row'>{link}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"

    def _last_run(self, step: Step) -> str:
        run = self.newest.get(step.notebook)
        if run is None:
            return "unknown" if self.problem else "never"
        verdict = str(run.summary.get("verdict") or "")
        shown = verdict if len(verdict) <= LONGEST else f"{verdict[:LONGEST]}…"
        state = acts.state(run) if run.writes else run.status.value
        return f"{run.started:%Y-%m-%d %H:%M} UTC, {state}{f': {shown}' if shown else ''}"

    def _next(self, step: Step) -> str:
        return self.next_steps.get(step.notebook, "")


def overview(settings: Settings, now: datetime | None = None) -> Overview:
    """Return the overview; a handful of statements, no call, whatever the number of users.

    What can't be known (no database, a ledger of an older version) is one sentence in it, not an error.
    """
    try:
        company = Company.connect(settings.database_url.get_secret_value(), settings.layout)
        try:
            return _read(settings, company, now or datetime.now(UTC))
        finally:
            company.engine.dispose()
    except (SmartcarOpsError, OSError) as error:  # the latter: the ledger's file can't be made
        return Overview(settings.where, problem=outcome_of(error)[1])


def _read(settings: Settings, company: Company, now: datetime) -> Overview:
    ledger = Ledger.open(company, Scope(settings.service, settings.mode), settings.reports)
    try:
        runs, history = Runs(ledger), History(ledger).newest()
        newest = {notebook: runs.seen(run) if run.writes else run for notebook, run in runs.newest().items()}
        return Overview(settings.where, newest, _next_steps(settings, company, ledger, newest, history, now))
    finally:
        ledger.engine.dispose()


def _next_steps(
    settings: Settings,
    company: Company,
    ledger: Ledger,
    newest: Mapping[str, Run],
    snapshot: Snapshot | None,
    now: datetime,
) -> dict[str, str]:
    """Return what to do, by notebook, in the order in which it should be done."""
    found: dict[str, str] = {}
    writing = Runs(ledger).writing()
    if writing is not None and acts.can_continue(writing):
        found[BACKFILL] = what_next(Runs(ledger), writing, settings.reports)
    elif writing is not None and writing.is_running:
        found[BACKFILL] = f"{acts.name(writing)} is {acts.state(writing)}; its panel can pause and resume it."
    if CHECK not in newest:
        found[CHECK] = "Check the settings, the database and Smartcar."
    if company.phase in ("before", "partial") or not in_database(company.engine):
        found[SCHEMA] = "Add the two columns and the kit's own tables: apply = True."
    if snapshot is None:
        found[AUDIT] = "Find out who lacks an id."
    elif now - snapshot.at > OLD:
        found[AUDIT] = f"Audit again: the last one is {(now - snapshot.at).days} days old."
    if COMPARE not in newest and settings.v2 != "off":
        found[COMPARE] = "Read the first 25 vehicles on both versions."
    if snapshot is not None:
        _add_backfill(found, snapshot)
        if PROGRESS not in newest or newest[PROGRESS].began < snapshot.at:
            found[PROGRESS] = "See where you stand since the last audit."
    return found


def _add_backfill(found: dict[str, str], snapshot: Snapshot) -> None:
    """Add what the last audit left to plan or to decide."""
    ready = snapshot.counts.get("ready", 0)
    people = sum(snapshot.counts.get(bucket, 0) for bucket in ("conflict", "shared", "invalid"))
    words = [f"Plan, then apply: {thousands(ready, 'users')} were ready at the last audit."] if ready else []
    if people:
        words.append(f"A person decides about {thousands(people, 'users')}.")
    if words:
        found.setdefault(BACKFILL, " ".join(words))
