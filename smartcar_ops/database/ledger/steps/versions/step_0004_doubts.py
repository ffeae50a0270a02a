"""Evidence missing from a later list is marked as gone, and a list that lacks too many rows is stored as suspect."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from smartcar_ops.database.ledger.steps import changing

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
WORD = sa.String(16)
PERSON = "ix_smartcar_ops_connections_person"

suspects = sa.Table(
    "smartcar_ops_suspects",
    sa.MetaData(),
    sa.Column("service", WORD, primary_key=True),
    sa.Column("mode", WORD, primary_key=True),
    sa.Column("source", WORD, primary_key=True),
    sa.Column("listed_at", MOMENT, nullable=False),
    sa.Column("known", sa.Integer, nullable=False),
    sa.Column("lost", sa.Integer, nullable=False),
    sa.Column("dropped", sa.Integer, nullable=False),
    sa.Column("document", BYTES, nullable=False),
)


def upgrade() -> None:
    """Add the columns that mark evidence as gone or checked, and the table of suspect lists."""
    for name in ("personal", "sightings"):
        changing.add_column(f"smartcar_ops_{name}", sa.Column("gone_at", MOMENT, nullable=True))
    checked = sa.Column("checked", sa.SmallInteger, nullable=False, server_default=sa.text("0"))
    changing.add_column("smartcar_ops_personal", checked)
    changing.create(suspects)
    if not changing.has_index("smartcar_ops_connections", PERSON):
        op.create_index(PERSON, "smartcar_ops_connections", ["service", "mode", "smartcar_user_id"])
