"""One user's story: all that is known about a user, with source and date, and what the kit would do and why."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from IPython.display import HTML

from smartcar_ops.audit import choices
from smartcar_ops.audit.result import ACTIONS, disputed, judged_parts
from smartcar_ops.backfill.planner import decided_rows
from smartcar_ops.database.evidence import one_user
from smartcar_ops.database.evidence.one_user import OneUser, open_around
from smartcar_ops.database.ledger.history.user_states import STILL
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.display import tables
from smartcar_ops.errors import ParameterError

SHOWN = 50
"""Rows of each table that are shown."""

WOULD = {
    "set": "The next backfill sets {proposed}: {reason}.",
    "keep": "A backfill leaves the stored id as it is: {reason}.",
    "conflict": "A backfill leaves this user alone until a person decides: {reason}.",
    "skip": "A backfill sets nothing: {reason}.",
}
"""What a backfill would do about the user's own row, by the plan's decision."""

SOURCES = {
    "connections": "V3 connections",
    "external_id": "external_id of a V3 connection",
    "management": "V2 management list",
    "redirects": "Connect redirect",
    "stored": "your own column",
    "tokens": "V2 token",
    "vins": "VIN on V3",
    "webhooks": "webhook",
}
"""What a source is, in words."""

CELLS = {
    "vehicles": ("local_vehicle_id", "vehicle_id", "car", "linked_by", "since", "current", "decision", "reason"),
    "evidence": ("smartcar_user_id", "source", "about", "vehicle_id", "seen_at", "state"),
    "changes": ("at", "run_id", "by", "table", "row_id", "column", "before", "after", "outcome", "note"),
    "history": ("since", "until", "bucket"),
}
"""The columns of a story's tables; all cells are text."""

TITLES = {
    "vehicles": "Vehicles, what links each to a Smartcar vehicle, and what a backfill would do",
    "evidence": "Evidence: who is named for this user, by which source",
    "changes": "Changes that the kit made or tried, newest first",
    "history": "Bucket, day by day",
}

Row = Mapping[str, object]
Cells = Iterator[tuple[object, ...]]


@dataclass(frozen=True)
class UserStory:
    """What is known about one user; in JupyterLab displayed with its tables.

    ``stored`` is the stored id as it may be shown. ``bucket``, ``reason`` and ``next_action`` are the audit's.
    ``would`` is what a backfill would do, and ``decision`` who decided what and why (empty if nobody did).
    ``decide`` are the commands that record a decision, if a person must make one. The tables' columns are in `CELLS`.
    """

    user_id: str
    stored: str
    bucket: str
    reason: str
    next_action: str
    would: str
    decision: str
    decide: tuple[str, ...]
    vehicles: pd.DataFrame
    evidence: pd.DataFrame
    changes: pd.DataFrame
    history: pd.DataFrame

    @property
    def sentences(self) -> tuple[str, ...]:
        """The story in sentences, the most important one first."""
        stored = f"Stored id: {self.stored}." if self.stored else "No Smartcar id is stored."
        next_action = "" if self.next_action == "nothing" else f"Next: {self.next_action}."
        first = f"User {self.user_id} is {self.bucket}: {self.reason}."
        return tuple(filter(None, (first, stored, self.would, self.decision, next_action)))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables with rows, by title."""
        found = {name: getattr(self, name) for name in CELLS}
        return {TITLES[name]: frame for name, frame in found.items() if len(frame)}

    def __repr__(self) -> str:
        return "\n".join((*self.sentences, *self.decide))

    def _repr_html_(self) -> str:
        first, *others = self.sentences
        shown = [HTML(f"<p><strong>{html.escape(first)}</strong></p>"), *map(tables.sentence, others)]  # type: ignore[no-untyped-call]
        if self.decide:
            shown.append(tables.whole(pd.DataFrame({"decide": self.decide})))
        for title, frame in self.tables().items():
            shown.append(HTML(f"<h4>{html.escape(title)}</h4>"))  # type: ignore[no-untyped-call]
            shown.append(tables.first(_linked(frame), SHOWN))
        return str(tables.together(*shown).data)


def read_story(company: Company, ledger: Ledger, user_id: str, now: datetime) -> UserStory:
    """Return all that is known about a user of the company; makes no API call and writes nothing.

    ParameterError if there is no such user.
    """
    known = company.known({user_id}).get(user_id)
    if known is None:
        where = " that [users] where includes" if company.layout.users.where else ""
        raise ParameterError(
            f"user: there is no user {user_id[:40]!r}; expected an id of the table {company.users.name}{where}."
        )
    decided = ledger.choices()
    with open_around(company, ledger, known, now) as workspace:
        facts = OneUser(workspace, known)
        parts = list(judged_parts(workspace, facts, disputed(workspace, facts)))
        rows = pd.concat([*decided_rows(workspace, facts, parts, company.layout, decided)], ignore_index=True)
        links, personal, by_car = (
            [*workspace.rows(query)] for query in (facts.links_found(), facts.personal_found(), facts.cars_found())
        )
    (person,) = pd.concat(parts).query("user_id == @known").to_dict("records")
    (own,) = rows[(rows["table"] == "users") & (rows["user_id"] == known)].to_dict("records")
    cars = rows[(rows["table"] == "vehicles") & (rows["user_id"] == known)]
    stored, evidence = _text(person["shown"]), _text(person["evidence"])
    choice = [_chosen(row) for row in one_user.choice(ledger, known)]
    return UserStory(
        user_id=known,
        stored=stored,
        bucket=person["bucket"],
        reason=person["reason"],
        next_action=ACTIONS[person["bucket"]],
        would=WOULD[own["decision"]].format(**own),
        decision="".join(choice),
        decide=choices.commands(known, choices.ids_in(stored, evidence)) if own["decision"] == "conflict" else (),
        vehicles=_frame("vehicles", _vehicles(cars, links, by_car)),
        evidence=_frame("evidence", _evidence(personal, by_car)),
        changes=_frame("changes", map(_change, one_user.changes(ledger, known))),
        history=_frame("history", map(_state, one_user.states(ledger, known))),
    )


def _vehicles(cars: pd.DataFrame, links: Sequence[Row], by_car: Sequence[Row]) -> Cells:
    """Yield the rows of ``vehicles``: for each column that a backfill may set, and each link of the car."""
    models = {row["vehicle_id"]: row for row in by_car if row["make"]}
    for car in cars.itertuples(index=False):
        mine = [link for link in links if link["local_vehicle_id"] == car.row_id]
        for vehicle_id in dict.fromkeys(link["vehicle_id"] for link in mine):
            found = [link for link in mine if link["vehicle_id"] == vehicle_id and link["source"]]
            model = models.get(vehicle_id, {})
            words = (_text(model.get(name)) for name in ("make", "model", "powertrain"))
            yield (
                car.row_id,
                _text(vehicle_id),
                " ".join(filter(None, words)),
                ", ".join(dict.fromkeys(_source(link["source"]) for link in found)) or "nothing yet",
                min(filter(None, (_moment(link["seen_at"]) for link in found)), default=""),
                f"{car.column}: {_text(car.current) or 'nothing'}",
                f"set {car.proposed}" if car.decision == "set" else car.decision,
                car.reason,
            )


def _evidence(personal: Sequence[Row], by_car: Sequence[Row]) -> Cells:
    """Yield the rows of ``evidence``, what speaks for the user alone first."""
    for row in personal:
        yield row["smartcar_user_id"], _source(row["source"]), "this user alone", "", *_when(row)
    for row in by_car:
        about = f"vehicle {row['local_vehicle_id']}"
        yield row["smartcar_user_id"], _source(row["source"]), about, row["vehicle_id"], *_when(row)


def _when(row: Row) -> tuple[str, str]:
    """Return when a piece of evidence was first seen, and whether it counts."""
    if row["gone_at"] is not None:
        state = f"not listed since {_moment(row['gone_at'])}: proves nothing, but still contradicts"
    else:
        state = "counts" if row["counts"] else "does not count: no connection of this Smartcar user is listed"
    return _moment(row["seen_at"]), state


def _change(row: Row) -> tuple[object, ...]:
    undone = f"undone by {row['undone_by']}" if row["undone_by"] else ""
    note = "; ".join(filter(None, (_text(row["reason"]), undone)))
    named = (row[name] for name in ("run_id", "operator", "table", "row_id", "column", "before", "after", "outcome"))
    return _moment(row["at"]), *named, note


def _state(row: Row) -> tuple[object, ...]:
    return row["since"], "" if row["until"] == STILL else row["until"], row["bucket"]


def _chosen(row: Row) -> str:
    id = row["smartcar_user_id"] or "no Smartcar id"
    return f"{row['chosen_by']} chose {id} on {_moment(row['chosen_at'])}: {_text(row['reason']).rstrip('.')}."


def _source(name: object) -> str:
    return SOURCES.get(_text(name), _text(name))


def _moment(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _linked(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with vehicle ids that lead to the vehicle's comparison."""
    if "vehicle_id" not in frame:
        return frame
    ids = [tables.vehicle(id) if id else "" for id in frame["vehicle_id"]]
    return frame.assign(vehicle_id=pd.Series(ids, index=frame.index, dtype="object"))


def _frame(name: str, rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    return pd.DataFrame(cells, columns=list(CELLS[name]), dtype="str")
