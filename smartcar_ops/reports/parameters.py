"""A notebook's parameters: those it declares, and the values given to a run, converted to the declared types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import papermill

from smartcar_ops.errors import ParameterError
from smartcar_ops.text import nearest

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class Declared:
    """One parameter as the notebook declares it."""

    name: str
    type: str
    default: str
    help: str


def declared(notebook: Path) -> dict[str, Declared]:
    """Return the parameters of a notebook, by name."""
    return {
        name: Declared(name, row["inferred_type_name"], row["default"], row["help"])
        for name, row in papermill.inspect_notebook(str(notebook)).items()
    }


def read(notebook: Path, given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the typed values for papermill. ParameterError if a name is unknown or a value has the wrong type."""
    known = declared(notebook)
    return {name: _value(notebook.stem, known, name, value) for name, value in given}


def _value(notebook: str, known: Mapping[str, Declared], name: str, value: str) -> Any:
    if name not in known:
        names = ", ".join(known) or "none"
        raise ParameterError(f"parameters: {notebook} has no parameter {name!r}{nearest(name, known)}; it has {names}.")
    kind = known[name].type
    if kind == "int":
        try:
            return int(value)
        except ValueError:
            pass
    elif kind == "bool":
        if value.lower() in (*TRUE, *FALSE):
            return value.lower() in TRUE
    else:
        return value
    expected = "a whole number" if kind == "int" else "True or False"
    raise ParameterError(f"parameters: {name} is {value!r}; expected {expected}.")
