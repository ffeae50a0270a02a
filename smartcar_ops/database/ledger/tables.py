"""The kit's own tables, ``smartcar_ops_…``; the same in the company's database and in a file beside the reports.

The tables as they are now, and as a new ledger gets them; `steps` changes older ones, a numbered step at a time.

Times are naive UTC. ``service`` and ``mode`` say which Smartcar a row came from, ``layout`` which of the company's
tables its local ids belong to. A primary key's order is also that of its index: what judging joins by comes right after
the scope.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData()

ID, WORD, LOCAL = sa.String(36), sa.String(16), sa.String(191)
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
"""To the microsecond everywhere: MySQL's own would cut the order of acts within a second."""

EVIDENCE_FENCE = "evidence"
"""The row of ``fences`` whose number rises with each change of what is known."""

EVERYTHING = "*"
"""The subject of what was asked about a whole list, or a whole API."""

LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
LEASE = timedelta(seconds=90)
"""For how long a lock is held after its holder's last beat."""

BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
"""MySQL's own end at 64 KiB."""


def as_kept(moment: datetime) -> datetime:
    """A moment as these tables keep it: naive UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _table(name: str, *columns: sa.Column[Any] | sa.Index) -> sa.Table:
    return sa.Table(f"smartcar_ops_{name}", metadata, *columns)


def _scope() -> tuple[sa.Column[Any], ...]:
    return sa.Column("service", WORD, primary_key=True), sa.Column("mode", WORD, primary_key=True)


def _local_scope() -> tuple[sa.Column[Any], ...]:
    """The scope of what is keyed by the company's own ids: two tables of one database may have the same ones."""
    return *_scope(), sa.Column("layout", WORD, primary_key=True)


meta = _table("meta", sa.Column("name", sa.String(64), primary_key=True), sa.Column("value", sa.Text, nullable=False))

connections = _table(
    "connections",
    *_scope(),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("smartcar_user_id", ID, primary_key=True),
    sa.Column("connection_id", ID),
    sa.Column("make", sa.String(64), nullable=False),
    sa.Column("model", sa.String(128), nullable=False),
    sa.Column("year", sa.Integer),
    sa.Column("powertrain", WORD, nullable=False),
    sa.Column("permissions", sa.Text),
    sa.Column("external_id", sa.String(255)),
    sa.Column("first_seen", MOMENT, nullable=False),
    sa.Column("gone_at", MOMENT),
    sa.Index("ix_smartcar_ops_connections_person", "service", "mode", "smartcar_user_id"),
)
"""The mirror of Smartcar's connections; ``gone_at`` where a later whole listing no longer had the row."""

sightings = _table(
    "sightings",
    *_scope(),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("smartcar_user_id", ID, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("seen_at", MOMENT, nullable=False),
    sa.Column("gone_at", MOMENT),
)
"""Who else names a user of a vehicle: V2 management, stored webhooks.

``gone_at`` where a later whole listing no longer had the row.
"""

personal = _table(
    "personal",
    *_local_scope(),
    sa.Column("user_id", LOCAL, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("smartcar_user_id", ID, primary_key=True),
    sa.Column("seen_at", MOMENT, nullable=False),
    sa.Column("gone_at", MOMENT),
    sa.Column("checked", sa.SmallInteger, nullable=False, default=0, server_default=sa.text("0")),
)
"""Evidence that speaks for one local user alone: a token's ``/user``, an ``externalId``, a Connect redirect.

``gone_at`` where a later whole listing no longer had it. ``checked`` is 1 for a redirect of which the company itself
checked the state: it speaks although no connection of its Smartcar user is known.
"""

choices = _table(
    "choices",
    *_local_scope(),
    sa.Column("user_id", LOCAL, primary_key=True),
    sa.Column("smartcar_user_id", ID),
    sa.Column("chosen_by", sa.String(128), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("chosen_at", MOMENT, nullable=False),
)
"""What a person decided for a user, the last word on it; null: this user has no Smartcar id.

Earlier choices stay in the runs, act ``decide``.
"""

ties = _table(
    "ties",
    *_local_scope(),
    sa.Column("local_vehicle_id", LOCAL, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("seen_at", MOMENT, nullable=False),
)
"""Which of the company's cars is which of Smartcar's, and how that is known."""

asked = _table(
    "asked",
    *_local_scope(),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("subject", LOCAL, primary_key=True),
    sa.Column("asked_at", MOMENT, nullable=False),
    sa.Column("answer", sa.String(64), nullable=False),
)
"""What was asked and finally answered, so that asking twice costs nothing.

``connections``, ``management``, ``v2`` (that it has stopped): subject ``*``; ``tokens``: the local vehicle; ``vins``:
Smartcar's vehicle, the answer a digest.
"""

tokens = _table(
    "tokens",
    *_scope(),
    sa.Column("digest", ID, primary_key=True),
    sa.Column("smartcar_user_id", ID),
    sa.Column("vehicles", LONG, nullable=False),
    sa.Column("asked_at", MOMENT, nullable=False),
)
"""What a V2 token said of itself, by its digest: whose it is (null: refused), and which vehicles it opens (JSON)."""

recordings = _table(
    "recordings",
    *_local_scope(),
    sa.Column("local_vehicle_id", LOCAL, primary_key=True),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("slice", sa.String(64), nullable=False),
    sa.Column("answered", sa.Boolean, nullable=False),
    sa.Column("recorded_at", MOMENT, nullable=False),
    sa.Column("document", BYTES, nullable=False),
    sa.Column("open_paths", sa.Integer, nullable=False, default=0, server_default=sa.text("0")),
)
"""What both versions answered about a car, the newest of each: JSON without VINs, places and tokens, compressed.

``slice`` names the reading of a fleet that this row is part of; ``answered`` says that neither side failed as a whole;
``open_paths`` how many of V2's paths are left for another day.
"""

vehicle_units = _table(
    "vehicle_units",
    *_scope(),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("hour", MOMENT, primary_key=True),
    sa.Column("units", sa.Integer, nullable=False),
)
"""What was asked of a vehicle that a limit binds, by the hour (UTC)."""

runs = _table(
    "runs",
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("notebook", sa.String(64), nullable=False),
    sa.Column("act", WORD, nullable=False),
    sa.Column("status", WORD, nullable=False),
    sa.Column("requested", WORD, nullable=False, default=""),
    sa.Column("operator", sa.String(128), nullable=False),
    sa.Column("host", sa.String(128), nullable=False),
    sa.Column("service", WORD, nullable=False),
    sa.Column("mode", WORD, nullable=False),
    sa.Column("plan", sa.String(255)),
    sa.Column("started", MOMENT, nullable=False),
    sa.Column("ended", MOMENT),
    sa.Column("summary", sa.Text),
    sa.Column("calls", sa.Text),
    sa.Column("total", sa.Integer),
    sa.Column("written", sa.Integer),
    sa.Column("skipped", sa.Integer),
    sa.Column("failed", sa.Integer),
    sa.Column("batch", sa.Integer),
    sa.Column("beat", MOMENT),
    sa.Column("layout", WORD, nullable=False),
    sa.Column("token", sa.BigInteger),
)
"""Who did what: audits, comparisons, plans, applies, undos, choices; ``summary`` and ``calls`` are JSON.

An apply or an undo also keeps how far it is: rows in all, rows by outcome, its batch, its last sign of life; written
in the same transaction as the batch itself.
"""

changes = _table(
    "changes",
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("table_name", WORD, nullable=False),
    sa.Column("row_id", LOCAL, nullable=False),
    sa.Column("user_id", LOCAL),
    sa.Column("column_name", sa.String(128), nullable=False),
    sa.Column("before_value", sa.String(255)),
    sa.Column("after_value", sa.String(255)),
    sa.Column("outcome", WORD, nullable=False),
    sa.Column("reason", sa.String(64)),
    sa.Column("undone_by", sa.String(64)),
    sa.Column("at", MOMENT, nullable=False),
)
"""Every change to the company's rows, written in the same transaction as the change itself.

``reason`` is the database's class of error for a failed row; ``undone_by`` the run that put a written one back.
A row's ``place`` is that in its run: keys that only grow are the cheapest to keep.
"""

stage = _table(
    "stage",
    sa.Column("token", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("table_name", WORD, nullable=False),
    sa.Column("row_id", LOCAL, nullable=False),
    sa.Column("user_id", LOCAL),
    sa.Column("column_name", sa.String(128), nullable=False),
    sa.Column("before_value", sa.String(255)),
    sa.Column("after_value", sa.String(255)),
    sa.Column("cars", LONG),
)
"""What each act that writes is about to write, by the number of its lock: it reads and clears its own rows alone.

``cars`` are a user's cars when it was planned.

PostgreSQL keeps it out of its log: after a crash it is empty, as the next act wants it.
"""
unlogged = sa.DDL("ALTER TABLE %(table)s SET UNLOGGED, SET (autovacuum_enabled = false)")  # type: ignore[no-untyped-call]
sa.event.listen(stage, "after_create", unlogged.execute_if(dialect="postgresql"))

locks = _table(
    "locks",
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("operator", sa.String(128), nullable=False),
    sa.Column("host", sa.String(128), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("beat", MOMENT, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("process", sa.String(128), nullable=False),
)
"""One row per held lock, ``beat`` by the database's own clock; a holder that stopped beating has lost it."""

fences = _table(
    "fences",
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
)
"""The newest taking of each lock: its number, which only rises, and its run.

A batch locks this row in its own transaction and writes only if the number is still its own.
"""

layouts = _table(
    "layouts",
    sa.Column("layout", WORD, primary_key=True),
    *(
        sa.Column(f"{section}_{name}", sa.String(128), nullable=False)
        for section in ("users", "vehicles")
        for name in ("schema", "table", "id")
    ),
)
"""Which tables of the company a ``layout`` stands for, in clear."""

suspects = _table(
    "suspects",
    *_scope(),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("listed_at", MOMENT, nullable=False),
    sa.Column("known", sa.Integer, nullable=False),
    sa.Column("lost", sa.Integer, nullable=False),
    sa.Column("dropped", sa.Integer, nullable=False),
    sa.Column("document", BYTES, nullable=False),
)
"""A list that lost too much of what was known, kept aside until it is confirmed: its rows as compressed JSON."""

unanswered = _table(
    "unanswered",
    *_local_scope(),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("subject", LOCAL, primary_key=True),
    sa.Column("days", sa.Integer, nullable=False),
    sa.Column("asked_at", MOMENT, nullable=False),
    sa.Column("error", sa.String(64), nullable=False),
)
"""Questions that Smartcar gave no answer to, as `asked` names them; ``compare``: the local vehicle.

``days`` is on how many days, ``asked_at`` when last, ``error`` what came instead. An answer takes the row away.
"""
