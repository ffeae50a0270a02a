"""Each acquisition of a lock gets a rising number, staged rows belong to a run, and plans have a key.

An older kit can't insert a lock without a number, so it reports that another run holds the lock.
"""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from smartcar_ops.database.ledger.steps import changing

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
WORD, LOCAL = sa.String(16), sa.String(191)

fences = sa.Table(
    "smartcar_ops_fences",
    sa.MetaData(),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
)
locks = sa.Table(
    "smartcar_ops_locks",
    sa.MetaData(),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("operator", sa.String(128), nullable=False),
    sa.Column("host", sa.String(128), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("beat", MOMENT, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("process", sa.String(128), nullable=False),
)
stage = sa.Table(
    "smartcar_ops_stage",
    sa.MetaData(),
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
unlogged = sa.DDL("ALTER TABLE %(table)s SET UNLOGGED, SET (autovacuum_enabled = false)")  # type: ignore[no-untyped-call]
sa.event.listen(stage, "after_create", unlogged.execute_if(dialect="postgresql"))


def upgrade() -> None:
    """Recreate the tables of locks and staged rows, whose rows are not needed because no run is under way."""
    changing.create(fences)
    connection = op.get_bind()
    if connection.execute(sa.select(fences).where(fences.c.name == "evidence")).first() is None:
        connection.execute(sa.insert(fences), [{"name": "evidence", "token": 0, "run_id": ""}])
    changing.remember("plan_key", secrets.token_hex(32))
    changing.replace(stage, unless="token")
    changing.replace(locks, unless="token")
    changing.add_column("smartcar_ops_runs", sa.Column("token", sa.BigInteger, nullable=True))
