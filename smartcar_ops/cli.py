"""The command line: one command a person, one exit code a meaning."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click

from smartcar_ops import __version__
from smartcar_ops.errors import SettingsError, SmartcarOpsError

if TYPE_CHECKING:
    from smartcar_ops.company.ledger import Ledger
    from smartcar_ops.company.runs import Runs
    from smartcar_ops.company.tables import Company
    from smartcar_ops.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Takes a company through Smartcar's move from V2 to V3.

    Exit codes: 0 done · 1 done, and a gate says no · 2 the world failed · 3 nothing to do · 4 another run
    holds the lock · 5 known wrong before any connection.
    """


@cli.command()
def demo() -> None:
    """Takes a pretend fleet through audit, compare and backfill to a report; touches nothing real."""
    from smartcar_ops.demo import demonstrate

    demonstrate()


@cli.command()
@click.option("--port", default=0, show_default="any free one")
@click.option("--users", default=300, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME …", help="What Smartcar does wrong; several may follow."
)
@click.argument("more_faults", nargs=-1, metavar="")
def sandbox(port: int, users: int, seed: int, faults: tuple[str, ...], more_faults: tuple[str, ...]) -> None:
    """Serves a pretend Smartcar until Ctrl-C, and prints the settings that use it."""
    from smartcar_ops.sandbox.serving import serve

    try:
        serve(port, users, seed, (*faults, *more_faults))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SmartcarOpsError(f"sandbox: port {port} can't be served ({error.strerror}); choose another.") from None


@cli.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Is everything in place? At most 5 calls; notes what it spent, and ends a pause of Smartcar's that is over."""
    from smartcar_ops import connecting, terminal
    from smartcar_ops.migration.checkup import CALLS, checkup, note

    chosen = connecting.settle()
    click.echo(f"Acting on {chosen.where}; {CALLS}.")
    found = checkup(chosen)
    terminal.lines(found)
    note(chosen, found.verdict, found.calls)
    context.exit(found.exit_code)


@cli.command()
@click.argument("notebook")
@click.option("-p", "--parameter", "given", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter; repeat.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as JSON, for scripts.")
@click.pass_context
def run(context: click.Context, notebook: str, given: tuple[tuple[str, str], ...], as_json: bool) -> None:
    """Runs a notebook by name or number, and writes its folder under reports/."""
    from smartcar_ops.reporting.runs import run as run_notebook

    # A scheduler ends a run by SIGTERM: it is then concluded as one interrupted by hand.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result = run_notebook(notebook, given, announce=_unheard if as_json else _announce)
    if as_json:
        content: dict[str, Any] = {
            "notebook": result.notebook,
            "exit_code": result.exit_code,
            "verdict": result.verdict,
            "where": result.where,
            "folder": str(result.folder) if result.folder else None,
            "calls": result.calls,
            "summary": result.summary,
        }
        click.echo(json.dumps(content, indent=2, ensure_ascii=False, default=str))
    else:
        if result.folder:
            click.echo(f"Acted on {result.where}.")
        click.echo(result.verdict, err=result.exit_code in (2, 4, 5))
        if result.report:
            click.echo(f"Report: {result.report}")
    context.exit(result.exit_code)


@cli.command()
@click.argument("user")
@click.argument("smartcar_user_id", metavar="ID")
@click.option("--by", "name", required=True, metavar="NAME", help="Who decides.")
@click.option("--reason", required=True, metavar="TEXT", help="Why.")
def decide(user: str, smartcar_user_id: str, name: str, reason: str) -> None:
    """Decides which Smartcar id a user has (ID, or none) where the evidence can't; the next plan sets it."""
    from datetime import UTC, datetime

    from smartcar_ops.migration import deciding

    chosen, company, ledger = _opened()
    click.echo(f"Acting on {chosen.where}.")
    now = datetime.now(UTC)
    click.echo(deciding.decide(company, ledger, user, smartcar_user_id, by=name, reason=reason, now=now))


@cli.command()
@click.argument("words", nargs=-1, metavar="[RUN[:BATCH] | pause RUN | resume RUN | cancel RUN]")
def runs(words: tuple[str, ...]) -> None:
    """Lists the runs, shows one with what of it can be undone, or asks a running one to pause, resume or cancel."""
    from smartcar_ops.company.runs import Runs

    wish, run_id = _wished(words)
    chosen, _, ledger = _opened()
    register = Runs(ledger)
    click.echo(f"Acting on {chosen.where}.")
    if run_id is None:
        _list(register, ledger, chosen)
    elif wish is None:
        _show(register, run_id, ledger, chosen)
    else:
        _ask(register, run_id, wish, chosen)


def _wished(words: tuple[str, ...]) -> tuple[str | None, str | None]:
    """(wish, run) as the words of `runs` have them; SettingsError for other words."""
    wishes = ("pause", "resume", "cancel")
    if len(words) == 1 and words[0] in wishes:
        raise SettingsError(f"runs: {words[0]} needs the run's name; `smartcar-ops runs` lists them.")
    if len(words) == 2 and words[0] not in wishes:
        raise SettingsError(f"runs: {words[0]!r} is no wish; expected one of {', '.join(wishes)}, then a run's name.")
    if len(words) > 2:
        raise SettingsError(f"runs: {len(words)} words are given; expected a run's name, or a wish and a run's name.")
    return (words[0] if len(words) == 2 else None), (words[-1] if words else None)


def _list(register: Runs, ledger: Ledger, chosen: Settings) -> None:
    """All runs, whether Smartcar asked for a pause, and what to do about the newest act that writes if it ended before
    its end."""
    from smartcar_ops import terminal
    from smartcar_ops.migration import acts
    from smartcar_ops.migration.clients import paused_bucket
    from smartcar_ops.migration.sources import duration
    from smartcar_ops.reporting.backfill import told_to_continue

    terminal.runs(register.seen(run) for run in register.all())
    if bucket := paused_bucket(chosen, ledger):
        click.echo(
            f"Smartcar asked for a pause, {duration(bucket.paused())} more: no run asks it anything until then. "
            "`smartcar-ops doctor` ends the pause where Smartcar answers again."
        )
    newest = register.writing()
    if newest is not None and acts.can_continue(newest):
        click.echo(f"{newest['run_id']}: {told_to_continue(register, newest, chosen.reports)}")


def _show(register: Runs, target: str, ledger: Ledger, chosen: Settings) -> None:
    """One run with its batches and rows that can be undone, or one batch of it, and what to do about it."""
    from smartcar_ops import terminal
    from smartcar_ops.migration.undoable import undoable
    from smartcar_ops.reporting.backfill import what_next

    run_id = target.partition(":")[0]
    run = register.one(run_id)
    if run is None:
        raise SettingsError(f"runs: the ledger has no run {run_id!r}; `smartcar-ops runs` lists them.")
    run = register.seen(run)
    terminal.run(run, undoable(ledger, target, terminal.ROWS if target == run_id else terminal.BATCH_ROWS))
    if told := what_next(register, run, chosen.reports):
        click.echo(told)


def _ask(register: Runs, run_id: str, wish: str, chosen: Settings) -> None:
    """Passes a wish on to an act that lives; SettingsError if none does under this name."""
    from smartcar_ops.migration import acts
    from smartcar_ops.reporting.backfill import what_next

    run = register.one(run_id)
    run = register.seen(run) if run else None
    if run is not None and run["status"] == "interrupted":
        told = what_next(register, run, chosen.reports)
        raise SettingsError(f"runs: {run_id} can't {wish}, it is interrupted. {told}")
    if run is None or not register.request(run_id, wish):
        raise SettingsError(f"runs: no run {run_id!r} is under way; `smartcar-ops runs` lists them.")
    click.echo(f"Asked {run_id} to {wish}; it obeys between two batches. {acts.obeys(run, wish)}")


@cli.command()
@click.argument("arguments", nargs=-1)
def lab(arguments: tuple[str, ...]) -> None:
    """Opens JupyterLab on the notebooks."""
    from smartcar_ops.home import home

    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={home()}", *arguments]
    raise SystemExit(subprocess.call(command, env={**os.environ}))


def _opened() -> tuple[Settings, Company, Ledger]:
    """The settings in force, the company's database, and the ledger where it is."""
    from smartcar_ops import connecting
    from smartcar_ops.company.ledger import Ledger, Scope
    from smartcar_ops.company.tables import Company

    chosen = connecting.settle()
    company = Company.connect(chosen.database_url.get_secret_value(), chosen.layout)
    return chosen, company, Ledger.open(company, Scope(chosen.service, chosen.mode), chosen.reports)


def _announce(words: str) -> None:
    click.echo(words, err=True)


def _unheard(words: str) -> None:
    """With --json nothing but the JSON is printed."""


def main(arguments: list[str] | None = None) -> None:
    """The entry point: an error of the kit is one sentence and its exit code, never a traceback."""
    try:
        code = cli.main(args=arguments, prog_name="smartcar-ops", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        code = 2
    except click.ClickException as error:
        click.echo(f"smartcar-ops: {error.format_message()}", err=True)
        code = 5
    except SmartcarOpsError as error:
        click.echo(str(error), err=True)
        code = error.exit_code
    raise SystemExit(code or 0)


if __name__ == "__main__":
    main()
