"""Evidence and runs get the layout of the company's tables they refer to; existing rows get the current layout."""

import sqlalchemy as sa
from alembic import op

from smartcar_ops.database.ledger.steps import changing

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WORD = sa.String(16)
KEYED = {
    "personal": ("service", "mode", "layout", "user_id", "source", "smartcar_user_id"),
    "choices": ("service", "mode", "layout", "user_id"),
    "ties": ("service", "mode", "layout", "local_vehicle_id", "source", "vehicle_id"),
    "asked": ("service", "mode", "layout", "source", "subject"),
    "recordings": ("service", "mode", "layout", "local_vehicle_id", "vehicle_id"),
}

layouts = sa.Table(
    "smartcar_ops_layouts",
    sa.MetaData(),
    sa.Column("layout", WORD, primary_key=True),
    *(
        sa.Column(f"{section}_{name}", sa.String(128), nullable=False)
        for section in ("users", "vehicles")
        for name in ("schema", "table", "id")
    ),
)


def upgrade() -> None:
    """Store the layout, and add it to every key that contains one of the company's own ids."""
    key, row = changing.layout()
    changing.create(layouts)
    connection = op.get_bind()
    if connection.execute(sa.select(layouts).where(layouts.c.layout == key)).first() is None:
        connection.execute(sa.insert(layouts), [{"layout": key, **row}])
    for name, columns in KEYED.items():
        changing.add_to_key(f"smartcar_ops_{name}", sa.Column("layout", WORD), columns, key)
    changing.add_column("smartcar_ops_runs", sa.Column("layout", WORD, nullable=False, server_default=key))
    _keep_open_slices(connection, key)


def _keep_open_slices(connection: sa.Connection, key: str) -> None:
    """Rename the stored selection of an interrupted comparison to include the layout, so that it can continue."""
    meta = sa.table("smartcar_ops_meta", sa.column("name"))
    named = sa.select(meta.c.name).where(meta.c.name.like("slice:%:%"), meta.c.name.not_like("slice:%:%:%"))
    for name in connection.execute(named).scalars().all():
        connection.execute(sa.update(meta).where(meta.c.name == name).values(name=f"{name}:{key}"))
