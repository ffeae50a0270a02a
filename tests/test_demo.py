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
from bs4 import BeautifulSoup

import smartcar_ops
from smartcar_ops.audit import buckets
from smartcar_ops.compare.judging.verdicts import LOST
from smartcar_ops.sandbox import company, embedded
from smartcar_ops.sandbox.address import Address
from smartcar_ops.settings import environment
from tests.support.browser import CHROMIUM, browser, offline_page
from tests.support.house import NOTEBOOKS

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
    company.create_database(url, world)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE users ADD COLUMN smartcar_user_id VARCHAR(36)"))
        connection.execute(sa.text("ALTER TABLE vehicles ADD COLUMN smartcar_vehicle_id VARCHAR(36)"))
    engine.dispose()
    company.play_connect_callbacks(url, world)
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


def page_of(run: Path) -> str:
    """What people read on a run's page, and what is told of its pictures, on one line."""
    soup = BeautifulSoup((run / "report.html").read_text("utf-8"), "html.parser")
    told = [str(tag["aria-label"]) for tag in soup.select("figure")]
    return " ".join(" ".join([soup.get_text(" ", strip=True), *told]).split())


def line_of(demo: Demo, name: str) -> list[str]:
    """The numbers of the first line that the demo printed under this name."""
    words = name.split()
    lines = (line.split() for line in demo.printed.splitlines())
    return next(line[len(words) :] for line in lines if line[: len(words)] == words)


def test_users_are_one_number_each(demo: Demo) -> None:
    """Mapped, left to do, and for a person: by the truth, on both pages, in the JSON, the terminal and the table."""
    truth = demo.truth["buckets"]["after"]
    total, mapped = sum(truth.values()), truth["mapped"]
    left = total - mapped - truth["no_vehicles"]
    people = sum(truth[name] for name in CONTRADICTORY)
    progress, audit = smartcar_ops.load(demo.runs("90")[0]), smartcar_ops.load(demo.runs("20")[-1])
    told = {"total": total, "mapped": mapped, "left": left, "decisions_open": people, "written_since": 0}
    assert told == {name: progress.summary[name] for name in told}
    assert truth == progress.summary["buckets"] == audit.summary["buckets"]
    assert truth == {**dict.fromkeys(truth, 0), **audit["users"]["bucket"].value_counts().to_dict()}
    assert people == audit["users"]["decide"].notna().sum()
    assert truth == {name: int(line_of(demo, name)[1]) for name in truth}
    page = page_of(demo.runs("90")[0])
    for words in (
        f"{mapped} of {total} users (66%) are mapped, {left} left to do ({people} for a person to decide)",
        f"{left} left to do, {truth['no_vehicles']} with nothing to map",
        f"mapped before, {mapped} after; {left} left to do",
        f"Left: for a person to decide {people} users",
        f"Left: for the next audit or backfill {truth['ready'] + truth['unasked']} users",
        f"Left: to connect again, or to check {truth['reconnect'] + truth['unconfirmed']} users",
    ):
        assert words in page, words
    assert f"{people} for a person to decide" in page_of(demo.runs("20")[-1])


def test_what_differs_or_is_lost_is_one_number(demo: Demo) -> None:
    """By the truth, on both pages, in the JSON, the terminal and every table: what the gate counts, and no other."""
    run = demo.runs("10")[0]
    bundle = smartcar_ops.load(run)
    fields, summary = bundle["fields"], bundle.summary
    counted = set(zip(*(fields[fields["scored"]][name] for name in ("vehicle_id", "field")), strict=True))
    true = {
        (row["vehicle_id"], row["field"])
        for row in demo.truth["differences"]
        if row["expected"] in LOST and row["kind"] != "not-permitted-at-all"
    }
    number = len(true & counted)
    assert true & counted == set(zip(*(fields[fields["lost"]][name] for name in ("vehicle_id", "field")), strict=True))
    assert number == summary["lost_fields"] == bundle["vehicles"]["lost"].sum()
    assert number == smartcar_ops.load(demo.runs("90")[0]).summary["lost_fields"]
    assert number == round((bundle["strata"]["lost"] * bundle["strata"]["scored"]).sum())
    assert [str(number)] == line_of(demo, "lost or differs")
    for name, count in summary["verdicts"].items():
        scored = summary["scored_verdicts"].get(name, 0)
        assert (count, scored) == ((told := fields["verdict"] == name).sum(), (told & fields["scored"]).sum())
        assert [scored, count - scored] == [int(word.replace(",", "")) for word in line_of(demo, name)]
    page, progress = page_of(run), page_of(demo.runs("90")[0])
    assert f"{number} of {summary['scored']:,} scored fields differ or are lost on V3" in page
    for shown in (page, progress):
        assert f"({number}) lost or different" in shown
        assert f"mismatch {summary['scored_verdicts']['mismatch']:,}" in shown


def test_calls_are_one_number(demo: Demo) -> None:
    """What all runs spent: by the sandbox's own count, in the terminal, on the page, in the JSON and the tables."""
    spent = [smartcar_ops.load(run) for run in demo.reports.glob("2*__*")]
    units = httpx.get(f"{demo.address.url}/units.json").json()["units"]
    assert units == sum(sum(bundle.run["calls"].values()) for bundle in spent)
    tables = [bundle["calls"]["units"].sum() for bundle in spent if "calls" in bundle]
    (doctor,) = [sum(bundle.run["calls"].values()) for bundle in spent if bundle.run["notebook"].startswith("00")]
    assert units == sum(tables) + doctor
    assert units == smartcar_ops.load(demo.runs("90")[0]).summary["calls"]
    assert f"total {units}" in page_of(demo.runs("90")[0])
    calls = demo.printed[demo.printed.index("Calls spent") :]
    assert ["total", f"{units:,}"] in [line.split() for line in calls.splitlines()]


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


def test_the_first_report_has_a_history(demo: Demo) -> None:
    """Three pretend days and today: ever fewer are left, each day adds up, and the last day is the last audit's."""
    history = smartcar_ops.load(demo.runs("90")[0])["history"]
    assert 4 == len(history)
    assert sorted(history["left"], reverse=True) == history["left"].tolist()
    assert {sum(demo.truth["buckets"]["after"].values())} == set(history["total"])
    assert demo.truth["buckets"]["before"] == history.iloc[2][list(buckets.NAMES)].to_dict()
    assert demo.truth["buckets"]["after"] == history.iloc[3][list(buckets.NAMES)].to_dict()


def test_reports_open_without_a_network(demo: Demo) -> None:
    """Every page opens in a browser whose network is cut: no request beyond the file, and the pictures are there."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed (Debian: chromium)")
    with browser() as started:
        for run in sorted(demo.reports.glob("2*__*")):
            with offline_page(started, run / "report.html") as (page, requests):
                assert [f"file://{run / 'report.html'}"] == requests
                if run.name.endswith("90_progress_report"):
                    boxes = [figure.bounding_box() for figure in page.query_selector_all("figure.picture")]
                    assert 7 == len(boxes)
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
    """The Python blocks run in the folder the demo left, on its sandbox, as if no settings stood there."""
    monkeypatch.chdir(demo.root)
    monkeypatch.setenv(environment.DEMO, "1")
    mktestdocs.check_md_file(NOTEBOOKS.parent / document, memory=True)
