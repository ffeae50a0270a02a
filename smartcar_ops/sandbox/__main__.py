"""Runs a pretend Smartcar in the foreground: `python -m smartcar_ops.sandbox`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from smartcar_ops.sandbox.faults.faults import FAULTS
from smartcar_ops.sandbox.server import serve

BAD_VALUE = 5
WORLD_FAILED = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the message as one sentence and exit with code 5, like the rest of the kit."""
        self.exit(BAD_VALUE, f"sandbox: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m smartcar_ops.sandbox", description="A pretend Smartcar on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="the port; 0: any free port")
    parser.add_argument("--users", type=int, default=300, help="number of local users of the pretend company")
    parser.add_argument("--seed", type=int, default=0, help="the number that the world is drawn from")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", help=", ".join(sorted(FAULTS)))
    parser.add_argument("--folder", type=Path, help="folder for sandbox.json and company.sqlite")
    parser.add_argument("--idle-minutes", type=float, default=0, help="end after this long without a request; 0: never")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped. Return the exit code: 0, 2 (the port is taken) or 5 (a bad value)."""
    given = _parser().parse_args(arguments)
    try:
        serve(given.port, given.users, given.seed, given.fault, given.folder, given.idle_minutes)
    except ValueError as error:
        print(error, file=sys.stderr)
        return BAD_VALUE
    except OSError as error:
        print(f"sandbox: cannot serve on port {given.port}: {error.strerror or error}", file=sys.stderr)
        return WORLD_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
