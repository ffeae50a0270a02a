"""A comparison of a fleet in words and tables."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from functools import partial
from types import SimpleNamespace
from typing import Any

from bs4 import BeautifulSoup

from smartcar_ops.compare.compare import Compare, open_comparison
from smartcar_ops.compare.judging.comparison import BOTH_REFUSED
from smartcar_ops.compare.judging.verdicts import LOST
from smartcar_ops.compare.report import fleet
from smartcar_ops.compare.report.fleet import FleetReport
from smartcar_ops.compare.tokens_on_v3 import sentence
from smartcar_ops.settings.layout import Waiver
from smartcar_ops.text import thousands
from tests.compare.report.conftest import Compared


def text(shown: Any) -> str:
    """What people read of an output."""
    return " ".join(BeautifulSoup(shown.data, "html.parser").get_text(" ", strip=True).split())


def rows(shown: Any) -> list[list[str]]:
    """The cells of an output's table."""
    body = BeautifulSoup(shown.data, "html.parser").select("tbody tr")
    return [[cell.get_text(" ", strip=True) for cell in row.select("td")] for row in body]


def changed(compare: Compare, **other: Any) -> Any:
    """The comparison with some of what it holds replaced."""
    kept = ("result", "before", "session", "user_token_sentence", "units_per_vehicle")
    return SimpleNamespace(**{**{name: getattr(compare, name) for name in kept}, **other})


def test_the_gate_has_a_row_a_stratum(compared: Compared) -> None:
    """Every stratum that was read is listed, and says whether it is ready to switch, or why not."""
    found = compared.fleet.result
    read = found.strata[found.strata["vehicles"] > 0]
    assert read["make"].tolist() == [row[0] for row in rows(FleetReport(compared.fleet).gate())]
    assert len(found.refused) == sum(row[5].startswith("no: ") for row in rows(FleetReport(compared.fleet).gate()))


def test_the_worst_strata_name_vehicles_to_look_at(compared: Compared) -> None:
    """The strata that lose most come first, each with ids of vehicles that lose something, and what shows them."""
    told = rows(FleetReport(compared.fleet).worst_strata())
    shares = [float(row[3].rstrip("%")) for row in told]
    assert sorted(shares, reverse=True) == shares
    lost = set(compared.fleet.result.lost["vehicle_id"])
    named = [found for row in told for found in re.findall(r"(\S+) smartcar-ops run 10 -p vehicle_id (\S+)", row[5])]
    assert named and all(shown == id for shown, id in named)
    assert {id for _, id in named} <= lost


def test_open_strata_tell_what_closes_them(compared: Compared) -> None:
    """A stratum of which too little is known has its bounds, how many more vehicles close it, and their units."""
    strata = compared.fleet.result.strata
    open_ = strata[strata["state"] == "open"]
    assert len(open_)
    shown = FleetReport(compared.fleet).open_strata()
    assert f"compare {thousands(int(open_['missing'].sum()), 'more vehicles')} (at most " in text(shown)
    told = {(row[0], row[1]): row for row in rows(shown)}
    for row in open_.itertuples():
        units = compared.fleet.units_per_vehicle((row.make, row.powertrain))
        expected = [row.linked, row.vehicles, row.with_loss, row.least, row.most, row.missing]
        assert [*map(str, expected), str(round(units * row.missing))] == told[row.make, row.powertrain][2:]


def test_what_one_side_alone_has_is_counted_with_an_example(compared: Compared) -> None:
    """Fields without a counterpart are listed by side with their vehicles and one value; a private one is not shown."""
    told = {(row[0], row[1]): row[2:] for row in rows(FleetReport(compared.fleet).one_sided())}
    counts = compared.fleet.result.counts
    alone = counts[counts["verdict"].isin(["v2_only", "v3_only"])].groupby("field")["fields"].sum()
    assert [str(alone["mode"]), "live"] == told["V3", "mode"]
    assert [str(alone["v3only-identification"]), "(private)"] == told["V3", "v3only-identification"]
    assert str(alone["service-details"]) == told["V2", "service-details"][0]


def test_since_the_last_run_cells_break_and_are_fixed() -> None:
    """A cell that loses only now is newly broken, one only before is fixed; a stratum not read fixes nothing."""
    before = {"BMW BEV": {"vin": 2, "odometer": 1}, "FORD ICE": {"vin": 1}}
    now = {"BMW BEV": {"vin": 1, "user": 3}}
    expected = [("BMW BEV", "user", 0, 3, "newly broken"), ("BMW BEV", "odometer", 1, 0, "fixed")]
    assert expected == [*fleet.changed(before, now, ["BMW BEV"]).itertuples(index=False, name=None)]


def test_without_an_earlier_run_nothing_is_looked_back_at(compared: Compared) -> None:
    """The first comparison says that there is none before it; with one, what changed is counted."""
    assert "There is no earlier comparison." == text(FleetReport(compared.fleet).since_last_run())
    same = {name: Counter(cells) for name, cells in compared.fleet.result.lost_cells().items()}
    shown = FleetReport(changed(compared.fleet, before=same)).since_last_run()
    assert text(shown).startswith("0 fields newly broken and 0 fixed")


def test_an_expired_waiver_is_named(compared: Compared) -> None:
    """A waiver whose day is over is named with its field, make, owner and reason."""
    waiver = Waiver(field="oil-life", make="FORD", reason="spelt <otherwise>", owner="Ada", expires=date(2026, 1, 31))
    fields = {**vars(compared.fleet.result), "expired": (waiver,)}
    result = SimpleNamespace(**fields, lost_cells=compared.fleet.result.lost_cells)
    assert "The waiver for oil-life (FORD) expired on 2026-01-31 (owner: Ada; reason: spelt <otherwise>)" in text(
        FleetReport(changed(compared.fleet, result=result)).since_last_run()
    )


def test_calls_and_speed_are_what_the_recordings_took(compared: Compared) -> None:
    """Requests and units are those of the calls that were sent, new tokens and the user token's check left out."""
    batches = sum(call.units for call in compared.calls if call.template.endswith("/batch"))
    signals = sum(call.template.endswith("/signals") for call in compared.calls) - 2
    shown = FleetReport(compared.fleet).calls_and_speed()
    assert f"and {batches + signals:,} units" in text(shown)
    assert [["V2 batch"], ["V3 signals"]] == [row[:1] for row in rows(shown)]


def test_what_a_user_token_is_worth_is_a_sentence(compared: Compared) -> None:
    """Each outcome of sending V3 a user's token says what it means; not asked is said too."""
    told = {
        found: text(
            FleetReport(changed(compared.fleet, user_token_sentence=partial(sentence, found))).calls_and_speed()
        )
        for found in ("same", "differs", "refused", None)
    }
    assert "you can use either" in told["same"] and "returns different data" in told["differs"]
    assert "every V3 call needs the application token" in told["refused"]
    assert "Not checked whether V3" in told[None]


def test_differences_have_their_units(compared: Compared) -> None:
    """Both values are told in the unit that they were compared in; private ones are not shown."""
    told = rows(FleetReport(compared.fleet).differences())
    lost = compared.fleet.result.lost
    assert min(len(lost), 30) == len(told)
    assert {True} == {row[3].endswith(" km") for row in told if row[0] == "odometer"}
    assert {"(private)"} >= {row[3] for row in told if row[0] == "vin"}


def test_a_difference_names_its_vehicle(compared: Compared) -> None:
    """Beside its field each row has the vehicle, by Smartcar's id, the command that shows it, and the company's id."""
    lost = compared.fleet.result.fields.frame().query("lost")
    known = {
        (
            one.field,
            f"{one.vehicle_id} smartcar-ops run 10 -p vehicle_id {one.vehicle_id} {one.make}, "
            f"your id {one.local_vehicle_id}",
        )
        for one in lost.itertuples()
    }
    told = [tuple(row[:2]) for row in rows(FleetReport(compared.fleet).differences())]
    assert told and {*told} <= known


def test_one_number_of_what_differs_or_is_lost(compared: Compared) -> None:
    """Picture, sentence, summary and tables count the same fields: those that the gate counts, and no other."""
    found = compared.fleet.result
    summary, fields = found.summary(), found.fields.frame()
    picture, beside = FleetReport(compared.fleet).verdicts(), text(FleetReport(compared.fleet).not_counted())
    number = int(fields["lost"].sum())
    assert number == summary["lost_fields"] == found.vehicles.frame()["lost"].sum()
    assert number == found.scored_by_field()[list(LOST)].to_numpy().sum()
    assert f" ({number}) lost or different" in picture.title
    assert f"{number} of {summary['scored']:,} scored fields differ or are lost on V3" in found.verdict
    both = (fields["scored"] & ~fields["lost"] & (fields["verdict"] == "not_permitted")).sum()
    assert 0 < both == found.scored_by_field()[BOTH_REFUSED].sum()
    assert summary["scored_verdicts"] == fields[fields["scored"]]["verdict"].value_counts().to_dict()
    assert summary["verdicts"] == fields["verdict"].value_counts().to_dict()
    rest = fields[~fields["scored"]]["verdict"].value_counts()
    assert beside.startswith(f"{rest.sum():,} more readings")
    assert {*rest.index} == {name for name in rest.index if f"{name.replace('_', ' ')} {rest[name]:,}" in beside}


def test_one_vehicle_has_no_fleet(compared: Compared) -> None:
    """Of one vehicle the fleet's sections show nothing, so that a report leaves them out."""
    one = compared.fleet.looking_at("x").report()
    sections = (one.verdicts, one.losses, one.gate, one.worst_strata, one.not_counted)
    sections += (one.differences, one.one_sided, one.since_last_run, one.open_strata)
    assert {None} == {section() for section in sections}


def test_nobody_read_is_said(compared: Compared) -> None:
    """Before anything is read, every section is a sentence, not an error."""
    empty = open_comparison(compared.fleet.session, vehicles=1, fresh=True)
    assert "No vehicle was read." == text(FleetReport(empty).losses()) == text(FleetReport(empty).verdicts())
    assert "No make and powertrain group has a lost or different field." == text(FleetReport(empty).worst_strata())
    assert FleetReport(empty).not_counted() is None
    assert "None." == text(FleetReport(empty).gate()) == text(FleetReport(empty).differences())
    assert "Neither version answered for any vehicle." == text(FleetReport(empty).calls_and_speed())
    assert "No field is on one version only." == text(FleetReport(empty).one_sided())
