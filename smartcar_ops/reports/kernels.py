"""A run's kernel: the interpreter that the kit itself runs on, in a folder of its own, ended with the run."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default
from traitlets.config import Config

from smartcar_ops.errors import NotebookError
from smartcar_ops.reports import standby
from smartcar_ops.storage.run_folder import LOCK, claimed

NAME = "smartcar-kernel-"
LONGEST = 90
"""Bytes of a socket's path: the systems take 103 or 107, and answer longer ones with an error of their own."""

SAID = "kernel.log"
ENDING = 5.0
"""Seconds that a killed kernel may take to be gone."""


class OwnInterpreter(KernelSpecManager):
    """Knows one kernel, the interpreter that runs this: no other that is installed under the same name."""

    @default("kernel_dirs")
    def _nowhere_else(self) -> list[str]:
        return []


class Kernel:
    """What papermill needs to start a kernel here, and how it fared; give ``options`` to the engine."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self._folder, self._processes = folder, list[subprocess.Popen[bytes]]()
        own = {"connection_file": str(folder / "kernel.json")}
        if os.name == "posix":
            # Sockets of this user alone, not TCP that others could listen to.
            own |= {"transport": "ipc", "ip": str(folder / "k")}
        self.environment = {"TMPDIR": str(temporary)}
        """What the kernel needs to know: what it keeps for a while goes with it, however it ends."""
        self.options: dict[str, Any] = {
            "config": Config({"KernelManager": own}),
            "kernel_manager_class": _manager(folder / SAID, self._processes),
        }

    def end(self) -> None:
        """Ends what of it still runs: an interrupted start leaves a process that nobody else knows of."""
        for process in self._processes:
            if process.poll() is not None:
                continue
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING)

    @property
    def died(self) -> str:
        """How its process ended, in words."""
        code = next((process.returncode for process in self._processes if process.returncode), 0)
        if code == -signal.SIGKILL:
            return "it was killed; is memory short?"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    @property
    def last_words(self) -> str:
        """The last line that it wrote before it could be spoken to; empty if none."""
        with suppress(OSError):
            lines = (self._folder / SAID).read_text(encoding="utf-8", errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""


@contextmanager
def own_kernel(reports: Path) -> Iterator[Kernel]:
    """A kernel with a folder for this run alone, and its end; NotebookError if there is no place for its sockets."""
    with ExitStack() as stack:
        places = _places(reports)
        temporary = _own_folder(stack, places)
        is_short = _has_room(temporary.parent)
        folder = temporary if is_short else _own_folder(stack, [place for place in places if _has_room(place)])
        kernel = Kernel(folder, temporary)
        stack.callback(kernel.end)
        yield kernel


def _own_folder(stack: ExitStack, places: Sequence[Path]) -> Path:
    """A new folder of this user's; what runs left there that were killed is taken away before."""
    for place in places:
        _sweep(place)
        folder = place / f"{NAME}{secrets.token_hex(4)}"
        with suppress(OSError), ExitStack() as tried:
            if tried.enter_context(claimed(folder)):
                folder.mkdir(mode=0o700)
                tried.callback(shutil.rmtree, folder, ignore_errors=True)
                stack.push(tried.pop_all())
                return folder
    raise NotebookError(
        "notebook: there is no place for the kernel's sockets and temporary files; expected a folder that can be "
        "written and whose path is short. Set TMPDIR to one."
    )


def _has_room(place: Path) -> bool:
    """Whether the path of a socket in a folder here is short enough."""
    return len(os.fsencode(place / f"{NAME}12345678" / "k-5")) <= LONGEST


def _places(reports: Path) -> list[Path]:
    """Where such a folder may be: for temporary files, else beside the reports."""
    temporary = [os.environ.get("TMPDIR"), "/tmp", "/var/tmp"] if os.name == "posix" else [tempfile.gettempdir()]
    found = [Path(place).absolute() for place in temporary if place and Path(place).is_dir()]
    return list(dict.fromkeys([*found, reports.absolute()]))


def _sweep(place: Path) -> None:
    """Takes away the folders of this user's runs whose process has ended; others' are left alone."""
    for found in place.glob(f"{NAME}*"):
        folder = found.with_name(found.name.removesuffix(LOCK))
        with suppress(OSError):
            if hasattr(os, "getuid") and found.stat().st_uid != os.getuid():
                continue
            with claimed(folder) as mine:
                if mine:
                    shutil.rmtree(folder, ignore_errors=True)


def _manager(said: Path, processes: list[subprocess.Popen[bytes]]) -> type[AsyncKernelManager]:
    class OwnKernel(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _own_interpreter(self) -> KernelSpecManager:
            return OwnInterpreter(parent=self)

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
            """What it writes before it can be spoken to is kept: it says why it can't start."""
            own: Any = self.provisioner
            ready = standby.become_kernel(kernel_cmd, options["env"], options.get("cwd") or str(Path.cwd()), said)
            if ready is None:
                with said.open("wb") as file:
                    await super()._async_launch_kernel(kernel_cmd, stdout=file, stderr=file, **options)
            else:
                own.process, own.pid = ready, ready.pid
                own.pgid = os.getpgid(ready.pid) if hasattr(os, "getpgid") else None
                self._reconcile_connection_info(own.connection_info)
            processes.append(own.process)

    return OwnKernel


def interpreter() -> str:
    """The interpreter that a kernel is started with, for people."""
    return sys.executable or "this Python"
