"""Comparing a whole house against its planted differences; the gate, waivers and tolerances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartcar_ops.compare import recording
from smartcar_ops.compare.judging import judge
from smartcar_ops.compare.judging.judge import Judge
from smartcar_ops.compare.judging.verdicts import WAIVABLE
from smartcar_ops.compare.reading import selection
from smartcar_ops.compare.reading.selection import Selection, SelectionSpec
from smartcar_ops.compare.recording import ReadResult, Recording
from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.errors import ParameterError, SettingsError, SmartcarError
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.settings.layout import Layout
from smartcar_ops.smartcar.http.rate_limit import Budget, TokenBucket
from tests.support.house import House
from tests.support.recorded import Compared, begin, judged, owners, pairs, readable, record


class Read:
    """A house whose readable vehicles were all recorded once."""

    def __init__(self, house: House) -> None:
        self.house = house
        house.ask()
        self.linked, self.chosen = pairs(house), readable(house)
        self.cost = recording.cost(self.chosen, house.v2, owners(house), field_map())
        self.sent = len(house.transport.calls)
        self.recordings: list[Recording] = []
        self.plain: Compared | None = None
        record(house, self.chosen, self.recordings)
        self.recordings.sort(key=lambda found: found.pair.key)

    def compare(self, *, show_private: bool = False, **layout: Any) -> Compared:
        """The comparison under a layout's sections."""
        if layout or show_private:
            return judged(self.house, self.recordings, show_private=show_private, **layout)
        if self.plain is None:
            self.plain = judged(self.house, self.recordings)
        return self.plain


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A company of 320 users, 200 cars of it with every kind of difference planted, read once for the module."""
    folder = tmp_path_factory.mktemp("compared")
    house = House(f"sqlite:///{folder}/company.sqlite", folder / "house", users=320).expand().play_callbacks()
    yield Read(house)
    house.close()


def verdicts(comparison: Compared) -> dict[tuple[str, str], str]:
    """(local vehicle, field) -> verdict, of the fields that are compared."""
    names = [row.id for row in field_map().fields if row.compared]
    compared = comparison.fields[comparison.fields["field"].isin(names)]
    keys = zip(compared["local_vehicle_id"], compared["field"], strict=True)
    return dict(zip(keys, compared["verdict"], strict=True))


def test_every_difference_is_found_and_nothing_else(read: Read) -> None:
    """Each planted difference of a car that was read gets its verdict; every other field agrees or has no value."""
    found = verdicts(read.compare())
    cars = {pair.local_vehicle_id for pair in read.chosen}
    planted = {
        (row["local_vehicle_id"], row["field"]): row["expected"]
        for row in read.house.truth["differences"]
        if row["local_vehicle_id"] in cars
    }
    assert planted == {key: found[key] for key in planted}
    rest = {verdict for key, verdict in found.items() if key not in planted}
    assert rest <= {"equal", "converted", "within_tolerance", "not_capable", "unavailable", "not_permitted"}


def test_the_house_has_every_kind_of_difference(read: Read) -> None:
    """The agreement above is no accident of an easy house: every kind there is was read."""
    cars = {pair.local_vehicle_id for pair in read.chosen}
    kinds = {row["kind"] for row in read.house.truth["differences"] if row["local_vehicle_id"] in cars}
    assert {row["kind"] for row in read.house.truth["differences"]} == kinds
    assert 200 <= len(read.chosen) and 90 <= len(kinds)


def test_a_row_an_id_and_vehicle(read: Read) -> None:
    """Every field of the map has one row a vehicle; counts by field and verdict add up to them."""
    comparison = read.compare()
    assert len(read.chosen) * len(field_map().fields) == len(comparison.fields)
    assert not comparison.fields.duplicated(["local_vehicle_id", "field"]).any()
    assert len(comparison.fields) == sum(comparison.verdicts.values()) == int(comparison.by_field().to_numpy().sum())
    summary = comparison.summary()
    assert (len(read.chosen), comparison.verdicts) == (summary["vehicles"], summary["verdicts"])
    assert 0 < summary["judged"] < summary["scored"] < len(comparison.fields)


def test_the_reading_costs_what_was_said(read: Read) -> None:
    """V3 once or twice and one batch a vehicle: at most the units that were said before."""
    calls = read.house.transport.calls[read.sent :]
    units = sum(call.units for call in calls if call.api != "iam")
    batches = [call.units for call in calls if call.template == "/vehicles/{id}/batch"]
    assert len(read.chosen) == len(batches) and max(batches) <= len(field_map().v2_paths)
    assert sum(batches) + len(read.chosen) <= units <= sum(read.cost.values())
    again = sum(row.again is not None for row in read.recordings)
    assert 0 < again < len(read.chosen)


def test_vins_are_masked_unless_asked_for(read: Read) -> None:
    """No whole VIN is in the table; with show_private it is."""
    private = read.compare(show_private=True)
    vins = {car["vin"] for car in read.house.truth["vehicles"] if car["vin"]}
    shown = read.compare().fields.to_csv()
    assert not [vin for vin in vins if vin in shown]
    told = private.fields.to_csv()
    assert [vin for vin in vins if vin in told]


def test_the_gate_refuses_exactly_the_strata_that_lose_too_much(read: Read) -> None:
    """A stratum is refused where more of its scored fields are lost or differ than the gate allows."""
    allowed = float(read.compare().strata["lost"].median())
    comparison = read.compare(gate={"min_judged": 0, "lost_share": allowed})
    scored = comparison.fields[comparison.fields["scored"]]
    bad = scored["verdict"].isin(["mismatch", "v2_only"]) | (scored["lost"] & (scored["verdict"] == "not_permitted"))
    shares = bad.groupby([scored["make"], scored["powertrain"]]).mean()
    refused = {stratum for stratum, share in shares.items() if share > allowed}
    strata = comparison.strata
    assert refused == {(row.make, row.powertrain) for row in strata.itertuples() if row.why}
    assert 0 < len(refused) < len(strata)
    assert (1, len(refused)) == (comparison.exit_code, len(comparison.refused))


def test_the_gate_opens_where_the_share_is_allowed(read: Read) -> None:
    """A share at the limit is allowed; just below it is not."""
    strata = read.compare().strata
    worst = float(strata["lost"].max())
    assert 0 == read.compare(gate={"lost_share": worst, "min_judged": 0}).exit_code
    assert 1 == read.compare(gate={"lost_share": worst - 1e-6, "min_judged": 0}).exit_code


def test_the_gate_needs_enough_judged(read: Read) -> None:
    """Where too few of a stratum's scored fields were judged, the gate says no for that reason."""
    least = float(read.compare().strata["judged"].min())
    assert 0 == read.compare(gate={"lost_share": 1, "min_judged": least}).exit_code
    refused = read.compare(gate={"lost_share": 1, "min_judged": min(1.0, least + 1e-6)})
    assert 1 == refused.exit_code
    assert all("needed" in why and "allowed" not in why for why in refused.strata["why"] if why)


def waiver(read: Read, **changes: Any) -> dict[str, Any]:
    """A waiver of odometers, in force today."""
    base = {"field": "odometer", "reason": "known", "owner": "Ada", "expires": read.house.now.date()}
    return {**base, **changes}


def test_a_waiver_in_force_turns_losses_of_its_field_and_make_alone(read: Read) -> None:
    """On its last day still, a waiver turns its field's losses into `waived`, of its make, and nothing else."""
    plain = read.compare()
    before = verdicts(plain)
    makes = dict(zip(plain.fields["local_vehicle_id"], plain.fields["make"], strict=True))
    lost = {key for key, verdict in before.items() if key[1] == "odometer" and verdict in WAIVABLE}
    make = makes[min(lost)[0]]
    after = verdicts(read.compare(waiver=[waiver(read, make=make.lower())]))
    turned = {key for key in lost if makes[key[0]] == make}
    assert turned and turned == {key for key in after if after[key] != before[key]}
    assert {"waived"} == {after[key] for key in turned}
    everywhere = read.compare(waiver=[waiver(read)])
    assert lost == {key for key, verdict in verdicts(everywhere).items() if verdict == "waived"}
    assert not everywhere.fields[everywhere.fields["verdict"] == "waived"]["lost"].any()
    reasons = everywhere.fields[everywhere.fields["verdict"] == "waived"]["reason"]
    assert all("waived by Ada" in reason and "known" in reason for reason in reasons)


def test_an_expired_waiver_waives_nothing_and_is_named(read: Read) -> None:
    """From the day after its last, a waiver has no effect and is listed as expired."""
    yesterday = read.house.now.date() - timedelta(days=1)
    comparison = read.compare(waiver=[waiver(read, expires=yesterday)])
    assert verdicts(read.compare()) == verdicts(comparison)
    assert [yesterday] == [old.expires for old in comparison.expired]


def test_a_company_s_own_tolerance_replaces_the_kits(read: Read) -> None:
    """A wider tolerance turns differences of that field into agreement; an unknown field is exit 5."""
    wide = verdicts(read.compare(tolerance={"battery-percent": {"absolute": 10_000}}))
    percents = Counter(verdict for key, verdict in wide.items() if key[1] == "battery-percent")
    plain = Counter(verdict for key, verdict in verdicts(read.compare()).items() if key[1] == "battery-percent")
    assert plain["mismatch"] > 0 == percents["mismatch"] + percents["stale"] + percents["moved"]
    others = {key: verdict for key, verdict in wide.items() if key[1] != "battery-percent"}
    assert others == {key: verdict for key, verdict in verdicts(read.compare()).items() if key in others}
    with pytest.raises(SettingsError, match="has the field 'batery'"):
        read.compare(tolerance={"batery": {"absolute": 1}})


def test_pairs_are_the_linked_cars_with_their_own_users(read: Read) -> None:
    """Each pair is a true car with a true connection; the customer's own of several; a token only while usable."""
    cars = {car["local_vehicle_id"]: car for car in read.house.truth["vehicles"]}
    users = {user["user_id"]: user for user in read.house.truth["users"]}
    for pair in read.linked:
        car = cars[pair.local_vehicle_id]
        assert car["smartcar_vehicle_id"] == pair.vehicle_id
        connected = {c.user_id for c in read.house.world.connections_of(pair.vehicle_id)}
        assert pair.smartcar_user_id in connected
        user = users[car["user_id"]]
        if user["persona"] in ("family_car_token", "token_alive", "vin_only"):
            assert user["smartcar_user_id"] == pair.smartcar_user_id
        if user["persona"] != "silent_token":
            assert car["token_alive"] == (pair.token is not None)
    tied = {car["local_vehicle_id"] for car in cars.values() if car["expected_smartcar_vehicle_id"]}
    assert tied <= {pair.local_vehicle_id for pair in read.linked}


def test_the_stored_id_says_whose_connection_is_read(make_house: Callable[..., House]) -> None:
    """Of several Smartcar users of a car, the one stored for the company's own user is read."""
    house = make_house(users=60).expand()
    house.ask(["connections", "vins"])
    user = next(u for u in house.truth["users"] if u["persona"] == "family_car")
    (car,) = [v for v in house.truth["vehicles"] if v["user_id"] == user["user_id"]]
    for person in sorted(c.user_id for c in house.world.connections_of(car["smartcar_vehicle_id"])):
        house.execute("UPDATE users SET smartcar_user_id = :p WHERE id = :id", p=person, id=int(user["user_id"]))
        (pair,) = [pair for pair in pairs(house) if pair.local_vehicle_id == car["local_vehicle_id"]]
        assert person == pair.smartcar_user_id


def choose(linked: list[LinkedVehicle], **wish: Any) -> list[LinkedVehicle]:
    """What a slice that begins with nothing recorded would read."""
    return Selection("run", SelectionSpec(**wish), frozenset(), frozenset()).choose(linked)


def test_a_draw_is_stable_and_sees_every_stratum_first(read: Read) -> None:
    """The same seed draws the same vehicles; as many as there are strata draw one of each."""
    strata = {pair.stratum for pair in read.linked if pair.token}
    draw = choose(read.linked, vehicles=len(strata), seed=3)
    assert strata == {pair.stratum for pair in draw}
    assert draw == choose(list(reversed(read.linked)), vehicles=len(strata), seed=3)
    assert draw != choose(read.linked, vehicles=len(strata), seed=4)
    assert len(strata) == len(draw)


def test_a_draw_does_not_depend_on_who_else_is_there(read: Read) -> None:
    """Where a vehicle's token runs out, the others of its stratum keep their order."""
    draw = choose(read.linked, vehicles=0, seed=3)
    without = [replace(pair, token=None) if pair == draw[0] else pair for pair in read.linked]
    stratum = draw[0].stratum
    assert [pair for pair in draw[1:] if pair.stratum == stratum] == [
        pair for pair in choose(without, vehicles=0, seed=3) if pair.stratum == stratum
    ]


def test_fewer_vehicles_than_none_is_refused(read: Read) -> None:
    """A negative number of vehicles is exit 5."""
    with pytest.raises(ParameterError, match="expected 0"):
        choose(read.linked, vehicles=-1)


def test_a_stratum_of_which_enough_is_known_is_not_read_further(read: Read) -> None:
    """A draw of so many leaves closed strata out; asking for all reads them too."""
    closed = {read.linked[0].stratum}
    names = Selection("run", SelectionSpec(10_000), frozenset(), frozenset())
    assert not closed & {pair.stratum for pair in names.choose(read.linked, closed)}
    everything = Selection("run", SelectionSpec(0), frozenset(), frozenset())
    assert choose(read.linked, vehicles=0) == everything.choose(read.linked, closed)


def test_vehicles_the_budget_did_not_reach_are_listed(make_house: Callable[..., House]) -> None:
    """With a budget for some, the rest are `not_read`, the comparison says so, and the next run goes on there."""
    house = make_house(users=60).expand().play_callbacks()
    house.ask()
    slice_ = begin(house, SelectionSpec(6))
    some, found = slice_.choose(pairs(house)), list[Recording]()
    selection.remember(Recordings(house.ledger), slice_)
    with house.transport.spending(Budget(TokenBucket(house.settings.allowance), max_calls=50, max_minutes=0)):
        reached = record(house, some, found, slice_.name)
    assert 0 < len(reached.keys) < len(some)
    judging = Judge(field_map(), Layout(), house.now)
    for one in found:
        judging.add(one)
    judging.skip(pair for pair in some if pair.key not in reached.keys)
    comparison = Compared(judging.done())
    assert not comparison.complete and len(found) == comparison.read
    states = dict(zip(comparison.vehicles["local_vehicle_id"], comparison.vehicles["state"], strict=True))
    assert {pair.local_vehicle_id: "read" if pair.key in reached.keys else "not_read" for pair in some} == states
    again = begin(house, SelectionSpec(6))
    assert (slice_.name, reached.keys) == (again.name, again.read)
    assert {pair.key for pair in some} == {pair.key for pair in again.choose(pairs(house))}


def test_a_silent_v2_is_no_comparison(make_house: Callable[..., House]) -> None:
    """Where V2 answers for no vehicle at all, comparing ends with the advice to replay a recording (exit 2)."""
    house = make_house(users=40, faults=["v2-off"]).expand()
    house.ask(["connections", "vins"])
    silent = [replace(pair, token="tok") for pair in pairs(house)][:3]
    reached = record(house, silent, [])
    with pytest.raises(
        SmartcarError, match=r"V2 answered for none of 3 vehicles.*replay an earlier recording"
    ) as raised:
        reached.raise_if_v2_silent()
    assert 2 == raised.value.exit_code
    ReadResult().raise_if_v2_silent()


def test_a_silent_v2_never_takes_the_place_of_an_answer(make_house: Callable[..., House]) -> None:
    """Once V2 is gone, reading again leaves the recordings that have both sides as they are."""
    house = make_house(users=40).expand().play_callbacks()
    house.ask()
    (pair,) = begin(house, SelectionSpec(1)).choose(pairs(house))
    record(house, [pair], [])
    kept = Recordings(house.ledger)
    before = kept.index()
    record(house, [replace(pair, token="dead")], [], "later")
    assert {pair.key: ("run", True)} == before == kept.index()


def test_nothing_compared_is_an_empty_table_with_the_same_columns() -> None:
    """Without a recording every table has its columns and types, and the gate has nothing to refuse."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    empty = Judge(field_map(), Layout(), now).done()
    fields = empty.fields.frame()
    assert (judge.FIELD_COLUMNS, 0, 0) == (list(fields.columns), len(fields), empty.exit_code)
    assert "bool" == str(fields["scored"].dtype)
    assert ({}, 0, 0, True) == (empty.verdicts, empty.scored, empty.judged, empty.complete)
    assert [0, 0] == [len(empty.by_field()), len(empty.lost)]
