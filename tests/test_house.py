"""The plan of the house: what `make lint` does not hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import smartcar_ops

ROOT = Path(smartcar_ops.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MOST = 14
"""Python files in a folder, besides its `__init__`."""


def test_no_folder_is_crowded() -> None:
    """A reader can take in what a folder holds."""
    held = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert {} == {folder.name: count for folder, count in held.items() if count > MOST}


def test_one_name_means_one_thing() -> None:
    """No public class and no type has a name that another one has; the sandbox stands apart."""
    defined: dict[str, list[str]] = {}
    for path in FILES:
        if not path.is_relative_to(ROOT / "sandbox"):
            for name in _types(ast.parse(path.read_text(encoding="utf-8"))):
                defined.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert 100 < len(defined)
    assert {} == {name: paths for name, paths in defined.items() if len(paths) > 1}


def _types(module: ast.Module) -> Iterator[str]:
    """The public classes of a module, and its types' names, such as ``Stratum = tuple[str, str]``."""
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        names = [node.name] if isinstance(node, ast.ClassDef) else [t.id for t in targets if isinstance(t, ast.Name)]
        yield from (name for name in names if name[0].isupper() and not name.isupper())


def test_nobody_takes_more_than_the_version_from_the_front_door() -> None:
    """The front door reaches up into storage, so a folder that used it would reach up too."""
    modules = {path.stem for path in ROOT.glob("*.py")} | {path.name for path in ROOT.iterdir() if path.is_dir()}
    taken = {
        alias.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "smartcar_ops"
        for alias in node.names
    }
    assert {"__version__"} == taken - modules


@pytest.mark.parametrize(
    "module", ["smartcar_ops", "smartcar_ops.settings.environment", "smartcar_ops.smartcar.v3", "smartcar_ops.fields"]
)
def test_importing_the_kit_is_cheap(module: str) -> None:
    """The package, its settings and its clients load neither pandas nor ipywidgets nor SQLAlchemy."""
    heavy = "{'pandas', 'ipywidgets', 'sqlalchemy', 'numpy'}"
    code = f"import sys, {module}; print(sorted({heavy} & {{name.split('.')[0] for name in sys.modules}}))"
    assert "[]\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_notebook_that_changes_no_schema_loads_no_alembic() -> None:
    """What a notebook opens and the audit need neither Alembic nor a plotting library nor papermill."""
    code = "import sys, smartcar_ops.session, smartcar_ops.audit.audit, smartcar_ops.audit.charts; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "smartcar_ops.session" in loaded
    assert set() == {"alembic", "matplotlib", "papermill", "nbconvert", "starlette", "uvicorn"} & set(loaded)


def test_what_runs_a_notebook_loads_no_pandas() -> None:
    """The process beside the kernel needs what runs it and what makes its page, but no tables."""
    modules = "smartcar_ops.notebook_runs, smartcar_ops.terminal, smartcar_ops.reports.page"
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "smartcar_ops.reports.runner" in loaded
    assert set() == {"pandas", "IPython", "xlsxwriter", "smartcar_ops.storage.exports"} & set(loaded)


def test_the_doctor_needs_no_act() -> None:
    """The checks of notebook 00 load neither the comparison nor the backfill nor what writes reports."""
    code = "import sys, smartcar_ops.doctor; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    others = ("compare", "backfill", "progress", "reports")
    assert "smartcar_ops.doctor" in loaded
    assert [] == [name for name in loaded for other in others if name.startswith(f"smartcar_ops.{other}")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("smartcar_ops.reporting.compare", "smartcar_ops.compare.compare"),
        ("smartcar_ops.reporting.showing", "smartcar_ops.display.tables"),
        ("smartcar_ops.migration.auditing", "smartcar_ops.audit.audit"),
        ("smartcar_ops.company.tables", "smartcar_ops.database.tables"),
        ("smartcar_ops.smartcar.allowance", "smartcar_ops.smartcar.http.rate_limit"),
        ("smartcar_ops.layout", "smartcar_ops.settings.layout"),
    ],
)
@pytest.mark.parametrize("words", ["import {0}", "from {1} import {2}", "from {0} import anything"])
def test_an_old_import_names_the_new_one(old: str, new: str, words: str) -> None:
    """A notebook of a user's own that still imports what has moved ends with one sentence, exit code 5."""
    package, _, name = old.rpartition(".")
    code = (
        "from smartcar_ops.errors import SmartcarOpsError\n"
        f"try:\n    {words.format(old, package, name)}\n"
        "except SmartcarOpsError as error:\n    print(error.exit_code, error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"5 settings: {old} has moved; import {new} instead.\n" == said


def test_every_new_place_is_there() -> None:
    """What a sentence names can be imported."""
    from smartcar_ops.moved import MOVED

    assert set() == {new for new in MOVED.values() if not _is_there(new)}


def _is_there(module: str) -> bool:
    path = ROOT.parent / Path(*module.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()
