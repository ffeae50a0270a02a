"""The kernel of a run: the interpreter that runs the kit, with a folder of its own. It ends with the run."""

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
"""Bytes that a socket's path may have: operating systems allow 103 or 107 and reject longer ones."""

SAID = "kernel.log"
ENDING = 5.0
"""Seconds to wait until a killed kernel has ended."""


class OwnInterpreter(KernelSpecManager):
    """Offers one kernel, the interpreter that runs this process, and no other kernel installed under the same name."""

    @default("kernel_dirs")
    def _nowhere_else(self) -> list[str]:
        return []


class Kernel:
    """What papermill needs to start a kernel here (``options`` for the engine), and how the kernel ended."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self._folder, self._processes = folder, list[subprocess.Popen[bytes]]()
        own = {"connection_file": str(folder / "kernel.json")}
        if os.name == "posix":
            # Sockets that only this user can open, not TCP ports that others could connect to.
            own |= {"transport": "ipc", "ip": str(folder / "k")}
        self.environment = {"TMPDIR": str(temporary)}
        """Environment variables for the kernel: its temporary files go into its folder and are removed with it."""
        self.options: dict[str, Any] = {
            "config": Config({"KernelManager": own}),
            "kernel_manager_class": _manager(folder / SAID, self._processes),
        }

    def end(self) -> None:
        """End its processes that still run: an interrupted start leaves one that papermill does not know."""
        for process in self._processes:
            if process.poll() is not None:
                continue
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING)

    @property
    def died(self) -> str:
        """How its process ended, in words for a message."""
        code = next((process.returncode for process in self._processes if process.returncode), 0)
        if code == -signal.SIGKILL:
            return "killed, perhaps for lack of memory"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    @property
    def last_words(self) -> str:
        """The last line that the kernel printed before it was ready; empty if none."""
        with suppress(OSError):
            lines = (self._folder / SAID).read_text(encoding="utf-8", errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""


@contextmanager
def own_kernel(reports: Path) -> Iterator[Kernel]:
    """Yield a kernel with a folder of its own, and end it afterwards. NotebookError if no folder is usable."""
    with ExitStack() as stack:
        places = _places(reports)
        temporary = _own_folder(stack, places)
        is_short = _has_room(temporary.parent)
        folder = temporary if is_short else _own_folder(stack, [place for place in places if _has_room(place)])
        kernel = Kernel(folder, temporary)
        stack.callback(kernel.end)
        yield kernel


def _own_folder(stack: ExitStack, places: Sequence[Path]) -> Path:
    """Return a new private folder in the first usable place, after removing folders that killed runs left there."""
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
        "notebook: no folder can hold the kernel's sockets and temporary files; set TMPDIR to a writable folder with a "
        "short path."
    )


def _has_room(place: Path) -> bool:
    """True if the path of a socket in a folder here is short enough."""
    return len(os.fsencode(place / f"{NAME}12345678" / "k-5")) <= LONGEST


def _places(reports: Path) -> list[Path]:
    """Return where such a folder may be: the folders for temporary files, then the reports folder."""
    temporary = [os.environ.get("TMPDIR"), "/tmp", "/var/tmp"] if os.name == "posix" else [tempfile.gettempdir()]
    found = [Path(place).absolute() for place in temporary if place and Path(place).is_dir()]
    return list(dict.fromkeys([*found, reports.absolute()]))


def _sweep(place: Path) -> None:
    """Remove the folders of this user's runs whose process has ended; leave those of other users alone."""
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
            """Keep what the kernel prints before it is ready: it says why the kernel can't start."""
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
    """Return the path of the interpreter that kernels are started with, for messages."""
    return sys.executable or "this Python"
