"""One random sequence of what a company, its people, Smartcar, operators and accidents do, checked after every step."""

from __future__ import annotations

import copy
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from smartcar_ops.audit.listings import ConnectionListings
from smartcar_ops.audit.questions import Questions
from smartcar_ops.audit.sources import SourceReport
from smartcar_ops.backfill import decisions, runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import LockedError
from smartcar_ops.sandbox.api.management.webhooks import sign
from smartcar_ops.smartcar.connections import Connection
from smartcar_ops.smartcar.connections import ConnectionList as V3Listing
from tests.support import model_rules
from tests.support.model_rules import Known, Pairs
from tests.support.model_workspace import COMPANY, LEDGER, USER_ID, Killed, ModelDesk, Place, Record, Rows
from tests.support.plain_rules import PlainCar, PlainCompany
from tests.support.plain_workspaces import NOW

PERSONS = [str(uuid.UUID(int=0xA << 124 | number)) for number in range(8)]
VEHICLES = [str(uuid.UUID(int=0xC << 124 | number)) for number in range(10)]
STRANGERS = [(str(uuid.UUID(int=0xD << 124 | n)), str(uuid.UUID(int=0xE << 124 | n))) for n in range(14)]
"""Connections of vehicles that are nobody's here, so that a list can lose many."""

SECRET = SecretStr("management")
SIZES = (1, 3, 100, 100)
"""Rows a batch at most."""

SLIPS = ("undefined", "", PERSONS[0].upper())
Progress = Callable[[int, int, int], None]


class FakeV3:
    """Answers with one list of connections."""

    def __init__(self, listing: V3Listing) -> None:
        self._listing = listing

    def connections(self, _mode: str, _progress: Any) -> V3Listing:
        """The list."""
        return self._listing


@dataclass
class Backup:
    """Tables as they were, and what the model held of them then."""

    tables: Rows
    known: Known
    standing: dict[tuple[str, int], Record]
    own: dict[Place, str | None]


@dataclass
class Act:
    """An act that writes: an apply of a plan, or an undo of a target; ``base`` are its records that are accounted."""

    run_id: str
    name: str
    target: Plan | str
    size: int
    counted: int = 0
    is_over: bool = False
    """Its lock was taken from it, or its ledger put back: from now on it writes nothing."""
    left: bool = False
    """Rows were left when that happened."""
    chain: list[str] = field(default_factory=list)
    began: dict[Place, str | None] = field(default_factory=dict)
    """What the tables held when it began: an undo looks before its first batch who holds an id."""


class Play:
    """A sequence; ``trace`` says what happened so far."""

    def __init__(self, desk: ModelDesk, seed: int) -> None:
        self.desk, self.chance, self.trace = desk, random.Random(seed), list[str]()
        self.now, self._number = NOW, 0
        self.plans, self.backups = list[Plan](), list[Backup]()
        self.interrupted: Act | None = None
        self.known, self.done = Known(), Counter[str]()
        self.standing: dict[tuple[str, int], Record] = {}
        """What applies have written and nobody has put back: the newest at the end."""
        self._begin()

    def _begin(self) -> None:
        users, cars = range(1, self.chance.randint(4, 6) + 1), range(11, 11 + self.chance.randint(4, 8))
        people = {str(user): self._first_id(user) for user in users}
        owned = [PlainCar(str(car), self.chance.choice([*people, None]), None, False, True) for car in cars]
        self.desk.begin_anew(PlainCompany(people, owned, listed=False))
        self.next_user = len(people) + 1
        self.connected: Pairs = set(STRANGERS)
        for car in owned:
            for person in self._holders(car.user):
                self.connected.add((self._vehicle(car.id), person))
            if self.chance.random() < 0.7:
                self._tie(car.id, self._vehicle(car.id))
        self.values, self.owners = self.desk.values(), self.desk.owners()
        self.own = dict(self.values)
        self.list_all()

    def _first_id(self, user: int) -> str | None:
        roll = self.chance.random()
        return None if roll < 0.75 else PERSONS[user - 1] if roll < 0.9 else self.chance.choice([*SLIPS, *PERSONS])

    def _holders(self, user: str | None) -> list[str]:
        """Who is connected to a car of this user: mostly one person."""
        own = PERSONS[(int(user) - 1) % len(PERSONS)] if user else self.chance.choice(PERSONS)
        return [own] if self.chance.random() < 0.85 else [own, self.chance.choice(PERSONS)]

    @staticmethod
    def _vehicle(car: str) -> str:
        return VEHICLES[int(car) - 11]

    # --- running -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Plays one step, and checks everything."""
        name = self.chance.choices(list(STEPS), list(STEPS.values()))[0]
        self.now += timedelta(minutes=self.chance.randint(0, 40))
        self.note(name)
        getattr(self, name)()
        self.check()

    def note(self, *words: object) -> None:
        """Keeps what happens, in words."""
        self.trace.append(" ".join(str(word) for word in words))
        self.done[str(words[0])] += 1

    def check(self) -> None:
        """What holds after every step: nobody but the model's acts changed a row, and the ledger has lost nothing."""
        assert self.values == self.desk.values(), "a value changed beside every act"
        assert self.owners == self.desk.owners()
        records = self.desk.records()
        often = Counter((record.run_id, record.place) for record, _ in records)
        assert {1} >= set(often.values()), "a run recorded a value twice"
        assert set(self.standing) == self._standing(records), "what stands by the ledger is not what was written"
        assert (self.known.connections, self.known.gone) == self.desk.connections()
        assert self.known.choices == self.desk.choices()

    def _standing(self, records: list[tuple[Record, str | None]]) -> set[tuple[str, int]]:
        """What stands by the ledger; an undo that died before it noted what it put back counts as if it had."""
        runs = self.desk.runs()
        found = {(one.run_id, one.number) for one, by in records if by is None and runs[one.run_id][0] == "apply"}
        for run_id, (name, _, status) in runs.items():
            if name == "undo" and status == "running":
                chain = self._chain(run_id, runs)
                touched = {(chain[-1], one.number) for one, _ in records if one.run_id == run_id}
                found = found - touched if len(chain) % 2 == 0 else found | touched
        return found

    @staticmethod
    def _chain(run_id: str, runs: dict[str, tuple[str, str, str]]) -> list[str]:
        """The undo, what it undoes, and so on to the apply."""
        chain = [run_id]
        while runs[chain[-1]][0] == "undo":
            chain.append(runs[chain[-1]][1].partition(":")[0])
        return chain

    def finish(self) -> None:
        """Everything that stands is put back, the newest first: what is left is the company's own.

        An id is not put back while another user has it from an earlier run; once that one is undone, it is.
        """
        before = len(self.standing) + 1
        while len(self.standing) < before:
            before = len(self.standing)
            for run in dict.fromkeys(run for run, _ in reversed(self.standing)):
                self.note("finally undo", run)
                self._act("undo", run, 1000, calm=True)
                self.check()
        changed = {place for place, value in self.values.items() if value != self.own[place]}
        held = {record.place for record in self.standing.values() if self._is_held(record)}
        assert changed <= held, f"not as the company left it: {[(one, self.own[one]) for one in changed - held]}"

    def _is_held(self, record: Record) -> bool:
        """Whether what a record would put back is another user's by now."""
        others = {value for place, value in self.values.items() if place[0] == "users" and place != record.place}
        return record.place[0] == "users" and record.before is not None and record.before in others

    # --- acts of the kit ---------------------------------------------------------------------------------

    def plan(self) -> None:
        """Plans by what is known now."""
        self.plans = [*self.plans[-3:], runner.plan(self.desk.company, self.desk.ledger, self.now)]

    def _any_plan(self) -> Plan:
        if not self.plans:
            self.plan()
        return self.plans[-1] if self.chance.random() < 0.7 else self.chance.choice(self.plans)

    def apply(self) -> None:
        """Applies a plan, mostly the newest."""
        self._act("apply", self._any_plan(), self.chance.choice(SIZES))

    def plan_and_apply(self) -> None:
        """Plans, and applies that."""
        self.plan()
        self._act("apply", self.plans[-1], self.chance.choice(SIZES))

    def apply_again(self) -> None:
        """Applies the newest plan twice."""
        plan = self._any_plan()
        for _ in range(2):
            self._act("apply", plan, 100)

    def _target(self) -> str | None:
        """A run to undo, mostly one of which something stands; perhaps a batch or a row of it."""
        runs = self.desk.runs()
        standing = sorted({run for run, _ in self.standing})
        if not runs:
            return None
        run = self.chance.choice(standing if standing and self.chance.random() < 0.6 else list(runs)[-6:])
        records = [record for record, _ in self.desk.records() if record.run_id == run]
        roll = self.chance.random()
        if not records or roll < 0.7:
            return run
        one = self.chance.choice(records)
        return f"{run}:{one.batch}" if roll < 0.85 else f"{run}:{one.batch}:{one.place[0]}/{one.place[1]}"

    def undo(self) -> None:
        """Undoes a run, a batch or a row; perhaps an undo."""
        target = self._target()
        if target:
            self._act("undo", target, self.chance.choice(SIZES))

    def undo_again(self) -> None:
        """Undoes a run, then the same again, then perhaps that undo."""
        target = self._target()
        if target is None:
            return
        first = self._act("undo", target, 100)
        self._act("undo", target, 100)
        if self.chance.random() < 0.5 and first.run_id in self.desk.runs():
            self._act("undo", first.run_id, 100)

    def kill(self) -> None:
        """An act dies before some statement."""
        name = self.chance.choice(["apply", "undo"])
        target = self._any_plan() if name == "apply" else self._target()
        if target is not None:
            self._act(name, target, self.chance.choice(SIZES), dies=self.chance.randint(1, 90))

    def resume(self) -> None:
        """The act that died last goes on."""
        if self.interrupted:
            self._resume(self.interrupted)

    def _resume(self, act: Act) -> None:
        self.interrupted = None
        if act.name == "apply" or str(act.target).partition(":")[0] in self.desk.runs():
            self._act(act.name, act.target, self.chance.choice([1, 100]))

    def kill_and_resume(self) -> None:
        """An act dies, once or twice, and goes on."""
        self.kill()
        while self.interrupted and self.chance.random() < 0.3:
            act, self.interrupted = self.interrupted, None
            if act.name == "apply" or str(act.target).partition(":")[0] in self.desk.runs():
                self._act(act.name, act.target, 1, dies=self.chance.randint(20, 60))
        self.resume()

    def _act(
        self, name: str, target: Plan | str, size: int, *, dies: int = 0, calm: bool = False, inside: bool = False
    ) -> Act:
        """Carries an act out, whatever happens to it; what it wrote is accounted for batch by batch."""
        if not inside:
            self._free_the_lock(name, target)
        self._number += 1
        act = Act(f"{self._number:04d}-{name}", name, target, size)
        self.note(name, target if isinstance(target, str) else target.hash[:6], f"as {act.run_id}, {size} a batch")
        act.began, runs = dict(self.values), self.desk.runs()
        act.chain = [act.run_id] if name == "apply" else [act.run_id, *self._chain(str(target).partition(":")[0], runs)]
        disturbs = not calm and not inside and self.chance.random() < 0.3

        def progress(done: int, of: int, _written: int) -> None:
            if dies:
                return
            self._account(act)
            if disturbs and not act.is_over and self.chance.random() < 0.4:
                act.left = done < of
                self._disturb(act)

        try:
            if dies:
                with self.desk.dying(dies):
                    self._execute(act, progress)
            else:
                self._execute(act, progress)
            assert not (act.is_over and act.left), "an act whose lock was taken over went on"
        except Killed:
            self.note("killed", act.run_id)
            self.interrupted = act
        except LockedError:
            assert act.is_over, "nobody had taken the lock over"
        self._account(act)
        return act

    def _execute(self, act: Act, progress: Progress) -> None:
        company, ledger, target = self.desk.company, self.desk.ledger, act.target
        options: dict[str, Any] = {"batch_size": act.size, "progress": progress}
        if isinstance(target, Plan):
            runner.apply(company, ledger, target, act.run_id, **options)
        else:
            runner.undo(company, ledger, target, act.run_id, **options)

    def _free_the_lock(self, name: str, target: Plan | str) -> None:
        """Waits for a dead holder's lease, as it were; before that nobody else gets the lock."""
        if not self.desk.is_locked():
            return
        if self.chance.random() < 0.3:
            self._refused(name, target)
        self.desk.age_lock()

    def _refused(self, name: str, target: Plan | str) -> None:
        """A second operator is refused while the lease lasts."""
        self._number += 1
        try:
            self._execute(Act(f"{self._number:04d}-refused", name, target, 100), lambda *_: None)
        except LockedError:
            self.note("refused", name)
        else:
            raise AssertionError("two acts held the lock")
        assert self.values == self.desk.values()

    def _account(self, act: Act) -> None:
        """What changed since is what the act recorded since, and nothing spoke against it."""
        values = self.desk.values()
        mine = [record for record, _ in self.desk.records() if record.run_id == act.run_id]
        new, act.counted = mine[act.counted :], len(mine)
        changed = {place: value for place, value in values.items() if value != self.values[place]}
        if act.is_over:
            assert not changed, "an act wrote after its lock was taken over"
            return
        assert len(new) == len({record.place for record in new}), "a value was recorded twice"
        assert changed == {record.place: record.after for record in new}, "what changed is not what was recorded"
        assert {record.place: record.before for record in new} == {place: self.values[place] for place in changed}
        if not new:
            return
        company = self.known.company(self.values, self.owners)
        for record in new:
            self._judge(company, act, record)
        self.values = values
        for record in new:
            self._note_standing(act, record)

    def _judge(self, company: PlainCompany, act: Act, record: Record) -> None:
        self.note("wrote", *record.place[:2], record.before, "->", record.after)
        if len(act.chain) % 2:  # an apply, or what puts ids in again
            against = model_rules.why_not(company, record.place, record.after)
            assert not against, f"{record.place[:2]} got {record.after}: {against}"
        elif record.place[0] == "users" and record.after is not None:
            self._judge_put_back(company, act, record)

    def _judge_put_back(self, company: PlainCompany, act: Act, record: Record) -> None:
        """An id that is put back is not another's by now, unless both were the company's own, or a person said so."""
        for place, value in self.values.items():
            if place[0] != "users" or place == record.place or value != record.after:
                continue
            both_own = self.own[place] == value and self.own[record.place] == value
            user, other = record.place[1], place[1]
            said = other in company.choices and (company.choices[other] != value or user in company.choices)
            gives_up = any(one.place == place and root[0] == act.chain[-1] for root, one in self.standing.items())
            before = act.began.get(place) == value
            right = both_own or said or gives_up or not before
            assert right, f"{record.place[:2]} got {value} back, which user {other} holds by now"

    def _note_standing(self, act: Act, record: Record) -> None:
        root = (act.chain[-1], record.number)
        if act.name == "apply":
            self.standing[root] = record
        elif len(act.chain) % 2 == 0:
            assert root in self.standing, "what did not stand was undone"
            del self.standing[root]
        else:
            assert root not in self.standing, "what stands was written again"
            self.standing[root] = Record(*root, record.place, record.before, record.after, record.batch)

    # --- in the middle of an act -------------------------------------------------------------------------

    def _disturb(self, act: Act) -> None:
        what = self.chance.choice(["company", "evidence", "second operator", "clock ahead", "backup", "cancel"])
        self.note("meanwhile", what)
        if what == "company":
            getattr(self, self.chance.choice(["callback", "sold", "user_deleted", "row_cleared"]))()
        elif what == "evidence":
            getattr(self, self.chance.choice(["decide", "list_all", "list_thinned", "token", "redirect"]))()
        elif what == "second operator":
            self._refused("apply", self.plans[-1]) if self.plans else self._refused(act.name, act.target)
        elif what == "clock ahead":
            self._steal(act)
        elif what == "backup" and self.backups:
            act.is_over = self._restore(self.chance.choice(self.backups))
        elif what == "cancel":
            Runs(self.desk.ledger).request(act.run_id, "cancel")

    def _steal(self, act: Act) -> None:
        """Another host takes the lease for over, and acts; the first lives on and finds out."""
        self.desk.age_lock()
        act.is_over = True
        name, target = act.name, act.target
        if self.chance.random() < 0.3 and self.plans:
            name, target = "apply", self.chance.choice(self.plans)
        elif self.chance.random() < 0.3 and name == "apply" and act.counted:
            name, target = "undo", act.run_id
        self._act(name, target, 100, inside=True, dies=self.chance.choice([0, 0, 40]))

    # --- what the company does ---------------------------------------------------------------------------

    def _user(self) -> str | None:
        users = [row for table, row, _ in self.values if table == "users"]
        return self.chance.choice(users) if users else None

    def _set(self, place: Place, value: str | None) -> None:
        """The company writes a value itself."""
        self.desk.execute(f"UPDATE {place[0]} SET {place[2]} = :value WHERE id = :id", value=value, id=int(place[1]))
        self.values[place] = value
        self.own[place] = self._unwound(place)
        self.note("company set", *place[:2], value)

    def _unwound(self, place: Place) -> str | None:
        """What a place holds once all that stands there is undone, the newest first.

        A value that is just what the newest act wrote can't be told from it; any other is the company's.
        """
        value = self.values[place]
        for record in (record for record in reversed(self.standing.values()) if record.place == place):
            if record.after != value:
                break
            value = record.before
        return value

    def callback(self) -> None:
        """Connect's callback: the company's own code stores an id, mostly the right one, and a connection begins."""
        user = self._user()
        if user is None:
            return
        right = PERSONS[(int(user) - 1) % len(PERSONS)]
        self._set(("users", user, USER_ID), right if self.chance.random() < 0.85 else self.chance.choice(PERSONS))
        cars = [car for car, owner in self.owners.items() if owner == user]
        if cars:
            self.connected.add((self._vehicle(self.chance.choice(cars)), right))

    def user_deleted(self) -> None:
        """A user is deleted; the cars stay with the id that is gone, or with none. Somebody new comes instead."""
        user = self._user()
        if user is None:
            return
        self.desk.execute("DELETE FROM users WHERE id = :id", id=int(user))
        del self.values["users", user, USER_ID], self.own["users", user, USER_ID]
        if self.chance.random() < 0.5:
            self.desk.execute("UPDATE vehicles SET user_id = NULL WHERE user_id = :id", id=int(user))
            self.owners = {car: None if owner == user else owner for car, owner in self.owners.items()}
        place = ("users", str(self.next_user), USER_ID)
        self.desk.execute("INSERT INTO users (id) VALUES (:id)", id=self.next_user)
        self.values[place] = self.own[place] = None
        self.next_user += 1
        self.note("company deleted", user)

    def sold(self) -> None:
        """A car is sold: to another user, or to somebody outside; its connection becomes the new owner's, in time."""
        car = self.chance.choice(list(self.owners))
        buyer = self._user() if self.chance.random() < 0.6 else None
        if self.chance.random() < 0.8:
            value = None if buyer is None else int(buyer)
            self.desk.execute("UPDATE vehicles SET user_id = :value WHERE id = :id", value=value, id=int(car))
            self.owners[car] = buyer
        if self.chance.random() < 0.8:
            vehicle = self._vehicle(car)
            self.connected = {pair for pair in self.connected if pair[0] != vehicle}
            self.connected |= {(vehicle, person) for person in self._holders(buyer)}
        self.note("company sold", car, "to", buyer)

    def row_cleared(self) -> None:
        """A row that holds an id is emptied."""
        filled = [place for place, value in self.values.items() if value is not None]
        if filled:
            self._set(self.chance.choice(filled), None)

    def rewritten(self) -> None:
        """The company writes something else into a row: a slip, another's id, another vehicle's."""
        place = self.chance.choice(list(self.values))
        ids = PERSONS if place[0] == "users" else VEHICLES
        self._set(place, self.chance.choice([*ids, *SLIPS]))

    # --- what Smartcar and people say --------------------------------------------------------------------

    def list_all(self) -> None:
        """A whole list of who is connected now."""
        self._list(self.connected)

    def list_empty(self) -> None:
        """A list without a row."""
        self._list(set())

    def list_thinned(self) -> None:
        """A list that lost a row or two, or many."""
        rows = sorted(self.connected)
        lost = self.chance.choice([1, 1, 2, 12])
        self._list(self.connected - set(self.chance.sample(rows, min(lost, len(rows)))))

    def list_cut_off(self) -> None:
        """A list of which only a part came, and which says so."""
        rows = sorted(self.connected)
        self._list(set(self.chance.sample(rows, len(rows) // 2)), complete=False)

    def _list(self, pairs: Pairs, *, complete: bool = True) -> None:
        rows, told = [], set()
        for vehicle, person in sorted(pairs):
            roll = self.chance.random()
            own = str(PERSONS.index(person) + 1) if person in PERSONS and roll < 0.3 else None
            own = self._user() if person in PERSONS and roll > 0.98 else own
            told |= {(own, person)} if own else set()
            id = str(uuid.uuid5(uuid.NAMESPACE_URL, vehicle + person))
            rows.append(Connection(id, person, vehicle, "live", "A", "B", 2020, "BEV", (), own, None))
        before, listing = copy.deepcopy(self.known), V3Listing(tuple(rows), complete)
        asked = SourceReport()
        questions = Questions[Any, Any]("connections", self.desk.ledger, asked, self.now)
        ConnectionListings(self.desk.ledger, FakeV3(listing), now=self.now).ask_connections(  # type: ignore[arg-type]
            asked, questions, lambda *_: None, relist=True
        )
        self._take_in(before, pairs, told, complete=complete)
        self.note("list of", len(pairs), "connections,", len(told), "external ids")

    def _take_in(self, before: Known, pairs: Pairs, told: Pairs, *, complete: bool) -> None:
        """What a list says is what is known now; one that lost much may be kept aside."""
        lost = before.connections - pairs if complete else set()
        suspect = lost and (len(lost) == len(before.connections) or len(lost) >= 10)
        live, _ = self.desk.connections()
        rows = {row for row in self.desk.personal() if row[0] == "external_id"}
        self.known.external = {row[1:3] for row in rows if not row[3]}
        self.known.gone_external = {row[1:3] for row in rows if row[3]}
        if suspect and live != pairs:
            assert before.connections <= live <= before.connections | pairs, "a list that is kept aside took rows away"
            assert before.external <= self.known.external, "a list that is kept aside took ids away"
        else:
            assert live == (pairs if complete else before.connections | pairs), "the list was not taken in"
            expected = told if complete else told | before.external
            assert expected == self.known.external, "the external ids were not taken in"
        self.known.connections = live
        self.known.gone = (before.gone | before.connections) - live

    def decide(self) -> None:
        """A person decides for a user, or decides otherwise."""
        user = self._user()
        if user is None:
            return
        id = self.chance.choice([None, *PERSONS[:4], PERSONS[(int(user) - 1) % len(PERSONS)]])
        decisions.decide(
            self.desk.company, self.desk.ledger, user, id or "none", by="Ada", reason="asked them", now=self.now
        )
        self.known.choices[user] = id
        self.note("decided", user, id)

    def token(self) -> None:
        """A live token says whose it is, and which car it opens."""
        user = self._user()
        if user is None:
            return
        person = PERSONS[(int(user) - 1) % len(PERSONS)] if self.chance.random() < 0.85 else self.chance.choice(PERSONS)
        row = {"source": "tokens", "user_id": user, "smartcar_user_id": person, "seen_at": self._naive(), "checked": 0}
        self.desk.ledger.record(t.personal, [row])
        self.known.tokens.add((user, person))
        self.note("token", user, person)
        self.tie()

    def tie(self) -> None:
        """A VIN says which vehicle a car is; rarely another."""
        car = self.chance.choice(list(self.owners))
        self._tie(car, self._vehicle(car) if self.chance.random() < 0.9 else self.chance.choice(VEHICLES))

    def _tie(self, car: str, vehicle: str) -> None:
        row = {"source": "vins", "local_vehicle_id": car, "vehicle_id": vehicle, "seen_at": self._naive()}
        self.desk.ledger.record(t.ties, [row])
        self.known.ties.add((car, vehicle))

    def redirect(self) -> None:
        """A redirect names somebody; perhaps the company checked its state."""
        user = self._user()
        if user is None:
            return
        right = PERSONS[(int(user) - 1) % len(PERSONS)]
        person = right if self.chance.random() < 0.8 else self.chance.choice([*PERSONS, str(uuid.UUID(int=0xF << 124))])
        checked = self.chance.random() < 0.5
        row = {"source": "redirects", "user_id": user, "smartcar_user_id": person, "seen_at": self._naive()}
        self.desk.ledger.record(t.personal, [{**row, "checked": int(checked)}])
        self.known.redirects[user, person] = checked
        self.note("redirect", user, person, checked)

    def _event(self, vehicle: str, person: str, user: str | None) -> str:
        named = {"id": person, **({"externalId": user} if user else {})}
        data = {"vehicle": {"id": vehicle, "mode": "live"}, "user": named}
        return json.dumps({"eventType": "VEHICLE_STATE", "data": data})

    def webhook_forged(self) -> None:
        """Somebody sends a webhook that gives a user another's id, unsigned or signed wrongly: it is no evidence."""
        user = self._user()
        body = self._event(self.chance.choice(VEHICLES), self.chance.choice(PERSONS), user)
        signature = self.chance.choice([None, sign("another", body.encode())])
        assert 0 == self.desk.capture(body, signature, [SECRET], self.now)

    def webhook(self) -> None:
        """A signed webhook says who is connected; or one that nothing proves, where nothing can be checked."""
        vehicle, person = self.chance.choice(sorted(self.connected)[: len(VEHICLES)])
        if person not in PERSONS:
            return
        user = str(PERSONS.index(person) + 1) if self.chance.random() < 0.5 else None
        is_sure = self.chance.random() < 0.7
        if not is_sure:
            person, user = self.chance.choice(PERSONS), self._user()
        body = self._event(vehicle, person, user)
        signature = sign(SECRET.get_secret_value(), body.encode()) if is_sure else None
        assert 1 == self.desk.capture(body, signature, [SECRET] if is_sure else [], self.now)
        self.known.webhooks.add((vehicle, person))
        if user and ("users", user, USER_ID) in self.values:
            self.known.by_webhook.add((user, person))
        self.note("webhook", vehicle[:1], person, user, is_sure)

    def _naive(self) -> Any:
        return self.now.replace(tzinfo=None)

    # --- backups -----------------------------------------------------------------------------------------

    def backup(self) -> None:
        """Keeps a backup of the company's tables, of the ledger's, or of both."""
        tables = self.chance.choice([COMPANY, LEDGER, (*COMPANY, *LEDGER)])
        held = copy.deepcopy(self.known), dict(self.standing), dict(self.own)
        self.backups = [*self.backups[-2:], Backup(self.desk.backup(tables), *held)]

    def restored(self) -> None:
        """A backup is put back."""
        if self.backups:
            self._restore(self.chance.choice(self.backups))

    def _restore(self, backup: Backup) -> bool:
        """Puts a backup back; whether the ledger was in it."""
        self.desk.restore(backup.tables)
        with_company, with_ledger = "users" in backup.tables, LEDGER[0] in backup.tables
        self.note("restored", "company" if with_company else "", "ledger" if with_ledger else "")
        if with_ledger:
            self.known, self.standing = copy.deepcopy(backup.known), dict(backup.standing)
            runs = self.desk.runs()
            if self.interrupted and self.interrupted.run_id not in runs:
                self.interrupted = None
        self.values, self.owners = self.desk.values(), self.desk.owners()
        self.own = {place: self._unwound(place) for place in self.values}
        return with_ledger


STEPS = {
    "plan": 0.5,
    "plan_and_apply": 2.5,
    "apply": 1.5,
    "apply_again": 0.3,
    "undo": 2,
    "undo_again": 0.3,
    "kill": 0.7,
    "resume": 0.7,
    "kill_and_resume": 0.8,
    "decide": 8,
    "callback": 6,
    "user_deleted": 3,
    "sold": 8,
    "row_cleared": 8,
    "rewritten": 3,
    "list_all": 12,
    "list_empty": 1,
    "list_thinned": 4,
    "list_cut_off": 1,
    "token": 5,
    "tie": 8,
    "redirect": 4,
    "webhook_forged": 3,
    "webhook": 3,
    "backup": 4,
    "restored": 3,
}
"""The steps with their weights."""
