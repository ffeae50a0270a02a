"""Notebooks carried out in the test's own process: papermill, cells and outputs as ever, but no kernel is started."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

import nbformat
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from papermill.engines import Engine, NotebookExecutionManager
from traitlets.config import Config

OUTPUTS: list[nbformat.NotebookNode] = []
"""What the cell that runs now has put out."""


class Results(DisplayHook):
    """Keeps the value of a cell's last line, as a kernel sends it."""

    def write_output_prompt(self) -> None:
        """The number is in the output itself."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        """Keeps it in every form that it has."""
        number = self.prompt_count
        found = nbformat.v4.new_output(
            "execute_result", data=format_dict, metadata=md_dict or {}, execution_count=number
        )
        OUTPUTS.append(found)

    def finish_displayhook(self) -> None:
        """Nothing was printed."""
        self._is_active = False


class Displays(DisplayPublisher):
    """Keeps what a cell displays."""

    def publish(self, data: dict[str, Any], metadata: dict[str, Any] | None = None, **_: Any) -> None:
        """Keeps it in every form that it has."""
        OUTPUTS.append(nbformat.v4.new_output("display_data", data=data, metadata=metadata or {}))


class Shell(InteractiveShell):
    """What runs the cells in a kernel, too; keeps errors in place of printing them."""

    def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
        error = {"ename": etype.__name__, "evalue": str(evalue), "traceback": stb}
        OUTPUTS.append(nbformat.v4.new_output("error", **error))


@cache
def _shell() -> Shell:
    """The only one of this process; whoever looks for it meanwhile is in no notebook."""
    # With a cache, forgetting it collects all garbage of this process: seconds.
    quiet = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"cache_size": 0}})
    own = types.ModuleType("cells_of_a_notebook")  # not __main__, which is pytest's own
    return Shell(config=quiet, user_module=own, displayhook_class=Results, display_pub_class=Displays)


@contextmanager
def _in_force() -> Iterator[Shell]:
    """The shell, its names forgotten before and after, as the one that IPython finds."""
    shell, before = _shell(), InteractiveShell._instance
    shell.reset()
    InteractiveShell._instance = shell
    try:
        yield shell
    finally:
        InteractiveShell._instance = before
        shell.reset()


class InProcess(Engine):  # type: ignore[misc]
    """Papermill's way to run a prepared notebook, here without a kernel; ends at the first cell that fails."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        *,
        on_cell_start: Callable[..., object],
        on_cell_executed: Callable[..., object],
        **_: Any,
    ) -> None:
        """Runs cell by cell, telling of each."""
        with _in_force() as shell:
            for index, cell in enumerate(nb_man.nb.cells):
                nb_man.cell_start(cell, index)
                on_cell_start(cell=cell, cell_index=index)
                if cell.cell_type == "code" and cell.source.strip():
                    cell.execution_count = shell.execution_count
                    cell.outputs = cls._outputs_of(shell, cell.source)
                    on_cell_executed(cell=cell, cell_index=index)
                failed = any(output.output_type == "error" for output in cell.get("outputs", ()))
                if failed:
                    nb_man.cell_exception(cell, cell_index=index)
                nb_man.cell_complete(cell, cell_index=index)
                if failed:
                    return

    @staticmethod
    def _outputs_of(shell: Shell, source: str) -> list[nbformat.NotebookNode]:
        OUTPUTS.clear()
        printed = StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            shell.run_cell(source, store_history=True)
        if printed.getvalue():
            OUTPUTS.append(nbformat.v4.new_output("stream", name="stdout", text=printed.getvalue()))
        return list(OUTPUTS)
