"""The users of the last audit: a picture whose bars filter the table under it, asking again, and one user's story."""

from __future__ import annotations

import html
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import ipywidgets as widgets
import pandas as pd
import pyarrow as pa

from smartcar_ops.audit import buckets, charts
from smartcar_ops.audit.audit import Audit
from smartcar_ops.audit.result import ACTIONS, put_in_words
from smartcar_ops.clients import Clients
from smartcar_ops.database.evidence import user_pages
from smartcar_ops.database.evidence.evidence import sources_of
from smartcar_ops.database.evidence.user_pages import UserFilter
from smartcar_ops.database.ledger.history.days import History, Snapshot
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.display.picture import MIN_BAR_PIXELS
from smartcar_ops.display.widgets import Panel, heading, indented, lasting, muted, telling
from smartcar_ops.errors import StoppedError
from smartcar_ops.session import Session, acting
from smartcar_ops.settings import file_modes
from smartcar_ops.storage.cells import CellValue
from smartcar_ops.storage.csv_file import write_csv
from smartcar_ops.storage.run_folder import STAMP, unwritable
from smartcar_ops.text import thousands

ROWS = 25
"""Users on a page."""

COLUMNS = {
    "user_id": ("your user id", "9em"),
    "smartcar_user_id": ("stored id", "minmax(8em, 2fr)"),
    "bucket": ("bucket", "7em"),
    "reason": ("reason", "minmax(9em, 3fr)"),
    "next_action": ("next action", "minmax(8em, 2fr)"),
    "vehicles": ("vehicles", "4.5em"),
    "make": ("make", "6em"),
}
"""The columns of the table: the words above each, and its width."""

COLOURS = {bucket: colour for group in charts.GROUPS.values() for bucket, colour in group.items()}

BARS_BEGIN = "14em"
"""Room for a bucket's word and number, left of its bar."""

NO_AUDIT = "No audit has been recorded yet. Run this notebook's last cell, or press Ask."
NO_USERS = "There are no users."
NO_MATCH = "No user of the last audit matches. A user who is newer than that audit is listed after the next one."
NOT_KEPT = (
    "The last audit could not record each user's bucket, because this database account may not create temporary "
    "tables. There is no table here; users.parquet in the audit's folder has every user."
)


class Story(Protocol):
    """All that is known about one user, as JupyterLab displays it."""

    def _repr_html_(self) -> str: ...


ReadStory = Callable[[Company, Ledger, str, datetime], Story]


class AuditPanel(Panel):
    """The buckets of the last audit, whoever ran it, and its users, a page at a time from the database.

    Press a bucket to see only its users, and again to see all. ``story`` reads what is known about one user; without
    it, users can't be opened.
    """

    def __init__(self, session: Session, audit: Audit, *, story: ReadStory | None = None) -> None:
        super().__init__()
        self._session, self._audit, self._read_story = session, audit, story
        self._company, self._ledger = session.company, session.ledger
        self._snapshot: Snapshot | None = None
        self._bucket, self._first_row, self._total, self._listed = "", 0, 0, list[str]()
        self._showing, self._is_setting = threading.RLock(), False
        self._stop, self._asking_session, self._pace = threading.Event(), session, _Pace()
        self._make_controls()
        self.box = self._laid_out()
        self._listen()
        self._enable()
        audit.at_end(self._after_the_notebook)
        with telling(self.status):
            self._show()

    # --- layout ------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        hidden = widgets.Layout(display="none")
        self.when = widgets.HTML()
        self.bars = {
            bucket: widgets.Button(layout=widgets.Layout(width="100%", height="26px", margin="1px 0"))
            for bucket in charts.BUCKETS
        }
        self.lengths = widgets.HTML()
        self.refresh = widgets.Button(
            description="Refresh", icon="refresh", tooltip="Show the newest audit, whoever ran it; makes no call"
        )
        self.ask = widgets.Button(
            description="Ask", icon="search", tooltip="Show what querying Smartcar costs; makes no call yet"
        )
        self.go = widgets.Button(
            description="Ask now",
            icon="check",
            button_style="primary",
            tooltip="Query Smartcar at this cost, then put every user in a bucket again",
            layout=hidden,
        )
        self.stop = widgets.Button(
            description="Stop", icon="stop", disabled=True, tooltip="Stop querying Smartcar; answers so far are kept"
        )
        self.asking = widgets.IntProgress(value=0, min=0, max=1, layout=widgets.Layout(width="100%", display="none"))
        self.search = widgets.Text(
            description="User id", placeholder="the id, or how it begins", continuous_update=False
        )
        self.sort = widgets.Dropdown(description="Sort by", layout=widgets.Layout(width="250px"))
        self.descending = widgets.ToggleButton(description="Descending", tooltip="Sort from the last to the first")
        self.shown = widgets.HTML()
        self.users = [widgets.Button(layout=widgets.Layout(width=COLUMNS["user_id"][1])) for _ in range(ROWS)]
        self.cells = [widgets.HTML(layout=widgets.Layout(flex="1 1 0", min_width="0")) for _ in range(ROWS)]
        self.previous = widgets.Button(description="Previous", icon="chevron-left", tooltip="Show the page before")
        self.next = widgets.Button(description="Next", icon="chevron-right", tooltip="Show the next page")
        self.export = widgets.Button(
            description="Export what is shown",
            icon="download",
            tooltip="Write the users of all these pages to a CSV file in the reports folder",
            layout=widgets.Layout(width="auto"),
        )
        self.exported = widgets.HTML()
        self.which = widgets.Text(description="User", placeholder="your user id", continuous_update=False)
        self.look = widgets.Button(
            description="Show user", icon="user", tooltip="Show all that is known about this user; makes no call"
        )
        self.told, self.story = widgets.HTML(), widgets.HTML()

    def _laid_out(self) -> widgets.VBox:
        where = widgets.HTML(f"<div style='line-height:1.4'>{muted(f'Acting on {self._session.where}.')}</div>")
        picture = [self.when, self.lengths, *self.bars.values()]
        ask = [widgets.HBox([self.ask, self.go, self.stop, self.refresh]), self.asking, self.status]
        titles = [f"<b>{words}</b>" for words, _ in COLUMNS.values()]
        first = widgets.HTML(titles[0], layout=widgets.Layout(width=COLUMNS["user_id"][1]))
        head = widgets.HBox([first, widgets.HTML(_grid(titles[1:]), layout=widgets.Layout(flex="1 1 0"))])
        self.rows = [widgets.HBox(pair) for pair in zip(self.users, self.cells, strict=True)]
        pages = [widgets.HBox([self.previous, self.next, self.shown]), widgets.HBox([self.export, self.exported])]
        listed = [widgets.HBox([self.search, self.sort, self.descending]), head, *self.rows, *pages]
        parts = [[heading("Users by bucket"), *picture, *ask], [heading("Users"), *listed]]
        if self._read_story is not None:
            one = widgets.HBox([self.which, self.look])
            parts.append([heading("All that is known about one user"), one, indented(self.told), self.story])
        line = widgets.Layout(border_top="1px solid var(--jp-border-color2, #ccc)", padding="0 0 8px 0")
        return widgets.VBox([where, *(widgets.VBox(children, layout=line) for children in parts)])

    def _listen(self) -> None:
        for button, work in (
            (self.refresh, self._do_refresh),
            (self.ask, self._do_price),
            (self.go, self._do_ask),
            (self.export, self._do_export),
        ):
            button.on_click(lambda _, work=work: self._start(work))
        self.stop.on_click(lambda _: self._do_stop())
        for bucket, bar in self.bars.items():
            bar.on_click(lambda _, bucket=bucket: self._choose(bucket))
        for control in (self.search, self.sort, self.descending):
            control.observe(lambda _: self._turn_to(0), "value")
        self.previous.on_click(lambda _: self._turn_to(self._first_row - ROWS))
        self.next.on_click(lambda _: self._turn_to(self._first_row + ROWS))
        for place, button in enumerate(self.users):
            button.on_click(lambda _, place=place: self._open(place))
        self.look.on_click(lambda _: self._tell())
        self.which.observe(lambda _: self._tell(), "value")

    def _enable(self) -> None:
        working = self._working
        for button in (self.ask, self.go, self.refresh):
            button.disabled = working
        self.export.disabled = working or not self._total

    # --- what the buttons do -----------------------------------------------------------------------------

    def _do_refresh(self) -> None:
        self._show_newest()
        self.status.value = ""

    def _do_price(self) -> None:
        session = Session(self._session.notebook, self._session.settings)
        try:
            cost = self._audit.again(session).cost()
        finally:
            session.close()
        self.go.layout.display = ""
        self.status.value = html.escape(f"Asking costs {cost}. Press Ask now to query Smartcar.")

    def _do_ask(self) -> None:
        """Do what the notebook does; after Stop, with the answers so far."""
        self._stop.clear()
        self._pace = _Pace()
        self.go.layout.display, self.asking.layout.display, self.asking.value = "none", "", 0
        self.status.value = "Querying Smartcar…"
        try:
            with acting(self._session.notebook, self._session.settings) as session:
                self._asking_session, audit = session, self._audit.again(session)
                self.stop.disabled = False
                with suppress(StoppedError):
                    audit.ask(self._progress)
                self.stop.disabled = True
                how = "Stopped; the answers so far are kept" if self._stop.is_set() else str(audit.asked)
                self.status.value = "Putting every user in a bucket…"
                outcome = audit.finish()
        finally:
            self.stop.disabled, self.asking.layout.display = True, "none"
        self._show_newest()
        self.status.value = html.escape(f"{how[:1].upper()}{how[1:]}. {outcome.sentence}")

    def _do_stop(self) -> None:
        self._stop.set()
        self.stop.disabled, self.status.value = True, "Stopping…"
        self._asking_session.transport.end()  # a call that waits for the allowance does not report progress

    def _progress(self, what: str, done: int, of: int) -> None:
        if self._stop.is_set():
            raise StoppedError("stopped: the answers so far are kept; press Ask to continue.")
        self.asking.max, self.asking.value = max(of, 1), done
        left = self._pace.left(what, done, of)
        words = f"Querying {what}: {done:,} of {of:,}" + (f", about {lasting(left)} left" if left is not None else "")
        self.status.value = html.escape(words)

    def _do_export(self) -> None:
        reports = self._session.settings.reports
        try:
            reports.mkdir(parents=True, exist_ok=True)
            path = _free_path(reports, self._bucket)
            partial = path.with_name(f".{path.name}.partial")
            try:
                write_csv(partial, list(COLUMNS), self._every_row())
                file_modes.apply(partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(reports, error) from None
        self.exported.value = html.escape(f"{thousands(self._total, 'users')} are in {path}.")

    def _every_row(self) -> Iterator[tuple[CellValue, ...]]:
        for table in user_pages.every(self._company, self._ledger, datetime.now(UTC), self._filter):
            for row in _in_words(table).itertuples(index=False, name=None):
                yield tuple(None if pd.isna(cell) else cell for cell in row)

    # --- the picture and the table -----------------------------------------------------------------------

    def _after_the_notebook(self) -> None:
        with telling(self.status):
            self._show_newest()

    def _show_newest(self) -> None:
        """Open the database and the ledger anew, because the schema may have changed, and show the newest audit."""
        clients = Clients(self._session.settings)
        clients.transport.close()
        with self._showing:
            self._company, self._ledger = clients.company, clients.ledger
            self._show()

    def _show(self) -> None:
        with self._showing:
            self._snapshot = History(self._ledger).newest()
            names = user_pages.sorts(self._ledger)
            self._is_setting = True
            try:
                before = self.sort.value
                self.sort.options = [(COLUMNS[name][0], name) for name in names]
                self.sort.value = before if before in names else names[0]
            finally:
                self._is_setting = False
            self._draw()
            self._list()

    def _draw(self) -> None:
        """Draw the bars: each is a button with a word and a number, and a length behind them."""
        snapshot = self._snapshot
        counts = snapshot.counts if snapshot else {}
        most, rules = max(counts.values(), default=0) or 1, []
        for bucket, bar in self.bars.items():
            count, is_chosen = counts.get(bucket, 0), bucket == self._bucket
            words = bucket.replace("_", " ")
            bar.description = f"{'✓ ' if is_chosen else ''}{words} · {count:,}"
            meaning = buckets.BY_NAME[bucket].reason
            press = "press to show all users again" if is_chosen else "press to show only these users"
            bar.tooltip = f"{words}: {thousands(count, 'users')}; {meaning}; {press}"
            bar.disabled = snapshot is None
            rules.append(_bar_rule(self._css_name(bucket), COLOURS[bucket], count / most, is_chosen))
            bar.add_class(self._css_name(bucket))
        self.lengths.value = f"<style>{''.join(rules)}</style>"
        self.when.value = html.escape(_when(snapshot))

    def _css_name(self, bucket: str) -> str:
        return f"smartcar-ops-{self.lengths.model_id}-{bucket}"

    def _choose(self, bucket: str) -> None:
        with self._showing:
            self._bucket = "" if bucket == self._bucket else bucket
            self._draw()
            self._turn_to(0)

    @property
    def _filter(self) -> UserFilter:
        return UserFilter(self._bucket, self.search.value.strip(), self.sort.value, self.descending.value)

    def _turn_to(self, row: int) -> None:
        if not self._is_setting:
            with self._showing, telling(self.shown):
                self._first_row = max(row, 0)
                self._list()

    def _list(self) -> None:
        """Read the page from the database and show it."""
        self._total, page = 0, pd.DataFrame(columns=list(COLUMNS))
        if self._snapshot is not None and self._snapshot.has_states:
            now = datetime.now(UTC)
            self._total, found = user_pages.page(self._company, self._ledger, now, self._filter, self._first_row, ROWS)
            if not found.num_rows and self._first_row:  # there are fewer users than before
                self._first_row = 0
                self._total, found = user_pages.page(self._company, self._ledger, now, self._filter, 0, ROWS)
            page = _in_words(found)
        self._listed = list(page["user_id"])
        for place, (row, user, cells) in enumerate(zip(self.rows, self.users, self.cells, strict=True)):
            row.layout.display = "" if place < len(page) else "none"
            if place < len(page):
                values = page.iloc[place]
                user.description = values["user_id"]
                user.tooltip = f"Show all that is known about user {values['user_id']}"
                user.disabled = self._read_story is None
                cells.value = _grid([_cell(values[name]) for name in COLUMNS if name != "user_id"])
        last = self._first_row + len(page)
        self.previous.disabled, self.next.disabled = self._first_row == 0, last >= self._total
        self.shown.value = html.escape(self._words_of_page(last))
        self.exported.value = ""
        self._enable()

    def _words_of_page(self, last: int) -> str:
        if self._snapshot is None:
            return NO_AUDIT
        if not self._snapshot.has_states:
            return NOT_KEPT
        if not self._total:
            return NO_MATCH if sum(self._snapshot.counts.values()) else NO_USERS
        page, pages = self._first_row // ROWS + 1, -(-self._total // ROWS)
        return f"{self._first_row + 1:,} to {last:,} of {thousands(self._total, 'users')} · page {page:,} of {pages:,}"

    # --- one user ----------------------------------------------------------------------------------------

    def _open(self, place: int) -> None:
        user_id = self._listed[place]
        if self.which.value == user_id:
            self._tell()
        else:
            self.which.value = user_id

    def _tell(self) -> None:
        """Show what is known about the user, or one sentence if there is no such user."""
        self.told.value = self.story.value = ""
        user_id = self.which.value.strip()
        if user_id and self._read_story is not None:
            with telling(self.told):
                story = self._read_story(self._company, self._ledger, user_id, datetime.now(UTC))
                self.story.value = story._repr_html_()


class _Pace:
    """How long the questions to one source still take, at the pace so far."""

    def __init__(self) -> None:
        self._source, self._began, self._begun_with = "", 0.0, 0

    def left(self, source: str, done: int, of: int) -> float | None:
        """Return the seconds left; None if it is too early to say."""
        now = time.monotonic()
        if source != self._source or done < self._begun_with:
            self._source, self._began, self._begun_with = source, now, done
        answered = done - self._begun_with
        return (now - self._began) / answered * (of - done) if answered and of > done else None


def _when(snapshot: Snapshot | None) -> str:
    if snapshot is None:
        return NO_AUDIT
    total = sum(snapshot.counts.values())
    more = "" if snapshot.complete else " Not complete: some questions had no answer yet."
    users = thousands(total, "users") if total else "no users"
    return f"Audit of {snapshot.at:%Y-%m-%d %H:%M} UTC: {users}, {buckets.left(snapshot.counts):,} left to do.{more}"


def _bar_rule(name: str, colour: str, share: float, is_chosen: bool) -> str:
    """Return the style of a bar: a length beside the words, so that these are readable in every theme."""
    width = f"max({MIN_BAR_PIXELS if share else 0}px, calc((100% - {BARS_BEGIN} - 6px) * {share:.6f}))"
    edge = "box-shadow:inset 3px 0 0 var(--jp-brand-color1, #0b57d0);font-weight:600;" if is_chosen else ""
    return (
        f".{name}.jupyter-button{{text-align:left;background-image:linear-gradient({colour},{colour});"
        f"background-repeat:no-repeat;background-position:left {BARS_BEGIN} center;background-size:{width} 60%;{edge}}}"
    )


def _grid(cells: list[str]) -> str:
    """Return the cells of a row, after the user's id, as markup in columns that stand below each other."""
    columns = " ".join(width for name, (_, width) in COLUMNS.items() if name != "user_id")
    style = f"display:grid; grid-template-columns:{columns}; gap:0 10px; line-height:1.4; overflow-wrap:anywhere"
    return f"<div style='{style}'>{''.join(f'<span>{cell}</span>' for cell in cells)}</div>"


def _cell(value: Any) -> str:
    return "" if pd.isna(value) else html.escape(str(value))


def _in_words(found: pa.Table) -> pd.DataFrame:
    """Return the table's columns for users as `user_pages` found them."""
    if not found.num_rows:
        return pd.DataFrame(columns=list(COLUMNS))
    rows: pd.DataFrame = found.to_pandas()
    named = {
        user_id: {id: sources_of(mask) for id, mask in user_pages.ids_of(disputed).items()}
        for user_id, disputed in zip(rows["user_id"], rows["disputed"], strict=True)
        if isinstance(disputed, str)
    }
    worded = put_in_words(rows, named)
    worded = worded.assign(smartcar_user_id=worded["shown"], next_action=worded["bucket"].map(ACTIONS))
    return worded[list(COLUMNS)]


def _free_path(reports: Path, bucket: str) -> Path:
    """Return a path for an export that no earlier export has."""
    name = "-".join(filter(None, ("audit-users", f"{datetime.now(UTC):{STAMP}}", bucket)))
    names = (f"{name}{f'-{number}' if number > 1 else ''}.csv" for number in itertools.count(1))
    return next(path for path in map(reports.joinpath, names) if not path.exists())
