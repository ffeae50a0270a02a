"""In a notebook, an error of the kit is one sentence, not a traceback."""

from __future__ import annotations

from typing import Any

from smartcar_ops.errors import SmartcarOpsError


def install() -> None:
    """From now on, in this kernel, the kit's errors show as their message; outside a kernel, does nothing."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((SmartcarOpsError,), _show)


def _show(shell: Any, kind: type[BaseException], error: BaseException, _traceback: Any, **_: Any) -> list[str]:
    """Sends the error's output with its one sentence; the cell still counts as failed."""
    lines = [f"\x1b[31m{error}\x1b[0m"]
    shell._showtraceback(kind, error, lines)
    return lines
