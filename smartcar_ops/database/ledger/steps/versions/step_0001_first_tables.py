"""The first tables, as the kit created them before its ledger had versions."""

import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from smartcar_ops.database.ledger.steps import changing

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

metadata = sa.MetaData()

ID, WORD, LOCAL = sa.String(36), sa.String(16), sa.String(191)
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def _table(name: str, *columns: sa.Column[object]) -> sa.Table:
    return sa.Table(f"smartcar_ops_{name}", metadata, *columns)


def _scope() -> tuple[sa.Column[object], sa.Column[object]]:
    return sa.Column("service", WORD, primary_key=True), sa.Column("mode", WORD, primary_key=True)


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
)

sightings = _table(
    "sightings",
    *_scope(),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("smartcar_user_id", ID, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("seen_at", MOMENT, nullable=False),
)

personal = _table(
    "personal",
    *_scope(),
    sa.Column("user_id", LOCAL, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("smartcar_user_id", ID, primary_key=True),
    sa.Column("seen_at", MOMENT, nullable=False),
)

choices = _table(
    "choices",
    *_scope(),
    sa.Column("user_id", LOCAL, primary_key=True),
    sa.Column("smartcar_user_id", ID),
    sa.Column("chosen_by", sa.String(128), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("chosen_at", MOMENT, nullable=False),
)

ties = _table(
    "ties",
    *_scope(),
    sa.Column("local_vehicle_id", LOCAL, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("seen_at", MOMENT, nullable=False),
)

asked = _table(
    "asked",
    *_scope(),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("subject", LOCAL, primary_key=True),
    sa.Column("asked_at", MOMENT, nullable=False),
    sa.Column("answer", sa.String(64), nullable=False),
)

tokens = _table(
    "tokens",
    *_scope(),
    sa.Column("digest", ID, primary_key=True),
    sa.Column("smartcar_user_id", ID),
    sa.Column("vehicles", LONG, nullable=False),
    sa.Column("asked_at", MOMENT, nullable=False),
)

recordings = _table(
    "recordings",
    *_scope(),
    sa.Column("local_vehicle_id", LOCAL, primary_key=True),
    sa.Column("vehicle_id", ID, primary_key=True),
    sa.Column("slice", sa.String(64), nullable=False),
    sa.Column("answered", sa.Boolean, nullable=False),
    sa.Column("recorded_at", MOMENT, nullable=False),
    sa.Column("document", BYTES, nullable=False),
)

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
)

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

stage = _table(
    "stage",
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("table_name", WORD, nullable=False),
    sa.Column("row_id", LOCAL, nullable=False),
    sa.Column("user_id", LOCAL),
    sa.Column("column_name", sa.String(128), nullable=False),
    sa.Column("before_value", sa.String(255)),
    sa.Column("after_value", sa.String(255)),
)

locks = _table(
    "locks",
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("operator", sa.String(128), nullable=False),
    sa.Column("host", sa.String(128), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("beat", MOMENT, nullable=False),
)


def upgrade() -> None:
    """Create the missing tables, and give the database an id."""
    metadata.create_all(op.get_bind())
    changing.remember("database_id", str(uuid.uuid4()))
