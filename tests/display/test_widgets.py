"""The parts that all panels share: what looks again and again, and how long something still takes."""

from __future__ import annotations

import threading

from smartcar_ops.display.widgets import ACTIVE_SECONDS, IDLE_SECONDS, MAX_PAUSE_SECONDS, Poller, TimeLeft
from smartcar_ops.errors import DatabaseError


class Watched:
    """Something to look at: it counts the looks, and fails or goes on as a test wants."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.goes_on, self.is_closed, self.looks = False, False, threading.Semaphore(0)
        self.poller = Poller(self.look, is_closed=lambda: self.is_closed)

    def look(self) -> bool:
        """One look."""
        self.looks.release()
        if self.error:
            raise self.error
        return self.goes_on

    def end(self) -> None:
        """Waits for the thread's end."""
        thread = self.poller._thread
        if thread is not None:
            thread.join(30)
        assert not self.poller.is_alive


def test_a_failing_look_is_told_once_and_tried_less_and_less_often() -> None:
    """The sentence stays while it fails, the pauses double up to half a minute, and a success takes both away."""
    watched = Watched()
    assert (False, IDLE_SECONDS) == watched.poller.look()
    watched.error = DatabaseError("database: <gone>.")
    pauses = [watched.poller.look()[1] for _ in range(7)]
    assert [2, 4, 8, 16, MAX_PAUSE_SECONDS] == pauses[:5] and MAX_PAUSE_SECONDS == pauses[-1]
    assert "database: &lt;gone&gt;." in watched.poller.problem.value
    watched.error = KeyError("secret")
    assert not watched.poller.look()[0]
    assert "failed with KeyError" in watched.poller.problem.value and "secret" not in watched.poller.problem.value
    watched.error, watched.goes_on = None, True
    assert (True, ACTIVE_SECONDS) == watched.poller.look()
    assert "" == watched.poller.problem.value


def test_what_is_not_displayed_is_looked_at_until_nothing_goes_on() -> None:
    """One look tells that nothing goes on; then the thread ends, and a new one may begin."""
    watched = Watched()
    for _ in range(2):
        watched.poller.start()
        assert watched.looks.acquire(timeout=30)
        watched.end()


def test_what_is_displayed_is_looked_at_until_it_is_closed() -> None:
    """Idle or failing, the looks go on; closing the panel ends the thread at once, and for good."""
    watched = Watched()
    watched.poller.open()
    for _ in range(2):
        assert watched.looks.acquire(timeout=30)
    assert watched.poller._thread and watched.poller._thread.daemon
    watched.poller.close()
    watched.end()
    watched.poller.open()
    assert not watched.poller.is_alive


def test_looking_ends_with_the_widget() -> None:
    """A panel whose widget is gone from the kernel is not looked at again."""
    watched = Watched()
    watched.goes_on = True
    watched.poller.open()
    assert watched.looks.acquire(timeout=30)
    watched.is_closed = True
    watched.end()


def test_the_time_left_follows_the_speed_of_the_step() -> None:
    """Nothing is said at the start and the end of a step, nor of another step's speed."""
    now = [0.0]
    left = TimeLeft(lambda: now[0])
    assert "" == left.of("tokens", 0, 100)
    now[0] = 0.5
    assert "" == left.of("tokens", 5, 100)
    now[0] = 10.0
    assert ", about 90 s left" == left.of("tokens", 10, 100)
    now[0] = 1000.0
    assert ", about 25 min left" == left.of("tokens", 40, 100)
    assert "" == left.of("tokens", 100, 100)
    assert "" == left.of("vins", 50, 100)
    now[0] = 1005.0
    assert ", about 20 s left" == left.of("vins", 60, 100)
