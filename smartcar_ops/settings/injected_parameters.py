"""What plain papermill injected into this kernel's notebook: its path, and its parameters, which are checked."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path
from typing import Any

from smartcar_ops.errors import ParameterError
from smartcar_ops.text import nearest

MARK = "# Parameters\n"
"""The start of the cell that papermill inserts below the notebook's own parameters."""

OWN = "PAPERMILL_"
"""The prefix of the names that papermill adds itself (``--inject-paths``)."""

PATH = "PAPERMILL_INPUT_PATH"

TYPES: dict[str, tuple[type, str]] = {
    "int": (int, "a whole number"),
    "bool": (bool, "True or False"),
    "str": (str, "text"),
}


def notebook() -> Path | None:
    """Return the notebook's path if papermill injected it and the file exists, otherwise None."""
    shell = _shell()
    injected = shell.user_ns.get(PATH) if shell else None
    path = Path(injected).absolute() if isinstance(injected, str) else None
    return path if path and path.is_file() else None


def refuse_unknown() -> None:
    """Raise ParameterError if papermill injected a parameter that is unknown or has the wrong type."""
    shell = _shell()
    cells = list(shell.history_manager.input_hist_raw) if shell else []
    for above, cell in reversed(list(itertools.pairwise(cells))):
        if cell.startswith(MARK):
            check(above, cell)
            return


def values() -> dict[str, Any]:
    """Return the values that this kernel's notebook has for its parameters; empty outside a kernel.

    The parameters are what the first cell declares that has nothing but annotated names.
    """
    shell = _shell()
    for cell in list(shell.history_manager.input_hist_raw) if shell else []:
        if names := _declared(cell):
            return {name: shell.user_ns[name] for name in names if isinstance(shell.user_ns.get(name), int | str)}
    return {}


def in_kernel() -> bool:
    """Return whether this process runs the cells of a notebook."""
    return _shell() is not None


def _declared(cell: str) -> list[str]:
    try:
        statements = ast.parse(cell).body
    except SyntaxError:  # a magic
        return []
    declared = [node.target for node in statements if isinstance(node, ast.AnnAssign)]
    names = [target.id for target in declared if isinstance(target, ast.Name)]
    return names if len(names) == len(statements) else []


def check(declared: str, given: str) -> None:
    """Raise ParameterError if the cell ``given`` assigns a name or a type that ``declared`` does not declare."""
    types = {
        node.target.id: ast.unparse(node.annotation)
        for node in ast.parse(declared).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for node in ast.parse(given).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if not name.startswith(OWN):
                _check_one(name, ast.literal_eval(node.value), types)


def _check_one(name: str, value: Any, types: dict[str, str]) -> None:
    if name not in types:
        known = ", ".join(types) or "none"
        raise ParameterError(
            f"parameters: the notebook has no parameter {name!r}{nearest(name, types)}; it has {known}."
        )
    kind, expected = TYPES.get(types[name], (object, ""))
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ParameterError(f"parameters: {name} is {value!r}; expected {expected}.")


def _shell() -> Any:
    """Return the kernel's shell; None outside a kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
