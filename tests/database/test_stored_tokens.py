"""Stored V2 tokens: opened where they are alive, written only as a whole pair, and in nobody's sight."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from smartcar_ops.database.stored_tokens import WAITS, StoredTokens
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, SmartcarOpsError
from smartcar_ops.settings.layout import Layout, Vault
from tests.database.test_tables import run

NOW = datetime(2026, 11, 23, 12, 0, 7, 600_000, tzinfo=UTC)
YOUNG, OLD = ((NOW - timedelta(hours=hours)).replace(tzinfo=None, microsecond=0) for hours in (1, 3))
PLANTED = ("acc-PLANT", "ref-PLANT", "old-PLANT")
REFRESH = {"refresh_token": "renewal", "refresh": True}


class Opener:
    """Stored tokens are base64; keeps what it was asked to open."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __call__(self, stored: str) -> str:
        """The token, or an error that repeats what it could not read."""
        self.asked.append(stored)
        try:
            return base64.b64decode(stored, validate=True).decode()
        except ValueError:
            raise ValueError(f"can't open {stored}") from None


def seal(token: str) -> str:
    """What is stored for a token."""
    return base64.b64encode(token.encode()).decode()


def fleet(url: str, *rows: tuple[Any, ...], time: str = "TIMESTAMP NULL", width: int = 255) -> None:
    """A company's tables; rows are (id, access token, created at, refresh token)."""
    run(
        url,
        "CREATE TABLE users (id INTEGER PRIMARY KEY)",
        "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER, vin VARCHAR(17), sold INTEGER, "
        f"vehicle_access_token VARCHAR({width}), token_created_at {time}, renewal VARCHAR(255))",
    )
    for id, access, created, refresh in rows:
        run(
            url,
            "INSERT INTO vehicles VALUES (:i, 1, NULL, 0, :a, :c, :r)",
            i=id,
            a=access,
            c=created.isoformat(" ") if isinstance(created, datetime) else created,
            r=refresh,
        )


def company(url: str, vault: Vault | None = None, **vehicles: Any) -> Company:
    """The company, its layout with these keys of `[vehicles]`."""
    return Company.connect(url, Layout.model_validate({"vehicles": vehicles}), vault=vault)


def stored(url: str) -> list[tuple[Any, ...]]:
    """(id, access token, refresh token) of every row."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT id, vehicle_access_token, renewal FROM vehicles ORDER BY id"))
        rows = [tuple(row) for row in found]
    engine.dispose()
    return rows


def told(error: BaseException) -> str:
    """What the error says; nothing planted is in it, nor in any error that it came of."""
    text = ""
    one: BaseException | None = error
    while one is not None:
        text += f"{one!r} {one}"
        one = one.__context__
    assert [] == [planted for planted in (*PLANTED, *map(seal, PLANTED)) if planted in text]
    return str(error)


# --- opening -----------------------------------------------------------------------------------------------


def test_living_tokens_are_opened_and_dead_ones_left_alone(any_database: str) -> None:
    """A car gets the opened token; a dead one is not opened and not given, for it is no token as it is stored."""
    fleet(any_database, (1, seal("one"), YOUNG, None), (2, seal("two"), OLD, None), (3, None, YOUNG, None))
    opener = Opener()
    cars = company(any_database, Vault(opener), open_token="m:f").cars_to_ask(NOW)
    assert [("one", True), (None, False), (None, False)] == [(car.token, car.token_alive) for car in cars]
    assert [seal("one")] == opener.asked


def test_a_token_that_can_not_be_opened_is_no_usable_one(any_database: str) -> None:
    """Such a car has no token, is counted, and neither raises nor shows what is stored."""
    fleet(any_database, (1, seal("one"), YOUNG, None), (2, "not PLANT base64", YOUNG, None), (3, "?", OLD, None))
    known = company(any_database, Vault(Opener()), open_token="m:f")
    cars = list(known.cars_to_ask(NOW))
    assert [("one", True, False), (None, False, True), (None, False, False)] == [
        (car.token, car.token_alive, car.unopened) for car in cars
    ]
    assert (1, (1, 3)) == (known.count_unopened(NOW), known.count_tokens(NOW))
    assert "PLANT" not in f"{cars!r} {known!r} {known.vault!r}"


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("sqlite", "BLOB"),
        *(("postgresql", column) for column in ("BYTEA", "CHAR(40)", "TEXT")),
        *(("mariadb", column) for column in ("BLOB", "VARBINARY(40)", "BINARY(40)", "CHAR(40)")),
    ],
)
def test_a_token_is_read_from_every_type_that_keeps_its_letters(
    make_database: Callable[[str], str], kind: str, column: str
) -> None:
    """Text, bytes and columns of fixed width give the token itself; bytes that are no letters give none."""
    url, is_bytes = make_database(kind), "B" in column
    run(
        url,
        "CREATE TABLE users (id INTEGER PRIMARY KEY)",
        f"CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER, vehicle_access_token {column}, "
        "token_created_at VARCHAR(40))",
    )
    for number, token in ((1, b"tok-1"), *([(2, b"\xff\xfe")] if is_bytes else [])):
        run(
            url,
            "INSERT INTO vehicles VALUES (:n, 1, :t, :at)",
            n=number,
            t=token if is_bytes else token.decode(),
            at=YOUNG.isoformat(),
        )
    told = [(car.token, car.token_alive) for car in company(url).cars_to_ask(NOW)]
    assert [("tok-1", True), *([(None, False)] if is_bytes else [])] == told


def test_nobody_sends_a_sealed_token(make_database: Callable[[str], str]) -> None:
    """Where the layout names ``open_token`` and no vault was given, no token is usable."""
    url = make_database("sqlite")
    fleet(url, (1, seal("one"), YOUNG, None))
    (car,) = company(url, open_token="m:f").cars_to_ask(NOW)
    assert (None, False, True) == (car.token, car.token_alive, car.unopened)


def test_a_layouts_or_is_one_condition(any_database: str) -> None:
    """A ``where`` with an OR narrows what is read by id as well."""
    fleet(any_database, *((number, "t", YOUNG, None) for number in (1, 2, 3)))
    known = company(any_database, where="id = 1 OR id = 2")
    assert ["2"] == [car.local_vehicle_id for car in known.cars_by_id(["2", "3", "4"], NOW)]


def test_many_cars_by_id(make_database: Callable[[str], str]) -> None:
    """Any number of ids is read, in more than one query."""
    url = make_database("sqlite")
    fleet(url, *((number, "t", YOUNG, None) for number in range(1, 12)))
    known = company(url)
    assert 11 == len(list(known.cars_by_id([str(number) for number in range(2000)], NOW)))


# --- who may be refreshed ----------------------------------------------------------------------------------


def test_refreshable_is_what_the_layout_lets_and_the_row_has(any_database: str) -> None:
    """Without ``refresh`` no refresh token is read; with it, the rows that have one are refreshable."""
    fleet(any_database, (1, "a", OLD, "old-PLANT"), (2, "b", OLD, None), (3, "c", OLD, " "))
    assert [False] * 3 == [car.refreshable for car in company(any_database).cars_to_ask(NOW)]
    cars = list(company(any_database, **REFRESH).cars_to_ask(NOW))
    assert [True, False, False] == [car.refreshable for car in cars]
    assert "old-PLANT" not in repr(cars)


@pytest.mark.parametrize("key", ["refresh_token", "token_created_at"])
def test_a_missing_column_ends_it_before_anything_is_asked(any_database: str, key: str) -> None:
    """With ``refresh``, a column that is not there is one sentence naming the key."""
    fleet(any_database)
    with pytest.raises(DatabaseError, match=rf"no column 'nowhere'; .*\[vehicles\] {key}\."):
        company(any_database, **{**REFRESH, key: "nowhere"})


def test_after_contract_nothing_is_refreshable(any_database: str) -> None:
    """Without the access token's column the kit still opens, and refreshes nothing."""
    fleet(any_database, (1, "a", OLD, "old-PLANT"))
    run(any_database, "ALTER TABLE vehicles DROP COLUMN vehicle_access_token")
    assert [False] == [car.refreshable for car in company(any_database, **REFRESH).cars_to_ask(NOW)]


# --- storing -----------------------------------------------------------------------------------------------


def rows_of(known: Company, waits: list[float] | None = None) -> StoredTokens:
    """The token rows of a company, without sleeping."""
    return StoredTokens(known, sleep=(waits if waits is not None else []).append)


def store(rows: StoredTokens, *texts: str) -> bool:
    """Stores the planted pair in the place of these refresh tokens."""
    return rows.store(texts, "acc-PLANT", "ref-PLANT", created_at=NOW, rows=["1"])


def test_a_pair_replaces_the_old_one_in_every_row(any_database: str) -> None:
    """All rows with the refresh token get the pair, those beside the layout's ``where`` too, and no others."""
    fleet(
        any_database,
        (1, "a", OLD, "old-PLANT"),
        (2, "a", OLD, "old-PLANT"),
        (3, "c", OLD, "OLD-PLANT"),
        (4, "d", OLD, "old-PLANT "),
        (5, "e", YOUNG, None),
    )
    known = company(any_database, where="id <> 2", **REFRESH)
    assert store(rows_of(known), "old-PLANT")
    pair = ("acc-PLANT", "ref-PLANT")
    assert [(1, *pair), (2, *pair), (3, "c", "OLD-PLANT"), (4, "d", "old-PLANT "), (5, "e", None)] == stored(
        any_database
    )
    assert [("1", True), ("3", False)] == [
        (car.local_vehicle_id, car.token_alive) for car in known.cars_by_id("13", NOW)
    ]


def test_a_row_that_changed_meanwhile_is_left(any_database: str) -> None:
    """Where the company's own application was faster, its pair stays."""
    fleet(any_database, (1, "theirs", YOUNG, "their-refresh"))
    assert not store(rows_of(company(any_database, **REFRESH)), "old-PLANT")
    assert [(1, "theirs", "their-refresh")] == stored(any_database)


@pytest.mark.parametrize(
    ("time", "kept"),
    [
        ("BIGINT", {1764316800: 1795435207, 1764316800000: 1795435207000, 1764316800000000: 1795435207000000}),
        (
            "VARCHAR(40)",
            {
                "1764316800": "1795435207",
                "1764316800000": "1795435207000",
                "2026-11-20T05:00:00.000Z": "2026-11-23T12:00:07Z",
                "2026-11-20T05:00:00-08:00": "2026-11-23T12:00:07+00:00",
                "2026-11-20T05:00:00": "2026-11-23T12:00:07",
                "2026-11-20 05:00:00": "2026-11-23 12:00:07",
                "2026-11-20 05:00:00 UTC": "2026-11-23 12:00:07 UTC",
                '"2026-11-20T05:00:00.000Z"': '"2026-11-23T12:00:07Z"',
            },
        ),
    ],
)
def test_a_time_is_written_as_its_row_kept_the_one_before(any_database: str, time: str, kept: dict[Any, Any]) -> None:
    """Milliseconds stay milliseconds, ISO text keeps its T and Z: the company's own application goes on reading it."""
    fleet(any_database, *((number, "a", before, "old-PLANT") for number, before in enumerate(kept)), time=time)
    known = company(any_database, **REFRESH)
    assert store(rows_of(known), "old-PLANT")
    engine = sa.create_engine(any_database)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT token_created_at FROM vehicles ORDER BY id")).scalars()
        assert list(kept.values()) == list(found)
    engine.dispose()
    assert [True] * len(kept) == [car.token_alive for car in known.cars_to_ask(NOW)]


@pytest.mark.parametrize(
    ("kind", "time", "expected"),
    [
        ("sqlite", "TIMESTAMP NULL", "2026-11-23 12:00:07.000000"),
        ("sqlite", "TEXT", "2026-11-23 12:00:07"),
        ("sqlite", "INTEGER", 1795435207),
        ("sqlite", "", "2026-11-23 12:00:07"),
        ("postgresql", "TIMESTAMP", datetime(2026, 11, 23, 12, 0, 7)),
        ("postgresql", "TIMESTAMP WITH TIME ZONE", NOW.replace(microsecond=0)),
        ("mariadb", "DATETIME NULL", datetime(2026, 11, 23, 12, 0, 7)),
        ("mariadb", "TIMESTAMP NULL", datetime(2026, 11, 23, 7, 0, 7)),
    ],
)
def test_times_are_written_as_the_column_keeps_them(
    make_database: Callable[[str], str], kind: str, time: str, expected: Any
) -> None:
    """Naive columns get UTC, those with a zone the moment, whatever the session's zone is; read again it is young."""
    options = {
        "postgresql": {"options": "-c timezone=Asia/Tokyo"},
        "mariadb": {"init_command": "SET time_zone='-05:00'"},
    }
    url = (
        sa.make_url(make_database(kind)).update_query_dict(options.get(kind, {})).render_as_string(hide_password=False)
    )
    fleet(url, (1, "a", None, "old-PLANT"), time=time)
    known = company(url, **REFRESH)
    assert store(rows_of(known), "old-PLANT")
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        assert expected == connection.execute(sa.text("SELECT token_created_at FROM vehicles")).scalar_one()
    engine.dispose()
    assert [True] == [car.token_alive for car in known.cars_to_ask(NOW)]


def read_only(url: str) -> str:
    """The same database for an account that may only read."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return f"sqlite:///file:{parsed.database}?mode=ro&uri=true"
    role = f"reader_{parsed.database}"
    if parsed.get_backend_name() == "postgresql":
        run(url, f"CREATE ROLE {role} LOGIN PASSWORD 'r'", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        return parsed.set(username=role, password="r").render_as_string(hide_password=False)
    session = parsed.update_query_dict({"init_command": "SET SESSION TRANSACTION READ ONLY"})
    return session.render_as_string(hide_password=False)


def test_a_right_that_is_missing_is_found_before_anything_is_asked(any_database: str) -> None:
    """An account that may only read is one sentence naming the right, the table and the columns."""
    fleet(any_database, (1, "a", OLD, "old-PLANT"))
    reader = company(read_only(any_database), **REFRESH)
    with pytest.raises(DatabaseError) as caught:
        rows_of(reader).prove({"old-PLANT"})
    said = told(caught.value)
    assert "trying to write vehicle_access_token, renewal, token_created_at of vehicles failed" in said
    assert "needs the right UPDATE on these columns; no token was refreshed." in said
    reader.engine.dispose()


def test_proving_changes_nothing(any_database: str) -> None:
    """Trying whether rows may be written leaves them as they are, and says whether they still hold the token."""
    fleet(any_database, (1, "a", OLD, "old-PLANT"))
    rows = rows_of(company(any_database, **REFRESH))
    assert (True, False) == (rows.prove({"old-PLANT"}), rows.prove({"another"}))
    assert [(1, "a", "old-PLANT")] == stored(any_database)


def test_proving_leaves_nothing_of_a_trigger_either(make_database: Callable[[str], str]) -> None:
    """What the company's own triggers do on an update is taken back as well."""
    url = make_database("sqlite")
    fleet(url, (1, "a", OLD, "old-PLANT"))
    run(url, "CREATE TRIGGER noted AFTER UPDATE ON vehicles BEGIN INSERT INTO users VALUES (NULL); END")
    known = company(url, **REFRESH)
    assert rows_of(known).prove({"old-PLANT"})
    assert 0 == known.count()


def test_a_failed_write_is_tried_again(any_database: str) -> None:
    """What fails for a while is stored once it works: the table is away until the third try."""
    fleet(any_database, (1, "a", OLD, "old-PLANT"))
    known = company(any_database, **REFRESH)
    run(any_database, "ALTER TABLE vehicles RENAME TO away")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            run(any_database, "ALTER TABLE away RENAME TO vehicles")

    assert store(StoredTokens(known, sleep=sleep), "old-PLANT")
    assert list(WAITS[:2]) == waited
    assert [(1, "acc-PLANT", "ref-PLANT")] == stored(any_database)


def test_a_write_that_keeps_failing_names_the_row(any_database: str) -> None:
    """After a minute of tries the sentence names the row, the kind of failure and what to do, and no token."""
    fleet(any_database, (1, "a", OLD, "old-PLANT"))
    known = company(any_database, **REFRESH)
    run(any_database, "ALTER TABLE vehicles RENAME TO away")
    waited: list[float] = []
    with pytest.raises(DatabaseError) as caught:
        store(rows_of(known, waited), "old-PLANT")
    said = told(caught.value)
    assert "the new tokens of vehicle 1 could not be stored (" in said and "Connect again" in said
    assert (60, 60) == (sum(WAITS), sum(waited))


def test_a_commit_whose_answer_is_lost_is_no_failure(any_database: str) -> None:
    """Where the database committed and only its answer is missing, the next try finds its own pair there, sealed too.

    The seal gives another text each time, so the second try must know the first one's.
    """
    fleet(any_database, (1, "a", OLD, "salt:old-PLANT"))
    salts = itertools.count(1)
    vault = Vault(lambda text: text.split(":")[1], lambda token: f"salt{next(salts)}:{token}")
    known = company(any_database, vault, open_token="m:f", seal_token="m:g", **REFRESH)
    lost: list[str] = []

    @sa.event.listens_for(known.engine, "commit")
    def _lose(connection: sa.Connection) -> None:
        if not lost:
            lost.append("the first")
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("COMMIT")
            else:
                connection.connection.commit()
            raise OperationalError("commit", None, Exception("the server went away"))

    waited: list[float] = []
    assert store(rows_of(known, waited), "salt:old-PLANT")
    assert (["the first"], list(WAITS[:1])) == (lost, waited)
    assert [(1, "salt1:acc-PLANT", "salt2:ref-PLANT")] == stored(any_database)


# --- sealing -----------------------------------------------------------------------------------------------


def test_new_tokens_are_sealed(any_database: str) -> None:
    """The way back makes what is stored, and reading opens it again."""
    fleet(any_database, (1, seal("a"), OLD, seal("old-PLANT")))
    known = company(any_database, Vault(Opener(), seal), open_token="m:f", seal_token="m:g", **REFRESH)
    assert store(rows_of(known), seal("old-PLANT"))
    assert [(1, seal("acc-PLANT"), seal("ref-PLANT"))] == stored(any_database)
    assert ["acc-PLANT"] == [car.token for car in known.cars_to_ask(NOW)]


def test_every_sealed_form_of_a_token_is_found(any_database: str) -> None:
    """A token that was sealed twice, to two texts, is one token; rows that can't be opened are passed over."""
    forms = ["salt1:old", "salt2:old", "salt3:new", None, "broken"]
    fleet(any_database, *((number, "a", OLD, form) for number, form in enumerate(forms)))
    vault = Vault(lambda text: text.split(":")[1], lambda token: f"salt9:{token}")
    rows = rows_of(company(any_database, vault, open_token="m:f", where="id <> 1", **REFRESH))
    assert {"old": {"salt1:old", "salt2:old"}, "new": {"salt3:new"}} == rows.copies()


@pytest.mark.parametrize("way_back", [lambda _: None, lambda token: seal(token[1:]), lambda _: 1 / 0])
def test_a_way_back_that_leads_elsewhere_is_found_first(make_database: Callable[[str], str], way_back: Any) -> None:
    """A seal that the opener does not open to the same token ends it before a token depends on it."""
    url = make_database("sqlite")
    fleet(url)
    rows = rows_of(company(url, Vault(Opener(), way_back), open_token="m:f", seal_token="m:g", **REFRESH))
    with pytest.raises(SmartcarOpsError, match=r"no token was refreshed\. Check the two functions"):
        rows.check()


def test_a_column_too_short_for_a_token_is_found_first(any_database: str) -> None:
    """A column that a new token would not fit into is named with both lengths."""
    fleet(any_database, width=20)
    rows = rows_of(company(any_database, **REFRESH))
    with pytest.raises(DatabaseError, match="'vehicle_access_token' has room for 20 characters, a new token needs 36"):
        rows.check()


def test_a_seal_that_fails_for_a_while_is_tried_again(make_database: Callable[[str], str]) -> None:
    """A key service that is away for a moment costs no pair."""
    url = make_database("sqlite")
    fleet(url, (1, seal("a"), OLD, seal("old-PLANT")))
    down = [True, True]
    vault = Vault(Opener(), lambda token: None if down else seal(token))
    known = company(url, vault, open_token="m:f", seal_token="m:g", **REFRESH)
    assert store(StoredTokens(known, sleep=lambda _: down.pop() and None), seal("old-PLANT"))
    assert [(1, seal("acc-PLANT"), seal("ref-PLANT"))] == stored(url)
