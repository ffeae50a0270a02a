"""The home of this process: the folder that its settings, notebooks and reports belong to."""

from __future__ import annotations

from pathlib import Path

from smartcar_ops.errors import SettingsError
from smartcar_ops.settings import files
from smartcar_ops.settings.files import ENV, TOML

NOTEBOOKS = "notebooks"
OWN_NOTEBOOKS = ("00_", "10_compare", "20_audit", "30_backfill", "40_schema", "50_capture", "60_cutover", "90_progress")
"""The beginnings of the names of the kit's notebooks."""

PACKAGE = Path(__file__).resolve().parents[2]
CHECKOUT = PACKAGE if (PACKAGE / NOTEBOOKS / "00_start_here.ipynb").is_file() else None
"""The clone that the kit runs from; None if it is installed as a package."""


def find_root(start: Path | None = None) -> Path:
    """Return the working folder or its nearest parent with `notebooks/`; if none has it, the working folder."""
    here = (start or working_folder()).resolve()
    return _nearest(here) or here


def home(*, notebook: Path | None = None, in_notebook: bool = False) -> Path:
    """Return the folder that settings, notebooks and reports belong to.

    That is the folder of ``notebook`` if one is given; otherwise the working folder or its nearest parent with
    `notebooks/`; otherwise the working folder or the kit's clone, whichever has settings. If both have settings, a
    command uses the working folder, and a notebook that another program runs (``in_notebook``) the clone.
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
    """Return the working folder. SettingsError if it no longer exists."""
    try:
        return Path.cwd()
    except OSError as error:
        raise SettingsError(
            f"settings: the working folder can't be read ({error.strerror}); change to one that exists."
        ) from None


def _nearest(here: Path) -> Path | None:
    """Return the folder or its nearest parent that has `notebooks/`, empty or with a notebook of the kit."""
    return next((folder for folder in (here, *here.parents) if _has_notebooks(folder / NOTEBOOKS)), None)


def _has_notebooks(folder: Path) -> bool:
    try:
        names = [path.name for path in folder.glob("*.ipynb")] if folder.is_dir() else None
    except OSError:
        return False
    return names is not None and (not names or any(name.startswith(OWN_NOTEBOOKS) for name in names))
