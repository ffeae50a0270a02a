"""The main job, end to end: what `smartcar-ops demo` leaves behind is right, by the sandbox's own truth."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import mktestdocs
import pandas as pd
import pytest
import sqlalchemy as sa

import smartcar_ops
from smartcar_ops.sandbox import application, embedded
from smartcar_ops.sandbox.address import Address
from tests.browser import CHROMIUM, offline_page
from tests.house import NOTEBOOKS

STEPS = ("00", "40", "20", "10", "30", "30", "20", "90")
CONTRADICTORY = ("conflict", "shared", "invalid")


@dataclass(frozen=True)
class Demo:
    """A demo that ran: its folder, what it printed, the sandbox it left running, and the truth."""

    root: Path
    printed: str
    address: Address
    truth: dict[str, Any]

    @property
    def reports(self) -> Path:
        """Where its runs are."""
        return self.root / "reports"

    def runs(self, number: str) -> list[Path]:
        """The folders of a notebook's runs, oldest first."""
        return sorted(self.reports.glob(f"2*__{number}_*"))

    def users(self, bucket: str) -> set[str]:
        """The users of a bucket, before the backfill, by the truth."""
        return {user["user_id"] for user in self.truth["users"] if user["bucket"] == bucket}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo, run as a new user would, among settings it must not look at."""
    root = tmp_path_factory.mktemp("demo")
    (root / "notebooks").symlink_to(NOTEBOOKS, target_is_directory=True)
    (root / ".env").write_text("SMARTCAR_CLIENT_ID=client_of_somebody\nSMARTCAR_OPS_REPORTS=elsewhere\n")
    done = subprocess.run(
        [sys.executable, "-m", "smartcar_ops.cli", "demo"], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    address = embedded.attach(root / ".sandbox")
    assert address is not None
    truth = httpx.get(f"{address.url}/truth.json").json()
    yield Demo(root, done.stdout, address, truth)
    embedded.stop(root / ".sandbox")


def rows(url: str, table: str) -> dict[str, dict[str, Any]]:
    """A table's rows by id, as text."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = {str(row["id"]): dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {table}")).mappings()}
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def untouched(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same company as the demo's, expanded and its callbacks played, and no kit ever near it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('untouched')}/company.sqlite"
    world = demo.address.world()
    application.create_database(url, world)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE users ADD COLUMN smartcar_user_id VARCHAR(36)"))
        connection.execute(sa.text("ALTER TABLE vehicles ADD COLUMN smartcar_vehicle_id VARCHAR(36)"))
    engine.dispose()
    application.play_connect_callbacks(url, world)
    return url


def test_it_runs_every_step_and_names_the_report(demo: Demo) -> None:
    """Eight runs in order, each with its folder, and the path of the report as the last line."""
    assert list(STEPS) == [path.name.split("__")[1][:2] for path in sorted(demo.reports.glob("2*__*"))]
    assert str(demo.runs("90")[0] / "report.html") == demo.printed.strip().splitlines()[-1].split(": ")[1]


def test_it_reads_no_setting_of_the_operator(demo: Demo) -> None:
    """A `.env` file beside the notebooks changes nothing: every run says it acted on the sandbox."""
    assert {True} == {json.loads((run / "run.json").read_text())["sandbox"] for run in demo.reports.glob("2*__*")}
    assert not (demo.root / "elsewhere").exists()


def test_ready_users_have_the_right_id(demo: Demo) -> None:
    """For every user that the truth calls ready, the database holds exactly the right id."""
    stored = rows(demo.address.database_url, "users")
    right = {user["user_id"]: user["smartcar_user_id"] for user in demo.truth["users"] if user["bucket"] == "ready"}
    assert right == {user: stored[user]["smartcar_user_id"] for user in right}
    assert 100 < len(right)


def test_no_other_user_was_changed(demo: Demo, untouched: str) -> None:
    """Row for row and column for column, every user that was not ready is as the company left it."""
    ready = demo.users("ready")
    before, after = rows(untouched, "users"), rows(demo.address.database_url, "users")
    assert before.keys() == after.keys()
    assert {} == {user: after[user] for user in after if user not in ready and after[user] != before[user]}


def test_vehicles_have_the_right_id(demo: Demo) -> None:
    """Each vehicle holds the id that a correct backfill stores, or none."""
    stored = rows(demo.address.database_url, "vehicles")
    expected = {car["local_vehicle_id"]: car["expected_smartcar_vehicle_id"] for car in demo.truth["vehicles"]}
    assert expected == {car: stored[car]["smartcar_vehicle_id"] for car in expected}


def test_contradictions_are_listed_and_not_written(demo: Demo) -> None:
    """Every contradictory user, and no other, stands in the plan with the decision `conflict`."""
    plan = smartcar_ops.load(demo.runs("30")[0])["plan"]
    listed = plan[(plan["table"] == "users") & (plan["decision"] == "conflict")]
    assert set.union(*(demo.users(bucket) for bucket in CONTRADICTORY)) == set(listed["user_id"])
    assert listed["proposed"].isna().all()


@pytest.mark.parametrize(("place", "moment"), [(0, "before"), (-1, "after")])
def test_buckets_equal_the_truth(demo: Demo, place: int, moment: str) -> None:
    """Before and after, the buckets add up to the number of users and equal the truth's."""
    bundle = smartcar_ops.load(demo.runs("20")[place])
    assert demo.truth["buckets"][moment] == bundle.summary["buckets"]
    assert len(demo.truth["users"]) == bundle.summary["total"] == sum(bundle.summary["buckets"].values())
    key = "bucket" if moment == "before" else "bucket_after"
    told = dict(zip(bundle["users"]["user_id"], bundle["users"]["bucket"], strict=True))
    assert {user["user_id"]: user[key] for user in demo.truth["users"]} == told


def test_orphans_equal_the_truth(demo: Demo) -> None:
    """Connections that no local user claims are counted as the truth counts them."""
    assert demo.truth["orphans"] == len(smartcar_ops.load(demo.reports / "latest/20_audit_user_ids")["orphans"])


def test_planted_differences_get_their_verdict(demo: Demo) -> None:
    """Among the compared fields, each planted or harmless difference has the verdict it must have."""
    fields = smartcar_ops.load(demo.reports / "latest/10_compare_v2_v3")["fields"]
    expected = {(row["vehicle_id"], row["field"]): row["expected"] for row in demo.truth["differences"]}
    told = {(row.vehicle_id, row.field): row.verdict for row in fields.itertuples()}
    both = expected.keys() & told.keys()
    assert {key: expected[key] for key in both} == {key: told[key] for key in both}
    scored = {(row.vehicle_id, row.field) for row in fields.itertuples() if row.scored}
    quiet = {told[key] for key in scored - expected.keys()}
    assert quiet <= {"equal", "converted", "within_tolerance", "not_capable", "not_permitted", "unavailable"}


def test_no_secret_and_no_vin_is_left_in_the_folders(demo: Demo) -> None:
    """Tokens, secrets and VINs stand in no file of any run; places are searched for where recordings are redacted."""
    world = demo.address.world()
    cars = rows(demo.address.database_url, "vehicles").values()
    planted = {car["vin"] for car in cars} | {car["vehicle_access_token"] for car in cars}
    planted |= {world.credentials.client_secret, world.credentials.management_token}
    for path in demo.reports.glob("2*__*/*"):
        written = pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else path.read_text("utf-8")
        assert [] == [word for word in planted if word and word in written], path.name


def test_load_gives_the_tables_as_data_frames(demo: Demo) -> None:
    """`load` on `reports/latest/…` lists the run's tables and reads them with the contract's columns."""
    bundle = smartcar_ops.load(demo.reports / "latest" / "20_audit_user_ids")
    assert ["calls", "orphans", "unanswered", "users"] == list(bundle)
    columns = ["user_id", "smartcar_user_id", "bucket", "reason", "next_action", "vehicles", "vehicles_unlinked"]
    assert columns == list(bundle["users"].columns)[:7]


def test_reports_open_without_a_network(demo: Demo) -> None:
    """Every page opens in a browser whose network is cut: no request beyond the file, and the pictures are there."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed (Debian: chromium)")
    for run in sorted(demo.reports.glob("2*__*")):
        with offline_page(run / "report.html") as (page, requests):
            assert [f"file://{run / 'report.html'}"] == requests
            if run.name.endswith("90_progress_report"):
                boxes = [svg.bounding_box() for svg in page.query_selector_all("figure svg")]
                assert 4 == len(boxes)
                assert all(box and box["width"] > 300 and box["height"] > 50 for box in boxes)


def test_the_readme_shows_what_the_demo_prints(demo: Demo) -> None:
    """Every line of figures in the README's example is a line that the demo printed."""
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```console\n\$ make demo\n(.*?)```", readme, re.DOTALL)
    assert example
    figures = [line.split() for line in example[1].splitlines() if re.search(r"^\w+ +\d", line)]
    printed = [line.split() for line in demo.printed.splitlines()]
    assert [] == [line for line in figures if line not in printed]
    assert 20 < len(figures)


@pytest.mark.parametrize("document", ["README.md", "reports/README.md"])
def test_the_documents_code_runs(demo: Demo, document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks run in the folder the demo left."""
    monkeypatch.chdir(demo.root)
    mktestdocs.check_md_file(NOTEBOOKS.parent / document, memory=True)
