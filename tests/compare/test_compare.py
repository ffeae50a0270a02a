"""The comparison as its notebook drives it: slices, replays, the gate, the guide's own check of tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from smartcar_ops.compare.compare import NOTEBOOK, Compare, open_comparison
from smartcar_ops.errors import ParameterError, SettingsError, SmartcarError
from smartcar_ops.session import RUN_FOLDER, Session, open_session
from tests.support.house import NO_LIMITS, House

Open = Callable[..., Compare]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a comparison of a house as its notebook does, in a run's folder of its own."""
    sessions: list[Session] = []

    def open_(house: House, *, changed: dict[str, str] | None = None, **given: Any) -> Compare:
        for name in [name for name in os.environ if name.startswith("SMARTCAR_")]:
            monkeypatch.delenv(name)
        folder = house.root / "reports" / f"2026112{len(sessions)}T000000Z__{NOTEBOOK}"
        folder.mkdir(parents=True)
        for name, value in {**house.environment, RUN_FOLDER: str(folder), **(changed or {})}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(house.root)
        sessions.append(open_session(NOTEBOOK))
        return open_comparison(sessions[-1], **given)

    yield open_
    for session in sessions:
        session.transport.close()


@pytest.fixture
def linked(make_house: Callable[..., House]) -> House:
    """A company of 40 users whose cars are linked."""
    return linked_company(make_house, 40)


def linked_company(make_house: Callable[..., House], users: int) -> House:
    """A company of so many users whose cars are linked."""
    house = make_house(users=users).expand().play_callbacks()
    house.ask()
    return house


def done(compare: Compare) -> pd.DataFrame:
    """The table of fields, after reading to the end and leaving everything in the run's folder."""
    compare.read()
    compare.save()
    compare.finish()
    return compare.result.fields.frame()


def in_order(fields: pd.DataFrame) -> pd.DataFrame:
    """The table by vehicle, whichever run read it first."""
    return fields.sort_values(["local_vehicle_id", "vehicle_id"], kind="stable", ignore_index=True)


def folder_of(compare: Compare) -> Path:
    """Where a comparison leaves its tables."""
    assert compare.session.folder
    return compare.session.folder


def spent(compare: Compare) -> int:
    """Units that were spent, tokens of the application aside."""
    return sum(units for api, units in compare.session.transport.spent.items() if api != "iam")


def test_slices_add_up_to_the_fleet(compare: Open, linked: House) -> None:
    """Each run reads vehicles that no run has read, and judges them beside all the others; then nothing is left."""
    first = compare(linked, vehicles=8)
    one = done(first)
    second = compare(linked, vehicles=0)
    both = done(second)
    assert 8 == one["vehicle_id"].nunique() == first.result.read
    assert set(one["local_vehicle_id"]) < set(both["local_vehicle_id"])
    assert not set(one["local_vehicle_id"]) & {pair.local_vehicle_id for pair in second.to_read}
    third = compare(linked, vehicles=25)
    assert (0, []) == (third.cost().total, third.to_read)
    assert in_order(both).equals(in_order(done(third))) and 0 == spent(third)


def forget_connections(house: House) -> None:
    """As if nobody had ever listed them: what links the cars stays."""
    house.execute("DELETE FROM smartcar_ops_connections")
    house.execute("DELETE FROM smartcar_ops_asked WHERE source IN ('connections', 'subscriptions')")


def test_where_no_connection_is_known_they_are_listed_first(compare: Open, linked: House) -> None:
    """Without an audit the connections are listed by the comparison itself, at the cost that it said before; then it
    reads what it would have read after one."""
    wanted = {pair.key for pair in compare(linked, vehicles=5).to_read}
    forget_connections(linked)
    first = compare(linked, vehicles=5)
    said = first.cost()
    assert (0, []) == (spent(first), first.to_read)
    assert {"connections", "subscriptions", "v2", "v3"} <= set(said.units)
    done(first)
    assert (5, wanted) == (first.result.read, {pair.key for pair in first.to_read})
    assert 0 < spent(first) <= said.total
    assert all(pair.subscribed is not None for pair in first.linked)
    assert "connections" not in compare(linked, vehicles=5).cost().units


def test_what_the_allowance_leaves_unlisted_is_no_empty_fleet(compare: Open, linked: House) -> None:
    """Where listing alone spends max_calls, nothing is linked yet: not complete, and the next run goes on there."""
    forget_connections(linked)
    first = compare(linked, vehicles=5, max_calls=1)
    done(first)
    summary = first.session.runs.one(first.session.run_id).summary
    assert (0, False) == (summary["vehicles"], summary["complete"])
    one = compare(linked, vehicle_id=linked.world.connections[0].vehicle_id, max_calls=0)
    assert one.cost().total > 0


def test_a_vehicle_without_an_answer_leaves_the_comparison_incomplete(
    compare: Open, linked: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vehicle that V3 answers 500 for is counted as unanswered, listed, and read again by the next run."""
    first = compare(linked, vehicles=4)
    struck, ask = first.to_read[2], first.session.v3.signals_document

    def signals(vehicle_id: str, *given: Any, **named: Any) -> Any:
        if vehicle_id == struck.vehicle_id:
            raise SmartcarError("smartcar: ill", status=500, type="SERVER", code="INTERNAL")
        return ask(vehicle_id, *given, **named)

    monkeypatch.setattr(first.session.v3, "signals_document", signals)
    done(first)
    summary = first.session.runs.one(first.session.run_id).summary
    assert (False, 1, 0) == (summary["complete"], summary["unanswered"], summary["gave_up"])
    listed = pd.read_parquet(folder_of(first) / "unanswered.parquet")
    assert [("compare", struck.local_vehicle_id, "500 SERVER INTERNAL")] == list(
        listed[["source", "subject", "error"]].itertuples(index=False, name=None)
    )
    assert struck.key in {pair.key for pair in compare(linked, vehicles=0).to_read}
    again = compare(linked, vehicle_id=struck.vehicle_id)
    done(again)
    assert again.session.runs.one(again.session.run_id).summary["complete"]


def test_reading_again_is_asked_for(compare: Open, linked: House) -> None:
    """With `fresh`, vehicles that were recorded before are read once more, and count once."""
    first = compare(linked, vehicles=0)
    done(first)
    again = compare(linked, vehicles=0, fresh=True)
    table = done(again)
    assert {pair.key for pair in first.chosen} == {pair.key for pair in again.to_read}
    assert len(first.chosen) == table["local_vehicle_id"].nunique() == again.result.read


def test_the_cost_is_said_before_and_kept(compare: Open, linked: House) -> None:
    """What was spent is at most what was said; `max_calls` stops before it, and the next run goes on there."""
    short = compare(linked, vehicles=10, max_calls=60)
    said = short.cost().total
    done(short)
    assert 0 < spent(short) <= 60 < said
    assert not short.result.complete and 0 < short.result.read < 10
    rest = compare(linked, vehicles=10)
    assert 10 - short.result.read == len(rest.to_read)
    done(rest)
    assert rest.result.complete and 10 == rest.result.read
    assert spent(rest) <= rest.cost().total or rest.cost().total == 0


def test_a_replay_is_the_same_table_without_a_call(compare: Open, linked: House) -> None:
    """Judging a run's recordings again gives the identical tables, strata and verdict, and sends nothing."""
    first = compare(linked, vehicles=20)
    table = done(first)
    again = compare(linked, replay=folder_of(first).name)
    assert 0 == again.cost().total
    assert table.equals(done(again))
    assert first.result.strata.equals(again.result.strata)
    assert (first.result.verdict, {}) == (again.result.verdict, again.session.transport.spent)
    twice = compare(linked, replay=str(folder_of(again)))
    assert table.equals(done(twice))


def test_a_changed_tolerance_changes_only_what_it_should(compare: Open, linked: House) -> None:
    """A replay under a wider tolerance of one field changes verdicts of that field alone."""
    first = compare(linked, vehicles=0)
    before = done(first)
    (linked.root / "smartcar_ops.toml").write_text("[tolerance]\nbattery-percent = { absolute = 100 }\n")
    after = done(compare(linked, replay=folder_of(first).name))
    changed = before["verdict"] != after["verdict"]
    assert changed.any() and {"battery-percent"} == set(before[changed]["field"])
    assert {"within_tolerance"} == set(after[changed]["verdict"])


def test_a_row_and_a_waiver_of_the_companys_own(compare: Open, linked: House) -> None:
    """A company's row is judged by replaying, a waiver of it holds; one that names no field is exit 5."""
    first = compare(linked, vehicles=5)
    done(first)
    own = """
[[field]]
id = "gear"
v2 = { path = "/odometer", member = "distance", unit = "km" }
v3 = { code = "lowvoltagebattery-stateofcharge", member = "value", unit = "percent" }
rule = "number"
change = "stable"
"""
    waiver = '\n[[waiver]]\nfield = "gear"\nreason = "a joke"\nowner = "Ada"\nexpires = 2099-01-01\n'
    settings = linked.root / "smartcar_ops.toml"
    settings.write_text(own)
    table = done(compare(linked, replay=folder_of(first).name))
    assert {"mismatch"} == set(table[table["field"] == "gear"]["verdict"])
    settings.write_text(own + waiver)
    table = done(compare(linked, replay=folder_of(first).name))
    assert {"waived"} == set(table[table["field"] == "gear"]["verdict"])
    settings.write_text(waiver)
    with pytest.raises(SettingsError, match=r"\[waiver\] has the field 'gear'"):
        compare(linked, replay=folder_of(first).name).cost()


def test_one_vehicle_is_chosen_by_smartcars_id(compare: Open, linked: House) -> None:
    """A vehicle_id in any case chooses that vehicle; an unknown one is exit 5 before a call."""
    wanted = compare(linked).linked[0]
    chosen = compare(linked, vehicle_id=f" {wanted.vehicle_id.upper()} ").chosen
    assert {wanted.vehicle_id} == {pair.vehicle_id for pair in chosen}
    unknown = compare(linked, vehicle_id="nobody")
    for act in (unknown.cost, unknown.read):
        with pytest.raises(ParameterError, match="is not a linked vehicle"):
            act()
    assert 0 == spent(unknown)


def test_one_vehicle_is_looked_at_anew(compare: Open, linked: House) -> None:
    """A vehicle that is named is read now, whatever was read before, and nothing else is judged."""
    first = compare(linked, vehicles=4)
    done(first)
    chosen = first.chosen[0]
    look = compare(linked, vehicle_id=chosen.vehicle_id.upper())
    table = done(look)
    assert {chosen.vehicle_id} == set(table["vehicle_id"]) and 58 == len(table)
    assert [chosen.key] == [found.pair.key for found in look.looked]
    assert 0 < spent(look) <= 21
    replayed = compare(linked, replay=folder_of(first).name, vehicle_id=chosen.vehicle_id)
    assert {chosen.vehicle_id} == set(done(replayed)["vehicle_id"])
    assert 1 == len(replayed.looked)


@pytest.mark.parametrize(
    ("faults", "found"), [((), "refused"), (("user-token-on-v3",), "same"), (("user-token-on-v3", "nulls"), "same")]
)
def test_the_guides_own_check(
    compare: Open, make_house: Callable[..., House], faults: tuple[str, ...], found: str
) -> None:
    """V3 with a user's token says the same as with the application's, or refuses it; summary.json says which."""
    known = {"nulls": "success-with-nulls"}
    house = make_house(users=40, faults=[known.get(name, name) for name in faults]).expand().play_callbacks()
    house.ask()
    one = compare(house, vehicles=3)
    done(one)
    assert found == one.user_token_on_v3


def test_the_gate_is_red_when_v3_loses_a_field(compare: Open, make_house: Callable[..., House]) -> None:
    """Good data open the gate; a field that V3 loses, or too little that was judged, close it."""
    linked = linked_company(make_house, 80)
    (linked.root / "smartcar_ops.toml").write_text(f"[gate]\nlost_share = 0.05\nmin_judged = 0.5\n{NO_LIMITS}")
    good = compare(linked, vehicles=0)
    table = done(good)
    assert 0 == good.result.exit_code and not table.empty
    (linked.root / "smartcar_ops.toml").write_text("[gate]\nlost_share = 0.0\nmin_judged = 0.5\n")
    assert 1 == _replayed(compare, linked, good).result.exit_code
    (linked.root / "smartcar_ops.toml").write_text("[gate]\nlost_share = 1.0\nmin_judged = 1.0\n")
    refused = _replayed(compare, linked, good).result
    assert 1 == refused.exit_code and all("needed" in words for words in refused.refused)


def test_a_makers_limit_splits_a_comparison_over_days(compare: Open, linked: House) -> None:
    """By default: the cost tells the days, no car of the make is asked above its limit, and the run is not complete."""
    (linked.root / "smartcar_ops.toml").write_text("[gate]\nlost_share = 1.0\n")
    first = compare(linked, vehicles=0)
    said = str(first.cost())
    assert "one HYUNDAI takes up to" in said and "days, because [limits] splits its V2 batch" in said
    done(first)
    cars = {pair.vehicle_id for pair in first.to_read if pair.make == "HYUNDAI"}
    assert (len(cars), False) == (first.result.in_part, first.result.complete)
    asked = {row["vehicle_id"]: int(row["units"]) for row in linked.rows("smartcar_ops_vehicle_units")}
    assert cars == set(asked) and max(asked.values()) <= 10
    again = compare(linked, vehicles=0)
    done(again)
    assert not cars & {pair.vehicle_id for pair in again.to_read} and len(cars) == again.result.in_part


def _replayed(compare: Open, house: House, of: Compare) -> Compare:
    again = compare(house, replay=folder_of(of).name)
    done(again)
    return again


def test_v2_that_answers_nobody_is_exit_2(compare: Open, make_house: Callable[..., House]) -> None:
    """Where V2 is off the run ends with exit 2 and the advice to replay, and what was recorded before stays."""
    house = make_house(users=40).expand().play_callbacks()
    house.ask()
    first = compare(house, vehicles=3)
    done(first)
    house.execute("UPDATE vehicles SET vehicle_access_token = 'dead-' || id")
    silent = compare(house, vehicles=3)
    with pytest.raises(SmartcarError, match="replay an earlier recording") as caught:
        silent.read()
    assert 2 == caught.value.exit_code
    assert 3 == _replayed(compare, house, first).result.read


@pytest.mark.parametrize("named", ["nowhere", "latest", "."])
def test_a_replay_of_nothing_is_refused(compare: Open, linked: House, named: str) -> None:
    """A folder that is not there, or has no recordings, is exit 5 in one sentence."""
    with pytest.raises((ParameterError, SettingsError), match="parameters: replay") as caught:
        compare(linked, replay=named).cost()
    assert 5 == caught.value.exit_code


def test_an_edited_recording_is_refused(compare: Open, linked: House) -> None:
    """A recording that can't be read is exit 5, not a traceback."""
    first = compare(linked, vehicles=2)
    done(first)
    path = folder_of(first) / "recordings.parquet"
    table = pd.read_parquet(path)
    table["document"] = table["document"].str.slice(0, 50)
    table.to_parquet(path, index=False)
    again = compare(linked, replay=folder_of(first).name)
    with pytest.raises(SettingsError, match="can't be read"):
        again.read()
