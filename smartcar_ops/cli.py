"""The command line: one command a person, one exit code a meaning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

import click

from smartcar_ops import __version__, entry_point, interrupts
from smartcar_ops.errors import SettingsError, SmartcarOpsError
from smartcar_ops.settings import logs
from smartcar_ops.text import nearest

if TYPE_CHECKING:
    from smartcar_ops.database.ledger.ledger import Ledger
    from smartcar_ops.database.ledger.runs import Runs
    from smartcar_ops.database.tables import Company
    from smartcar_ops.settings.environment import Settings

KERNELS = "smartcar_ops.reports.kernels.OwnInterpreter"
"""What tells JupyterLab which kernels there are."""

QUIET = ("warning", "error")
"""Levels that leave out what a run is doing, where they are asked for."""


class _Commands(click.Group):
    """A group that names the nearest command for one that it does not have."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; click.UsageError, naming the nearest, if there is none."""
        found = super().get_command(ctx, cmd_name)
        if found is None:
            known = self.list_commands(ctx)
            raise click.UsageError(
                f"there is no command {cmd_name!r}{nearest(cmd_name, known)}; there are {', '.join(known)}."
            )
        return found


class _Running(click.Command):
    """A command whose parameters may be written ``-p NAME VALUE`` or ``-p NAME=VALUE``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments as click reads them, each parameter's name and value apart."""
        return super().parse_args(ctx, list(_apart(args)))


def _apart(arguments: Sequence[str]) -> Iterator[str]:
    """The same arguments with ``-p NAME=VALUE`` as ``-p NAME VALUE``; no parameter's name has an equals sign."""
    given = iter(arguments)
    for word in given:
        if word not in ("-p", "--parameter"):
            yield word
            continue
        name, equals, value = next(given, "").partition("=")
        yield from ("-p", *filter(None, [name]), *([value] if equals else islice(given, 1)))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
    from smartcar_ops.sandbox.server import serve

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
    from smartcar_ops import terminal
    from smartcar_ops.doctor import CALLS, checkup, note
    from smartcar_ops.settings import startup

    chosen = startup.settle()
    click.echo(f"Acting on {chosen.where}; {CALLS}.")
    found = checkup(chosen)
    terminal.lines(found)
    note(chosen, found.verdict, found.calls)
    context.exit(found.exit_code)


@cli.command(cls=_Running)
@click.argument("notebook")
@click.option(
    "-p",
    "--parameter",
    "given",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="A parameter, or NAME=VALUE; repeat.",
)
@click.option("--json", "as_json", is_flag=True, help="The outcome as one line of JSON, for scripts.")
@click.option("--cell-minutes", type=click.IntRange(1), help="How long a cell may take; else max_minutes and more.")
@click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS, case_sensitive=False),
    help="What stderr tells besides warnings: debug and info the log with each step, warning and error no steps; "
    "without it, each step.",
)
@click.pass_context
def run(
    context: click.Context,
    notebook: str,
    given: tuple[tuple[str, str], ...],
    as_json: bool,
    cell_minutes: int | None,
    log_level: str | None,
) -> None:
    """Runs a notebook by name, number or path, and writes its folder under reports/."""
    from smartcar_ops.reports import standby

    standby.start()
    try:
        _run(context, notebook, given, as_json, cell_minutes, log_level)
    finally:
        standby.end()


def _run(
    context: click.Context,
    notebook: str,
    given: tuple[tuple[str, str], ...],
    as_json: bool,
    cell_minutes: int | None,
    log_level: str | None,
) -> None:
    from smartcar_ops import terminal
    from smartcar_ops.notebook_runs import run as run_notebook

    level = log_level or logs.DEFAULT
    watch = terminal.RunDisplay(quiet=log_level in QUIET)
    with watch, logs.heard(watch.log, level):
        result = run_notebook(notebook, given, watch.say, cell_minutes=cell_minutes, watch=watch.show, log_level=level)
        interrupts.end()  # it has ended: what came of it is told
    if as_json:
        content = {
            **entry_point.nothing_but(result.exit_code, result.verdict, result.notebook),
            "where": result.where,
            "folder": str(result.folder) if result.folder else None,
            "calls": result.calls,
            "summary": result.summary,
        }
        click.echo(json.dumps(content, ensure_ascii=False, default=str))
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

    from smartcar_ops.backfill import decisions

    chosen, company, ledger = _opened()
    click.echo(f"Acting on {chosen.where}.")
    now = datetime.now(UTC)
    click.echo(decisions.decide(company, ledger, user, smartcar_user_id, by=name, reason=reason, now=now))


@cli.command()
@click.argument("words", nargs=-1, metavar="[RUN[:BATCH] | pause RUN | resume RUN | cancel RUN]")
def runs(words: tuple[str, ...]) -> None:
    """Lists the runs, shows one with what of it can be undone, or asks a running one to pause, resume or cancel."""
    from smartcar_ops.database.ledger.runs import Runs

    wish, run_id = _wished(words)
    chosen, _, ledger = _opened()
    register = Runs(ledger)
    click.echo(f"Acting on {chosen.where}.")
    _make_whole(register, chosen)
    if run_id is None:
        _list(register, ledger, chosen)
    elif wish is None:
        _show(register, run_id, ledger, chosen)
    else:
        _ask(register, run_id, wish, chosen)


def _make_whole(register: Runs, chosen: Settings) -> None:
    """Notes what runs had spent that were killed, so that it is told now."""
    from smartcar_ops.storage import run_folder

    if run_folder.unfinished(chosen.reports):
        from smartcar_ops.reports import endings

        endings.conclude_dead(chosen.reports, chosen.where, register)


def _wished(words: tuple[str, ...]) -> tuple[str | None, str | None]:
    """(wish, run) as the words of `runs` have them; SettingsError for other words."""
    wishes = ("pause", "resume", "cancel")
    if len(words) == 1 and words[0] in wishes:
        raise SettingsError(f"runs: {words[0]} needs the run's name; `smartcar-ops runs` lists them.")
    if len(words) == 2 and words[0] not in wishes:
        raise SettingsError(
            f"runs: {words[0]!r} is no wish{nearest(words[0], wishes)}; expected one of {', '.join(wishes)}, then a "
            "run's name."
        )
    if len(words) > 2:
        raise SettingsError(f"runs: {len(words)} words are given; expected a run's name, or a wish and a run's name.")
    return (words[0] if len(words) == 2 else None), (words[-1] if words else None)


def _list(register: Runs, ledger: Ledger, chosen: Settings) -> None:
    """All runs, whether Smartcar asked for a pause, and what to do about the newest act that writes if it ended before
    its end."""
    from smartcar_ops import terminal
    from smartcar_ops.backfill.backfill import told_to_continue
    from smartcar_ops.clients import paused_bucket
    from smartcar_ops.database.ledger import acts
    from smartcar_ops.smartcar.http.rate_limit import duration

    terminal.runs(register.seen(run) for run in register.all())
    if bucket := paused_bucket(chosen, ledger):
        click.echo(
            f"Smartcar asked for a pause, {duration(bucket.paused())} more: no run asks it anything until then. "
            "`smartcar-ops doctor` ends the pause where Smartcar answers again."
        )
    newest = register.writing()
    if newest is not None and acts.can_continue(newest):
        click.echo(f"{newest.run_id}: {told_to_continue(register, newest, chosen.reports)}")


def _show(register: Runs, target: str, ledger: Ledger, chosen: Settings) -> None:
    """One run with its batches and rows that can be undone, or one batch of it, and what to do about it."""
    from smartcar_ops import terminal
    from smartcar_ops.backfill.backfill import what_next
    from smartcar_ops.backfill.undo_preview import undoable

    run_id = target.partition(":")[0]
    run = register.one(run_id)
    if run is None:
        known = nearest(run_id, (str(one.run_id) for one in register.all()))
        raise SettingsError(f"runs: the ledger has no run {run_id!r}{known}; `smartcar-ops runs` lists them.")
    run = register.seen(run)
    terminal.run(run, undoable(ledger, target, terminal.ROWS if target == run_id else terminal.BATCH_ROWS))
    if told := what_next(register, run, chosen.reports):
        click.echo(told)


def _ask(register: Runs, run_id: str, wish: str, chosen: Settings) -> None:
    """Passes a wish on to an act that lives; SettingsError if none does under this name."""
    from smartcar_ops.backfill.backfill import what_next
    from smartcar_ops.database.ledger import acts
    from smartcar_ops.database.ledger.runs import RunStatus

    run = register.one(run_id)
    run = register.seen(run) if run else None
    if run is not None and run.status is RunStatus.INTERRUPTED:
        told = what_next(register, run, chosen.reports)
        raise SettingsError(f"runs: {run_id} can't {wish}, it is interrupted. {told}")
    if run is None or not register.request(run_id, wish):
        raise SettingsError(f"runs: no run {run_id!r} is under way; `smartcar-ops runs` lists them.")
    click.echo(f"Asked {run_id} to {wish}; it obeys between two batches. {acts.obeys(run, wish)}")


@cli.command()
@click.argument("arguments", nargs=-1)
@click.pass_context
def lab(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Opens JupyterLab on the notebooks; their kernel is the interpreter that runs this."""
    from smartcar_ops.settings.home import home

    own = f"--ServerApp.kernel_spec_manager_class={KERNELS}"
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={home()}", own, *arguments]
    if os.name == "posix":
        os.execv(sys.executable, command)  # JupyterLab itself answers to Ctrl-C then
    context.exit(subprocess.call(command))


def _opened() -> tuple[Settings, Company, Ledger]:
    """The settings in force, the company's database, and the ledger where it is."""
    from smartcar_ops.database.ledger.ledger import Ledger, Scope
    from smartcar_ops.database.tables import Company
    from smartcar_ops.settings import startup

    chosen = startup.settle()
    company = Company.connect(chosen.database_url.get_secret_value(), chosen.layout)
    return chosen, company, Ledger.open(company, Scope(chosen.service, chosen.mode), chosen.reports)


def execute(arguments: Sequence[str]) -> int:
    """The exit code of a command line; what click finds wrong with it is a SettingsError."""
    try:
        with cli.make_context("smartcar-ops", list(arguments)) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        raise SettingsError(f"smartcar-ops: {error.format_message()}") from None
    return 0


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point: whatever happens is one sentence and its exit code, never a traceback."""
    entry_point.main(arguments)


if __name__ == "__main__":
    main()
