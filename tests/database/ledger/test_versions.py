"""The ledger's version: upgraded whole from whatever there is, killed anywhere, and never taken for absent."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database import schema as phases
from smartcar_ops.database.ledger import ledger as ledgers
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger import versions
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.ledger.locks import utcnow
from smartcar_ops.database.ledger.versions import LedgerVersion
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, LockedError
from smartcar_ops.settings.layout import Layout
from tests import old_ledgers
from tests.conftest import DATABASES
from tests.reports.test_runner import command
from tests.support.house import House
from tests.support.processes import upgrade, upgrade_in_a_process

__all__ = ["command"]

SCOPE = Scope("5ca1ab1e5e121ce0", "live")
NEWEST = versions._numbers()[0]
UPGRADE = "40_schema_phases -p phase expand -p apply True"
UNLOGGED = (
    "SELECT 'unlogged ' || relname AS name, reloptions FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'"
)
OLD, NONE = "the old ledger", "nothing"
Command = Callable[..., tuple[int, str]]


def schema(engine: sa.Engine) -> dict[str, Any]:
    """What the database says of the kit's tables: columns with types and nullability, keys, indexes."""
    inspector, found = sa.inspect(engine), {}
    for name in inspector.get_table_names():
        if not name.startswith("smartcar_ops_") or name == versions.VERSION_TABLE:
            continue
        columns = {
            column["name"]: (str(column["type"].compile(engine.dialect)), column["nullable"])
            for column in inspector.get_columns(name)
        }
        indexes = {
            (index["name"], tuple(index["column_names"]), index["unique"]) for index in inspector.get_indexes(name)
        }
        found[name] = (columns, inspector.get_pk_constraint(name)["constrained_columns"], indexes)
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            found |= {row.name: row.reloptions for row in connection.execute(sa.text(UNLOGGED))}
    return found


def rows(engine: sa.Engine, since: str = OLD) -> dict[str, Any]:
    """Every row of the kit's tables; what each ledger draws anew for itself is left out."""
    found, drawn = old_ledgers.contents(engine), {"plan_key"} if since == OLD else {"plan_key", "database_id"}
    found["smartcar_ops_meta"] = [row for row in found["smartcar_ops_meta"] if row["name"] not in drawn]
    return found


def connected(url: str) -> sa.Engine:
    """The database, with no connection kept."""
    return sa.create_engine(url, poolclass=sa.NullPool)


# --- the steps -----------------------------------------------------------------------------------------------


def test_a_steps_file_is_named_after_its_number() -> None:
    """The numbers that are read off the files' names are the steps' own, in Alembic's order."""
    assert versions._numbers() == tuple(step.revision for step in versions._steps().walk_revisions())


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("since", [NONE, "the first step", OLD])
def test_the_tables_are_made_as_they_are_described(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, kind: str, since: str
) -> None:
    """Columns, types, nullability, keys in their order and indexes are those of `ledger_tables`, wherever from."""
    made, described = before(make_database(kind), kind, since), make_database(kind)
    if since == "the first step":
        monkeypatch.setattr(versions, "_create", versions._take_steps)
    upgrade(made)
    t.metadata.create_all(connected(described))
    assert schema(connected(described)) == schema(connected(made))
    assert LedgerVersion.CURRENT is versions.ledger_version(connected(made))


@pytest.mark.parametrize("kind", DATABASES)
def test_a_new_ledger_has_the_rows_that_the_steps_would_leave(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Made at once or step by step: the same rows, but for the two values that each ledger draws for itself."""
    found = []
    for way in (versions._create, versions._take_steps):
        url = make_database(kind)
        old_company(url)
        monkeypatch.setattr(versions, "_create", way)
        upgrade(url)
        contents = old_ledgers.contents(connected(url))
        drawn = {row["name"]: row.pop("value") for row in contents["smartcar_ops_meta"]}
        assert all(len(value) >= 32 for value in drawn.values())
        found.append((contents, recorded(connected(url))))
    assert found[0] == found[1]


def recorded(engine: sa.Engine) -> str | None:
    """The version that the ledger says it has."""
    return versions._number(engine)


def old_company(url: str) -> None:
    """The company's two tables, without a ledger."""
    with connected(url).begin() as connection:
        for statement in ("CREATE TABLE users (id INTEGER)", "CREATE TABLE vehicles (id INTEGER, user_id INTEGER)"):
            connection.exec_driver_sql(statement)


def before(url: str, kind: str, since: str) -> str:
    """A company with the old ledger, or with none."""
    if since == OLD:
        old_ledgers.restore(url, kind)
    else:
        old_company(url)
    return url


def killed_between_steps(
    make_database: Callable[[str], str], kind: str, since: str, moments: Callable[[int], list[int]]
) -> None:
    """Makes or upgrades the ledger, killed before some statements or commits, then again: as an undisturbed one is."""
    calm = before(make_database(kind), kind, since)
    most = upgrade(calm)
    expected = schema(connected(calm)), rows(connected(calm), since)
    for moment in moments(most):
        url = before(make_database(kind), kind, since)
        assert upgrade_in_a_process(url, moment) != 0, moment
        left = versions.ledger_version(connected(url))
        assert left in {LedgerVersion.OLDER, LedgerVersion.CURRENT} or (
            left is LedgerVersion.ABSENT and since == NONE
        ), moment
        if (
            left is not LedgerVersion.CURRENT
        ):  # killed before the last commit, with nothing left to commit: all is there
            upgrade(url)
        assert expected == (schema(connected(url)), rows(connected(url), since)), moment


@pytest.mark.parametrize(
    ("kind", "since", "kills"),
    [("sqlite", OLD, 5), ("postgresql", OLD, 2), ("mariadb", OLD, 1), ("sqlite", NONE, 1), ("mariadb", NONE, 3)],
)
def test_an_upgrade_that_was_killed_is_taken_up_again(
    make_database: Callable[[str], str], kind: str, since: str, kills: int
) -> None:
    """Killed before some statements or commits, the next upgrade ends with the schema and rows of a calm one."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    killed_between_steps(make_database, kind, since, lambda most: chance.sample(range(1, most + 1), kills))


@pytest.mark.slow
@pytest.mark.parametrize("since", [OLD, NONE])
@pytest.mark.parametrize("kind", DATABASES)
def test_no_moment_is_a_bad_one_for_an_upgrade(make_database: Callable[[str], str], kind: str, since: str) -> None:
    """The same before every statement and commit."""
    killed_between_steps(make_database, kind, since, lambda most: list(range(1, most + 1)))


@pytest.mark.parametrize("kind", DATABASES)
def test_two_upgrades_at_once_do_each_step_once(make_database: Callable[[str], str], kind: str) -> None:
    """Both end well, and the ledger is as one alone would have left it."""
    calm, url = make_database(kind), make_database(kind)
    for one in (calm, url):
        old_ledgers.restore(one, kind)
    upgrade(calm)
    with ThreadPoolExecutor(3) as executor:
        assert [0, 0, 0] == list(executor.map(upgrade_in_a_process, [url] * 3))
    assert (schema(connected(calm)), rows(connected(calm))) == (schema(connected(url)), rows(connected(url)))


@pytest.mark.parametrize("kind", DATABASES)
def test_a_live_lock_of_an_old_kit_stops_the_upgrade(make_database: Callable[[str], str], kind: str) -> None:
    """While an act of the old kit beats nothing is changed (exit 4); 90 s after its last beat the upgrade goes on."""
    url = make_database(kind)
    old_ledgers.restore(url, kind)
    before = schema(connected(url))
    beat = sa.text("UPDATE smartcar_ops_locks SET beat = :beat")
    with connected(url).begin() as connection:
        assert connection.execute(beat, {"beat": str(utcnow())}).rowcount
    with pytest.raises(LockedError, match="older smartcar-ops") as raised:
        upgrade(url)
    assert (4, before) == (raised.value.exit_code, schema(connected(url)))
    with connected(url).begin() as connection:
        connection.execute(beat, {"beat": str(utcnow() - t.LEASE * 2)})
    upgrade(url)
    assert LedgerVersion.CURRENT is versions.ledger_version(connected(url))


# --- another version is never taken for absent ---------------------------------------------------------------


@pytest.mark.parametrize("kind", DATABASES)
def test_a_newer_ledger_is_left_to_the_newer_kit(
    make_database: Callable[[str], str], tmp_path: Path, kind: str
) -> None:
    """DatabaseError, exit 2, naming the newer kit, for whoever opens or upgrades it; no file is made instead."""
    url = make_database(kind)
    old_ledgers.restore(url, kind)
    upgrade(url)
    with connected(url).begin() as connection:
        connection.exec_driver_sql("UPDATE smartcar_ops_version SET version_num = '9999'")
    company = Company.connect(url, Layout())
    for opened in (
        lambda: Ledger.open(company, SCOPE, tmp_path),
        lambda: Ledger.open(company, SCOPE, tmp_path, to_upgrade=True),
        lambda: phases.expand_steps(company),
        lambda: phases.scope_ledger(company, SCOPE),
    ):
        with pytest.raises(DatabaseError, match=r"version 9999, made by a newer smartcar-ops") as raised:
            opened()
        assert 2 == raised.value.exit_code
    assert [] == list(tmp_path.glob(".ledger-*"))


def test_a_newer_file_is_left_to_the_newer_kit(make_database: Callable[[str], str], tmp_path: Path) -> None:
    """The ledger's file likewise."""
    url = make_database("sqlite")
    old_company(url)
    company = Company.connect(url, Layout())
    Ledger.open(company, SCOPE, tmp_path)
    file = engines.create(f"sqlite:///{ledgers.file_path(company, tmp_path)}")
    with file.begin() as connection:
        connection.exec_driver_sql("UPDATE smartcar_ops_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="newer smartcar-ops"):
        Ledger.open(company, SCOPE, tmp_path)


@pytest.mark.parametrize("missing", ["smartcar_ops_locks", "smartcar_ops_meta", "smartcar_ops_fences"])
def test_an_older_ledger_is_never_absent(make_database: Callable[[str], str], tmp_path: Path, missing: str) -> None:
    """Whichever of its tables are there, everybody but the upgrade is sent to it; no file is made instead."""
    url = make_database("sqlite")
    old_ledgers.restore(url, "sqlite")
    with connected(url).begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {missing}")
    company = Company.connect(url, Layout())
    for opened in (lambda: Ledger.open(company, SCOPE, tmp_path), lambda: phases.scope_ledger(company, SCOPE)):
        with pytest.raises(DatabaseError, match=re.escape(UPGRADE)) as raised:
            opened()
        assert 2 == raised.value.exit_code
    assert [] == list(tmp_path.glob(".ledger-*"))


@pytest.mark.parametrize("kind", ["postgresql"])
def test_an_account_that_may_only_read_is_told_so(
    make_database: Callable[[str], str], tmp_path: Path, kind: str
) -> None:
    """It is sent to the upgrade as everybody is, can't do it itself (exit 2), and reads the ledger after it."""
    url = make_database(kind)
    old_ledgers.restore(url, kind)
    reading = reader(url)
    company = Company.connect(reading, Layout())
    with pytest.raises(DatabaseError, match=re.escape(UPGRADE)):
        Ledger.open(company, SCOPE, tmp_path)
    with pytest.raises(DatabaseError, match=r"creating the smartcar_ops_… tables failed"):
        upgrade(reading)
    upgrade(url)
    grant(url)
    file = Ledger.open(Company.connect(reading, Layout()), SCOPE, tmp_path)
    assert not file.in_database
    assert len(old_ledgers.contents(connected(url))["smartcar_ops_changes"]) == len(file._rows(sa.select(t.changes)))


def reader(url: str) -> str:
    """The same database for an account that may only read it."""
    database = sa.make_url(url)
    name = f"reader_{database.database}"
    with connected(url).begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'reader'")
    grant(url)
    return database.set(username=name, password="reader").render_as_string(hide_password=False)


def grant(url: str) -> None:
    """Lets the reader read every table there is."""
    with connected(url).begin() as connection:
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_{sa.make_url(url).database}")


# --- through the command line --------------------------------------------------------------------------------


@pytest.fixture
def old_house(make_house: Callable[..., House], tmp_path: Path) -> House:
    """A company whose ledger an old kit made, with a sandbox beside it."""
    house = make_house(users=40)
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    old_ledgers.restore(url, "sqlite")
    house.environment["SMARTCAR_DATABASE_URL"] = url
    house.environment["SMARTCAR_OPS_REPORTS"] = str(tmp_path / "reports")
    return house


def test_every_command_sends_to_the_upgrade(old_house: House, command: Command) -> None:
    """An audit, `runs`, `decide` and the doctor say what to run, with exit 2, and leave no ledger of their own."""
    for arguments in (
        ("run", "20_audit_user_ids", "-p", "confirm", "False"),
        ("runs",),
        ("decide", "1", "none", "--by", "eve", "--reason", "asked"),
        ("doctor",),
    ):
        code, printed = command(old_house, *arguments)
        assert UPGRADE in " ".join(printed.split()), arguments
        assert 2 == code, (arguments, printed)
    assert [] == list(Path(old_house.environment["SMARTCAR_OPS_REPORTS"]).glob(".ledger-*"))


@pytest.mark.usefixtures("without_kernel")
def test_40_upgrades_and_says_what_it_takes_the_rows_to_be_about(old_house: House, command: Command) -> None:
    """Exit 0; its step names the tables of the layout in force; an audit then goes on with what the ledger knows."""
    code, printed = command(old_house, "run", "40_schema_phases", "-p", "phase", "expand", "-p", "apply", "True")
    assert 0 == code, printed
    (page,) = Path(old_house.environment["SMARTCAR_OPS_REPORTS"]).glob("*40_schema_phases/report.html")
    assert "upgrade the smartcar_ops_… tables (the kit&#x27;s own); their rows are about users" in _plain(page)
    code, printed = command(old_house, "runs")
    assert 0 == code, printed
    code, printed = command(old_house, "run", "40_schema_phases", "-p", "apply", "True")
    assert 3 == code, printed


def _plain(page: Path) -> str:
    return page.read_text(encoding="utf-8").replace("'", "&#x27;")
