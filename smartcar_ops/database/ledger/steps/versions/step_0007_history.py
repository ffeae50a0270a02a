"""Every audit leaves a snapshot of its day, and each user's bucket is kept as intervals; earlier audits have theirs."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from smartcar_ops.database.ledger.steps import changing

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def _scope() -> tuple[sa.Column[str], ...]:
    return tuple(sa.Column(name, sa.String(16), primary_key=True) for name in ("service", "mode", "layout"))


history = sa.Table(
    "smartcar_ops_history",
    sa.MetaData(),
    *_scope(),
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
user_states = sa.Table(
    "smartcar_ops_user_states",
    sa.MetaData(),
    *_scope(),
    sa.Column("user_id", sa.String(191), primary_key=True),
    sa.Column("since", sa.Date, primary_key=True),
    sa.Column("until", sa.Date, nullable=False),
    sa.Column("bucket", sa.String(16), nullable=False),
)
runs = sa.table(
    "smartcar_ops_runs",
    *(sa.column(name, sa.String) for name in ("run_id", "service", "mode", "layout", "act", "summary", "calls")),
    sa.column("started", MOMENT),
)


def upgrade() -> None:
    """Create both tables, and give each day with an audit the snapshot that its runs still describe."""
    changing.create(history)
    changing.create(user_states)
    connection = op.get_bind()
    if connection.execute(sa.select(history.c.day).limit(1)).first() is None:
        rows = connection.execute(sa.select(runs).order_by(runs.c.started, runs.c.run_id)).mappings().all()
        if snapshots := list(_snapshots(rows).values()):
            connection.execute(sa.insert(history), snapshots)


def _snapshots(rows: Sequence[sa.RowMapping]) -> dict[object, dict[str, object]]:
    """Return the last audit of each day, but never an incomplete one in place of a complete one."""
    kept: dict[object, dict[str, object]] = {}
    spent: dict[object, dict[str, int]] = {}
    for row in rows:
        scope = row["service"], row["mode"], row["layout"]
        units = spent.setdefault(scope, {})
        for api, count in _object(row["calls"]).items():
            units[api] = units.get(api, 0) + int(count)
        summary = _object(row["summary"])
        if row["act"] != "audit" or not isinstance(summary.get("buckets"), dict):
            continue
        started: datetime = row["started"]
        complete = bool(summary.get("complete", True))
        before = kept.get((*scope, started.date()))
        if before is None or complete or not before["complete"]:
            kept[(*scope, started.date())] = {
                **dict(zip(("service", "mode", "layout"), scope, strict=True)),
                "day": started.date(),
                "at": started,
                "run_id": row["run_id"],
                "complete": complete,
                "has_states": False,
                "counts": json.dumps(summary["buckets"]),
                "makes": "{}",
                "strata": "[]",
                "calls": json.dumps(units),
            }
    return kept


def _object(text: str | None) -> dict[str, Any]:
    loaded = json.loads(text) if text else {}
    return loaded if isinstance(loaded, dict) else {}
