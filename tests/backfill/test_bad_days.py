"""Bad input and bad days: one clear sentence, the right exit code, nothing half-written, and a way to go on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from smartcar_ops import notebook_runs
from smartcar_ops.backfill import runner as backfill_runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.database import engines
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, PlanError, SmartcarOpsError
from tests.conftest import DATABASES
from tests.support.house import House

SECRET = "pass-word"
KILL = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid()",
    "mariadb": "SELECT concat('KILL ', id) FROM information_schema.processlist WHERE db = database() "
    "AND id <> connection_id()",
}
REFUSE = {
    "sqlite": [
        "CREATE TRIGGER no_such BEFORE UPDATE ON users WHEN old.id IN ({ids}) "
        "BEGIN SELECT RAISE(ABORT, 'ada@example.com is protected'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'ada@example.com is protected'; END $$",
        "CREATE TRIGGER no_such BEFORE UPDATE ON users FOR EACH ROW WHEN (old.id IN ({ids})) EXECUTE FUNCTION refuse()",
    ],
    "mariadb": [
        "CREATE TRIGGER no_such BEFORE UPDATE ON users FOR EACH ROW IF old.id IN ({ids}) THEN "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'ada@example.com is protected'; END IF"
    ],
}


@pytest.fixture
def asked(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """A company of 40 users: expanded, callbacks played, sources asked."""
    return prepared(make_house, getattr(request, "param", "sqlite"))


def prepared(make_house: Callable[..., House], kind: str, users: int = 40, **options: Any) -> House:
    """A company that was asked about."""
    house = make_house(kind, users=users, **options).expand().play_callbacks()
    house.ask()
    return house


def apply(house: House, plan: Plan, run: str = "run", **options: Any) -> backfill_runner.Applied:
    """Applies a plan in batches of 5."""
    return backfill_runner.apply(house.company, house.ledger, plan, run, **{"batch_size": 5, **options})


def company_rows(house: House) -> dict[tuple[str, str], dict[str, Any]]:
    """Every row of the company's own tables."""
    return {(table, str(row["id"])): row for table in ("users", "vehicles") for row in house.rows(table)}


def carried_out(before: dict[tuple[str, str], dict[str, Any]], changes: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows with these changes in them."""
    after = {place: dict(row) for place, row in before.items()}
    for change in changes:
        after[change.table, change.row_id][change.column] = change.after
    return after


def is_one_sentence(error: SmartcarOpsError) -> bool:
    """Whether people can read it, and may: one line, no statement, no secret."""
    told = str(error)
    return 1 == len(told.splitlines()) and not any(word in told for word in (SECRET, "Traceback", "UPDATE ", "ada@"))


# --- a plan that is none -------------------------------------------------------------------------------------


def test_no_damage_to_a_plans_file_goes_unseen(asked: House) -> None:
    """Cut short anywhere, or with any byte changed, a plan's file is refused in a sentence, or says what it said."""
    plan, path, chance = asked.plan(), asked.root / "plan.parquet", random.Random(3)
    plan.save(path)
    whole = path.read_bytes()
    damages = [whole[:size] for size in (0, 4, 12, len(whole) // 2, len(whole) - 1)]
    for place in chance.sample(range(len(whole)), 300):
        damages.append(whole[:place] + bytes([whole[place] ^ chance.randint(1, 255)]) + whole[place + 1 :])
    refused = 0
    for damaged in damages:
        path.write_bytes(damaged)
        try:
            found = Plan.load(path, plan.key)
        except PlanError as error:
            assert is_one_sentence(error) and 5 == error.exit_code
            refused += 1
        else:
            assert (plan.hash, plan.changes()) == (found.hash, found.changes())
    assert refused > 150


def test_a_file_replaced_after_it_was_read_is_refused(asked: House) -> None:
    """Where the plan's file is another, or gone, by the time of the apply: exit 5, no row written."""
    path = asked.root / "plan.parquet"
    asked.plan().save(path)
    plan = Plan.load(path, asked.ledger.plan_key())
    asked.execute("UPDATE users SET smartcar_user_id = 'x' WHERE id = (SELECT min(id) FROM users)")
    asked.plan().save(path)
    asked.execute("UPDATE users SET smartcar_user_id = NULL WHERE id = (SELECT min(id) FROM users)")
    before = company_rows(asked)
    with pytest.raises(PlanError, match="its file now holds a different plan"):
        apply(asked, plan)
    pd.DataFrame({"table": ["users"], "row_id": ["1"]}).to_parquet(path)
    with pytest.raises(PlanError, match="not a plan of this kit"):
        apply(asked, plan)
    path.unlink()
    with pytest.raises(PlanError, match="can't be read as a plan"):
        apply(asked, plan)
    assert before == company_rows(asked)
    assert [] == Runs(asked.ledger).all("apply")


@pytest.mark.usefixtures("without_kernel")
def test_a_plan_that_is_none_is_exit_5_on_the_command_line(asked: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random table in the plan's place is one sentence, exit 5, and no folder."""
    monkeypatch.chdir(asked.root)
    for name, value in asked.environment.items():
        monkeypatch.setenv(name, value)
    path = asked.root / "plan.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(path)
    result = notebook_runs.run("30", [("plan", str(path)), ("apply", "True")])
    assert (5, None) == (result.exit_code, result.folder)
    assert "plan.parquet is not a plan of this kit" in result.verdict


# --- rights --------------------------------------------------------------------------------------------------


def other_account(house: House, url: str) -> House:
    """The same house through another URL."""
    house.url = url
    house.company = Company.connect(url, house.settings.layout)
    house.ledger = house.open_ledger()
    return house


def test_a_read_only_file_is_refused_before_anything_is_written(asked: House) -> None:
    """On a SQLite database opened for reading alone, an apply of a plan made with full rights is exit 2."""
    plan, before = asked.plan(), company_rows(asked)
    path = asked.url.removeprefix("sqlite:///")
    other_account(asked, f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(DatabaseError, match="may not write the smartcar_ops_… tables") as raised:
        apply(asked, plan)
    assert is_one_sentence(raised.value) and 2 == raised.value.exit_code
    assert before == company_rows(asked)


@pytest.mark.parametrize("table", ["users", "vehicles", "ledger"])
def test_a_missing_right_is_told_before_anything_is_written(make_house: Callable[..., House], table: str) -> None:
    """A PostgreSQL role that may not update one of the tables gets exit 2, and not even the other table is written."""
    house = prepared(make_house, "postgresql")
    plan, before, role = house.plan(), company_rows(house), f"{table}_reader_{house.url.rpartition('/')[2]}"
    owner, role = house.company.engine, role.split("?")[0]
    with owner.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
        connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        denied = "smartcar_ops_meta" if table == "ledger" else table
        connection.exec_driver_sql(f"REVOKE UPDATE ON {denied} FROM {role}")
    url = sa.make_url(house.url).set(username=role, password=SECRET).render_as_string(hide_password=False)
    other_account(house, url)
    says = "may not write the smartcar_ops_… tables" if table == "ledger" else f"permission denied for table {table}"
    with pytest.raises(DatabaseError, match=says) as raised:
        apply(house, plan)
    assert is_one_sentence(raised.value) and 2 == raised.value.exit_code
    assert before == company_rows(house)
    house.company.engine.dispose()
    with owner.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}")
        connection.exec_driver_sql(f"DROP ROLE {role}")
    owner.dispose()


# --- the disk, the line, the neighbours ----------------------------------------------------------------------


def test_a_full_disk_leaves_whole_batches(make_house: Callable[..., House]) -> None:
    """Where the disk is full in mid-run: exit 2, what was committed is whole and recorded; with room, it goes on."""
    house = prepared(make_house, "sqlite", users=200)
    plan, before = house.plan(), company_rows(house)
    full = []

    def fill_up(done: int, _of: int, _written: int) -> None:
        if done >= 25 and not full:
            full.append(done)

    def limit(connection: Any, *_: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages if full else 1_000_000}")

    sa.event.listen(house.company.engine, "checkout", limit)
    with pytest.raises(DatabaseError, match="database or disk is full") as raised:
        apply(house, plan, progress=fill_up)
    assert is_one_sentence(raised.value) and 2 == raised.value.exit_code
    written = [row for row in house.rows("smartcar_ops_changes") if row["outcome"] == "written"]
    assert 25 <= len(written) < len(plan.changes())
    assert carried_out(before, plan.changes()[: len(written)]) == company_rows(house)
    sa.event.remove(house.company.engine, "checkout", limit)
    house.company.engine.dispose()
    rest = apply(house, plan, "rest")
    assert len(plan.changes()) - len(written) == rest.count("written") == rest.done
    assert carried_out(before, plan.changes()) == company_rows(house)


def cut_off(house: House, kind: str) -> None:
    """Ends every connection to the house's database but this one."""
    engine = sa.create_engine(house.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for (found,) in connection.exec_driver_sql(KILL[kind]).all():
            if kind == "mariadb":
                connection.exec_driver_sql(found)
    engine.dispose()


@pytest.mark.parametrize(("asked", "kind"), [("postgresql",) * 2, ("mariadb",) * 2], indirect=["asked"])
def test_a_line_lost_in_mid_batch_loses_that_batch_alone(asked: House, kind: str) -> None:
    """Where the server ends the connection within a batch: exit 2, that batch is not there, the next apply goes on."""
    plan, before = asked.plan(), company_rows(asked)
    batches: list[int] = []

    def cut(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if 2 == len(batches) and statement.startswith("UPDATE smartcar_ops_runs SET") and "batch" in statement:
            sa.event.remove(asked.company.engine, "before_cursor_execute", cut)
            cut_off(asked, kind)

    sa.event.listen(asked.company.engine, "before_cursor_execute", cut)
    with pytest.raises(DatabaseError, match="writing batch 3 failed") as raised:
        apply(asked, plan, progress=lambda done, _of, _written: batches.append(done))
    assert is_one_sentence(raised.value) and 2 == raised.value.exit_code
    assert carried_out(before, plan.changes()[:10]) == company_rows(asked)
    assert "failed" == Runs(asked.ledger).one("run").status
    assert len(plan.changes()) - 10 == apply(asked, plan, "rest").count("written")
    assert carried_out(before, plan.changes()) == company_rows(asked)


@pytest.mark.parametrize("asked", ["postgresql", "mariadb"], indirect=True)
def test_a_row_that_another_holds_is_tried_again(asked: House) -> None:
    """Where others hold a row longer than the database lets anybody wait, the batch is tried again, and written."""
    plan = asked.plan()
    row, tries = plan.changes()[2], []
    others = engines.create(asked.url).connect()
    others.execute(sa.text("UPDATE users SET name = 'held' WHERE id = :id"), {"id": int(row.row_id)})

    def impatient(connection: Any, *_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SET lock_timeout = '50ms'"
                if asked.company.engine.dialect.name == "postgresql"
                else "SET innodb_lock_wait_timeout = 1"
            )

    def let_go(context: Any) -> None:
        tries.append(str(context.original_exception))
        others.commit()

    sa.event.listen(asked.company.engine, "checkout", impatient)
    sa.event.listen(asked.company.engine, "handle_error", let_go)
    assert 0 == apply(asked, plan).exit_code
    others.close()
    assert 1 == len(tries)
    assert len(plan.changes()) == len(asked.rows("smartcar_ops_changes"))


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


def wait_for_a_waiter(engine: sa.Engine) -> None:
    """Waits until somebody waits for a row."""
    looked = threading.Event()
    for _ in range(100):
        with engine.connect() as connection:
            if connection.exec_driver_sql(WAITING[engine.dialect.name]).scalar_one():
                return
        looked.wait(0.15)  # InnoDB tells news only to those who have not asked for 0.1 s
    pytest.fail("nobody waited for the row")


@pytest.mark.parametrize("asked", ["postgresql", "mariadb"], indirect=True)
def test_a_deadlock_is_tried_again(asked: House) -> None:
    """Where the kit and another wait for each other's rows, one of them is ended; in the end all is written."""
    plan, errors, ended = asked.plan(), list[str](), list[backfill_runner.Applied]()
    rows = sorted(int(change.row_id) for change in plan.changes() if change.table == "users")
    other, engine = engines.create(asked.url), asked.company.engine
    sa.event.listen(engine, "handle_error", lambda context: errors.append(str(context.original_exception)))
    with other.connect() as holding:
        name = sa.text("UPDATE users SET name = 'held' WHERE id = :id")
        holding.execute(name, {"id": rows[-1]})
        thread = threading.Thread(target=lambda: ended.append(apply(asked, plan, batch_size=50)))
        thread.start()
        wait_for_a_waiter(other)
        try:
            holding.execute(name, {"id": rows[0]})
            holding.commit()
        except sa.exc.OperationalError as error:
            errors.append(str(error.orig))
            holding.rollback()
        thread.join()
    other.dispose()
    assert any("deadlock" in error.lower() for error in errors)
    assert [(0, len(plan.changes()))] == [(applied.exit_code, applied.count("written")) for applied in ended]


# --- rows that the company refuses, and a company that says stop ---------------------------------------------


def refuse(house: House, kind: str, ids: list[str]) -> None:
    """A trigger of the company's that lets nobody change these users."""
    with house.company.engine.begin() as connection:
        for statement in REFUSE[kind]:
            connection.exec_driver_sql(statement.format(ids=", ".join(ids)))


def allow(house: House, kind: str) -> None:
    """Takes the trigger away."""
    house.execute("DROP TRIGGER no_such" + (" ON users" if kind == "postgresql" else ""))


@pytest.mark.parametrize(("asked", "kind"), [(kind, kind) for kind in DATABASES], indirect=["asked"])
def test_rows_that_a_trigger_refuses_fail_alone(asked: House, kind: str) -> None:
    """They are listed as failed with the class of error alone, the others are written; once allowed, just they are."""
    plan, before = asked.plan(), company_rows(asked)
    refused = [change for change in plan.changes() if change.table == "users"][1:12:5]
    refuse(asked, kind, [change.row_id for change in refused])
    applied = apply(asked, plan)
    failed = applied.table("failed")
    assert 1 == applied.exit_code
    assert [change.row_id for change in refused] == failed["row_id"].tolist()
    assert all(failed["reason"]) and "ada@" not in applied.table().to_csv()
    assert carried_out(before, [change for change in plan.changes() if change not in refused]) == company_rows(asked)
    allow(asked, kind)
    rest = apply(asked, plan, "rest")
    assert [change.row_id for change in refused] == rest.table()["row_id"].tolist()
    assert (0, len(refused)) == (rest.exit_code, rest.count("written"))
    assert carried_out(before, plan.changes()) == company_rows(asked)


@pytest.mark.parametrize("kind", [DATABASES[0], *(pytest.param(k, marks=pytest.mark.slow) for k in DATABASES[1:])])
def test_too_many_failures_stop_a_run(make_house: Callable[..., House], kind: str) -> None:
    """Where more rows fail than `[health] failed_share`, the run ends early with exit 1, says why, and can go on."""
    house = prepared(make_house, kind, users=120)
    plan = house.plan()
    users = [change for change in plan.changes() if change.table == "users"]
    refuse(house, kind, [change.row_id for change in users])
    applied = apply(house, plan)
    assert (1, 20, 20) == (applied.exit_code, applied.done, applied.count("failed"))
    assert "20 of 20 rows failed, more than [health] failed_share = 0.05 allows" == applied.stopped
    assert "stopped" == Runs(house.ledger).one("run").status
    allow(house, kind)
    assert len(plan.changes()) == apply(house, plan, "rest").count("written")


@pytest.mark.parametrize("kind", [DATABASES[0], *(pytest.param(k, marks=pytest.mark.slow) for k in DATABASES[1:])])
def test_an_ill_company_stops_a_run_between_batches(make_house: Callable[..., House], kind: str) -> None:
    """Where `[health] query` gives 0, or an error, no further batch is written (exit 1); well again, it goes on."""
    house = prepared(make_house, kind, toml='[health]\nquery = "SELECT well FROM company_health"\n')
    house.execute("CREATE TABLE company_health (well INTEGER)")
    house.execute("INSERT INTO company_health VALUES (1)")
    plan, before = house.plan(), company_rows(house)

    def fall_ill(done: int, _of: int, _written: int) -> None:
        if done == 10:
            house.execute("UPDATE company_health SET well = 0")

    applied = apply(house, plan, progress=fall_ill)
    assert (1, 10, "the [health] query failed") == (applied.exit_code, applied.done, applied.stopped)
    assert carried_out(before, plan.changes()[:10]) == company_rows(house)
    house.execute("ALTER TABLE company_health RENAME TO gone")
    assert (1, 0) == (lambda again: (again.exit_code, again.done))(apply(house, plan, "still ill"))
    house.execute("ALTER TABLE gone RENAME TO company_health")
    house.execute("UPDATE company_health SET well = 1")
    assert len(plan.changes()) - 10 == apply(house, plan, "well").count("written")
    assert carried_out(before, plan.changes()) == company_rows(house)
