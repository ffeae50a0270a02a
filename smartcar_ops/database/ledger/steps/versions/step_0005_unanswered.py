"""Unanswered questions are stored, so that one that fails for days is given up and reported."""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from smartcar_ops.database.ledger.steps import changing

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
WORD, LOCAL = sa.String(16), sa.String(191)

unanswered = sa.Table(
    "smartcar_ops_unanswered",
    sa.MetaData(),
    sa.Column("service", WORD, primary_key=True),
    sa.Column("mode", WORD, primary_key=True),
    sa.Column("layout", WORD, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("subject", LOCAL, primary_key=True),
    sa.Column("days", sa.Integer, nullable=False),
    sa.Column("asked_at", MOMENT, nullable=False),
    sa.Column("error", sa.String(64), nullable=False),
)


def upgrade() -> None:
    """Create their table."""
    changing.create(unanswered)
