"""Comparing a whole house against its planted differences; the gate, waivers and tolerances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartcar_ops.errors import ParameterError, SettingsError, SmartcarError
from smartcar_ops.layout import Layout
from smartcar_ops.migration import comparing, pairing, recording
from smartcar_ops.migration.comparing import Comparison
from smartcar_ops.migration.pairing import Pair
from smartcar_ops.migration.recording import Recording
from smartcar_ops.smartcar.allowance import Bucket, Budget
from smartcar_ops.smartcar.fields import field_map
from tests.house import House


class Read:
    """A house whose readable vehicles were all recorded once."""

    def __init__(self, house: House) -> None:
        self.house = house
        house.ask()
        self.linked = pairing.pairs(house.company, house.ledger, house.now)
        self.chosen = pairing.choose(self.linked, vehicles=0, vehicle_id="", seed=0)
        self.sent = len(house.transport.calls)
        self.recordings = record(house, self.chosen)

    def compare(self, **layout: Any) -> Comparison:
        """The comparison under a layout's sections."""
        names = Layout.model_validate(layout)
        fields = comparing.tolerated(field_map(), names)
        return comparing.compare(self.recordings, [], fields, names, self.house.now)


def record(house: House, chosen: list[Pair]) -> list[Recording]:
    """Reads vehicles on both versions."""
    with ThreadPoolExecutor(4) as executor:
        return recording.record_all(chosen, house.v2, house.v3, executor, field_map())


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A company of 150 users with every kind of difference planted, read once for the module."""
    folder = tmp_path_factory.mktemp("compared")
    house = House(f"sqlite:///{folder}/company.sqlite", folder / "house", users=150).expand().play_callbacks()
    yield Read(house)
    house.close()


def verdicts(comparison: Comparison) -> dict[tuple[str, str], str]:
    """(local vehicle, field) -> verdict, of the scored fields."""
    scored = comparison.fields[comparison.fields["scored"]]
    keys = zip(scored["local_vehicle_id"], scored["field"], strict=True)
    return dict(zip(keys, scored["verdict"], strict=True))


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
    assert rest <= {"equal", "converted", "within_tolerance", "not_capable"}


def test_the_house_has_every_kind_of_difference(read: Read) -> None:
    """The agreement above is no accident of an easy house: all sixteen kinds were read."""
    cars = {pair.local_vehicle_id for pair in read.chosen}
    kinds = {row["kind"] for row in read.house.truth["differences"] if row["local_vehicle_id"] in cars}
    assert {row["kind"] for row in read.house.truth["differences"]} == kinds
    assert 16 == len(kinds)


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
    assert len(read.chosen) * (1 + read.house.v2.batch_units(len(field_map().v2_paths))) <= units
    assert units <= recording.cost(read.chosen, read.house.v2, field_map())
    again = sum(row.again is not None for row in read.recordings)
    assert 0 < again < len(read.chosen)


def test_vins_are_masked_unless_asked_for(read: Read) -> None:
    """No whole VIN is in the table; with show_private it is."""
    names = Layout()
    private = comparing.compare(read.recordings, [], field_map(), names, read.house.now, show_private=True)
    vins = {car["vin"] for car in read.house.truth["vehicles"] if car["vin"]}
    shown = read.compare().fields.to_csv()
    assert not [vin for vin in vins if vin in shown]
    told = private.fields.to_csv()
    assert [vin for vin in vins if vin in told]


def test_the_gate_refuses_exactly_the_strata_with_losses(read: Read) -> None:
    """With nothing allowed to be lost, a stratum is refused where one of its scored fields is lost or differs."""
    comparison = read.compare(gate={"min_judged": 0})
    lost = comparison.fields[comparison.fields["verdict"].isin(["mismatch", "v2_only", "not_permitted"])]
    lost = lost[lost["scored"]]
    refused = {tuple(row) for row in lost[["make", "powertrain"]].drop_duplicates().to_numpy().tolist()}
    strata = comparison.strata
    assert refused == {(row.make, row.powertrain) for row in strata.itertuples() if row.why}
    assert 0 < len(refused) < len(strata)
    assert 1 == comparison.exit_code
    assert len(refused) == len(comparison.refused)


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
    lost = {key for key, verdict in before.items() if key[1] == "odometer" and verdict in comparing.WAIVABLE}
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
    wide = verdicts(read.compare(tolerance={"battery-percent": {"absolute": 100}}))
    percents = Counter(verdict for key, verdict in wide.items() if key[1] == "battery-percent")
    plain = Counter(verdict for key, verdict in verdicts(read.compare()).items() if key[1] == "battery-percent")
    assert plain["mismatch"] > 0 == percents["mismatch"] + percents["stale"] + percents["moved"]
    others = {key: verdict for key, verdict in wide.items() if key[1] != "battery-percent"}
    assert others == {key: verdict for key, verdict in verdicts(read.compare()).items() if key in others}
    with pytest.raises(SettingsError, match="names the field 'batery'"):
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
        pairs = pairing.pairs(house.company, house.ledger, house.now)
        (pair,) = [pair for pair in pairs if pair.local_vehicle_id == car["local_vehicle_id"]]
        assert person == pair.smartcar_user_id


def test_a_draw_is_stable_and_sees_every_stratum_first(read: Read) -> None:
    """The same seed draws the same vehicles; as many as there are strata draw one of each."""
    strata = {(pair.make, pair.powertrain) for pair in read.linked if pair.token}
    draw = pairing.choose(read.linked, vehicles=len(strata), vehicle_id="", seed=3)
    assert strata == {(pair.make, pair.powertrain) for pair in draw}
    assert draw == pairing.choose(list(reversed(read.linked)), vehicles=len(strata), vehicle_id="", seed=3)
    assert draw != pairing.choose(read.linked, vehicles=len(strata), vehicle_id="", seed=4)
    assert len(strata) == len(draw)


def test_one_vehicle_is_chosen_by_smartcars_id(read: Read) -> None:
    """A vehicle_id in any case chooses that vehicle; an unknown one, or a negative number, is exit 5."""
    wanted = read.linked[0]
    chosen = pairing.choose(read.linked, vehicles=25, vehicle_id=f" {wanted.vehicle_id.upper()} ", seed=0)
    assert {wanted.vehicle_id} == {pair.vehicle_id for pair in chosen}
    with pytest.raises(ParameterError, match="is no linked vehicle"):
        pairing.choose(read.linked, vehicles=25, vehicle_id="nobody", seed=0)
    with pytest.raises(ParameterError, match="expected 0"):
        pairing.choose(read.linked, vehicles=-1, vehicle_id="", seed=0)


def test_vehicles_the_budget_did_not_reach_are_listed(read: Read) -> None:
    """With a budget for some, the rest are `not_read`, and the comparison says it is not complete."""
    house, some = read.house, read.chosen[:6]
    budget = Budget(Bucket(house.settings.allowance), max_calls=20, max_minutes=0)
    with house.transport.spending(budget):
        recordings = record(house, some)
    assert 0 < len(recordings) < len(some)
    done = {row.pair.local_vehicle_id for row in recordings}
    unread = [pair for pair in some if pair.local_vehicle_id not in done]
    comparison = comparing.compare(recordings, unread, field_map(), Layout(), house.now)
    assert not comparison.complete and len(recordings) == comparison.read
    states = dict(zip(comparison.vehicles["local_vehicle_id"], comparison.vehicles["state"], strict=True))
    assert {pair.local_vehicle_id: "read" if pair.local_vehicle_id in done else "not_read" for pair in some} == states


def test_a_silent_v2_is_no_comparison(make_house: Callable[..., House]) -> None:
    """Where V2 answers for no vehicle at all, comparing ends with the advice to replay a recording (exit 2)."""
    house = make_house(users=40, faults=["v2-off"]).expand()
    house.ask(["connections", "vins"])
    pairs = [replace(pair, token="tok") for pair in pairing.pairs(house.company, house.ledger, house.now)][:3]
    recordings = record(house, pairs)
    with pytest.raises(
        SmartcarError, match=r"V2 answered for none of 3 vehicles.*replay an earlier recording"
    ) as raised:
        recording.refuse_silence(recordings)
    assert 2 == raised.value.exit_code
    recording.refuse_silence([])


def test_nothing_compared_is_an_empty_table_with_the_same_columns() -> None:
    """Without a recording every table has its columns and types, and the gate has nothing to refuse."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    empty = comparing.compare([], [], field_map(), Layout(), now)
    assert (comparing.FIELD_COLUMNS, 0, 0) == (list(empty.fields.columns), len(empty.fields), empty.exit_code)
    assert "bool" == str(empty.fields["scored"].dtype)
