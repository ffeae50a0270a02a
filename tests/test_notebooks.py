"""The notebooks: thin, without outputs, and saying what their kept copies say."""

from __future__ import annotations

import ast
from collections.abc import Callable

import nbformat
import pytest

from tests.support.house import NOTEBOOKS, House
from tests.support.notebooks import GOLDEN, NAMES, SANITIZE, SEED, USERS, nbval, settle

LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.Try, ast.If, ast.With)


def read(name: str) -> nbformat.NotebookNode:
    """A notebook of the kit."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_begins_with_title_parameters_imports(name: str) -> None:
    """First a title, second the parameters, third nothing but imports."""
    title, parameters, imports = read(name).cells[:3]
    assert ("markdown", True) == (title.cell_type, title.source.startswith("# "))
    assert ["parameters"] == parameters.metadata.tags
    assert {True} == {isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(imports.source).body}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_thin(name: str) -> None:
    """At most 100 lines of code, 15 a cell, and no logic: it belongs in the package."""
    sources = [cell.source for cell in read(name).cells if cell.cell_type == "code"]
    assert 100 >= sum(len(source.splitlines()) for source in sources)
    assert 15 >= max(len(source.splitlines()) for source in sources)
    assert [] == [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, LOGIC)]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs(name: str) -> None:
    """What is committed holds no output and no execution count."""
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [] == [cell.id for cell in code if cell.outputs or cell.execution_count]


@pytest.mark.parametrize("name", NAMES)
def test_a_kept_copy_has_its_notebooks_source(name: str) -> None:
    """The copy with outputs is of the notebook as it is now (else: make golden)."""
    golden = nbformat.read(GOLDEN / f"{name}.ipynb", as_version=4)
    assert [cell.source for cell in read(name).cells] == [cell.source for cell in golden.cells]


@pytest.mark.slow  # the kept copies below have the same cells
def test_every_notebook_runs_by_hand(make_house: Callable[..., House]) -> None:
    """nbval, laxly: every cell of every notebook runs without an error, on a company that was never touched."""
    house = make_house(users=USERS, seed=SEED)
    done = nbval(house, "--nbval-lax", *(str(NOTEBOOKS / f"{name}.ipynb") for name in NAMES))
    assert 0 == done.returncode, done.stdout[-4000:]


def test_every_notebook_says_what_it_should(make_house: Callable[..., House]) -> None:
    """nbval, strictly: on the company they were made with, the kept outputs come again."""
    house = settle(make_house(users=USERS, seed=SEED))
    copies = (str(GOLDEN / f"{name}.ipynb") for name in NAMES)
    done = nbval(house, "--nbval", "--nbval-sanitize-with", str(SANITIZE), *copies)
    assert 0 == done.returncode, done.stdout[-4000:]
