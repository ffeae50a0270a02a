"""V2 that has stopped, or refuses every token alike: what is asked then, what is kept, who has to reconnect."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from smartcar_ops.audit.sources import AUTO
from smartcar_ops.audit.token_owners import PROBE
from smartcar_ops.clients import Clients
from smartcar_ops.database.ledger import v2_state
from smartcar_ops.doctor import Checkup, checkup
from smartcar_ops.errors import RefusedAlikeError, V2StoppedError
from tests.support.house import House
from tests.support.recorded import owners, pairs, record

WRONG = "UPDATE vehicles SET vehicle_access_token = 'wrong-' || vehicle_access_token"
RIGHT = "UPDATE vehicles SET vehicle_access_token = substr(vehicle_access_token, 7)"


def sent(house: House, start: str = "/v2.0/") -> list[str]:
    """The paths of one version that were asked for."""
    return [path for _, _, path in house.sandbox.arrivals if path.startswith(start)]


def v2_line(found: Checkup) -> tuple[str, str, int]:
    """(state, words, exit code) of the doctor's line on V2."""
    line = next(line for line in found.lines if line.question == "V2 answers")
    return line.state, line.found, found.exit_code


# --- V2 has stopped ----------------------------------------------------------------------------------------


def test_one_answer_ends_the_asking_of_tokens_for_good(make_house: Callable[..., House]) -> None:
    """The first 410 is the last call of V2, in this run and the next; connections and VINs go on, all is complete."""
    house = make_house(faults=["v2-off"]).expand()
    asked = house.ask()
    assert (1, True) == (len(sent(house)), asked.complete)
    assert asked.answers["connections"] and asked.answers["vins"] and not asked.failed and not asked.not_read
    assert "tokens" not in house.linker().cost(AUTO).units
    house.ask()
    assert 1 == len(sent(house))
    assert v2_state.sentence(house.ledger).startswith("V2 has stopped (it answered 410 on ")
    counts = house.audit().counts
    assert (0, True) == (counts["unasked"], counts["ready"] > 0)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_nobody_reconnects_while_connections_or_vins_are_unasked(make_house: Callable[..., House], kind: str) -> None:
    """Tokens alone say nothing any more, and that is no reason to send anybody through Connect."""
    house = make_house(kind, users=40, faults=["v2-off"]).expand()
    house.ask(["tokens"])
    assert 0 == house.audit().counts["reconnect"]
    house.ask(["connections"])
    cars = {row["user_id"] for row in house.rows("vehicles") if row["vin"]}
    waiting = house.audit().users.query("bucket == 'reconnect'")["user_id"]
    assert not {str(user) for user in cars} & set(waiting)
    house.ask(["vins"])
    assert 0 == house.audit().counts["unasked"]


def test_a_comparison_of_a_v2_that_has_stopped_costs_one_call(make_house: Callable[..., House]) -> None:
    """One token is asked, no further one, and V3 not at all; it ends with exit 2 and the advice to replay."""
    house = make_house(users=40, faults=["v2-off"]).expand()
    house.ask(["connections", "vins"])
    silent = [replace(pair, token="tok") for pair in pairs(house)][:5]
    before = len(sent(house, "/v3/vehicles/"))
    reached = record(house, silent, [])
    assert (1, 0) == (len(sent(house)), len(sent(house, "/v3/vehicles/")) - before)
    with pytest.raises(V2StoppedError, match=r"none of 5 vehicles.*V2 has stopped.*replay an earlier") as raised:
        reached.raise_if_v2_silent()
    assert (2, 410) == (raised.value.exit_code, raised.value.status)
    assert v2_state.has_stopped(house.ledger)


def test_switched_off_by_the_settings(make_house: Callable[..., House]) -> None:
    """SMARTCAR_V2=off asks V2 and its management nothing; `auto` again, and what the settings said is forgotten."""
    house = make_house(users=40).expand()
    off, auto = house.read_settings(SMARTCAR_V2="off"), house.read_settings(SMARTCAR_V2="auto")
    clients = Clients(off)
    with ThreadPoolExecutor(4) as executor:
        linker = house.linker().__class__(
            house.company, house.ledger, clients.v2, house.v3, managed=clients.smartcar.management_v2
        )
        asked = linker.ask(("connections", "management", "tokens"), executor)
    clients.close()
    assert ([], True) == (sent(house), asked.complete)
    assert "V2 management has stopped (SMARTCAR_V2 is off)" in str(asked)
    assert "V2 has stopped (SMARTCAR_V2 is off): tokens are no longer a source." == v2_state.sentence(house.ledger)
    assert v2_line(checkup(off, house.now)) == (
        "pass",
        "V2 has stopped (SMARTCAR_V2 is off); it gets no more requests.",
        0,
    )
    Clients(auto).close()
    assert not v2_state.has_stopped(house.ledger)


def test_the_doctor_says_it_and_takes_it_back_when_v2_answers(make_house: Callable[..., House]) -> None:
    """The doctor asks V2 each time: 410 is kept and no failure, an answer ends the state, 401 is neither."""
    gone = make_house(users=40, faults=["v2-off"]).expand()
    state, words, code = v2_line(checkup(gone.settings, gone.now))
    assert ("pass", 0, True) == (state, code, "V2 has stopped (it answered 410)" in words)
    assert v2_state.has_stopped(gone.ledger)
    gone.execute("UPDATE vehicles SET token_created_at = '2020-01-01 00:00:00'")
    assert "V2 has stopped" in v2_line(checkup(gone.settings, gone.now))[1]
    back = make_house(users=40).expand()
    v2_state.note(back.ledger, back.now)
    assert "pass" == v2_line(checkup(back.settings, back.now))[0]
    assert not v2_state.has_stopped(back.ledger)
    back.execute(WRONG)
    assert "unknown" == v2_line(checkup(back.settings, back.now))[0]
    assert not v2_state.has_stopped(back.ledger)


# --- V2 refuses every token alike --------------------------------------------------------------------------


def test_a_refusal_of_every_token_ends_the_asking_and_sends_nobody_away(make_house: Callable[..., House]) -> None:
    """As with a wrong `open_token`: few are asked, it is said, VINs are read; once it is right, all is as if never."""
    untouched, house = (make_house(users=60, seed=7).expand() for _ in range(2))
    house.execute(WRONG)
    asked = house.ask()
    assert PROBE == len(sent(house))
    assert not asked.complete and "V2 refused every token sent, 10 in all" in asked.refused["tokens"]
    assert "10 in all, in the same way (401 AUTHENTICATION)" in str(asked) and "open_token" in str(asked)
    assert asked.answers["vins"]
    living = {str(car.user_id) for car in house.company.cars_to_ask(house.now) if car.token_alive}
    assert not living & set(house.audit().users.query("bucket == 'reconnect'")["user_id"])
    assert [] == [row for row in house.ledger.asked("tokens").values() if row[1].startswith("refused")]
    house.execute(RIGHT)
    for one in (untouched, house):
        one.ask()
        one.ask()
    assert untouched.audit().counts == house.audit().counts


def test_a_few_refusals_are_the_tokens_own_only_where_v2_ever_answered(make_house: Callable[..., House]) -> None:
    """Of three tokens, all refused, nothing follows; after an answered one, three more refused are dead."""
    house = make_house(users=60).expand()
    living = [car for car in house.company.cars_to_ask(house.now) if car.token_alive]
    few = sorted({car.token: car.local_vehicle_id for car in living}.values(), key=int)[:3]
    ids = ", ".join(few)
    house.execute(f"UPDATE vehicles SET token_created_at = '2020-01-01 00:00:00' WHERE id NOT IN ({ids})")
    house.execute(f"{WRONG} WHERE id IN ({ids})")
    assert "3 in all" in house.ask(["tokens"]).refused["tokens"]
    assert {} == house.ledger.asked("tokens")
    other = next(car for car in living if car.local_vehicle_id not in few)
    assert owners(house).of(other).user
    asked = house.ask(["tokens"])
    assert asked.complete
    assert set(few) == {car for car, (_, word) in house.ledger.asked("tokens").items() if word.startswith("refused")}


def test_a_refused_token_beside_an_answered_one_is_kept(make_house: Callable[..., House]) -> None:
    """Where V2 answers to any token, whoever it refuses is refused."""
    house = make_house(users=60).expand()
    house.ask(["tokens"])
    words = [word.split()[0] for _, word in house.ledger.asked("tokens").values()]
    assert {"answered", "refused"} == set(words)


def test_a_comparison_ends_where_every_token_is_refused(make_house: Callable[..., House]) -> None:
    """It ends with exit 2 after so many, with the likely causes; no car of them counts as refused afterwards."""
    house = make_house(users=60).expand().play_callbacks()
    house.ask(["connections", "vins"])
    house.execute(WRONG)
    linked = [replace(pair, token=f"wrong-{number}") for number, pair in enumerate(pairs(house))]
    with pytest.raises(
        RefusedAlikeError, match=r"V2 refused every token .* in the same way \(401 AUTHENTICATION\)"
    ) as raised:
        record(house, linked, [])
    assert 2 == raised.value.exit_code
    assert PROBE <= len(sent(house)) < PROBE + 4
    assert {} == house.ledger.asked("tokens")
