"""The pretend company: its two tables before the move to V3, and its Connect callback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from smartcar_ops.sandbox.world import World

BEFORE = sa.MetaData()
# DateTime is TIMESTAMP on PostgreSQL. MySQL's TIMESTAMP would convert time zones by session and update itself.
USERS = sa.Table(
    "users",
    BEFORE,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("email", sa.String(255)),
    sa.Column("name", sa.String(255)),
    sa.Column("created_at", sa.DateTime),
)
VEHICLES = sa.Table(
    "vehicles",
    BEFORE,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id")),
    sa.Column("vin", sa.String(17)),
    sa.Column("vehicle_access_token", sa.String(255)),
    sa.Column("token_created_at", sa.DateTime),
)
REFRESH_TOKENS = sa.table("vehicles", sa.column("id"), sa.column("vehicle_refresh_token"))
STORED_IDS = sa.table("users", sa.column("id"), sa.column("smartcar_user_id"))


def create_database(url: str, world: World, *, refresh_tokens: bool = False) -> None:
    """Create the tables `users` and `vehicles` with the world's rows, in an empty database at any SQLAlchemy URL.

    Times are naive UTC with whole seconds. `refresh_tokens`: the company also keeps V2's refresh tokens, in
    `vehicles.vehicle_refresh_token` (the migration guide's schema has no such column).
    """
    users = [{"id": u.id, "email": u.email, "name": u.name, "created_at": _naive(u.created_at)} for u in world.users]
    vehicles = [
        {
            "id": vehicle.id,
            "user_id": vehicle.user_id,
            "vin": vehicle.vin,
            "vehicle_access_token": vehicle.token,
            "token_created_at": _naive(vehicle.token_created_at),
        }
        for vehicle in world.vehicles
    ]
    with _connection(url) as connection:
        BEFORE.create_all(connection, checkfirst=False)
        connection.execute(sa.insert(USERS), users)
        if vehicles:
            connection.execute(sa.insert(VEHICLES), vehicles)
        if refresh_tokens:
            _add_refresh_tokens(connection, world)


def _add_refresh_tokens(connection: sa.Connection, world: World) -> None:
    connection.execute(sa.text("ALTER TABLE vehicles ADD COLUMN vehicle_refresh_token VARCHAR(255)"))
    tokens = [{"key": v.id, "text": world.tokens[v.token].refresh_token} for v in world.vehicles]
    if tokens:
        change = sa.update(REFRESH_TOKENS).where(REFRESH_TOKENS.c.id == sa.bindparam("key"))
        connection.execute(change.values(vehicle_refresh_token=sa.bindparam("text")), tokens)


def play_connect_callbacks(url: str, world: World) -> int:
    """Write to `users.smartcar_user_id` what each user's Connect callback stores. Return the number of rows written.

    Spaces around an id are kept only if the column is wide enough. Raises LookupError if the column does not exist
    yet: the callback can't store anything before `expand`.
    """
    with _connection(url) as connection:
        columns = {column["name"]: column["type"] for column in sa.inspect(connection).get_columns("users")}
        if "smartcar_user_id" not in columns:
            raise LookupError("sandbox: users has no column smartcar_user_id, expand the schema first")
        width = getattr(columns["smartcar_user_id"], "length", None)
        stored = [
            {"key": user.id, "text": _fitting(user.stores, width)} for user in world.users if user.stores is not None
        ]
        if stored:
            change = sa.update(STORED_IDS).where(STORED_IDS.c.id == sa.bindparam("key"))
            connection.execute(change.values(smartcar_user_id=sa.bindparam("text")), stored)
    return len(stored)


def make_company_file(folder: Path, world: World) -> str:
    """Create `company.sqlite` in `folder`, replacing an earlier one. Return its SQLAlchemy URL."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / "company.sqlite"
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    url = f"sqlite:///{path.as_posix()}"
    create_database(url, world)
    return url


@contextmanager
def _connection(url: str) -> Iterator[sa.Connection]:
    """Open a connection with one transaction, on an engine that is disposed of at the end."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _fitting(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text.strip()


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None, microsecond=0)
