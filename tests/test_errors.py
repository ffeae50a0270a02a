"""The tree of errors: exit codes, names, and the drawing in its docstring."""

from __future__ import annotations

import re

import pytest

from smartcar_ops import errors
from smartcar_ops.errors import SmartcarError, SmartcarOpsError, by_name


def classes() -> dict[str, type[SmartcarOpsError]]:
    """Every class of the tree that `errors.py` defines, by name."""
    return {
        name: one
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, SmartcarOpsError) and one.__module__ == errors.__name__
    }


DRAWN = re.findall(r"^ {4}([│ ├└─]*)(\w+Error) +(\d(?!\d))?", errors.__doc__, re.MULTILINE)


def test_the_drawing_shows_every_class_once():
    """The docstring's tree has all classes and no others."""
    assert sorted(classes()) == sorted(name for _, name, _ in DRAWN)


def test_the_drawing_shows_the_parents():
    """Each class is drawn below its parent."""
    above: list[str] = []
    for indent, name, _ in DRAWN:
        depth = len(indent) // 4
        above[depth:] = [name]
        assert (above[depth - 1] if depth else "Exception") == classes()[name].__base__.__name__


def test_the_drawing_shows_the_exit_codes():
    """Each number in the drawing is the class's exit code; a class without one has its parent's."""
    for _, name, code in DRAWN:
        one = classes()[name]
        assert (int(code) if code else one.__base__.exit_code) == one.exit_code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SmartcarOpsError", 2),
        ("SettingsError", 5),
        ("ParameterError", 5),
        ("PlanError", 5),
        ("LockedError", 4),
        ("DatabaseError", 2),
        ("NotebookError", 2),
        ("SmartcarError", 2),
        ("AuthenticationError", 2),
        ("AllowanceSpentError", 2),
    ],
)
def test_exit_codes_are_the_contracts(name, code):
    """Known wrong before any connection is 5, a held lock 4, everything the world does is 2."""
    assert code == by_name(name)("x").exit_code


@pytest.mark.parametrize("name", classes())
def test_every_class_is_found_by_its_name(name):
    """A class's name leads back to it."""
    assert classes()[name] is by_name(name)


@pytest.mark.parametrize("name", ["", "ValueError", "Exception", "smartcaropserror", "errors.PlanError"])
def test_other_names_lead_nowhere(name):
    """A name outside the tree is None, not a guess."""
    assert by_name(name) is None


def test_what_smartcar_said_is_kept():
    """A SmartcarError carries Smartcar's own words, each None where it gave none; its text is the message alone."""
    error = SmartcarError("m", status=409, type="T", code="C", request_id="r", resolution="R", retry_after=1.5)
    assert (409, "T", "C", "r", "R", 1.5, "m") == (
        error.status,
        error.type,
        error.code,
        error.request_id,
        error.resolution,
        error.retry_after,
        str(error),
    )
    assert {None} == set(vars(SmartcarError("m")).values())
