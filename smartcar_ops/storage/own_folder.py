"""The folder of a run that its own process completes: in JupyterLab, under plain papermill or in a script."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from smartcar_ops.settings.environment import Settings
from smartcar_ops.storage import exports, run_folder


class OwnFolder:
    """Created when it is first needed, reserved by this process until it is complete.

    If the process ends before that, the next run completes it as the folder of a failed run. ``name`` is used if it is
    free; by default it is made from the time.
    """

    def __init__(self, notebook: str, settings: Settings, is_taken: Callable[[str], bool], name: str = "") -> None:
        self._notebook, self._settings, self._is_taken, self._name = notebook, settings, is_taken, name
        self._reserved = ExitStack()
        self._folder: Path | None = None
        self.is_complete = False

    @property
    def is_begun(self) -> bool:
        """Whether the folder was created."""
        return self._folder is not None

    @property
    def path(self) -> Path:
        """Where the folder is now: it gets its final name when it is complete."""
        assert self._folder is not None, "the folder was not begun"
        return self._folder if self.is_complete else run_folder.partial_of(self._folder)

    def begin(self, by: str, parameters: Mapping[str, Any]) -> Path:
        """Create the folder and return its path. SmartcarOpsError if it can't be written."""
        reports = self._settings.reports
        try:
            reports.mkdir(parents=True, exist_ok=True)
            folder = self._reserve(reports)
            run_folder.begin(run_folder.partial_of(folder), self._notebook, parameters, self._settings, by=by)
        except OSError as error:
            self._reserved.close()
            raise run_folder.unwritable(reports, error) from None
        self._folder = folder
        return self.path

    def _reserve(self, reports: Path) -> Path:
        """Reserve a folder whose name no other run has, in these reports or elsewhere."""
        if self._name and not self._is_taken(self._name):
            folder = reports / self._name
            if run_folder.reserved(self._reserved, folder):
                return folder
        moment = datetime.now(UTC)
        while self._is_taken((folder := run_folder.free_folder(self._reserved, reports, moment, self._notebook)).name):
            self._reserved.close()
            moment += timedelta(seconds=1)
        return folder

    def complete(
        self,
        exit_code: int,
        summary: Mapping[str, Any],
        calls: Mapping[str, int],
        oddities: Mapping[str, int],
        as_of: str,
    ) -> None:
        """Complete the folder. SmartcarOpsError if it can't be written; it then stays as it is."""
        partial, formats = self.path, self._settings.tables
        try:
            _describe(partial, formats)
            run_folder.complete(partial, exit_code, summary, calls, oddities, as_of=as_of)
            self.is_complete = True
        except OSError as error:
            raise run_folder.unwritable(self._settings.reports, error) from None
        finally:
            self._reserved.close()

    def discard(self) -> None:
        """Remove the folder, if it was begun: nothing was done."""
        if self._folder is not None and not self.is_complete:
            shutil.rmtree(self.path, ignore_errors=True)
        self._reserved.close()
        self._folder = None


def _describe(partial: Path, formats: Collection[str]) -> None:
    """Write the tables in the wanted formats, and what their columns mean."""
    if run_folder.has_more_formats(formats):
        exports.export(partial, formats)
    else:
        exports.describe_tables(partial)
