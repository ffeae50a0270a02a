"""Columns of every type: ids that find their rows, targets that take an id, and what is refused by name."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.audit.result import judge_users
from smartcar_ops.backfill import runner
from smartcar_ops.database import captures, schema
from smartcar_ops.database.evidence.workspace import open_workspace
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError
from smartcar_ops.settings.layout import Layout
from tests.database.test_tables import layout, run

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
NAIVE = NOW.replace(tzinfo=None)
HERE = Scope("s", "live")
MADE = {"make": "A", "model": "B", "powertrain": "BEV"}
TARGETS = ("users.smartcar_user_id", "vehicles.smartcar_vehicle_id", "vehicles.smartcar_user_id")
PER_CAR = {"smartcar_user_id": "smartcar_user_id"}


def sc_user(number: int) -> str:
    """Smartcar's id of a user."""
    return str(uuid.UUID(int=0xA << 124 | number))


def sc_car(number: int) -> str:
    """Smartcar's id of a car."""
    return str(uuid.UUID(int=0xC << 124 | number))


@dataclass
class Typed:
    """A company whose columns have these types, with a connection for each of its cars."""

    company: Company
    ledger: Ledger

    def buckets(self) -> dict[str, str]:
        """User -> bucket, by an audit."""
        found = judge_users(self.company, self.ledger, NOW).users
        return dict(zip(found["user_id"], found["bucket"], strict=True))

    def stored(self, table: str, column: str, ids: Iterable[str]) -> list[str | None]:
        """What the kit reads in a column of these rows, in their order."""
        values = self.company.values(table, column, list(ids))
        return [values.get(one) for one in ids]


def typed(url: str, reports: Path, cars: Sequence[str], names: Layout | None = None) -> Typed:
    """Connects, expands, and learns a connection for each of these cars."""
    company = Company.connect(url, names or Layout())
    schema.expand(company, Ledger.open(company, HERE, reports))
    ledger = Ledger.open(company, HERE, reports)
    numbered = list(enumerate(cars, 1))
    pairs = [{"vehicle_id": sc_car(n), "smartcar_user_id": sc_user(n), **MADE} for n, _ in numbered]
    ledger.record_connections(pairs, complete=True, now=NAIVE)
    ties = [{"local_vehicle_id": car, "vehicle_id": sc_car(n), "seen_at": NAIVE} for n, car in numbered]
    ledger.record(t.ties, [{"source": "vins", **tie} for tie in ties])
    return Typed(company, ledger)


def with_targets(make_database: Callable[[str], str], kind: str, column: str) -> str:
    """Two users with a car each, whose three id columns have this type."""
    url = make_database(kind)
    if kind == "postgresql":
        run(url, "CREATE DOMAIN smartcar_id AS UUID", "CREATE TYPE colour AS ENUM ('red', 'blue')")
    run(
        url,
        f"CREATE TABLE users (id INTEGER PRIMARY KEY, smartcar_user_id {column})",
        "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER, "
        f"smartcar_vehicle_id {column}, smartcar_user_id {column})",
        "INSERT INTO users (id) VALUES (1), (2)",
        "INSERT INTO vehicles (id, user_id) VALUES (11, 1), (12, 2)",
    )
    return url


TAKEN = [
    ("sqlite", "BLOB"),
    ("postgresql", "UUID"),
    ("postgresql", "CHAR(40)"),
    ("postgresql", "BYTEA"),
    ("mariadb", "UUID"),
    ("mariadb", "BINARY(16)"),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ("sqlite", "UUID"),
            ("sqlite", ""),
            ("postgresql", "smartcar_id"),
            ("postgresql", 'TEXT COLLATE "C"'),
            ("mariadb", "CHAR(40) CHARACTER SET ucs2"),
        )
    ),
]


@pytest.mark.parametrize(("kind", "column"), TAKEN)
def test_a_target_of_any_type_that_holds_an_id_is_set_read_and_put_back(
    make_database: Callable[[str], str], tmp_path: Path, kind: str, column: str
) -> None:
    """UUIDs, padded text and bytes take ids as values of their own, are read as ids, and are put back."""
    at = typed(with_targets(make_database, kind, column), tmp_path, ["11", "12"], layout(vehicles=PER_CAR))
    plan = runner.plan(at.company, at.ledger, NOW)
    applied = runner.apply(at.company, at.ledger, plan, "run")
    assert (0, 6) == (applied.exit_code, applied.count("written"))
    assert [sc_user(1), sc_user(2)] == at.stored("users", "smartcar_user_id", ["1", "2"])
    assert [sc_car(1), sc_car(2)] == at.stored("vehicles", "smartcar_vehicle_id", ["11", "12"])
    assert [sc_user(1), sc_user(2)] == at.stored("vehicles", "smartcar_user_id", ["11", "12"])
    assert {"1": "mapped", "2": "mapped"} == at.buckets()
    again = runner.plan(at.company, at.ledger, NOW)
    assert (0, 2) == (again.counts("users")["set"], again.counts("users")["keep"])
    undone = runner.undo(at.company, at.ledger, "run", "undo")
    assert (0, 6) == (undone.exit_code, undone.count("written"))
    assert [None, None] == at.stored("users", "smartcar_user_id", ["1", "2"])


@pytest.mark.parametrize(
    ("kind", "column", "stranger"),
    [
        ("sqlite", "BLOB", "x'{}'"),
        ("postgresql", "UUID", "'{}'"),
        ("postgresql", "BYTEA", "decode('{}', 'hex')"),
        ("mariadb", "UUID", "'{}'"),
        ("mariadb", "BINARY(16)", "UNHEX('{}')"),
    ],
)
def test_a_typed_value_that_changed_since_the_plan_is_left_alone(
    make_database: Callable[[str], str], tmp_path: Path, kind: str, column: str, stranger: str
) -> None:
    """Compare and set sees a change of a UUID or of bytes, in apply and in undo."""
    url = with_targets(make_database, kind, column)
    other = stranger.format(uuid.UUID(sc_user(9)).hex)
    at = typed(url, tmp_path, ["11", "12"])
    plan = runner.plan(at.company, at.ledger, NOW)
    run(url, f"UPDATE users SET smartcar_user_id = {other} WHERE id = 1")
    assert 1 == runner.apply(at.company, at.ledger, plan, "run").count("skipped")
    assert [sc_user(9), sc_user(2)] == at.stored("users", "smartcar_user_id", ["1", "2"])
    run(url, f"UPDATE users SET smartcar_user_id = {other} WHERE id = 2")
    assert 1 == runner.undo(at.company, at.ledger, "run", "undo").count("skipped")
    assert [sc_user(9), sc_user(9)] == at.stored("users", "smartcar_user_id", ["1", "2"])


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        *((kind, column) for kind in ("sqlite", "postgresql", "mariadb") for column in ("VARCHAR(20)", "INTEGER")),
        ("postgresql", "colour"),
        ("postgresql", "TIMESTAMP"),
        ("mariadb", "ENUM('red', 'blue')"),
        ("mariadb", "CHAR(32)"),
        ("mariadb", "BINARY(20)"),
    ],
)
def test_a_target_that_holds_no_id_is_refused_before_any_plan(
    make_database: Callable[[str], str], kind: str, column: str
) -> None:
    """Connecting names the column, its type and what to do; an enum's own words are not told."""
    url = with_targets(make_database, kind, column)
    with pytest.raises(DatabaseError) as raised:
        Company.connect(url, Layout())
    told = str(raised.value)
    assert told.startswith("database: [users] smartcar_user_id is the column 'smartcar_user_id' (")
    assert told.endswith("it must store an id of 36 characters: make it VARCHAR(36) or UUID, or use another column.")
    assert "red" not in told


def test_every_target_is_looked_at(make_database: Callable[[str], str]) -> None:
    """A vehicle's two id columns are refused by their own keys."""
    for column, key in (("smartcar_vehicle_id", "smartcar_vehicle_id"), ("holder", "smartcar_user_id")):
        url = make_database("sqlite")
        run(
            url,
            "CREATE TABLE users (id INTEGER)",
            f"CREATE TABLE vehicles (id INTEGER, user_id INTEGER, {column} REAL)",
        )
        with pytest.raises(DatabaseError, match=rf"^database: \[vehicles\] {key} is the column '{column}' \(REAL\)"):
            Company.connect(url, layout(vehicles={"smartcar_user_id": "holder"}))


BYTES = ("8f0000000000400080000000000000ab", "ff0000000000400080000000000000fe")


@dataclass(frozen=True)
class Ids:
    """Ids of a type: how the column is made, the values in SQL, and the texts they read as."""

    database: str
    column: str
    values: tuple[str, ...]
    texts: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Texts that name nobody."""
    table: str = ""
    """What follows the table's columns."""


HEX = tuple(f"X'{text}'" for text in BYTES)
FOUND = [
    Ids("sqlite", "BLOB", HEX, BYTES, ("zz", BYTES[0][:-2])),
    Ids("sqlite", "CHAR(16)", HEX, BYTES),
    Ids(
        "sqlite",
        "",
        ("7", "'abc'", "X'abcd'", "1.5", "0"),
        ("7", "abc", "abcd", "1.5", "0"),
        ("7.0", "007", "ABCD", ""),
    ),
    Ids("sqlite", "INT", ("7", "'abc'", "0", "X'abcd'"), ("7", "abc", "0", "abcd"), ("07", "00")),
    Ids("sqlite", "VARCHAR(40)", ("'7'", "'07'", "'DEADBEEF'"), ("7", "07", "DEADBEEF"), ("deadbeef", "8")),
    Ids("postgresql", "BYTEA", tuple(f"'\\x{text}'" for text in BYTES), BYTES, ("zz", "not hex")),
    Ids("postgresql", "NUMERIC(20, 0)", ("7", "18446744073709551615"), ("7", "18446744073709551615"), ("x", "NaN")),
    Ids("postgresql", "CHAR(12)", ("'ab'", "'AB'"), ("ab", "AB"), ("aB",)),
    Ids("postgresql", 'VARCHAR(40) COLLATE "C"', ("'ab'", "'AB'"), ("ab", "AB"), ("aB",)),
    Ids("postgresql", "size", ("'small'", "'large'"), ("small", "large"), ("other",)),
    Ids("postgresql", "key", ("'8f000000-0000-4000-8000-0000000000ab'",), ("8f000000-0000-4000-8000-0000000000ab",)),
    Ids("mariadb", "BINARY(16)", HEX, BYTES, ("zz", "not hex")),
    Ids("mariadb", "VARBINARY(20)", (*HEX, "X'00'"), (*BYTES, "00"), ("0000",)),
    Ids("mariadb", "UUID", (f"'{sc_user(5)}'", f"'{sc_user(6)}'"), (sc_user(5), sc_user(6)), ("7", "not one")),
    Ids("mariadb", "BIGINT UNSIGNED", ("7", "18446744073709551615"), ("7", "18446744073709551615"), ("-1",)),
    Ids("mariadb", "VARCHAR(40) CHARACTER SET latin1", ("'kunde-é'", "'b'"), ("kunde-é", "b"), ("KUNDE-É", "b ")),
    Ids("mariadb", "VARCHAR(40)", ("'ab'", "'CD'"), ("ab", "CD"), ("AB", "cd"), " COLLATE utf8mb4_bin"),
]


LESS_USUAL = (
    "CHAR(16)",
    "NUMERIC(20, 0)",
    "CHAR(12)",
    "size",
    "key",
    "VARBINARY(20)",
    "BIGINT UNSIGNED",
    "VARCHAR(40)",
)


@pytest.mark.parametrize(
    "ids",
    [pytest.param(ids, marks=[pytest.mark.slow] if ids.column in LESS_USUAL else []) for ids in FOUND],
    ids=lambda ids: f"{ids.database}-{ids.column or 'untyped'}",
)
def test_an_id_of_any_type_finds_its_row_again(make_database: Callable[[str], str], tmp_path: Path, ids: Ids) -> None:
    """Bytes read as hex, other ids as their text; each names its own row wherever the kit reads or writes one."""
    url = make_database(ids.database)
    if ids.database == "postgresql":
        run(url, "CREATE TYPE size AS ENUM ('small', 'large')", "CREATE DOMAIN key AS UUID")
    rows = ", ".join(f"({value})" for value in ids.values)
    run(
        url,
        f"CREATE TABLE users (id {ids.column} PRIMARY KEY){ids.table}",
        f"CREATE TABLE vehicles (id {ids.column} PRIMARY KEY, user_id {ids.column}){ids.table}",
    )
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO users VALUES {rows}")
        connection.exec_driver_sql("INSERT INTO vehicles SELECT id, id FROM users")
    at = typed(url, tmp_path, ids.texts)
    company, everyone = at.company, set(ids.texts)
    with open_workspace(company, at.ledger, NOW) as here:
        assert everyone == {row["user_id"] for row in here.rows(sa.select(here.people))}
    assert everyone == {car.user_id for car in company.cars_to_ask(NOW)}
    assert everyone == {car.local_vehicle_id for car in company.cars_by_id([*ids.texts, *ids.others], NOW)}
    assert dict(zip(ids.texts, ids.texts, strict=True)) == captures.known_users(company, [*ids.texts, *ids.others])
    assert [True] * len(everyone) == [company.has_user(text) for text in ids.texts]
    assert [False] * len(ids.others) == [company.has_user(text) for text in ids.others]
    plan = runner.plan(company, at.ledger, NOW)
    applied = runner.apply(company, at.ledger, plan, "run", batch_size=2)
    assert (0, 2 * len(everyone)) == (applied.exit_code, applied.count("written"))
    numbers = range(1, len(ids.texts) + 1)
    assert [sc_user(n) for n in numbers] == at.stored("users", "smartcar_user_id", ids.texts)
    assert [sc_car(n) for n in numbers] == at.stored("vehicles", "smartcar_vehicle_id", ids.texts)
    assert dict.fromkeys(ids.texts, "mapped") == at.buckets()
    undone = runner.undo(company, at.ledger, "run", "undo")
    assert (0, 2 * len(everyone)) == (undone.exit_code, undone.count("written"))


@pytest.mark.parametrize(("kind", "column"), [("mariadb", "BINARY(16)"), ("postgresql", "BYTEA"), ("sqlite", "BLOB")])
def test_a_uuid_names_the_user_whose_id_is_its_bytes(
    make_database: Callable[[str], str], kind: str, column: str
) -> None:
    """What arrives with a UUID's dashes, as the company's own application sends it, names the bytes of that UUID."""
    url, hexed = make_database(kind), BYTES[0]
    value = f"decode('{hexed}', 'hex')" if kind == "postgresql" else f"X'{hexed}'"
    run(
        url,
        f"CREATE TABLE users (id {column} PRIMARY KEY)",
        f"CREATE TABLE vehicles (id INTEGER, user_id {column})",
        f"INSERT INTO users VALUES ({value})",
    )
    named = str(uuid.UUID(hexed)).upper()
    assert {named: hexed} == captures.known_users(Company.connect(url, Layout()), [named])


def test_an_id_that_is_a_rounded_number_is_refused(any_database: str) -> None:
    """A column of floats is named with its key: no text of a rounded number names a row for certain."""
    run(any_database, "CREATE TABLE users (id FLOAT)", "CREATE TABLE vehicles (id INTEGER, user_id INTEGER)")
    with pytest.raises(DatabaseError, match=r"^database: \[users\] id is the column 'id' \(.*\), which is a rounded"):
        Company.connect(any_database, Layout())


UNLIKE = [
    ("postgresql", "UUID", "'{}'", "VARCHAR(40)", "'{}'", str.upper),
    ("postgresql", "BYTEA", "decode(replace('{}', '-', ''), 'hex')", "UUID", "'{}'", str),
    ("mariadb", "BINARY(16)", "UNHEX(REPLACE('{}', '-', ''))", "CHAR(36)", "'{}'", str.upper),
    ("mariadb", "UUID", "'{}'", "VARCHAR(40)", "'{}'", str.upper),
    ("sqlite", "INTEGER", "7{:.0}", "TEXT", "'7'{:.0}", str),
]


@pytest.mark.parametrize(("kind", "column", "id", "other", "owner", "spelt"), UNLIKE)
def test_a_car_finds_its_user_through_a_column_of_another_type(
    make_database: Callable[[str], str],
    tmp_path: Path,
    kind: str,
    column: str,
    id: str,
    other: str,
    owner: str,
    spelt: Callable[[str], str],
) -> None:
    """`vehicles.user_id` as text names the user whose id is that UUID, those bytes or that number."""
    url = make_database(kind)
    run(
        url,
        f"CREATE TABLE users (id {column} PRIMARY KEY)",
        f"CREATE TABLE vehicles (id INTEGER, user_id {other})",
        f"INSERT INTO users VALUES ({id.format(sc_user(3))})",
        f"INSERT INTO vehicles VALUES (1, {owner.format(spelt(sc_user(3)))})",
    )
    assert ["ready"] == list(typed(url, tmp_path, ["1"]).buckets().values())


@pytest.mark.parametrize(("kind", "column"), [("mariadb", "BINARY(16)"), ("postgresql", "BYTEA")])
def test_an_owner_of_bytes_beside_ids_of_text_is_refused(
    make_database: Callable[[str], str], kind: str, column: str
) -> None:
    """Where nothing says how bytes are spelt in `users.id`, no car is given to anybody."""
    url = make_database(kind)
    run(url, "CREATE TABLE users (id CHAR(36))", f"CREATE TABLE vehicles (id INTEGER, user_id {column})")
    with pytest.raises(DatabaseError, match=r"^database: \[vehicles\] user_id is .* bytes, while \[users\] id is not"):
        Company.connect(url, Layout())


@pytest.mark.parametrize(("kind", "column"), [("mariadb", "BINARY(16)"), ("postgresql", "BYTEA"), ("sqlite", "BLOB")])
def test_cars_from_a_select_have_ids_of_bytes_too(
    make_database: Callable[[str], str], tmp_path: Path, kind: str, column: str
) -> None:
    """With `[vehicles] from`, the columns' types are those that the SELECT gives."""
    url, hexed = make_database(kind), BYTES[0]
    value = f"decode('{hexed}', 'hex')" if kind == "postgresql" else f"X'{hexed}'"
    run(
        url,
        f"CREATE TABLE users (id {column} PRIMARY KEY)",
        f"CREATE TABLE cars (nr {column} PRIMARY KEY, owner {column}, tok VARCHAR(9), at BIGINT)",
        f"INSERT INTO users VALUES ({value})",
        f"INSERT INTO cars VALUES ({value}, {value}, 'tok', {int(NOW.timestamp()) - 60}000)",
    )
    select = "SELECT nr AS id, owner AS user_id, tok AS vehicle_access_token, at AS token_created_at FROM cars"
    at = typed(url, tmp_path, [hexed], layout(vehicles={"from": select}))
    (car,) = at.company.cars_by_id([hexed], NOW)
    assert (hexed, hexed, True) == (car.local_vehicle_id, car.user_id, car.token_alive)
    assert {hexed: "ready"} == at.buckets()


def composite(url: str, *more: str) -> Company:
    """A company whose users are one only by tenant and id together."""
    run(
        url,
        "CREATE TABLE users (tenant INTEGER, id INTEGER, PRIMARY KEY (tenant, id))",
        "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER)",
        "INSERT INTO users VALUES (1, 1), (1, 2), (2, 1)",
        *more,
    )
    return Company.connect(url, Layout())


def test_one_id_of_several_rows_is_refused_when_planning(any_database: str, tmp_path: Path) -> None:
    """`[users] id` as one part of a composite key: no plan is made that would write several rows for one id."""
    company = composite(any_database)
    with pytest.raises(DatabaseError, match=r"^database: \[users\] id is the column 'id', and several rows of"):
        runner.plan(company, Ledger.open(company, HERE, tmp_path), NOW)


def test_one_id_of_several_cars_is_refused_when_planning(any_database: str, tmp_path: Path) -> None:
    """The same for `[vehicles] id`; an index over part of the rows is no proof."""
    company = composite(
        any_database,
        "DELETE FROM users WHERE tenant = 2",
        "DROP TABLE vehicles",
        "CREATE TABLE vehicles (id INTEGER, user_id INTEGER)",
        "INSERT INTO vehicles VALUES (5, 1), (5, 2)",
    )
    if not any_database.startswith("mariadb"):
        run(any_database, "CREATE UNIQUE INDEX own ON vehicles (id) WHERE user_id = 1")
    with pytest.raises(DatabaseError, match=r"^database: \[vehicles\] id is the column 'id'"):
        runner.plan(Company.connect(any_database, Layout()), Ledger.open(company, HERE, tmp_path), NOW)


def test_ids_that_are_one_among_the_rows_of_the_layout_are_planned(any_database: str, tmp_path: Path) -> None:
    """With `where` naming one tenant, its ids name one row each, and only its rows are written."""
    composite(any_database, "INSERT INTO vehicles VALUES (11, 1)")
    at = typed(any_database, tmp_path, ["11"], layout(users={"where": "tenant = 2"}))
    plan = runner.plan(at.company, at.ledger, NOW)
    assert 2 == runner.apply(at.company, at.ledger, plan, "run").count("written")
    with at.company.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT tenant, id FROM users WHERE smartcar_user_id IS NOT NULL")).all()
    assert [(2, 1)] == [tuple(row) for row in rows]


def test_a_unique_index_spares_the_look_at_the_rows(any_database: str) -> None:
    """Where the schema says that the one column is unique, planning reads no row to know it."""
    run(
        any_database,
        "CREATE TABLE users (tenant INTEGER, id INTEGER NOT NULL, PRIMARY KEY (tenant, id))",
        "CREATE UNIQUE INDEX own ON users (id)",
        "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER)",
    )
    company, asked = Company.connect(any_database, Layout()), []
    sa.event.listen(company.engine, "before_cursor_execute", lambda *found: asked.append(found[2]))
    company.refuse_shared_ids()
    assert [] == asked


def test_sqlite_ids_that_read_alike_are_refused(make_database: Callable[[str], str], tmp_path: Path) -> None:
    """7 and '7' are two keys to SQLite and one text: no plan is made of them."""
    url = make_database("sqlite")
    run(
        url,
        "CREATE TABLE users (id PRIMARY KEY)",
        "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id)",
        "INSERT INTO users VALUES (7), ('7')",
    )
    company = Company.connect(url, Layout())
    with pytest.raises(DatabaseError, match=r"^database: \[users\] id is the column 'id', and several rows"):
        runner.plan(company, Ledger.open(company, HERE, tmp_path), NOW)


def test_ids_that_differ_in_case_alone_are_refused_on_mariadb(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    """The kit's own tables there take them for one id: what is known of one user would speak for the other."""
    url = make_database("mariadb")
    run(
        url,
        "CREATE TABLE users (id VARCHAR(40) PRIMARY KEY) COLLATE utf8mb4_bin",
        "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id VARCHAR(40))",
        "INSERT INTO users VALUES ('ab'), ('AB')",
    )
    company = Company.connect(url, Layout())
    with pytest.raises(
        DatabaseError, match=r"is the column 'id', and several rows of .* have the same id \(ignoring case\)"
    ):
        runner.plan(company, Ledger.open(company, HERE, tmp_path), NOW)


def test_what_cannot_be_written_is_told_before_the_first_batch(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    """The rights are tried with a value of the column's own type: a column that became another since is named."""
    url = with_targets(make_database, "postgresql", "UUID")
    at = typed(url, tmp_path, ["11", "12"])
    plan = runner.plan(at.company, at.ledger, NOW)
    run(url, "ALTER TABLE users ALTER smartcar_user_id TYPE INTEGER USING NULL")
    with pytest.raises(DatabaseError, match=r"trying to write users\.smartcar_user_id"):
        runner.apply(at.company, at.ledger, plan, "run")
    assert 0 == runner.Applied("run", at.ledger).table().shape[0]


FORMS: list[Callable[[datetime], Any]] = [
    lambda at: int(at.timestamp()),
    lambda at: int(at.timestamp()) * 1000,
    lambda at: int(at.timestamp()) * 1_000_000,
]
TEXTS: list[Callable[[datetime], str]] = [
    *((lambda at, form=form: str(form(at))) for form in FORMS),  # type: ignore[misc]
    lambda at: f"{at.timestamp():.3f}",
    lambda at: at.strftime("%Y-%m-%d %H:%M:%S"),
    lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.123Z"),
    lambda at: at.strftime("%Y-%m-%dT%H:%M:%S"),
    lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.123456+00:00"),
    lambda at: at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    lambda at: at.strftime('"%Y-%m-%dT%H:%M:%S.123Z"'),
    lambda at: at.strftime(" %Y-%m-%dt%H:%M:%S,5z\r\n"),
    *(
        lambda at, hours=hours, offset=offset: datetime.fromtimestamp(  # type: ignore[misc]
            at.timestamp() + hours * 3600, UTC
        ).strftime(f"%Y-%m-%dT%H:%M:%S{offset}")
        for hours, offset in ((5.5, "+05:30"), (-8, "-0800"), (9, "+09"), (-8, "-08:00"))
    ),
]
GARBAGE = [
    None,
    "",
    "soon",
    "2026-13-45T99:99:99Z",
    "2026-11-28",
    "0",
    "-1",
    "99999999999999999999999999",
    "1764316800x",
    "infinity",
    "NaN",
    "11/28/2026 11:30",
    "2026-11-28T11:30:00+99:99x",
]


def alive(url: str, column: str, values: Sequence[Any]) -> list[bool]:
    """For each time in the column: whether the kit takes the token for living."""
    run(
        url,
        "CREATE TABLE users (id INTEGER PRIMARY KEY)",
        "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER, vehicle_access_token VARCHAR(9), "
        f"token_created_at {column})",
    )
    rows = [{"n": number, "at": value} for number, value in enumerate(values)]
    with sa.create_engine(url).begin() as connection:
        connection.execute(sa.text("INSERT INTO vehicles VALUES (:n, 1, 'tok', :at)"), rows)
    company = Company.connect(url, Layout())
    found = [car.token_alive for car in company.cars_to_ask(NOW)]
    assert (sum(found), len(found)) == company.count_tokens(NOW)
    return found


def at_ages(forms: Sequence[Callable[[datetime], Any]]) -> list[Any]:
    """A token of half an hour, of three hours and of forty days, in every form."""
    ages = (0.5, 3, 40 * 24)
    return [form(datetime.fromtimestamp(NOW.timestamp() - hours * 3600, UTC)) for form in forms for hours in ages]


def test_a_tokens_age_is_read_from_numbers(any_database: str) -> None:
    """Seconds, milliseconds and microseconds since 1970 tell the age on every database; null and zero are no age."""
    values = [*at_ages(FORMS), None, 0, -1, 2**62]
    assert [True, False, False] * len(FORMS) + [False] * 4 == alive(any_database, "BIGINT", values)


def test_a_tokens_age_is_read_from_text(any_database: str) -> None:
    """Numbers as text and ISO text with T, blank, Z or an offset tell the age; garbage is no age and no failure."""
    values = [*at_ages(TEXTS), *GARBAGE]
    assert [True, False, False] * len(TEXTS) + [False] * len(GARBAGE) == alive(any_database, "VARCHAR(40)", values)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("sqlite", ("INTEGER", "REAL", "NUMERIC", "TEXT", "BLOB", "JSON", "")),
        ("postgresql", ("BIGINT", "NUMERIC", "NUMERIC(20,3)", "DOUBLE PRECISION", "TEXT", "CHAR(40)")),
        ("mariadb", ("BIGINT UNSIGNED", "DECIMAL(30,3)", "DOUBLE", "LONGTEXT", "CHAR(40)", "JSON")),
    ],
)
def test_seconds_and_milliseconds_in_every_type_that_can_hold_them(
    make_database: Callable[[str], str], kind: str, columns: Sequence[str]
) -> None:
    """Whatever the column's type is, the two common units tell the age."""
    values = at_ages(FORMS[:2])
    for column in columns:
        told = [str(value) for value in values] if column in ("TEXT", "CHAR(40)", "LONGTEXT", "JSON") else values
        told = [str(value).encode() for value in values] if column == "BLOB" else told
        assert [True, False, False] * 2 == alive(make_database(kind), column, told), column


def test_text_kept_as_bytes_on_sqlite_tells_the_age(make_database: Callable[[str], str]) -> None:
    """SQLite keeps whatever it is given: ISO text in a BLOB is read as its letters."""
    values = [form.encode() for form in at_ages([TEXTS[5]])]
    assert [True, False, False] == alive(make_database("sqlite"), "BLOB", values)


@pytest.mark.parametrize(("kind", "column"), [("postgresql", "JSONB"), ("postgresql", "TIME"), ("mariadb", "TIME")])
def test_a_column_that_tells_no_age_is_refused(make_database: Callable[[str], str], kind: str, column: str) -> None:
    """A type that no time since 1970 can be read from is named with its key."""
    url = make_database(kind)
    run(
        url,
        "CREATE TABLE users (id INTEGER)",
        f"CREATE TABLE vehicles (id INTEGER, user_id INTEGER, token_created_at {column})",
    )
    with pytest.raises(
        DatabaseError, match=rf"^database: \[vehicles\] token_created_at .* \({column}.*\), which is of a"
    ):
        Company.connect(url, Layout())


def test_an_endless_time_is_no_age(make_database: Callable[[str], str]) -> None:
    """PostgreSQL's infinity, like any time far ahead, sends no token."""
    times = ["infinity", "2027-11-28 11:00:00", "2026-11-28 11:30:00"]
    assert [False, False, True] == alive(make_database("postgresql"), "TIMESTAMP", times)


@pytest.mark.parametrize(("kind", "column"), [("mariadb", "VARBINARY(17)"), ("postgresql", "BYTEA")])
def test_a_vin_kept_as_bytes_is_read_as_its_letters(
    make_database: Callable[[str], str], kind: str, column: str
) -> None:
    """Bytes of a VIN are letters, not hex; bytes that are none fail no query."""
    url = make_database(kind)
    odd = "'\\xff00'" if kind == "postgresql" else "X'FF00'"
    run(
        url,
        "CREATE TABLE users (id INTEGER)",
        f"CREATE TABLE vehicles (id INTEGER, user_id INTEGER, vin {column})",
        "INSERT INTO vehicles VALUES (1, 1, '1HGBH41JXMN109186')",
    )
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO vehicles VALUES (2, 1, {odd})")
    first, second = Company.connect(url, Layout()).cars_to_ask(NOW)
    assert first.vin == "1HGBH41JXMN109186" != second.vin
