"""What was asked of each vehicle is counted by the hour, and a comparison that is split over days says what is open."""

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
    """Makes the place to count in; every recording that is there was read in one go."""
    changing.create(vehicle_units)
    open_paths = sa.Column("open_paths", sa.Integer, nullable=False, server_default=sa.text("0"))
    changing.add_column("smartcar_ops_recordings", open_paths)
