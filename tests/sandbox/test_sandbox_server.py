"""The server: what it tells about itself, what it notes, its faults, its command line."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from smartcar_ops.sandbox.api.state import utc_now
from smartcar_ops.sandbox.faults.faults import FAULTS
from smartcar_ops.sandbox.server import build_app, running, serve
from smartcar_ops.sandbox.truth import tell_truth

ROOT = Path(__file__).resolve().parents[2]


def get(sandbox, path, **options):
    """One GET of a path of the sandbox."""
    return httpx.get(f"{sandbox.url}{path}", trust_env=False, **options)


def test_truth_health_and_page(client, world):
    """/truth.json is the truth, /health says it is a sandbox, / is a page for people."""
    assert tell_truth(world) == client.get("/truth.json").json()
    assert client.get("/health").json()["sandbox"] is True
    assert "Pretend Smartcar" in client.get("/").text


def test_the_page_lists_people_cars_and_faults(play, world):
    """The first fifty users and vehicles with their counts, VINs masked, every fault, those in force marked."""
    page = play("slow", "imperial").http.get("/").text
    assert all(f"<code>{name}</code>" in page for name in FAULTS)
    assert f"2 of {len(FAULTS)} in force" in page
    assert 2 == page.count("<tr class=on>")
    assert f"50 of {len(world.users)}" in page
    assert f"50 of {len(world.vehicles)}" in page
    assert world.users[0].name in page
    assert not [v.vin for v in world.vehicles if v.vin and v.vin in page]
    assert world.vehicles[0].vin[-4:] in page
    assert "http://" not in page.replace("http://127.0.0.1", "")


def test_every_fault_is_known_by_its_name():
    """The names are those schedules and tests use, from the command line too."""
    assert {
        "billing-430", "cached-error-bodies", "drop-connection", "empty-page-size-zero", "empty-store", "epoch-times",
        "flat-errors", "ids-undefined", "imperial", "listed-but-404", "missing-user-accepted", "mode-default-live",
        "next-other-host", "next-relative", "no-user-attribute", "old-envelope", "page-max-50", "pages-shift",
        "rate-limit", "rate-limit-no-retry-after", "redirect-both", "redirect-no-code", "redirect-userId",
        "refresh-grace-60", "rows-without-mode", "server-500", "signal-404", "signals-paged", "slow",
        "success-with-nulls", "token-expires", "token-html", "triggers-under-data", "two-external-ids",
        "two-users-in-a-row", "unknown-filter-400", "unsubscribed-404", "user-token-on-v3", "v2-off",
        "vehicle-rate-limit", "wrong-user-403",
    } == set(FAULTS)  # fmt: skip


def test_all_faults_together_still_serve(play):
    """Whatever is combined, the sandbox answers and tells the truth about itself."""
    caller = play(*(name for name in FAULTS if name != "token-html"))
    assert caller.http.get("/health").json()["sandbox"] is True
    assert 410 == caller.http.get("/v2.0/user").status_code


def test_stop_needs_the_nonce(client):
    """Nobody ends a sandbox whose nonce they do not know."""
    assert 403 == client.post("/stop", content="x").status_code


def test_arrivals_are_noted(world):
    """Every request is noted with a monotonic time, its method and path."""
    with running(world) as sandbox:
        before = time.monotonic()
        get(sandbox, "/v3/connections?page=1")
        get(sandbox, "/health")
        assert [("GET", "/v3/connections"), ("GET", "/health")] == [a[1:] for a in sandbox.arrivals]
        assert before <= sandbox.arrivals[0][0] <= time.monotonic()


def test_environment_points_every_origin_at_it(sandbox):
    """Every API has the one origin; V2's token endpoint has its path; the database is the one given."""
    found = sandbox.environment("sqlite://")
    assert "sqlite://" == found["SMARTCAR_DATABASE_URL"]
    assert f"{sandbox.url}/oauth/token" == found["SMARTCAR_AUTH_ORIGIN"]
    assert 6 == list(found.values()).count(sandbox.url)
    assert found["SMARTCAR_CLIENT_ID"].startswith("client_01SANDBOX")
    assert len(found["SMARTCAR_CLIENT_SECRET"]) < 16
    assert found["SMARTCAR_CLIENT_SECRET"] not in repr(sandbox.world.credentials)


def test_unknown_fault(world):
    """An unknown fault is one sentence naming it and listing those there are."""
    with pytest.raises(ValueError, match="unknown fault 'x', known are billing-430"):
        build_app(world, ["x"])
    assert all(fault.sentence.endswith(".") for fault in FAULTS.values())


@pytest.mark.parametrize(("fault", "nth", "status"), [("server-500", 5, 500), ("rate-limit", 7, 429)])
def test_every_nth_request_fails(world, fault, nth, status):
    """Data requests fail in turn, each version in its own shape; the token endpoint is spared."""
    with running(world, [fault]) as sandbox:
        get(sandbox, "/oauth2/token")
        answers = [get(sandbox, path) for _ in range(nth) for path in ("/v3/connections", "/v2.0/user")]
    failed = [number for number, answer in enumerate(answers, 1) if answer.status_code == status]
    assert [nth, 2 * nth] == failed
    shapes = {bool(answers[number - 1].json().get("errors")) for number in failed}
    assert {True, False} == shapes
    if status == 429:
        assert "1" == answers[nth - 1].headers["retry-after"]


def test_billing(world):
    """Requests about a vehicle are 430 on both versions; the connections are not."""
    with running(world, ["billing-430"]) as sandbox:
        assert 430 == get(sandbox, "/v2.0/vehicles/x/battery").json()["statusCode"]
        assert "430" == get(sandbox, "/v3/vehicles/x/signals").json()["errors"][0]["status"]
        assert 401 == get(sandbox, "/v3/connections").status_code


def test_v2_off(world):
    """V2 answers 410 on every path with a V2 body; V3 goes on."""
    with running(world, ["v2-off"]) as sandbox:
        for path in ("/v2.0/user", "/v2.0/vehicles/x/odometer", "/v2.0/anything"):
            assert 410 == get(sandbox, path).json()["statusCode"]
        assert 401 == get(sandbox, "/v3/connections").status_code


def test_tokens_that_expire_early(world, take):
    """Under token-expires an application token is 401 after two seconds, though it was said to live an hour."""
    moments = [utc_now()]
    with running(world, ["token-expires"], clock=lambda: moments[-1]) as sandbox:
        headers = take(sandbox)
        assert 200 == get(sandbox, "/v3/connections", headers=headers).status_code
        moments.append(moments[0] + timedelta(seconds=2))
        assert 401 == get(sandbox, "/v3/connections", headers=headers).status_code


def test_token_endpoint_as_a_web_page(world):
    """Under token-html the token endpoint answers 200 with HTML."""
    with running(world, ["token-html"]) as sandbox:
        answer = httpx.post(f"{sandbox.url}/oauth2/token", trust_env=False)
    assert 200 == answer.status_code
    assert answer.headers["content-type"].startswith("text/html")


def test_slow(world):
    """Under slow a request takes a tenth of a second."""
    with running(world, ["slow"]) as sandbox:
        before = time.monotonic()
        get(sandbox, "/v3/connections")
        assert time.monotonic() - before >= 0.1


def test_user_tokens_grow_old(world):
    """A token that lives now is 401 two hours on."""
    vehicle = next(v for v in world.vehicles if v.token_alive and v.tied)
    headers = {"authorization": f"Bearer {vehicle.token}"}
    with running(world, clock=lambda: world.now) as sandbox:
        assert 200 == get(sandbox, "/v2.0/user", headers=headers).status_code
    with running(world, clock=lambda: world.now + timedelta(hours=2)) as sandbox:
        assert 401 == get(sandbox, "/v2.0/user", headers=headers).status_code


def module(*arguments, **options):
    """The command line, started."""
    command = [sys.executable, "-m", "smartcar_ops.sandbox", *arguments]
    return subprocess.Popen(
        command, cwd=options.get("cwd", ROOT), env={"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [("--users", "0"), ("--users", "x"), ("--fault", "nope"), ("--port", "99999"), ("--idle-minutes", "-1")],
)
def test_bad_values_are_one_sentence_and_exit_5(capsys, arguments):
    """A bad value says so in one line and is exit 5."""
    from smartcar_ops.sandbox.__main__ import main

    try:
        code = main(list(arguments))
    except SystemExit as end:
        code = end.code
    assert 5 == code
    assert 1 == len(capsys.readouterr().err.strip().splitlines())


def test_a_taken_port_is_exit_2(capsys, sandbox):
    """A port somebody else serves is the world's failure."""
    from smartcar_ops.sandbox.__main__ import main

    assert 2 == main(["--port", sandbox.url.rpartition(":")[2], "--users", "40"])


def test_foreground_prints_the_environment(tmp_path):
    """In the foreground the export lines are printed, the company's database is made, a signal ends it."""
    process = module("--users", "40", cwd=tmp_path)
    lines = [process.stdout.readline() for _ in range(14)]
    process.terminate()
    assert 0 == process.wait(10)
    assert "Pretend Smartcar at http://127.0.0.1:" in lines[0]
    exports = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines[1:])
    port = exports["SMARTCAR_API_ORIGIN"].rpartition(":")[2]
    assert (tmp_path / ".sandbox" / f"port-{port}" / "company.sqlite").exists()
    process.communicate()


def test_serve_ends_when_idle(tmp_path):
    """Without a request it ends by itself and takes its address away."""
    serve(users=40, folder=tmp_path, idle_minutes=0.2 / 60)
    assert not (tmp_path / "sandbox.json").exists()
    assert (tmp_path / "company.sqlite").exists()


def test_units_are_counted_as_an_allowance_counts_them(play, world):
    """/units.json: a unit a request, in a V2 batch one a path, the sandbox's own pages none."""
    client = play().http
    vehicle = next(vehicle for vehicle in world.vehicles if vehicle.token_alive and vehicle.tied)
    before = client.get("/units.json").json()["units"]
    headers = {"authorization": f"Bearer {vehicle.token}"}
    client.get("/v2.0/user", headers=headers)
    body = {"requests": [{"path": "/odometer"}, {"path": "/location"}, {"path": "/vin"}]}
    assert client.post(f"/v2.0/vehicles/{vehicle.car.id}/batch", json=body, headers=headers).is_success
    client.get("/truth.json")
    assert {"units": before + 4} == client.get("/units.json").json()
