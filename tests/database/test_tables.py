"""The company's own tables, by whatever names, types and structure."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.audit.result import judge_users
from smartcar_ops.backfill import runner
from smartcar_ops.database import engines, schema
from smartcar_ops.database.evidence.evidence import Evidence
from smartcar_ops.database.evidence.workspace import Workspace, open_workspace
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, SettingsError
from smartcar_ops.settings.layout import Layout
from tests.support.house import House

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
YOUNG, OLD = NOW - timedelta(minutes=30), NOW - timedelta(hours=3)
GUIDE = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(255), name VARCHAR(255))",
    "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER, vin VARCHAR(17), "
    "vehicle_access_token VARCHAR(255), token_created_at {time})",
)


def run(url: str, *statements: str, **values: Any) -> None:
    """Runs statements as the company itself would."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement), values)
    engine.dispose()


def layout(users: dict[str, Any] | None = None, vehicles: dict[str, Any] | None = None) -> Layout:
    """A layout as the TOML file would give it."""
    return Layout.model_validate({"users": users or {}, "vehicles": vehicles or {}})


def guide(url: str, time: str = "TIMESTAMP NULL") -> None:
    """The guide's two tables, empty."""
    run(url, *(statement.format(time=time) for statement in GUIDE))


def buckets_of(url: str, reports: Path, names: Layout) -> dict[str, str]:
    """user id -> bucket, by the database alone, with the ledger in a file."""
    company = Company.connect(url, names)
    audit = judge_users(company, Ledger.open(company, Scope("s", "live"), reports), NOW)
    return dict(zip(audit.users["user_id"], audit.users["bucket"], strict=True))


def test_a_missing_table_is_named_with_the_key_that_names_it(any_database: str) -> None:
    """A missing table is one sentence: its name, what it stands for, and where to name another."""
    with pytest.raises(DatabaseError) as raised:
        Company.connect(_with_a_file(any_database), layout(users={"table": "people"}))
    assert (
        "database: there is no table 'people'; expected the company's users. "
        "Name it in smartcar_ops.toml, [users] table." == str(raised.value)
    )


def test_a_missing_column_is_named_with_the_key_that_names_it(any_database: str) -> None:
    """A missing column is one sentence: the table, the column, and where to name another."""
    guide(any_database)
    with pytest.raises(DatabaseError) as raised:
        Company.connect(any_database, layout(vehicles={"user_id": "owner"}))
    assert (
        "database: the table 'vehicles' has no column 'owner'; "
        "name the right one in smartcar_ops.toml, [vehicles] user_id." == str(raised.value)
    )


def test_no_vin_and_no_token_columns_are_no_error(any_database: str) -> None:
    """Only ids are needed; a company without VINs and tokens has cars nobody can ask about."""
    run(any_database, "CREATE TABLE users (id INTEGER)", "CREATE TABLE vehicles (id INTEGER, user_id INTEGER)")
    run(any_database, "INSERT INTO users VALUES (1)", "INSERT INTO vehicles VALUES (7, 1)")
    (car,) = Company.connect(any_database, Layout()).cars_to_ask(NOW)
    assert ("7", "1", None, None, False) == (car.local_vehicle_id, car.user_id, car.vin, car.token, car.token_alive)


def test_renamed_tables_and_columns_are_found_expanded_and_filled(make_house: Callable[..., House]) -> None:
    """With every name the company's own, asking, expanding and applying act on those names alone."""
    for kind in ("sqlite", "postgresql", "mariadb"):
        house = make_house(kind, users=40)
        columns = {"id": "nr", "vin": "fin", "vehicle_access_token": "tok", "token_created_at": "tok_at"}
        for old, new in columns.items():
            house.execute(f"ALTER TABLE vehicles RENAME COLUMN {old} TO {new}")
        for statement in (
            "ALTER TABLE vehicles RENAME COLUMN user_id TO kunde",
            "ALTER TABLE users RENAME COLUMN id TO nr",
            "ALTER TABLE users RENAME TO kunden",
            "ALTER TABLE vehicles RENAME TO wagen",
        ):
            house.execute(statement)
        names = layout(
            users={"table": "kunden", "id": "nr", "smartcar_user_id": "sc_user"},
            vehicles={
                "table": "wagen",
                "id": "nr",
                "user_id": "kunde",
                "vin": "fin",
                "access_token": "tok",
                "token_created_at": "tok_at",
                "smartcar_vehicle_id": "sc_car",
            },
        )
        house.company = Company.connect(house.url, names)
        house.ledger = house.open_ledger()
        house.ask()
        house.expand()
        applied = runner.apply(house.company, house.ledger, house.plan(), "run")
        ready = [user for user in house.truth["users"] if user["bucket_uncalled"] == "ready"]
        stored = {str(row["nr"]): row["sc_user"] for row in house.rows("kunden") if row["sc_user"]}
        assert {user["user_id"]: user["smartcar_user_id"] for user in ready} == stored
        assert applied.count("written") == len(stored) + sum(bool(row["sc_car"]) for row in house.rows("wagen"))
        assert {"nr", "email", "name", "created_at", "sc_user"} == set(house.rows("kunden")[0])


def test_tables_of_a_schema_are_read_and_expanded_there(make_database: Callable[[str], str], tmp_path: Path) -> None:
    """On PostgreSQL a schema's tables are used, not those of the same name in the default schema."""
    url = make_database("postgresql")
    guide(url)
    run(
        url,
        "CREATE SCHEMA crm",
        "CREATE TABLE crm.users (id INTEGER PRIMARY KEY)",
        "CREATE TABLE crm.vehicles (id INTEGER PRIMARY KEY, user_id INTEGER)",
        "INSERT INTO crm.users VALUES (5)",
        "INSERT INTO public.users VALUES (1), (2)",
    )
    names = layout(users={"schema": "crm"}, vehicles={"schema": "crm"})
    assert {"5": "no_vehicles"} == buckets_of(url, tmp_path, names)
    company = Company.connect(url, names)
    schema.expand(company, Ledger.open(company, Scope("s", "live"), tmp_path))
    found = sa.inspect(company.engine)
    assert "smartcar_user_id" in {column["name"] for column in found.get_columns("users", schema="crm")}
    assert "smartcar_vehicle_id" in {column["name"] for column in found.get_columns("vehicles", schema="crm")}
    assert "smartcar_user_id" not in {column["name"] for column in found.get_columns("users", schema="public")}
    assert "expanded" != Company.connect(url, Layout()).phase


def test_where_narrows_users_and_vehicles(any_database: str, tmp_path: Path) -> None:
    """`where` leaves out people and cars, for example the deleted ones, from counts, rows and asking."""
    run(
        any_database,
        "CREATE TABLE users (id INTEGER, deleted_at TIMESTAMP NULL)",
        "CREATE TABLE vehicles (id INTEGER, user_id INTEGER, sold INTEGER)",
        "INSERT INTO users VALUES (1, NULL), (2, '2026-01-01 00:00:00'), (3, NULL)",
        "INSERT INTO vehicles VALUES (10, 1, 0), (11, 3, 1)",
    )
    names = layout(users={"where": "deleted_at IS NULL"}, vehicles={"where": "sold = 0"})
    company = Company.connect(any_database, names)
    assert 2 == company.count()
    assert ["10"] == [car.local_vehicle_id for car in company.cars_to_ask(NOW)]
    assert {"1": "unasked", "3": "no_vehicles"} == buckets_of(any_database, tmp_path, names)


def test_cars_from_a_select_are_read_and_never_written(make_house: Callable[..., House]) -> None:
    """With `[vehicles] from`, users are backfilled from a link table and a token table; no car is to be set."""
    for kind in ("sqlite", "postgresql", "mariadb"):
        house = make_house(kind, users=40)
        for statement in (
            "CREATE TABLE cars AS SELECT id AS car_no, vin FROM vehicles",
            "CREATE TABLE owners AS SELECT id AS car_no, user_id AS owner FROM vehicles",
            "CREATE TABLE tokens AS SELECT id AS car_no, vehicle_access_token AS secret, token_created_at AS since "
            "FROM vehicles",
            "DROP TABLE vehicles",
        ):
            house.execute(statement)
        select = (
            "SELECT c.car_no AS id, o.owner AS user_id, c.vin, t.secret AS vehicle_access_token, "
            "t.since AS token_created_at FROM cars c JOIN owners o ON o.car_no = c.car_no "
            "LEFT JOIN tokens t ON t.car_no = c.car_no"
        )
        house.company = Company.connect(house.url, layout(vehicles={"from": select}))
        house.ledger = house.open_ledger()
        before = {name: house.rows(name) for name in ("cars", "owners", "tokens")}
        house.ask()
        house.expand()
        plan = house.plan()
        runner.apply(house.company, house.ledger, plan, "run")
        assert 0 == plan.counts("vehicles")["set"]
        ready = {u["user_id"]: u["smartcar_user_id"] for u in house.truth["users"] if u["bucket_uncalled"] == "ready"}
        assert ready == {str(r["id"]): r["smartcar_user_id"] for r in house.rows("users") if r["smartcar_user_id"]}
        assert before == {name: house.rows(name) for name in before}


def test_a_select_without_the_ids_is_refused(any_database: str) -> None:
    """A `from` that lacks a name every act needs is one sentence naming it."""
    guide(any_database)
    with pytest.raises(DatabaseError, match=r"^database: \[vehicles\] from returns no 'user_id'; its columns are"):
        Company.connect(any_database, layout(vehicles={"from": "SELECT id FROM vehicles"}))


@pytest.mark.parametrize("kind", ["integer", "uuid", "text"])
def test_ids_of_every_type_are_text_outside_and_native_inside(any_database: str, tmp_path: Path, kind: str) -> None:
    """Integers, UUIDs (native on PostgreSQL) and text: rows are found by them, changed by them, shown as text."""
    dialect = sa.make_url(any_database).get_backend_name()
    column = {"integer": "BIGINT", "text": "VARCHAR(40)", "uuid": "UUID" if dialect == "postgresql" else "CHAR(36)"}
    people = {
        "integer": ["1", "2"],
        "uuid": [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))],
        "text": ["kunde-é-1", "7"],
    }[kind]
    quoted = people if kind == "integer" else [f"'{text}'" for text in people]
    run(
        any_database,
        f"CREATE TABLE users (id {column[kind]} PRIMARY KEY)",
        f"CREATE TABLE vehicles (id {column[kind]} PRIMARY KEY, user_id {column[kind]})",
        *(f"INSERT INTO users VALUES ({text})" for text in quoted),
        f"INSERT INTO vehicles VALUES ({quoted[0]}, {quoted[0]})",
    )
    company = Company.connect(any_database, Layout())
    ledger = Ledger.open(company, Scope("s", "live"), tmp_path)
    schema.expand(company, ledger)
    ledger = Ledger.open(company, Scope("s", "live"), tmp_path)
    car, person = str(uuid.UUID(int=77)), str(uuid.UUID(int=88))
    connection = {"vehicle_id": car, "smartcar_user_id": person, "make": "A", "model": "B", "powertrain": "BEV"}
    ledger.record_connections([connection], complete=True, now=NOW.replace(tzinfo=None))
    from smartcar_ops.database.ledger import tables as t

    tie = {"source": "vins", "local_vehicle_id": people[0], "vehicle_id": car, "seen_at": NOW.replace(tzinfo=None)}
    ledger.record(t.ties, [tie])
    plan = runner.plan(company, ledger, NOW)
    assert [(people[0], person), (people[0], car)] == [(change.row_id, change.after) for change in plan.changes()]
    assert 2 == runner.apply(company, ledger, plan, "run").count("written")
    audit = judge_users(company, ledger, NOW)
    assert {people[0]: "mapped", people[1]: "no_vehicles"} == dict(
        zip(audit.users["user_id"], audit.users["bucket"], strict=True)
    )
    assert 2 == runner.undo(company, ledger, "run", "undo").count("written")


def alive(url: str, *created: Any, time: str) -> list[bool]:
    """For each creation time in the column: whether the kit takes the token for living."""
    guide(url, time)
    for number, value in enumerate(created):
        run(url, "INSERT INTO vehicles VALUES (:n, 1, NULL, 'tok', :at)", n=number, at=value)
    return [car.token_alive for car in Company.connect(url, Layout()).cars_to_ask(NOW)]


def test_token_age_is_read_from_every_form_sqlite_keeps(make_database: Callable[[str], str]) -> None:
    """Text with blank or T, fractions, Z or an offset, and seconds since 1970 all tell the age in UTC."""
    forms: list[Callable[[datetime], Any]] = [
        lambda at: at.strftime("%Y-%m-%d %H:%M:%S"),
        lambda at: at.strftime("%Y-%m-%dT%H:%M:%S"),
        lambda at: at.strftime("%Y-%m-%d %H:%M:%S.123456"),
        lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.123Z"),
        lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda at: (at + timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%S+05:00"),
        lambda at: (at - timedelta(hours=5)).strftime("%Y-%m-%d %H:%M:%S-05:00"),
        lambda at: int(at.timestamp()),
    ]
    written = [form(at) for form in forms for at in (YOUNG, OLD)]
    url = make_database("sqlite")
    assert [True, False] * len(forms) == alive(url, *written, time="")


def test_a_time_nobody_can_read_means_an_old_token(make_database: Callable[[str], str]) -> None:
    """A missing or unreadable time never sends a token."""
    assert [False, False, False] == alive(make_database("sqlite"), None, "soon", "", time="")


def test_token_age_on_postgresql_with_and_without_a_zone(make_database: Callable[[str], str]) -> None:
    """Naive times are UTC; times with a zone are the moment they name, whatever the session's zone is."""
    naive = [moment.replace(tzinfo=None) for moment in (YOUNG, OLD)]
    url = sa.make_url(make_database("postgresql")).update_query_dict({"options": "-c timezone=Asia/Tokyo"})
    text = url.render_as_string(hide_password=False)
    assert [True, False, False] == alive(text, *naive, None, time="TIMESTAMP WITHOUT TIME ZONE")
    run(text, "DROP TABLE users", "DROP TABLE vehicles")
    assert [True, False, False] == alive(text, YOUNG, OLD, None, time="TIMESTAMP WITH TIME ZONE")


def test_token_age_on_mariadb_in_any_session_zone(make_database: Callable[[str], str]) -> None:
    """DATETIME is UTC as written; TIMESTAMP is a moment, whatever zone the server's sessions start in."""
    url = make_database("mariadb")
    naive = [moment.replace(tzinfo=None) for moment in (YOUNG, OLD)]
    assert [True, False, False] == alive(url, *naive, None, time="DATETIME NULL")
    run(url, "DROP TABLE users", "DROP TABLE vehicles")
    eastern = sa.make_url(url).update_query_dict({"init_command": "SET time_zone='-05:00'"})
    local = [moment - timedelta(hours=5) for moment in naive]
    assert [True, False, False] == alive(
        eastern.render_as_string(hide_password=False), *local, None, time="TIMESTAMP NULL"
    )


def test_an_empty_token_is_no_token(any_database: str) -> None:
    """A young time beside an empty or blank token is no living token."""
    guide(any_database)
    for number, token in enumerate(("", "  ", None, "tok")):
        run(
            any_database,
            "INSERT INTO vehicles VALUES (:n, 1, NULL, :token, :at)",
            n=number,
            token=token,
            at=YOUNG.replace(tzinfo=None).isoformat(" "),
        )
    cars = Company.connect(any_database, Layout()).cars_to_ask(NOW)
    assert [False, False, False, True] == [car.token_alive for car in cars]


@pytest.mark.parametrize("collation", ["utf8mb4_unicode_ci", "utf8mb4_bin", "latin1_swedish_ci"])
def test_mariadb_databases_of_any_collation_are_judged(
    make_house: Callable[..., House], make_database: Callable[[str], str], collation: str
) -> None:
    """Ids compare between the company's tables and the ledger whatever the database's default collation is."""
    url = make_database("mariadb")
    name = sa.make_url(url).database
    run(url, f"ALTER DATABASE {name} CHARACTER SET {collation.split('_')[0]} COLLATE {collation}")
    house = make_house(url, users=40)
    house.ask()
    assert house.truth["buckets"]["uncalled"] == house.expand().audit().counts


def test_secrets_of_a_car_are_not_in_its_repr(house: House) -> None:
    """A car's token and VIN stay out of logs and notebook outputs."""
    car = next(car for car in house.company.cars_to_ask(house.now) if car.token and car.vin)
    assert car.local_vehicle_id in repr(car)
    assert car.token not in repr(car) and car.vin not in repr(car)  # type: ignore[operator]


def test_an_unreachable_database_is_one_sentence_without_its_password() -> None:
    """The sentence says what failed and where, and hides the password."""
    url = "postgresql+psycopg://kit:hidden-word@127.0.0.1:1/company"
    with pytest.raises(DatabaseError) as raised:
        Company.connect(url, Layout())
    assert str(raised.value).startswith("database: connecting failed on postgresql+psycopg://kit@127.0.0.1:1/company:")
    assert "hidden-word" not in str(raised.value)


def _with_a_file(url: str) -> str:
    """The same database, its SQLite file there although empty."""
    run(url, "CREATE TABLE other (id INTEGER)")
    return url


def test_sqlite_looks_connections_up_car_by_car(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without statistics SQLite would read all cars for each connection: the order of the join is said."""
    house.ask()
    kept: dict[str, Any] = {}
    keep = Workspace.materialize
    monkeypatch.setattr(Workspace, "materialize", lambda at, query, name: keep(at, kept.setdefault(name, query), name))
    with open_workspace(house.company, house.ledger, house.now) as at:
        _ = Evidence(at).seen
        statement = str(kept["seen"].compile(at.connection, compile_kwargs={"literal_binds": True}))
        steps = [row[3] for row in at.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
    order = [step for step in steps if step.startswith(("SCAN", "SEARCH"))]
    assert ["SCAN smartcar_ops_links_", "SEARCH smartcar_ops_connections"] == [
        " ".join(step.split()[:2]) for step in order[:2]
    ]
    assert "vehicle_id=?" in order[1]


@pytest.mark.parametrize(
    ("kind", "driver", "package"), [("postgresql", "psycopg", "psycopg[binary]"), ("mysql", "pymysql", "pymysql")]
)
def test_a_missing_driver_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, kind: str, driver: str, package: str
) -> None:
    """By this interpreter's own pip, from whatever folder: a clone is on no index of packages."""
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(SettingsError) as told:
        engines.create(f"{kind}+{driver}://u:p@localhost/x")
    assert f"install it with {sys.executable} -m pip install '{package}'." in str(told.value)
