"""A whole company by SQL alone, as large as wanted: every user is ready, every value is still to be set.

Vehicle j of 1.5 x N belongs to user (j - 1) mod N + 1, so that half of the users have two; each user is one
Smartcar user, whose connections name all the user's vehicles. Ids are scattered as random ones are, and made of the
row's number, so that they can be foretold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from smartcar_ops.database import schema
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.tables import Company
from smartcar_ops.settings.layout import Layout

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SCOPE = Scope("bench", "live")
TABLES = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(255), name VARCHAR(255), created_at TIMESTAMP, "
    "smartcar_user_id VARCHAR(36))",
    "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER, vin VARCHAR(17), "
    "vehicle_access_token VARCHAR(255), token_created_at TIMESTAMP, smartcar_vehicle_id VARCHAR(36))",
    "CREATE INDEX vehicles_by_user ON vehicles (user_id)",
)
ROWS = {
    "users": (
        "INSERT INTO users (id, email, name, created_at) "
        "SELECT n, 'user' || n || '@example.com', 'User ' || n, '{seen}' FROM {numbers} ORDER BY n"
    ),
    "vehicles": (
        "INSERT INTO vehicles (id, user_id, vin, vehicle_access_token, token_created_at) "
        "SELECT n, (n - 1) % {users} + 1, {vin}, 'token' || n, '{old}' FROM {numbers} ORDER BY n"
    ),
    "connections": (
        "INSERT INTO smartcar_ops_connections "
        "(service, mode, vehicle_id, smartcar_user_id, make, model, year, powertrain, first_seen) "
        "SELECT '{service}', '{mode}', {vehicle}, {person}, 'TESLA', 'Model 3', 2022, 'BEV', '{seen}' "
        "FROM {numbers} ORDER BY 3"
    ),
    "ties": (
        "INSERT INTO smartcar_ops_ties (service, mode, layout, local_vehicle_id, source, vehicle_id, seen_at) "
        "SELECT '{service}', '{mode}', '{layout}', CAST(n AS VARCHAR(191)), 'vins', {vehicle}, '{seen}' "
        "FROM {numbers} ORDER BY 3"
    ),
    "asked": (
        "INSERT INTO smartcar_ops_asked (service, mode, layout, source, subject, asked_at, answer) "
        "VALUES ('{service}', '{mode}', '{layout}', 'connections', '*', '{seen}', 'complete')"
    ),
}


@contextmanager
def company(url: str, users: int, reports: Path) -> Iterator[tuple[Company, Ledger]]:
    """An expanded company in this empty database, filled, with the ledger in the database."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in TABLES:
            connection.execute(sa.text(statement))
    engine.dispose()
    company = Company.connect(url, Layout())
    ledger = Ledger.open(company, SCOPE, reports)
    schema.expand(company, ledger)
    ledger.engine.dispose()
    fill(company.engine, SCOPE.on(company), users)
    try:
        yield company, Ledger.open(company, SCOPE, reports)
    finally:
        company.engine.dispose()


def cars(users: int) -> int:
    """How many vehicles as many users have."""
    return users * 3 // 2


def fill(engine: sa.Engine, scope: Scope, users: int) -> None:
    """Puts every row in its table, and lets the database look at what it has."""
    with engine.begin() as connection:
        for name, statement in ROWS.items():
            words = _words(engine.dialect.name, scope, users, users if name == "users" else cars(users))
            connection.execute(sa.text(statement.format(**words)))
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")


def wrong(engine: sa.Engine, users: int) -> int:
    """How many users and vehicles do not hold the id that their evidence names."""
    found = 0
    with engine.connect() as connection:
        for table, column, id in (
            ("users", "smartcar_user_id", person_id),
            ("vehicles", "smartcar_vehicle_id", vehicle_id),
        ):
            right = f"{column} = {id(engine.dialect.name, 'id')}"
            query = f"SELECT count(*) - count(CASE WHEN {right} THEN 1 END) FROM {table}"
            found += int(connection.execute(sa.text(query)).scalar_one())
    return found


def person_id(dialect: str, number: str) -> str:
    """SQL for the Smartcar user id of a local user's number."""
    return _uuid(dialect, number, "a000")


def vehicle_id(dialect: str, number: str) -> str:
    """SQL for the Smartcar vehicle id of a local vehicle's number."""
    return _uuid(dialect, number, "c000")


def _uuid(dialect: str, number: str, kind: str) -> str:
    """SQL for the number as a UUID's text; the odd factor scatters, and gives no two numbers the same."""
    scattered = f"CAST({number} AS BIGINT) * 2654435761 % 4294967296"
    if dialect == "postgresql":
        ends = f"lpad(to_hex({scattered}), 8, '0')", f"lpad(to_hex({number}), 12, '0')"
    else:
        ends = f"printf('%08x', {scattered})", f"printf('%012x', {number})"
    return f"{ends[0]} || '-{kind}-4000-8000-' || {ends[1]}"


def _words(dialect: str, scope: Scope, users: int, rows: int) -> dict[str, str]:
    """What the statements leave open."""
    numbers = {
        "postgresql": f"generate_series(1, {rows}) AS numbers (n)",
        "sqlite": f"(WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows}) "
        "SELECT n FROM numbers)",
    }[dialect]
    vin = "'5YJ3' || " + ("lpad(n::text, 13, '0')" if dialect == "postgresql" else "printf('%013d', n)")
    return {
        "numbers": numbers,
        "users": str(users),
        "vin": vin,
        "vehicle": vehicle_id(dialect, "n"),
        "person": person_id(dialect, f"((n - 1) % {users} + 1)"),
        "service": scope.service,
        "mode": scope.mode,
        "layout": scope.layout,
        "seen": _moment(NOW - timedelta(days=1)),
        "old": _moment(NOW - timedelta(days=30)),
    }


def _moment(at: datetime) -> str:
    """As SQLAlchemy writes a naive time, for SQLite's sake."""
    return at.replace(tzinfo=None).strftime("%Y-%m-%d %H:%M:%S.%f")
