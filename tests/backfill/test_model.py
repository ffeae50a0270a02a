"""Whatever happens, in whatever order: no wrong id, none held twice, every value that was written can be put back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DATABASES
from tests.support.model_play import Play
from tests.support.model_workspace import ModelDesk

STEPS = 200
SHORT, FULL = 30, 300
"""Sequences on SQLite in every run of the tests, and on each database with ``--full``."""

SHOWN = 40
"""Entries of a sequence that a failure shows."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per sequence, named by its database and seed, so that one can be run alone."""
    full = metafunc.config.getoption("--full")
    kinds = DATABASES if full else DATABASES[:1]
    played = [(kind, seed) for kind in kinds for seed in range(FULL if full else SHORT)]
    metafunc.parametrize(("kind", "seed"), played, ids=[f"{kind}-{seed}" for kind, seed in played])


@pytest.fixture(scope="module")
def desks() -> Iterator[dict[str, ModelDesk]]:
    """The databases that were made, by kind: each is filled anew for every sequence."""
    made: dict[str, ModelDesk] = {}
    yield made
    for desk in made.values():
        desk.company.engine.dispose()


@pytest.fixture
def desk(
    desks: dict[str, ModelDesk], kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ModelDesk:
    """The database of this kind."""
    if kind not in desks:
        folder = tmp_path_factory.mktemp("model")
        make = request.getfixturevalue("make_database")
        url = f"sqlite:///{folder}/company.sqlite" if kind == "sqlite" else make(kind)
        desks[kind] = ModelDesk(url, Path(folder))
    return desks[kind]


def test_a_random_sequence_ends_as_the_company_left_it(desk: ModelDesk, kind: str, seed: int) -> None:
    """After every step nothing stands that was contradicted, twice given or lost; at the end all can be put back."""
    play, number = Play(desk, seed), 0
    try:
        for number in range(1, STEPS + 1):  # noqa: B007 (told where it fails)
            play.step()
        play.finish()
    except Exception as error:
        told = "\n  ".join(play.trace[-SHOWN:])
        pytest.fail(f"seed {seed} on {kind}, step {number}: {type(error).__name__}: {error}\n  {told}")
