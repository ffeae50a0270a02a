"""The command line: the commands and their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

import click
from click.shell_completion import CompletionItem, shell_complete

from smartcar_ops import __version__, entry_point
from smartcar_ops.errors import SettingsError, SmartcarOpsError
from smartcar_ops.reports import interrupts
from smartcar_ops.settings import logs
from smartcar_ops.text import nearest

if TYPE_CHECKING:
    from smartcar_ops.database.ledger.ledger import Ledger
    from smartcar_ops.database.ledger.runs import Runs
    from smartcar_ops.database.tables import Company
    from smartcar_ops.settings.environment import Settings

LONGEST = 200
"""Characters of a command's first sentence in the list of commands."""

NOTEBOOK = "smartcar_ops.notebook"
"""The key under which `run` remembers the notebook that its help is about."""

COMPLETE = "_SMARTCAR_OPS_COMPLETE"
"""The environment variable by which a shell asks to complete words."""

QUIET = ("warning", "error")
"""Log levels at which ``run`` does not print its steps, if given explicitly."""


class _Commands(click.Group):
    """A group that suggests the nearest command if a command does not exist."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with this name. click.UsageError, with the nearest name, if there is none."""
        found = super().get_command(ctx, cmd_name)
        if found is None:
            known = self.list_commands(ctx)
            raise click.UsageError(
                f"there is no command {cmd_name!r}{nearest(cmd_name, known)}; available: {', '.join(known)}."
            )
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with the whole first sentence of each."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, command.get_short_help_str(limit=LONGEST)) for name, command in commands if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class _Running(click.Command):
    """A command whose parameters may be written ``-p NAME VALUE`` or ``-p NAME=VALUE``.

    Its help lists the notebooks or, if a notebook is named, that one's parameters.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split each NAME=VALUE into two arguments, then parse as usual."""
        ctx.meta[NOTEBOOK] = next((word for word in args if not word.startswith("-")), None)
        return super().parse_args(ctx, list(_split_parameters(args)))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the notebooks, or the parameters of the one that is named."""
        from smartcar_ops.reports import command_help

        notebook = ctx.meta[NOTEBOOK]
        rows = command_help.notebook_parameters(notebook) if notebook else command_help.notebooks()
        title = f"Parameters of {notebook}" if notebook else "Notebooks"
        with formatter.section(title):
            formatter.write_dl(rows or [("none", "")])


class _Notebook(click.ParamType[str]):
    """The name, number or path of a notebook; a shell completes its name."""

    name = "notebook"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the notebooks whose names begin so."""
        from smartcar_ops.reports import command_help

        return [CompletionItem(name, help=title) for name, title in command_help.matching_notebooks(incomplete)]


def _complete_parameter(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from smartcar_ops.reports import command_help

    return [CompletionItem(name, help=words) for name, words in command_help.matching_parameters(incomplete)]


def _complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the words and the run ids that begin so; no run ids if the ledger can't be opened."""
    known = ["pause", "resume", "cancel"]
    with suppress(Exception):  # a shell that completes words shows no errors
        from smartcar_ops.database.ledger.runs import Runs

        known += [run.run_id for run in reversed(Runs(_opened()[2]).all())]
    return [CompletionItem(word) for word in known if word.startswith(incomplete)]


def _split_parameters(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments with ``-p NAME=VALUE`` as ``-p NAME VALUE``; no parameter name contains an equals sign."""
    given = iter(arguments)
    for word in given:
        if word not in ("-p", "--parameter"):
            yield word
            continue
        name, equals, value = next(given, "").partition("=")
        yield from ("-p", *filter(None, [name]), *([value] if equals else islice(given, 1)))


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """Migrate your company from Smartcar's V2 to V3.

    Exit codes: 0 done · 1 done, but a gate says no · 2 something outside failed · 3 nothing to do · 4 another run
    holds the lock · 5 wrong before any connection.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
def demo() -> None:
    """Try everything on a pretend fleet. Runs audit, comparison, backfill and report; touches nothing real."""
    from smartcar_ops.demo import demonstrate

    demonstrate()


@cli.command()
@click.option("--port", default=0, show_default="any free port", help="The port to serve on.")
@click.option("--users", default=300, show_default=True, help="How many users the company has.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same data.")
@click.option("--fault", "faults", multiple=True, metavar="NAME …", help="A fault to simulate; you may name several.")
@click.option("--reset", is_flag=True, help="Remove the data of this folder's own sandbox; the next one is new.")
@click.argument("more_faults", nargs=-1, metavar="")
def sandbox(
    port: int, users: int, seed: int, faults: tuple[str, ...], reset: bool, more_faults: tuple[str, ...]
) -> None:
    """Serve a pretend Smartcar until Ctrl-C. First prints the settings that use it."""
    from smartcar_ops.sandbox.server import serve
    from smartcar_ops.settings import startup

    if reset:
        click.echo(startup.reset_sandbox())
        return
    try:
        serve(port, users, seed, (*faults, *more_faults))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SmartcarOpsError(f"sandbox: port {port} can't be used ({error.strerror}); choose another one.") from None


@cli.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check whether everything is set up, with at most 5 calls.

    The ledger records what it spent. If Smartcar asked for a pause and V3 responds again, the doctor ends the pause.
    """
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
@click.argument("notebook", type=_Notebook())
@click.option(
    "-p",
    "--parameter",
    "given",
    nargs=2,
    shell_complete=_complete_parameter,
    multiple=True,
    metavar="NAME VALUE",
    help="A notebook parameter, also as NAME=VALUE; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one line of JSON.")
@click.option(
    "--cell-minutes",
    type=click.IntRange(1),
    help="Most minutes that a cell may take. Default: max_minutes plus 15, or a day with apply True.",
)
@click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS, case_sensitive=False),
    help="debug and info print the log and the steps on stderr, warning and error leave out the steps. "
    "Default: steps and warnings.",
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
    """Run a notebook and write its report. NOTEBOOK is a name, a number or a path; the run's folder is in reports/."""
    from smartcar_ops.reports import standby

    level = log_level or logs.DEFAULT
    with standby.waiting():
        from smartcar_ops import terminal
        from smartcar_ops.notebook_runs import run as run_notebook

        watch = terminal.RunDisplay(quiet=log_level in QUIET)
        with watch, logs.heard(watch.log, level):
            result = run_notebook(
                notebook, given, watch.say, cell_minutes=cell_minutes, watch=watch.show, log_level=level
            )
            interrupts.end()  # the run has ended; printing its outcome must not be interrupted
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
@click.argument("user", required=False)
@click.argument("smartcar_user_id", metavar="[ID]", required=False)
@click.option(
    "--file",
    metavar="F",
    help="The audit's decisions.csv or decisions.xlsx, with your choices and reasons; 'latest' is the last audit's.",
)
@click.option("--by", "name", required=True, metavar="NAME", help="Who decides.")
@click.option("--reason", metavar="TEXT", help="The reason for the decision.")
@click.pass_context
def decide(
    context: click.Context,
    user: str | None,
    smartcar_user_id: str | None,
    file: str | None,
    name: str,
    reason: str | None,
) -> None:
    """Decide which Smartcar id a user has, or with --file about many users at once.

    ID is a Smartcar user id or none; the next plan uses the decision. With --file, exit code 1 means that decisions
    were left out, because their users' evidence has changed.
    """
    from datetime import UTC, datetime

    from smartcar_ops.backfill import decisions

    if file is not None:
        if any(given is not None for given in (user, smartcar_user_id, reason)):
            raise SettingsError(
                "decide: the file has the users, ids and reasons; expected either --file, or USER, ID and --reason."
            )
        context.exit(_decide_file(file, name))
    for given, what in ((user, "argument 'USER'"), (smartcar_user_id, "argument 'ID'"), (reason, "option '--reason'")):
        if given is None:
            raise click.UsageError(f"Missing {what}, or use --file.")
    assert user is not None and smartcar_user_id is not None and reason is not None
    chosen, company, ledger = _opened()
    click.echo(f"Acting on {chosen.where}.")
    now = datetime.now(UTC)
    click.echo(decisions.decide(company, ledger, user, smartcar_user_id, by=name, reason=reason, now=now))


def _decide_file(file: str, name: str) -> int:
    """Record the decisions in a file, print what became of them, and return the exit code."""
    from datetime import UTC, datetime

    from smartcar_ops.backfill import decision_file, decisions
    from smartcar_ops.settings import startup

    path = decision_file.find(file, startup.settle().reports)
    read = decision_file.read(path)  # before anything connects
    chosen, company, ledger = _opened()
    click.echo(f"Acting on {chosen.where}.")
    outcome = decisions.decide_file(company, ledger, read, by=name, now=datetime.now(UTC))
    for left_out in outcome.left_out:
        click.echo(str(left_out))
    click.echo(str(outcome))
    return outcome.exit_code


@cli.command()
@click.argument("user")
def user(user: str) -> None:
    """Show all that is known about one of your users, and what a backfill would do. Makes no API call.

    USER is your own id. Shows Smartcar ids, with the source and the date of each.
    """
    from datetime import UTC, datetime

    from smartcar_ops import terminal
    from smartcar_ops.backfill.user_story import read_story

    chosen, company, ledger = _opened()
    found = read_story(company, ledger, user, datetime.now(UTC))
    click.echo(f"Acting on {chosen.where}.")
    terminal.story(found)


@cli.command()
@click.argument(
    "words", nargs=-1, shell_complete=_complete_run, metavar="[RUN[:BATCH] | pause RUN | resume RUN | cancel RUN]"
)
def runs(words: tuple[str, ...]) -> None:
    """List, show, pause, resume or cancel runs. RUN shows one run, its batches and the rows you can undo."""
    from smartcar_ops.database.ledger.runs import Runs

    command, run_id = _parse(words)
    chosen, _, ledger = _opened()
    register = Runs(ledger)
    click.echo(f"Acting on {chosen.where}.")
    _complete_killed_runs(register, chosen)
    if run_id is None:
        _list(register, ledger, chosen)
    elif command is None:
        _show(register, run_id, ledger, chosen)
    else:
        _request(register, run_id, command, chosen)


def _complete_killed_runs(register: Runs, chosen: Settings) -> None:
    """Complete the folders of killed runs and record what they spent, so that the list shows it."""
    from smartcar_ops.storage import run_folder

    if run_folder.unfinished(chosen.reports):
        from smartcar_ops.reports import endings

        endings.conclude_dead(chosen.reports, chosen.where, register)


def _parse(words: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return (command, run) from the arguments of `runs`. SettingsError if they make no sense."""
    commands = ("pause", "resume", "cancel")
    if len(words) == 1 and words[0] in commands:
        raise SettingsError(f"runs: {words[0]} needs the run's name; `smartcar-ops runs` lists them.")
    if len(words) == 2 and words[0] not in commands:
        raise SettingsError(
            f"runs: {words[0]!r} is not a command{nearest(words[0], commands)}; expected {', '.join(commands)}, then "
            "the run's name."
        )
    if len(words) > 2:
        raise SettingsError(f"runs: got {len(words)} arguments; expected a run's name, or a command and a run's name.")
    return (words[0] if len(words) == 2 else None), (words[-1] if words else None)


def _list(register: Runs, ledger: Ledger, chosen: Settings) -> None:
    """Print all runs, any pause that Smartcar asked for, and how to continue the newest writing run if it stopped."""
    from smartcar_ops import terminal
    from smartcar_ops.backfill.backfill import told_to_continue
    from smartcar_ops.clients import paused_bucket
    from smartcar_ops.database.ledger import acts
    from smartcar_ops.smartcar.http.rate_limit import duration

    terminal.runs(register.seen(run) for run in register.all())
    if bucket := paused_bucket(chosen, ledger):
        click.echo(
            f"Smartcar asked for a pause ({duration(bucket.paused())} left); until then no run makes calls. "
            "`smartcar-ops doctor` ends the pause if Smartcar responds again."
        )
    newest = register.writing()
    if newest is not None and acts.can_continue(newest):
        click.echo(f"{newest.run_id}: {told_to_continue(register, newest, chosen.reports)}")


def _show(register: Runs, target: str, ledger: Ledger, chosen: Settings) -> None:
    """Print one run (or one batch of it) with the rows you can undo, and how to continue it."""
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
    if advice := what_next(register, run, chosen.reports):
        click.echo(advice)


def _request(register: Runs, run_id: str, command: str, chosen: Settings) -> None:
    """Send a command to a run in progress. SettingsError if no such run is in progress."""
    from smartcar_ops.backfill.backfill import what_next
    from smartcar_ops.database.ledger import acts
    from smartcar_ops.database.ledger.runs import RunStatus

    run = register.one(run_id)
    run = register.seen(run) if run else None
    if run is not None and run.status is RunStatus.INTERRUPTED:
        advice = what_next(register, run, chosen.reports)
        raise SettingsError(f"runs: {run_id} is interrupted, so it can't {command}. {advice}")
    if run is None or not register.request(run_id, command):
        raise SettingsError(f"runs: no run {run_id!r} is in progress; `smartcar-ops runs` lists all runs.")
    click.echo(f"Asked {run_id} to {command}, which takes effect between two batches. {acts.obeys(run, command)}")


@cli.command(context_settings={"ignore_unknown_options": True})
@click.option("--no-browser", is_flag=True, help="Don't open a browser; print the address only.")
@click.option("--port", type=int, metavar="N", help="The port to serve on. Default: 8888 or the next free one.")
@click.option("--ip", metavar="ADDRESS", help="The address to listen on. Default: only this machine.")
@click.argument("others", nargs=-1, metavar="[ANY OPTION OF JUPYTERLAB]")
@click.pass_context
def lab(context: click.Context, no_browser: bool, port: int | None, ip: str | None, others: tuple[str, ...]) -> None:
    """Open the notebooks in JupyterLab, at 00_start_here.

    Their kernel is the Python that runs this command. The kit's notebooks are saved without outputs, so that no id
    lands in a commit. With nothing configured, it starts the sandbox.
    """
    from smartcar_ops.reports import lab_command
    from smartcar_ops.settings import startup
    from smartcar_ops.settings.home import home

    try:
        click.echo(f"Acting on {startup.settle().where}.")
    except SmartcarOpsError as error:  # JupyterLab is where it can be looked into
        click.echo(str(error), err=True)
    if lab_command.is_root():
        click.echo(lab_command.AS_ROOT)
    given = {"--ServerApp.port": port, "--ServerApp.ip": ip}
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    command = lab_command.command(home(), [*options, *(["--no-browser"] if no_browser else []), *others])
    environment = lab_command.environment(os.environ)
    sys.stdout.flush()  # this process is replaced
    if os.name == "posix":
        os.execve(sys.executable, command, environment)  # so that Ctrl-C goes to JupyterLab itself
    context.exit(subprocess.call(command, env=environment))


def _opened() -> tuple[Settings, Company, Ledger]:
    """Return the settings in force, the company's database and the ledger."""
    from smartcar_ops.database.ledger.ledger import Ledger, Scope
    from smartcar_ops.database.tables import Company
    from smartcar_ops.settings import startup

    chosen = startup.settle()
    company = Company.connect(chosen.database_url.get_secret_value(), chosen.layout)
    return chosen, company, Ledger.open(company, Scope(chosen.service, chosen.mode), chosen.reports)


def execute(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code. SettingsError if click rejects it."""
    if instruction := os.environ.get(COMPLETE):
        return shell_complete(cli, {}, "smartcar-ops", COMPLETE, instruction)
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
    """The entry point: every failure ends as one sentence and an exit code, never as a traceback."""
    entry_point.main(arguments)


if __name__ == "__main__":
    main()
