"""The kit's own tables, ``smartcar_ops_…``, the same in the company's database and in a file next to the reports.

This is their current form, which a new ledger gets; the numbered `steps` upgrade older ones.

Times are naive UTC. ``service`` and ``mode`` are the Smartcar service that a row came from, ``layout`` the company's
tables that its local ids belong to. The order of a primary key is also that of its index: the columns used in joins
come right after the scope.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from smartcar_ops.database.sql_types import Column

metadata = sa.MetaData()

ID, WORD, LOCAL = sa.String(36), sa.String(16), sa.String(191)
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
"""Microseconds on every database; MySQL's default of whole seconds would lose the order of runs within a second."""

EVIDENCE_FENCE = "evidence"
"""The row of ``fences`` whose number rises with each change of the evidence."""

EVERYTHING = "*"
"""The subject of an answer about a whole list or API."""

LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
LEASE = timedelta(seconds=90)
"""How long a lock lasts after its holder's last heartbeat."""

BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
"""MySQL's default type ends at 64 KiB."""


def as_kept(moment: datetime) -> datetime:
    """Return a time as these tables store it: naive UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _table(name: str, *columns: Column | sa.Index) -> sa.Table:
    return sa.Table(f"smartcar_ops_{name}", metadata, *columns)


def _scope() -> tuple[Column, ...]:
    return sa.Column("service", WORD, primary_key=True), sa.Column("mode", WORD, primary_key=True)


def _local_scope() -> tuple[Column, ...]:
    """The scope of rows with the company's own ids; with the layout, because two tables may have the same ids."""
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
"""Smartcar's connections as last listed; ``gone_at`` is set if a later complete listing lacked the row."""

sightings = _table(
    "sightings",
    *_scope(),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("smartcar_user_id", ID, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("seen_at", MOMENT, nullable=False),
    sa.Column("gone_at", MOMENT),
)
"""Users of vehicles according to other sources: V2 management and stored webhooks.

``gone_at`` is set if a later complete listing lacked the row.
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
"""Evidence about one local user only: a token's ``/user``, an ``externalId``, a Connect redirect.

``gone_at`` is set if a later complete listing lacked it. ``checked`` is 1 for a redirect whose state the company
itself checked: it counts even if no connection of its Smartcar user is known.
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
"""A person's decision for a user, which overrides all evidence; null: this user has no Smartcar id.

Earlier decisions remain in the runs, with the act ``decide``.
"""

ties = _table(
    "ties",
    *_local_scope(),
    sa.Column("local_vehicle_id", LOCAL, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("seen_at", MOMENT, nullable=False),
)
"""Links between the company's vehicles and Smartcar's, with their source."""

asked = _table(
    "asked",
    *_local_scope(),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("subject", LOCAL, primary_key=True),
    sa.Column("asked_at", MOMENT, nullable=False),
    sa.Column("answer", sa.String(64), nullable=False),
)
"""Queries with a final answer, so that asking again costs nothing.

The subject is ``*`` for ``connections``, ``management`` and ``v2`` (V2 has stopped), the local vehicle for
``tokens``, and Smartcar's vehicle for ``vins``, where the answer is a digest.
"""

tokens = _table(
    "tokens",
    *_scope(),
    sa.Column("digest", ID, primary_key=True),
    sa.Column("smartcar_user_id", ID),
    sa.Column("vehicles", LONG, nullable=False),
    sa.Column("asked_at", MOMENT, nullable=False),
)
"""What is known of each V2 token, by its digest: its user (null: refused) and its vehicles (JSON)."""

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
"""The newest answers of both versions for each vehicle: compressed JSON without VINs, places and tokens.

``slice`` is the name of the fleet reading that the row belongs to. ``answered`` is true if neither side failed as a
whole. ``open_paths`` is the number of V2 paths still to be read on another day.
"""

vehicle_units = _table(
    "vehicle_units",
    *_scope(),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("hour", MOMENT, primary_key=True),
    sa.Column("units", sa.Integer, nullable=False),
)
"""Reads of vehicles that have a limit, per hour (UTC)."""

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
"""All runs: audits, comparisons, plans, applies, undos, decisions; ``summary`` and ``calls`` are JSON.

An apply or undo also stores its progress, in the same transaction as each batch: total rows, rows by outcome, the
batch's number and the last heartbeat.
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
"""Every change to the company's rows, recorded in the same transaction as the change itself.

``reason`` is the database's error class for a failed row, ``undone_by`` the run that put back a written one.
``place`` is the row's position in its run, because growing keys are the cheapest to store.
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
"""The rows that each writing run is about to write, by the number of its lock; a run uses only its own rows.

``cars`` are the user's cars at the time of the plan.

On PostgreSQL the table is unlogged: after a crash it is empty, as the next run expects it.
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
"""One row per held lock; ``beat`` is the holder's last heartbeat by the database's clock."""

fences = _table(
    "fences",
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
)
"""The latest acquisition of each lock: its number, which only rises, and its run.

A batch locks this row in its own transaction, and writes only if the number is still its own.
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
"""The names of the company's tables for each ``layout``."""

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
"""Lists that lacked too many known rows, stored until they are confirmed; the rows are compressed JSON."""

unanswered = _table(
    "unanswered",
    *_local_scope(),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("subject", LOCAL, primary_key=True),
    sa.Column("days", sa.Integer, nullable=False),
    sa.Column("asked_at", MOMENT, nullable=False),
    sa.Column("error", sa.String(64), nullable=False),
)
"""Questions that Smartcar did not answer; sources and subjects as in `asked`, for ``compare`` the local vehicle.

``days`` is the number of days with a failure, ``asked_at`` the last attempt, ``error`` its failure. An answer deletes
the row.
"""

history = _table(
    "history",
    *_local_scope(),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("at", MOMENT, nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
    sa.Column("has_states", sa.Boolean, nullable=False),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Column("makes", LONG, nullable=False),
    sa.Column("strata", LONG, nullable=False),
    sa.Column("calls", sa.Text, nullable=False),
)
"""One snapshot per UTC day with an audit: users by bucket, the same by make, the comparison's groups, units spent.

``at`` is the start of the audit. ``counts``, ``makes``, ``strata`` and ``calls`` are JSON. ``has_states`` is true if
the users' states of that day are in `user_states`.
"""

user_states = _table(
    "user_states",
    *_local_scope(),
    sa.Column("user_id", LOCAL, primary_key=True),
    sa.Column("since", sa.Date, primary_key=True),
    sa.Column("until", sa.Date, nullable=False),
    sa.Column("bucket", WORD, nullable=False),
)
"""Each user's bucket as intervals of days, from ``since`` to before ``until``; only changes are stored."""
