"""An interpreter that loads what a notebook needs while the run is still being checked, and then becomes its kernel.

Starting one takes longer than anything else in a short run. The command line calls ``waiting`` before it imports the
rest of the kit; a run that is refused closes the pipe, and the interpreter ends. Run as a module, this is the
interpreter itself.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

PRELOADED = (
    *("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.debugger"),
    *("pandas", "sqlalchemy", "sqlite3", "smartcar_ops.session"),
)

_waiting: list[subprocess.Popen[bytes]] = []


@contextmanager
def waiting() -> Iterator[None]:
    """Have an interpreter wait for a kernel while the block runs; one that no kernel was made of is ended."""
    start()
    try:
        yield
    finally:
        end()


def start() -> None:
    """Start an interpreter for the next kernel; if that fails, a kernel is started the ordinary way."""
    if os.name != "posix":
        return  # elsewhere a kernel needs handles of its parent's
    with suppress(OSError):
        _waiting.append(
            subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # A kernel ends when the process of this number does; it is read when ipykernel is imported.
                env={**os.environ, "JPY_PARENT_PID": str(os.getpid())},
                start_new_session=True,  # as every kernel: a Ctrl-C in the terminal is for the run to pass on
            )
        )


def end() -> None:
    """End an interpreter that no kernel was made of."""
    while _waiting:
        process = _waiting.pop()
        process.kill()
        process.communicate()


def become_kernel(
    command: Sequence[str], environment: Mapping[str, str], folder: str, said: Path
) -> subprocess.Popen[bytes] | None:
    """Let the waiting interpreter go on as this kernel; None if there is none, or it has ended.

    ``folder`` is the kernel's working folder, ``said`` the file for what it writes before it can be spoken to.
    """
    process = _waiting.pop() if _waiting else None
    if process is None or process.stdin is None:
        return None
    order = {"command": [*command], "environment": {**environment}, "folder": folder, "said": str(said)}
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.close()
    except OSError:
        process.kill()
        process.wait()
        return None
    return process if process.poll() is None else None


def wait_and_become() -> None:
    """Load what a notebook needs, wait for the order, and run the kernel; end if no order comes."""
    place = sys.path.pop(0)  # the working folder: nothing in it may stand in for a library
    gc.disable()  # nothing that is imported is garbage, and looking for some takes a tenth of the time
    for name in PRELOADED:
        with suppress(ImportError):  # the kernel itself says so, in words, if it can't do without
            import_module(name)
    gc.freeze()
    gc.enable()
    line = sys.stdin.buffer.readline()
    if not line:
        return
    order = json.loads(line)
    sys.path.insert(0, place)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    with Path(order["said"]).open("ab", buffering=0) as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        os.dup2(nothing.fileno(), 0)
    import tempfile

    tempfile.tempdir = None  # the kernel has a TMPDIR of its own
    launcher = order["command"].index("ipykernel_launcher")
    sys.argv = order["command"][launcher:]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    wait_and_become()
