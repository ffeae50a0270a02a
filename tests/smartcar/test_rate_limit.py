"""The bucket of requests and the budget of one act, on a clock that only moves when somebody sleeps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from smartcar_ops.errors import AllowanceSpentError
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.smartcar.http.rate_limit import BucketState, Budget, OwnStateStore, TokenBucket
from smartcar_ops.smartcar.http.transport import Transport

DEFAULT = Allowance()
NEVER = 1e9


class Clock:
    """Seconds since the epoch, moved by sleeping."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now, self.slept = now, 0.0

    def __call__(self) -> float:
        """The time now."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds
        self.slept += seconds


def bucket(clock: Clock, allowance: Allowance = DEFAULT, level: BucketState | None = None) -> TokenBucket:
    """A bucket on the clock."""
    return TokenBucket(allowance, OwnStateStore(level, clock), sleep=clock.sleep)


def test_full_bucket_gives_its_burst_at_once():
    """The documented default gives 120 units without waiting, and is empty then."""
    clock = Clock()
    full = bucket(clock)
    full.take(120, until=clock.now)
    assert (0.0, 0.0) == (clock.slept, full.level().units)


def test_the_next_unit_waits_for_its_refill():
    """After the burst a unit takes half a minute at 2 a minute."""
    clock = Clock()
    empty = bucket(clock, level=BucketState(0, clock.now))
    empty.take(1, until=NEVER)
    assert 30.0 == pytest.approx(clock.slept)


def test_a_refill_that_comes_too_late_is_refused_before_waiting():
    """Units that can't come before the end are refused at once, and nothing is taken."""
    clock = Clock()
    low = bucket(clock, level=BucketState(3, clock.now))
    with pytest.raises(AllowanceSpentError, match=r"5 units needed, 3 left; available in 60 s.*max_minutes"):
        low.take(5, until=clock.now + 59)
    assert (0.0, 3.0) == (clock.slept, low.level().units)


def test_a_refill_just_in_time_is_waited_for():
    """Units that come right at the end are waited for."""
    clock = Clock()
    low = bucket(clock, level=BucketState(3, clock.now))
    low.take(5, until=clock.now + 60)
    assert 60.0 == pytest.approx(clock.slept)


def test_an_earlier_process_leaves_its_level():
    """What an earlier process left is refilled since then, and never above the burst."""
    clock = Clock(now=1000.0)
    assert 14.0 == bucket(clock, level=BucketState(4, 700.0)).level().units
    assert 120 == bucket(clock, level=BucketState(4, -1e6)).level().units


def test_a_clock_that_was_set_back_takes_nothing_away():
    """A level from the future is kept as it is, until that time comes."""
    clock = Clock(now=1000.0)
    assert BucketState(7, 5000.0) == bucket(clock, level=BucketState(7, 5000.0)).level()


def test_more_than_the_bucket_holds_is_debt():
    """A batch larger than the bucket goes out from a full one, and the next unit waits for the debt."""
    clock = Clock()
    small = bucket(clock, Allowance(burst=4, per_minute=60))
    small.take(10, until=clock.now)
    assert -6.0 == small.level().units
    small.take(1, until=NEVER)
    assert 7.0 == pytest.approx(clock.slept)


def test_an_unlimited_allowance_never_waits():
    """Where no allowance binds, any number is given and nothing is counted."""
    clock = Clock()
    free = bucket(clock, Allowance(limited=False))
    free.take(10_000, until=clock.now)
    assert (False, 0.0) == (free.limited, clock.slept)


def test_threads_never_take_more_than_there_is():
    """Many threads at once take exactly what the bucket held."""
    clock = Clock()
    shared = bucket(clock, Allowance(burst=50))

    def take(_: int) -> bool:
        try:
            shared.take(1, until=clock.now)
        except AllowanceSpentError:
            return False
        return True

    with ThreadPoolExecutor(8) as executor:
        given = list(executor.map(take, range(80)))
    assert 50 == sum(given)


def test_max_calls_ends_an_act():
    """A budget of 3 gives 3 units and then says so, however much the bucket holds."""
    clock = Clock()
    full = bucket(clock)
    budget = Budget(full, max_calls=3)
    budget.take(2)
    with pytest.raises(AllowanceSpentError, match="max_calls is used up; run again"):
        budget.take(2)
    budget.take(1)
    assert 117.0 == full.level().units


def test_no_max_calls_means_what_the_bucket_gives():
    """Without max_calls the bucket alone binds: what it holds, and the refills of max_minutes."""
    clock = Clock()
    budget = Budget(bucket(clock), max_calls=0, max_minutes=10)
    given = 0
    with pytest.raises(AllowanceSpentError, match="allowance: 1 unit needed"):
        while given < 1000:
            budget.take(1)
            given += 1
    assert 140 == given
    assert 600.0 == pytest.approx(clock.slept)


def test_what_the_bucket_refuses_is_not_counted():
    """Units that the bucket could not give stay in the budget."""
    clock = Clock()
    budget = Budget(bucket(clock, Allowance(burst=2)), max_calls=3, max_minutes=0)
    budget.take(2)
    with pytest.raises(AllowanceSpentError, match="1 unit needed"):
        budget.take(1)
    clock.sleep(60)
    budget.take(1)
    with pytest.raises(AllowanceSpentError, match="max_calls"):
        budget.take(1)


def test_an_act_that_is_ended_stops_waiting_and_gives_back():
    """A call that waits for its units ends with the act and returns them; the next act waits as ever."""
    clock = Clock()
    low = bucket(clock, Allowance(burst=4, per_minute=60), BucketState(0, clock.now))
    low.end()
    with pytest.raises(AllowanceSpentError, match="the run was ended"):
        low.take(3, until=NEVER)
    assert 0.0 == low.level().units
    low.begin()
    low.take(3, until=NEVER)
    assert 3.0 == pytest.approx(clock.slept)


def test_ending_an_act_does_not_end_the_next_one():
    """In one session, spending begins anew after an act that was interrupted."""
    transport = Transport()
    clock = Clock()
    shared = bucket(clock, Allowance(burst=4, per_minute=60), BucketState(0, clock.now))
    with transport.spending(Budget(shared)):
        transport.end()
    with transport.spending(Budget(shared)):
        shared.take(1, until=NEVER)
    assert 1.0 == pytest.approx(clock.slept)


@pytest.mark.parametrize(
    ("units", "seconds"),
    [(0, 0.0), (20, 0.0), (21, 30.0), (140, 3600.0)],
)
def test_how_long_units_last_is_told_before(units: int, seconds: float) -> None:
    """What a full bucket holds comes at once; the rest at so many a minute. Telling takes nothing."""
    bucket = TokenBucket(Allowance(burst=20, per_minute=2), OwnStateStore(clock=lambda: 1000.0))
    assert seconds == bucket.seconds_for(units)
    assert 20 == bucket.level().units


def test_nothing_lasts_where_nothing_binds() -> None:
    """Without a limit, any number of units comes at once."""
    assert 0.0 == TokenBucket(Allowance(limited=False)).seconds_for(10**9)


def test_units_set_aside_for_others_are_missing_until_they_are_given_back():
    """A budget's units can be handed to another process: the bucket is not asked, and never more is handed out."""
    clock = Clock()
    full = bucket(clock)
    budget = Budget(full, max_calls=10)
    budget.set_aside(8)
    assert (2, 120) == (budget.left, full.level().units)
    with pytest.raises(AllowanceSpentError, match="max_calls"):
        budget.take(3)
    budget.give_back(5)
    budget.take(3)
    assert (4, 117) == (budget.left, full.level().units)


def test_a_budget_without_max_calls_sets_nothing_aside():
    """Where the bucket alone binds, there is no end to what others may be handed."""
    budget = Budget(bucket(Clock()))
    budget.set_aside(1000)
    assert budget.left is None
