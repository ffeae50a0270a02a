"""Where this process is at home: the folder that settings, notebooks and reports belong to."""

from __future__ import annotations

from pathlib import Path

from smartcar_ops.errors import SettingsError
from smartcar_ops.settings import files
from smartcar_ops.settings.files import ENV, TOML

NOTEBOOKS = "notebooks"
OWN_NOTEBOOKS = ("00_", "10_compare", "20_audit", "30_backfill", "40_schema", "50_capture", "60_cutover", "90_progress")
"""How the names of the kit's notebooks begin."""

PACKAGE = Path(__file__).resolve().parents[2]
CHECKOUT = PACKAGE if (PACKAGE / NOTEBOOKS / "00_start_here.ipynb").is_file() else None
"""The folder the kit is run from, where it is a clone; None where it is installed among other packages."""


def find_root(start: Path | None = None) -> Path:
    """The working folder, or the nearest parent that has `notebooks/`; the working folder if none has."""
    here = (start or working_folder()).resolve()
    return _nearest(here) or here


def home(*, notebook: Path | None = None, in_notebook: bool = False) -> Path:
    """The folder that settings, notebooks and reports belong to, wherever this process works.

    That of the ``notebook``, where one is named; else the nearest parent with `notebooks/`; else, of the kit's own
    checkout and the working folder, the one that has settings. Where both have, a command takes the working folder's,
    and a notebook that something else runs the checkout's.
    """
    here = working_folder()
    found = (notebook and _nearest(notebook.parent)) or _nearest(here)
    if found:
        return found
    others = [here, *([CHECKOUT] if CHECKOUT else [])]
    with_settings = [folder for folder in others if any(files.is_there(folder / name) for name in (ENV, TOML))]
    if in_notebook:
        with_settings.reverse()
    return next(iter(with_settings), CHECKOUT or here)


def working_folder() -> Path:
    """Where this process works; SettingsError where that is no longer there."""
    try:
        return Path.cwd()
    except OSError as error:
        raise SettingsError(
            f"settings: the working folder can't be read ({error.strerror}); go to one that is there."
        ) from None


def _nearest(here: Path) -> Path | None:
    """This folder or its nearest parent that has `notebooks/`; one that holds nothing but others' is none."""
    return next((folder for folder in (here, *here.parents) if _has_notebooks(folder / NOTEBOOKS)), None)


def _has_notebooks(folder: Path) -> bool:
    try:
        names = [path.name for path in folder.glob("*.ipynb")] if folder.is_dir() else None
    except OSError:
        return False
    return names is not None and (not names or any(name.startswith(OWN_NOTEBOOKS) for name in names))
