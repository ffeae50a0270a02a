"""The plan of the house: imports only go down, and each room alone knows its own library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import smartcar_ops

ROOT = Path(smartcar_ops.__file__).parent
PACKAGE = "smartcar_ops"
FLOORS = {
    "access": 0,
    "settings": 0,
    "errors": 0,
    "layout": 0,
    "network": 0,
    "home": 0,
    "file_modes": 0,
    "setting_files": 0,
    "database_urls": 0,
    "stopping": 0,
    "words": 0,
    "uuids": 0,
    "smartcar": 1,
    "company": 1,
    "migration": 2,
    "reporting": 3,
    "session": 3,
    "connecting": 3,
    "cli": 4,
    "entrance": 4,
    "__main__": 4,
    "demo": 4,
    "terminal": 4,
}
APART = "sandbox"
STRANGERS = {("smartcar", "company"), ("company", "smartcar")}


def name_of(path: Path) -> str:
    """A file's dotted name."""
    parts = [PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def room(module: str) -> str:
    """The room a module is in; empty for the package's own entrance."""
    return module.partition(".")[2].partition(".")[0]


def imports(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """Every module imported anywhere in the source, in functions too; ``from a import b`` is a.b where that is one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                found.add(deeper if deeper in MODULES else base)
    return found


IMPORTS = {
    module: imports(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
    for module, path in MODULES.items()
}


def may_import(here: str, there: str) -> bool:
    """Whether the plan lets a module import another of the kit."""
    own, other = room(here), room(there)
    if own in ("", other) or other == "":
        return True  # the entrance opens rooms on request; anybody may ask it for the kit's version
    if own == APART:
        return False
    if other == APART:
        return FLOORS[own] >= 3
    return (own, other) not in STRANGERS and FLOORS[own] >= FLOORS[other]


def test_every_module_has_a_floor():
    """Whoever adds a room says which floor it is on."""
    assert set() == {room(module) for module in MODULES} - {*FLOORS, APART, ""}
    assert 40 < len(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_go_down(module):
    """No module imports one of a higher floor; the sandbox imports nothing of the other rooms."""
    ours = {name for name in IMPORTS[module] if name.split(".")[0] == PACKAGE}
    assert set() == {name for name in ours if not may_import(module, name)}


def test_nobody_takes_more_than_the_version_from_the_entrance():
    """The entrance reaches up into reporting, so a room that used it would reach up too."""
    taken = {
        (module, alias.name)
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE
        for alias in node.names
        if f"{PACKAGE}.{alias.name}" not in MODULES
    }
    assert {"__version__"} >= {name for _, name in taken}


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("httpx", {"smartcar", APART}),
        ("sqlalchemy", {"company", "sandbox.application"}),
        ("alembic", {"company"}),
        ("ipywidgets", {"reporting"}),
        ("papermill", {"reporting"}),
        ("matplotlib", {"reporting"}),
        ("starlette", {APART}),
        ("uvicorn", {APART}),
    ],
)
def test_each_library_has_its_room(library, allowed):
    """Only Smartcar's room speaks HTTP, only the company's SQL, only reporting draws; the sandbox has its own."""
    users = {
        module.partition(".")[2] for module, names in IMPORTS.items() if library in {n.split(".")[0] for n in names}
    }
    assert users, f"nobody imports {library}"
    assert set() == {user for user in users if user not in allowed and user.partition(".")[0] not in allowed}


@pytest.mark.parametrize(
    ("here", "source", "allowed"),
    [
        ("smartcar_ops.errors", "from smartcar_ops.smartcar import v2", False),
        ("smartcar_ops.smartcar.v2", "def f():\n    import smartcar_ops.company.tables", False),
        ("smartcar_ops.company.tables", "from smartcar_ops import smartcar", False),
        ("smartcar_ops.migration.plans", "from ..reporting import runs", False),
        ("smartcar_ops.migration.plans", "from ..company.tables import Company", True),
        ("smartcar_ops.migration.plans", "from smartcar_ops.sandbox import world", False),
        ("smartcar_ops.sandbox.world", "from smartcar_ops import errors", False),
        ("smartcar_ops.sandbox.world", "from . import truth", True),
        ("smartcar_ops.session", "from smartcar_ops.cli import main", False),
        ("smartcar_ops.smartcar.transport", "from smartcar_ops import __version__", True),
    ],
)
def test_this_file_would_see_it(here, source, allowed):
    """Imports in functions, relative ones and ``from package import room`` are seen for what they are."""
    assert allowed == all(may_import(here, name) for name in imports(source, here))


@pytest.mark.parametrize("module", ["smartcar_ops", "smartcar_ops.settings", "smartcar_ops.smartcar.v3"])
def test_importing_the_kit_is_cheap(module):
    """The package, its settings and its clients load neither pandas nor ipywidgets nor SQLAlchemy."""
    heavy = "{'pandas', 'ipywidgets', 'sqlalchemy', 'matplotlib', 'numpy'}"
    code = f"import sys, {module}; print(sorted({heavy} & {{name.split('.')[0] for name in sys.modules}}))"
    assert "[]\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
