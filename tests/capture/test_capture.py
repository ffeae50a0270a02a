"""What arrived at the company, kept as evidence: every outcome, every form of a file, nothing else written."""

from __future__ import annotations

import html
import json
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import SecretStr

from smartcar_ops import notebook_runs
from smartcar_ops.capture import capture as capturing
from smartcar_ops.capture import files as arrivals
from smartcar_ops.capture import rows
from smartcar_ops.capture.result import COLUMNS, Captured
from smartcar_ops.database import captures
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import ParameterError
from smartcar_ops.reports.runner import RunResult
from smartcar_ops.sandbox.api.management.webhook_events import write_events
from smartcar_ops.sandbox.api.management.webhooks import sign
from smartcar_ops.sandbox.api.state import State, utc_now
from smartcar_ops.settings.layout import Layout
from smartcar_ops.storage import run_folder
from tests.support.house import House
from tests.support.memory import peak_of

ANN, BEN = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
CAR, OTHER_CAR = "cccccccc-0000-4000-8000-000000000003", "dddddddd-0000-4000-8000-000000000004"
NIL = "00000000-0000-0000-0000-000000000000"
BACK = "https://app.example.com/callback"


@pytest.fixture
def quiet(make_house: Callable[..., House]) -> House:
    """A small company on SQLite before expand: its ledger is a file."""
    return make_house(users=40)


def user_of(house: House) -> str:
    """One of the company's own ids."""
    return str(house.rows("users")[0]["id"])


def write(house: House, *lines: str | dict[str, Any]) -> Path:
    """A file of these lines."""
    path = house.root / "arrived.txt"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def capture(house: House, *, tokens: Sequence[str] | None = None, toml: str = "", **files: Path) -> Captured:
    """Captures the files; with the house's management token unless others are given, by a layout of its own."""
    known = house.settings.credentials.management_tokens
    secrets = known if tokens is None else [SecretStr(token) for token in tokens]
    company = Company(house.company.engine, Layout.model_validate(tomllib.loads(toml)))
    return capturing.capture(company, house.ledger, **files, management_tokens=secrets, now=house.now)


def redirects(house: House, *lines: str | dict[str, Any]) -> Captured:
    """Captures redirects."""
    return capture(house, redirects=write(house, *lines))


def webhooks(
    house: House, *lines: str | dict[str, Any], tokens: Sequence[str] | None = None, toml: str = ""
) -> Captured:
    """Captures webhooks."""
    return capture(house, webhooks=write(house, *lines), tokens=tokens, toml=toml)


def known(house: House) -> str:
    """The house's management token."""
    return house.settings.credentials.management_token.get_secret_value()


def signed(house: House, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    """A line as a receiver stores it: the raw body with its signature, by the house's token or another."""
    raw = json.dumps(body)
    return {"body": raw, "signature": sign(token or known(house), raw.encode())}


def event(
    user: str | None = ANN, vehicle: str | None = CAR, mode: str = "LIVE", vehicle_mode: str = "", **user_more: Any
) -> dict[str, Any]:
    """An event about a car."""
    who = ({"id": user} if user else {}) | user_more
    what = ({"id": vehicle} if vehicle else {}) | ({"mode": vehicle_mode} if vehicle_mode else {})
    return {"eventType": "VEHICLE_STATE", "data": {"user": who, "vehicle": what}, "meta": {"mode": mode}}


def outcomes(captured: Captured) -> list[str]:
    """What became of the lines, in their order."""
    return [str(outcome) for outcome in captured.rows["outcome"]]


def personal(house: House) -> set[tuple[str, str, str]]:
    """The personal evidence: who, by which source, is whom."""
    return {(row["user_id"], row["source"], row["smartcar_user_id"]) for row in house.ledger.rows(t.personal)}


def sightings(house: House) -> set[tuple[str, str, str]]:
    """The evidence by car."""
    return {(row["vehicle_id"], row["source"], row["smartcar_user_id"]) for row in house.ledger.rows(t.sightings)}


# --- redirects: every outcome ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "named", "outcome", "words"),
    [
        (f"user_id={ANN}&state=s&code=c", True, "kept", "is about one of your users"),
        (f"userId={ANN.upper()}", True, "kept", "is about one of your users"),
        ("error=access_denied&error_description=no", True, "declined", "ended with an error"),
        ("code=c&state=s", True, "unroutable", "has no user_id"),
        (f"user_id={ANN}", False, "unroutable", "has no id of a local user"),
        (f"user_id={ANN}&external_id=nobody-here", False, "unroutable", "not in your table"),
        (f"user_id={ANN}&userId={BEN}", True, "invalid", "2 different values"),
        ("user_id=undefined", True, "invalid", "not a UUID"),
        (f"user_id={NIL}", True, "invalid", "not a UUID"),
        ("error=access_denied&user_id=undefined", True, "declined", "ended with an error"),
    ],
)
def test_what_becomes_of_a_redirect(quiet: House, query: str, named: bool, outcome: str, words: str) -> None:
    """Each outcome by its own rule; evidence is kept for the kept one alone."""
    local = user_of(quiet)
    found = redirects(quiet, {"url": f"{BACK}?{query}", **({"user_id": local} if named else {})})
    assert [outcome] == outcomes(found)
    assert words in found.rows["reason"][0]
    assert ({(local, "redirects", ANN)} if outcome == "kept" else set()) == personal(quiet)
    assert int(outcome in ("unroutable", "invalid")) == found.exit_code


def test_a_redirect_names_its_user_by_the_column_or_by_external_id(quiet: House) -> None:
    """The company's own column, or, where it is empty, the external id; one that names nobody takes nothing away."""
    first, second = (str(row["id"]) for row in quiet.rows("users")[:2])
    redirects(
        quiet,
        {"url": f"{BACK}?user_id={ANN}&external_id=nobody-here", "user_id": int(first)},
        {"url": f"{BACK}?user_id={BEN}&external_id={second}", "user_id": ""},
    )
    assert {(first, "redirects", ANN), (second, "redirects", BEN)} == personal(quiet)


def test_a_redirect_that_names_two_users_is_nobodys(quiet: House) -> None:
    """The column and the external id name two people of the company: a line for a person, and no evidence."""
    first, second = (str(row["id"]) for row in quiet.rows("users")[:2])
    found = redirects(
        quiet, *({"url": f"{BACK}?user_id={ANN}&external_id={own}", "user_id": first} for own in (first, second))
    )
    assert ["kept", "invalid"] == outcomes(found)
    assert "its user_id and its external_id are different users" == found.rows["reason"][1]
    assert {(first, "redirects", ANN)} == personal(quiet)


FORMS: dict[str, Callable[[str], Iterable[str]]] = {
    "csv": lambda user: ("id,URL,user_id", f'1,"{BACK}?user_id={ANN}",{user}'),
    "csv, query": lambda user: ("query;user_id", f"user_id={ANN};{user}"),
    "csv, a cell of two lines": lambda user: ("url\tuser_id\tnote", f'?user_id={ANN}\t{user}\t"a', 'b"'),
    "csv, first cell empty": lambda user: ("note\turl\tuser_id", f"\t?user_id={ANN}\t{user}"),
    "csv, a byte order mark": lambda user: ("\ufeffurl,user_id", f"?user_id={ANN},{user}"),
    "json": lambda user: (json.dumps({"url": f"{BACK}?user_id={ANN}", "user_id": user}),),
    "json, query": lambda user: ("", "  " + json.dumps({"query": f"user_id={ANN}", "user_id": int(user)})),
    "addresses": lambda user: (f"{BACK}?user_id={ANN}&external_id={user}", "", ""),
    "query strings": lambda user: (f"?user_id={ANN}&external_id={user}\r",),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_redirects_may_have_any_form(quiet: House, form: str) -> None:
    """CSV with a header, JSON Lines or an address a line; blank lines are none."""
    local = user_of(quiet)
    found = redirects(quiet, *FORMS[form](local))
    assert (["kept"], {(local, "redirects", ANN)}) == (outcomes(found), personal(quiet))


@pytest.mark.parametrize("line", ["{not json", "[1, 2]", '{"url": ""}', '{"user_id": "1"}', "https://[?user_id=1"])
def test_a_line_that_cannot_be_read_ends_nothing(quiet: House, line: str) -> None:
    """It is counted, and the next line is read."""
    found = redirects(quiet, {"url": f"?user_id={ANN}", "user_id": user_of(quiet)}, line)
    assert "kept" == outcomes(found)[0]
    assert outcomes(found)[1] in ("invalid", "unroutable")
    assert [1, 2] == list(found.rows["line"])


def test_rows_below_a_broken_one_are_read(quiet: House) -> None:
    """A row that no CSV reader takes is invalid, one without an address too; each is known by its line."""
    local = user_of(quiet)
    found = redirects(
        quiet, "url,user_id", f"{'x' * 200_000},1", ",1", " , ", f"?user_id={ANN},{local}", f"?user_id={BEN}"
    )
    assert ["invalid", "invalid", "kept", "unroutable"] == outcomes(found)
    assert [2, 3, 5, 6] == list(found.rows["line"])


def test_a_line_without_end_is_not_held_in_memory(quiet: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a line longer than any event only the beginning is read, and it is one invalid line."""
    monkeypatch.setattr(rows, "LONGEST", 1000)
    path = write(quiet, json.dumps(signed(quiet, event())) + " " * 5000 + "x", signed(quiet, event(BEN)))
    assert ["kept", "kept"] == outcomes(capture(quiet, webhooks=path))
    path = write(quiet, '{"eventType": "' + "x" * 5000, signed(quiet, event(BEN)))
    found = capture(quiet, webhooks=path)
    assert (["invalid", "kept"], [1, 2]) == (outcomes(found), list(found.rows["line"]))


UNPROVED = {"unsigned": 0, "unchecked": 0, "wrong_signature": 0, "without_mode": 0}
"""What is counted of kept webhooks, where each is proved."""


# --- webhooks: every outcome ----------------------------------------------------------------------------------


def test_signed_webhooks_of_the_sandbox_are_kept(quiet: House) -> None:
    """Real events, each with its signature over the raw body: who is connected to which car, and nothing invalid."""
    events = write_events(State(quiet.world, utc_now), 20)
    raw = [json.dumps(one, indent=1) for one in events]
    found = webhooks(quiet, *({"body": body, "signature": sign(known(quiet), body.encode())} for body in raw))
    pairs = {(e["data"]["vehicle"]["id"], "webhooks", e["data"]["user"]["id"]) for e in events}
    assert (20, UNPROVED, 0) == (found.count("kept"), found.kept, found.exit_code)
    assert pairs == sightings(quiet)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda body, signed: {"body": body, "SC-Signature": signed},
        lambda body, signed: {"Body": body, "headers": {"Sc-Signature": signed}},
        lambda body, signed: {"body": body, "headers": {"sc_signature": [signed.upper()]}},
        lambda body, signed: {"body": body, "sc-signature": f" {signed} "},
    ],
)
def test_a_signature_may_stand_anywhere(quiet: House, wrap: Callable[[str, str], dict[str, Any]]) -> None:
    """Beside the body or among the headers, in any case; right it is kept, wrong it is invalid."""
    body = json.dumps(event())
    right = sign(known(quiet), body.encode())
    found = webhooks(quiet, wrap(body, right), wrap(body + " ", right), wrap(body, "ü"))
    assert ["kept", "invalid", "invalid"] == outcomes(found)
    assert (UNPROVED, {(CAR, "webhooks", ANN)}) == (found.kept, sightings(quiet))


def test_a_body_that_was_parsed_is_checked_as_the_sdk_writes_it(quiet: House) -> None:
    """An object in place of the raw text counts as its shortest JSON: signed so it is kept, else invalid."""
    short = json.dumps(event(), separators=(",", ":"))
    found = webhooks(
        quiet,
        {"body": event(), "signature": sign(known(quiet), short.encode())},
        {"body": event(), "signature": sign(known(quiet), json.dumps(event()).encode())},
    )
    assert ["kept", "invalid"] == outcomes(found)
    assert "can't be checked if the database changed its order" in found.rows["reason"][1]
    assert "no signature matches" not in found.remarks
    assert "signatures" not in found.verdict


@pytest.mark.parametrize(
    ("body", "outcome", "words"),
    [
        (event(), "kept", "signed by Smartcar"),
        (event(mode=""), "kept", "signed by Smartcar; has no mode"),
        ({**event(), "meta": {}}, "kept", "signed by Smartcar; has no mode"),
        (event(mode="SIMULATED"), "other_mode", "mode live"),
        (event(mode="TEST"), "other_mode", "mode live"),
        (event(mode="test "), "other_mode", "mode live"),
        (event(mode="", vehicle_mode="simulated"), "other_mode", "mode live"),
        (event(mode="LIVE", vehicle_mode="Simulated"), "other_mode", "mode live"),
        (event(user=None), "unroutable", "has no user id"),
        (event(vehicle=None), "unroutable", "has no vehicle id"),
        (event(user="[object Object]"), "invalid", "its user's id is not a UUID"),
        (event(vehicle=NIL), "invalid", "its vehicle's id is not a UUID"),
        ({**event(), "vehicleId": OTHER_CAR}, "invalid", "2 different values"),
        ({"eventType": "VERIFY", "data": {"challenge": "abc"}}, "verify", "receiver is yours"),
        ({"some": "thing"}, "invalid", "not an event"),
    ],
)
def test_what_becomes_of_a_webhook(quiet: House, body: dict[str, Any], outcome: str, words: str) -> None:
    """Each outcome by its own rule; evidence is kept for the kept one alone, and what tells no mode is counted."""
    found = webhooks(quiet, signed(quiet, body))
    assert [outcome] == outcomes(found)
    assert words in found.rows["reason"][0]
    assert ({(CAR, "webhooks", ANN)} if outcome == "kept" else set()) == sightings(quiet)
    assert (1 if outcome in ("unroutable", "invalid") else 0) == found.exit_code
    modeless = int("no mode" in words)
    assert UNPROVED | {"without_mode": modeless} == found.kept
    assert ("webhooks kept that have no mode: 1" in found.remarks) == bool(modeless)


@pytest.mark.parametrize(
    ("body", "words"),
    [("no json", "not a JSON object"), ({"body": ""}, "no body"), ({"body": "plain words"}, "not an event")],
)
def test_a_line_that_is_no_webhook(quiet: House, body: str | dict[str, Any], words: str) -> None:
    """It is invalid, whatever else the file holds."""
    found = webhooks(quiet, body)
    assert (["invalid"], True) == (outcomes(found), words in found.rows["reason"][0])


# --- webhooks: what proves them -------------------------------------------------------------------------------

BELIEVE_UNSIGNED = '[webhooks]\nunsigned = "believe"\n'
BELIEVE_WRONG = '[webhooks]\nwrong_signature = "believe"\n'
REFUSE = '[webhooks]\nunsigned = "refuse"\n'


def test_an_unsigned_webhook_is_no_evidence_where_signatures_can_be_checked(quiet: House) -> None:
    """One line that anybody could write, with a user's own id in it, gives nobody an id; it is a line for people."""
    found = webhooks(quiet, event(externalId=user_of(quiet)))
    assert (["invalid"], 1, 0) == (outcomes(found), found.exit_code, found.new)
    assert 'has no signature, and [webhooks] unsigned is not "believe"' == found.rows["reason"][0]
    assert [] == everything(quiet)


@pytest.mark.parametrize(
    ("toml", "tokens", "unsigned", "wrong", "counted"),
    [
        ("", None, "invalid", "invalid", {}),
        (BELIEVE_UNSIGNED, None, "kept", "invalid", {"unsigned": 1}),
        (BELIEVE_WRONG, None, "invalid", "kept", {"wrong_signature": 1}),
        (f"{BELIEVE_UNSIGNED}{BELIEVE_WRONG[11:]}", None, "kept", "kept", {"unsigned": 1, "wrong_signature": 1}),
        ("", [], "kept", "kept", {"unsigned": 1, "unchecked": 1}),
        (BELIEVE_UNSIGNED, [], "kept", "kept", {"unsigned": 1, "unchecked": 1}),
        (REFUSE, [], "invalid", "invalid", {}),
    ],
)
def test_who_is_believed_is_the_companys_to_say(
    quiet: House, toml: str, tokens: list[str] | None, unsigned: str, wrong: str, counted: dict[str, int]
) -> None:
    """Refused unless `[webhooks]` says so; where no token can check anything, believed unless it says so. Counted."""
    found = webhooks(quiet, event(), signed(quiet, event(BEN), "another"), toml=toml, tokens=tokens)
    assert [unsigned, wrong] == outcomes(found)
    assert UNPROVED | counted == found.kept
    believed = [name for name in ("unsigned", "wrong_signature") if f'{name} = "believe"' in toml]
    assert believed == found.summary()["believed"]
    assert all(f'[webhooks] {name} = "believe" is set' in found.remarks for name in believed)
    assert found.kept.items() <= found.summary().items()


def test_a_signature_by_any_of_the_tokens_is_one(quiet: House) -> None:
    """Events of before a rotation are proved by the older token."""
    lines = [signed(quiet, event(), "older"), signed(quiet, event(BEN))]
    assert ["kept", "kept"] == outcomes(webhooks(quiet, *lines, tokens=[known(quiet), "older"]))
    assert ["invalid", "kept"] == outcomes(webhooks(quiet, *lines, tokens=[known(quiet)]))


def test_where_no_signature_fits_the_reasons_there_may_be_are_told(quiet: House) -> None:
    """Another token, bodies that are not as they came, or Smartcar's own fault; not where one line fits."""
    wrong = [signed(quiet, event(), "another"), {"body": event(BEN), "signature": "00"}]
    found = webhooks(quiet, *wrong)
    assert ["invalid", "invalid"] == outcomes(found)
    assert all(word in found.remarks for word in ("another application or be an old one", "a fault of Smartcar's"))
    assert found.verdict.startswith("No signature matches its body (2 webhooks): see the possible reasons.")
    found = webhooks(quiet, *wrong, signed(quiet, event()))
    assert "fault of Smartcar" not in found.remarks
    assert "None of" not in found.verdict


def test_where_every_signature_is_wrong_it_is_one_finding(quiet: House) -> None:
    """Not a row for each of them: one, with how many; bodies that a database re-ordered are a finding of their own."""
    found = webhooks(quiet, *[signed(quiet, event(), "another")] * 20)
    assert found.verdict.startswith("No signature matches its body (20 webhooks)")
    assert [("webhooks", 1, 20, "invalid")] == rows_of(found.people().drop(columns="reason"))
    assert 20 == found.summary()["misfits"]
    turned = {"meta": {"mode": "LIVE"}, "data": event()["data"], "eventType": "VEHICLE_STATE"}
    found = webhooks(quiet, *[{"body": turned, "signature": signed(quiet, event())["signature"]}] * 5)
    assert found.verdict.startswith("No signature can be checked (5 webhooks)")
    assert "every body was stored parsed, and a database may change the order of its members" in found.remarks
    assert "SMARTCAR_MANAGEMENT_TOKEN may belong to another" in found.remarks
    assert [("webhooks", 1, 5, "invalid")] == rows_of(found.people().drop(columns="reason"))


def rows_of(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """A table's rows."""
    return list(frame.itertuples(index=False, name=None))


def test_an_external_id_in_a_webhook_is_personal_evidence(quiet: House) -> None:
    """Where it names a user of the company, it speaks for that user; else only for the car."""
    local = user_of(quiet)
    strange = event(BEN, OTHER_CAR, externalId="somebody@example.com")
    found = webhooks(quiet, signed(quiet, event(externalId=local)), signed(quiet, strange))
    assert {(local, "webhooks", ANN)} == personal(quiet)
    assert {(CAR, "webhooks", ANN), (OTHER_CAR, "webhooks", BEN)} == sightings(quiet)
    assert [local, None] == [None if pd.isna(name) else name for name in found.rows["user_id"]]


# --- kept once, on every database -----------------------------------------------------------------------------


def everything(house: House) -> list[dict[str, Any]]:
    """The ledger's evidence with its times."""
    return [*house.ledger.rows(t.personal), *house.ledger.rows(t.sightings)]


def test_a_second_reading_changes_nothing(make_house: Callable[..., House], any_database: str) -> None:
    """On every database: doubles collapse, a second reading adds nothing, and no company row is changed."""
    house = make_house(any_database, users=40).expand()
    local, before = user_of(house), (house.rows("users"), house.rows("vehicles"))
    path = write(house, *[signed(house, event(externalId=local))] * 3, signed(house, event(BEN)))
    sent = house.root / "redirects.csv"
    far = "99999999999999999999999"
    lines = (local, local, "999999999", "3000000000", far, "-1", "x'; --", "007", "e\u0301", "a\0b")
    sent.write_text("url,user_id\n" + "\n".join(f"?user_id={ANN},{name}" for name in lines) + "\n")
    first = capture(house, webhooks=path, redirects=sent)
    kept = everything(house)
    house.now = house.now.replace(year=house.now.year + 1)
    second = capture(house, webhooks=path, redirects=sent)
    assert (6, len(lines) - 2, 4) == (first.count("kept"), first.count("unroutable"), first.new)
    assert (6, len(lines) - 2, 0) == (second.count("kept"), second.count("unroutable"), second.new)
    assert kept == everything(house)
    assert 4 == len(kept)
    assert before == (house.rows("users"), house.rows("vehicles"))
    assert [] == house.transport.calls


def test_later_files_add_to_what_is_known(quiet: House) -> None:
    """What an earlier file said stays."""
    webhooks(quiet, signed(quiet, event()))
    assert 1 == webhooks(quiet, signed(quiet, event(BEN))).new
    assert {(CAR, "webhooks", ANN), (CAR, "webhooks", BEN)} == sightings(quiet)


@pytest.mark.parametrize("database", ["postgresql", "mariadb"])
def test_a_user_is_found_by_ids_of_any_type(make_house: Callable[..., House], database: str) -> None:
    """UUIDs and texts as the company's keys: found as they are written, a UUID in either case."""
    house = make_house(database, users=40)
    kind = "UUID" if database == "postgresql" else "VARCHAR(64)"
    house.execute(f"CREATE TABLE people (id {kind} PRIMARY KEY, email VARCHAR(99))")
    house.execute(f"INSERT INTO people VALUES ('{ANN}', 'x')")
    company = Company(house.company.engine, Layout.model_validate({"users": {"table": "people"}}))
    found = captures.known_users(company, [ANN, BEN, "7", "", "x" * 300, "a\nb"])
    assert {ANN: ANN} == found
    if kind == "UUID":
        assert {ANN.upper(): ANN} == captures.known_users(company, [ANN.upper()])


def test_users_the_layout_leaves_out_are_not_known(make_house: Callable[..., House]) -> None:
    """`[users] where` narrows whom a redirect may name."""
    house = make_house(users=40, toml='[users]\nwhere = "id > 3 OR id > 4"\n')
    ids = [str(row["id"]) for row in house.rows("users")]
    assert {one for one in ids if int(one) > 3} == set(captures.known_users(house.company, ids))


# --- big files, and what is shown -----------------------------------------------------------------------------


def test_a_big_file_is_streamed_and_its_table_capped(quiet: House) -> None:
    """15,000 lines in little memory; the table has the first 1,000 kept lines and every other, and says so."""
    local, path = user_of(quiet), quiet.root / "many.csv"
    with path.open("w") as file:
        file.write("url,user_id,note\n")
        for number in range(15_000):
            file.write(f"?user_id={ANN}&code=c{number},{local if number % 1000 else 'nobody'},{'n' * 300}\n")
    found, peak = peak_of(lambda: capture(quiet, redirects=path))
    assert path.stat().st_size > peak
    assert (14_985, 15, 1) == (found.count("kept"), found.count("unroutable"), found.new)
    assert 1015 == len(found.rows)
    assert "leaves out: 13,985" in found.remarks


def test_no_secret_of_a_line_is_shown(quiet: House) -> None:
    """No address, code, state, signature, e-mail or VIN stands in the table, the sentences or a repr."""
    lines = [
        {"url": f"{BACK}?user_id={ANN}&code=secret-code&state=secret-state", "user_id": "secret@example.com"},
        {"url": f"{BACK}?user_id=secret-user&external_id=secret-two", "user_id": user_of(quiet)},
        {"url": f"{BACK}?user_id={ANN}&userId=secret-three"},
        {"url": f"{BACK}?error=secret-error&vehicle_id=SECRETVIN12345678"},
    ]
    first = redirects(quiet, *lines)
    second = webhooks(quiet, {"body": json.dumps(event("secret-id", "secret-car")), "signature": "secret-signature"})
    reprs = [repr(row) for row in arrivals.redirects(write(quiet, *lines))]
    shown = [first.rows.to_json(), second.rows.to_json(), first.verdict, second.remarks, repr(first), *reprs[:1]]
    assert "secret" not in " ".join(shown).lower().replace("secret@example.com", "")
    assert "secret@" not in first.rows.to_json()


# --- the notebook ---------------------------------------------------------------------------------------------


@pytest.fixture
def run(quiet: House, without_kernel: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunResult]:
    """Runs the notebook on the quiet house."""
    monkeypatch.chdir(quiet.root)
    for name, value in quiet.environment.items():
        monkeypatch.setenv(name, value)
    return lambda **given: notebook_runs.run("50", given.items())


def test_the_notebook_keeps_and_says_what_it_kept(quiet: House, run: Callable[..., RunResult]) -> None:
    """0 where all is well, 1 where a line is for a person; tables, summary, no call, no company row changed."""
    before = quiet.rows("users"), quiet.rows("vehicles")
    write(quiet, signed(quiet, event()), signed(quiet, event(mode="TEST")))
    result = run(webhooks="arrived.txt")
    assert (0, {}) == (result.exit_code, result.calls)
    assert {"kept": 1, "unroutable": 0, "invalid": 0, "other_mode": 1}.items() <= result.summary.items()
    assert "1 of 2 lines kept as evidence (1 new); not kept: 1 other_mode." == result.verdict
    assert result.folder
    table = run_folder.load(result.folder)["captured"]
    assert (COLUMNS, ["kept", "other_mode"]) == (list(table.columns), list(table["outcome"]))
    (quiet.root / "sent.txt").write_text(f"{BACK}?user_id={ANN}\n")
    (quiet.root / "smartcar_ops.toml").write_text(BELIEVE_UNSIGNED)
    write(quiet, signed(quiet, event()), event())
    again = run(webhooks="arrived.txt", redirects="sent.txt")
    assert (1, 1, 0) == (again.exit_code, again.summary["unroutable"], again.summary["new"])
    assert (["unsigned"], 1) == (again.summary["believed"], again.summary["unsigned"])
    assert again.folder
    page = html.unescape((again.folder / "report.html").read_text())
    assert '[webhooks] unsigned = "believe" is set; webhooks kept without a signature: 1' in page
    assert before == (quiet.rows("users"), quiet.rows("vehicles"))
    assert [] == quiet.sandbox.arrivals


def test_the_notebook_without_a_line_has_nothing_to_do(quiet: House, run: Callable[..., RunResult]) -> None:
    """Exit 3 where no file is given."""
    result = run()
    assert (3, True) == (result.exit_code, result.verdict.startswith("No file given"))


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("webhooks", "nothing.jsonl", "is not a file"),
        ("redirects", ".", "is not a file"),
        ("redirects", f"{BACK}?user_id={ANN}&code=abc", "expected the path of a file"),
        ("redirects", "zeros.bin", "is not text"),
        ("webhooks", "book.xlsx", "is not text but a ZIP archive or an Excel workbook; save it as CSV"),
        ("webhooks", "broken.gz", "is a broken gzip file"),
        ("redirects", "prose.txt", "nor a header"),
    ],
)
def test_a_file_that_is_none_is_refused_before_anything(quiet: House, name: str, given: str, words: str) -> None:
    """ParameterError, exit 5, naming the parameter; an address given by mistake is not repeated."""
    (quiet.root / "zeros.bin").write_bytes(b"\1\0\0")
    (quiet.root / "book.xlsx").write_bytes(b"PK\3\4\0")
    (quiet.root / "broken.gz").write_bytes(b"\x1f\x8bnone")
    (quiet.root / "prose.txt").write_text("Dear Ann,\n")
    given = str(quiet.root / given) if "://" not in given else given
    with pytest.raises(ParameterError, match=words) as raised:
        capture(quiet, **{name: arrivals.find(name, given)})  # type: ignore[dict-item]
    assert 5 == raised.value.exit_code
    assert name in str(raised.value)
    assert "code=abc" not in str(raised.value)
    assert [] == everything(quiet)


def test_the_notebook_leaves_no_folder_for_a_missing_file(quiet: House, run: Callable[..., RunResult]) -> None:
    """Exit 5, one sentence, nothing left behind."""
    result = run(redirects="nothing.csv")
    assert (5, None) == (result.exit_code, result.folder)
    assert "redirects is 'nothing.csv'" in result.verdict
