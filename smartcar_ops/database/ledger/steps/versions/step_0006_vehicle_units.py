"""Reads of each vehicle are counted per hour, and a comparison split over days stores its open paths."""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from smartcar_ops.database.ledger.steps import changing

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

vehicle_units = sa.Table(
    "smartcar_ops_vehicle_units",
    sa.MetaData(),
    sa.Column("service", sa.String(16), primary_key=True),
    sa.Column("mode", sa.String(16), primary_key=True),
    sa.Column("vehicle_id", sa.String(36), primary_key=True),
    sa.Column("hour", MOMENT, primary_key=True),
    sa.Column("units", sa.Integer, nullable=False),
)


def upgrade() -> None:
    """Create the table for the counts; existing recordings have no open paths."""
    changing.create(vehicle_units)
    open_paths = sa.Column("open_paths", sa.Integer, nullable=False, server_default=sa.text("0"))
    changing.add_column("smartcar_ops_recordings", open_paths)
