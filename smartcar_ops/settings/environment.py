"""All settings of the kit, from the environment, a `.env` file and `smartcar_ops.toml`.

Read once, checked before anything connects, and immutable. Secrets never appear in a repr or a message.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from smartcar_ops.errors import SettingsError
from smartcar_ops.settings import database_urls, file_modes, files
from smartcar_ops.settings.credentials import ORIGINS, Allowance, Credentials, Origins
from smartcar_ops.settings.files import ENV, PREFIX, TOML
from smartcar_ops.settings.home import find_root as find_root
from smartcar_ops.settings.home import home, working_folder
from smartcar_ops.settings.layout import Layout, Limits, Vault, Vehicles, find_vault

ROOT = "SMARTCAR_OPS_ROOT"
"""Set by ``smartcar-ops run`` for its notebook: the folder whose settings are in force."""

LOG_LEVEL = "SMARTCAR_OPS_LOG_LEVEL"
"""Set by ``smartcar-ops run`` for its notebook: the lowest level of the log that it sends."""

TABLES = "SMARTCAR_OPS_TABLES"
TABLE_FORMATS = ("parquet", "xlsx", "csv")
"""The formats of a run's tables; the first one is always written."""

CELL_MINUTES = "SMARTCAR_OPS_CELL_MINUTES"
DEMO = "SMARTCAR_OPS_DEMO"
"""Set by ``smartcar-ops demo`` for its notebooks: use only the sandbox, whatever else is set."""

REQUIRED = ("SMARTCAR_CLIENT_ID", "SMARTCAR_CLIENT_SECRET", "SMARTCAR_DATABASE_URL")
PREFERRED = {
    "SMARTCAR_CLIENT_ID": "SMARTCAR_OPS_CLIENT_ID",
    "SMARTCAR_CLIENT_SECRET": "SMARTCAR_OPS_CLIENT_SECRET",
}
"""Smartcar's SDK reads the plain names as its V2 pair, so these take precedence if both are set."""

CREDENTIALS = (
    *("SMARTCAR_CLIENT_ID", "SMARTCAR_CLIENT_SECRET", "SMARTCAR_APPLICATION_ID", "SMARTCAR_V2_CLIENT_SECRET"),
    "SMARTCAR_MANAGEMENT_TOKEN",
)
"""All of them are plain ASCII."""

MANAGEMENT_TOKEN = "SMARTCAR_MANAGEMENT_TOKEN"  # noqa: S105 (a variable's name)
"""One or more, separated by commas: the first is sent, any can verify a signature."""

SECRETS = (
    "SMARTCAR_CLIENT_SECRET",
    "SMARTCAR_V2_CLIENT_SECRET",
    MANAGEMENT_TOKEN,
    "SMARTCAR_DATABASE_URL",
)
REAL = (*REQUIRED, "SMARTCAR_APPLICATION_ID", "SMARTCAR_V2_CLIENT_SECRET", MANAGEMENT_TOKEN)
"""If one of these or an origin is set, the embedded sandbox is never used."""

KNOWN = frozenset(
    {
        *REAL,
        *PREFERRED.values(),
        *ORIGINS,
        *("SMARTCAR_MODE", "SMARTCAR_V2", "SMARTCAR_ALLOWANCE_BURST", "SMARTCAR_ALLOWANCE_PER_MINUTE"),
        *("SMARTCAR_ALLOWANCE_BATCH", "SMARTCAR_OPS_CONFIG", "SMARTCAR_OPS_REPORTS", "SMARTCAR_OPS_ENVIRONMENT"),
        *("SMARTCAR_OPS_STATE_KEY", "SMARTCAR_OPS_EXPORT_KEY", "SMARTCAR_OPS_FAIL_ON_GATE", "SMARTCAR_OPS_OPERATOR"),
        *("SMARTCAR_OPS_FILE_MODE", TABLES, "SMARTCAR_OPS_RUN", ROOT, LOG_LEVEL),
        *(CELL_MINUTES, DEMO),
    }
)
"""All names that some version of the kit reads."""

NEAR = 0.8
"""How similar (0 to 1) an unknown name must be to a known one to count as its misspelling."""

M = TypeVar("M", bound=BaseModel)

mask_url = database_urls.mask


@dataclass(frozen=True)
class Settings:
    """The settings in force: where the kit acts, with which credentials and on which tables. Immutable."""

    credentials: Credentials
    origins: Origins
    database_url: SecretStr
    mode: str
    allowance: Allowance
    layout: Layout
    reports: Path
    root: Path
    environment: str = ""
    sandbox: bool = False
    file_mode: int = file_modes.PRIVATE
    """The mode of the files that contain ids."""
    tables: tuple[str, ...] = TABLE_FORMATS[:1]
    """The formats of a run's tables."""
    v2: str = "auto"
    """``off``: V2 gets no calls."""
    cell_minutes: int = 0
    """Minutes that a notebook's cell may take; 0: the run's own limits."""
    vault: Vault = field(default_factory=Vault)
    """Decrypts and encrypts stored tokens; pass it to ``Company.connect`` with the layout."""

    @property
    def service(self) -> str:
        """A short hash of the origins and the client id. Evidence belongs to this service."""
        words = [self.credentials.client_id, *self.origins.model_dump().values()]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]

    @property
    def where(self) -> str:
        """The Smartcar service and the database that the kit acts on, in one line without secrets."""
        database = mask_url(self.database_url.get_secret_value())
        if self.sandbox:
            return f"the sandbox: a pretend Smartcar at {self.origins.vehicle_api_v3}, with its own database"
        host = urlsplit(self.origins.vehicle_api_v3).netloc
        return f"{host} as {self.credentials.client_id[:12]}…, mode {self.mode}, database {database}"


@dataclass(frozen=True)
class Source:
    """The raw settings: merged names and values, and the folder that they belong to."""

    values: Mapping[str, str] = field(repr=False)
    root: Path
    folders: tuple[Path, ...] = ()
    """The folders to search for files, in order; if empty, only the root."""

    @property
    def wants_sandbox(self) -> bool:
        """True if none of the credentials, the database URL and the origins is set."""
        return not any(self.values.get(name) for name in (*REAL, *PREFERRED.values(), *ORIGINS))


def source(environ: Mapping[str, str] | None = None, root: Path | None = None) -> Source:
    """Return the names and values in force; the environment takes precedence over the `.env` file.

    With ``SMARTCAR_OPS_DEMO`` set, all other names and the file are ignored. SettingsError if a file can't be parsed,
    or if a name is misspelled and would otherwise be ignored.
    """
    environ = os.environ if environ is None else environ
    root = root or home()
    if environ.get(DEMO):
        return Source({}, root)
    ours = {name: _unquoted(value.strip()) for name, value in environ.items() if name.startswith(PREFIX)}
    here = working_folder()
    folders = (here, root) if here.is_relative_to(root) else (root, here)
    from_file, unrelated = _read_env_file(folders)
    merged = {**from_file, **ours}
    for name, preferred in PREFERRED.items():
        if merged.get(preferred):
            merged[name] = merged[preferred]
    found = Source({name: value.strip() for name, value in merged.items()}, root, folders)
    if unrelated and found.wants_sandbox:
        raise SettingsError(
            f"settings: {unrelated.path} sets nothing for smartcar-ops (see line {unrelated.first_line}); expected "
            "NAME=value, such as SMARTCAR_CLIENT_ID=client_…, or no such file to use the sandbox."
        )
    _refuse_misspelt(found)
    return found


def _read_env_file(folders: Iterable[Path]) -> tuple[dict[str, str], files.EnvFile | None]:
    """Return the kit's names from the first `.env` file that has any; otherwise, the first file that has content."""
    unrelated = None
    for folder in dict.fromkeys(folders):
        if files.is_there(folder / ENV):
            file = files.read_env(folder / ENV)
            if file.values:
                return file.values, None
            unrelated = unrelated or (file if file.first_line else None)
    return {}, unrelated


def _unquoted(value: str) -> str:
    """Return a value without surrounding quotes: `docker --env-file` keeps them, shells and `.env` readers do not."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _refuse_misspelt(found: Source) -> None:
    """Raise SettingsError for a misspelled name if it has the kit's own prefix or if the sandbox would be used."""
    for name in found.values:
        if name in KNOWN or not (found.wants_sandbox or name.startswith(f"{PREFIX}OPS_")):
            continue
        for near in difflib.get_close_matches(name, KNOWN, n=1, cutoff=NEAR):
            raise SettingsError(f"settings: {name} is not a setting; did you mean {near}?")


def read(given: Source, *, sandbox: bool = False) -> Settings:
    """Return the checked settings. SettingsError (exit 5) names the first problem.

    ``sandbox`` is True if the values are those of the embedded sandbox.
    """
    values = dict(given.values)
    for name in REQUIRED:
        if not values.get(name):
            others = ", ".join(sorted(known for known in (*REAL, *ORIGINS) if values.get(known)))
            raise SettingsError(
                f"settings: {name} is not set; set {', '.join(REQUIRED)} together, or none of them to use the "
                f"sandbox (currently set: {others})."
            )
    other_tokens = _management_tokens(values)
    for name in SECRETS:
        if values.get(name) and name != MANAGEMENT_TOKEN:
            values[name] = dereference(name, values[name])
    for name in KNOWN & values.keys():
        _refuse_unprintable(name, values[name])
    credentials = _checked(
        Credentials,
        values,
        {
            "client_id": _by_which("SMARTCAR_CLIENT_ID", values),
            "client_secret": "SMARTCAR_CLIENT_SECRET",
            "application_id": "SMARTCAR_APPLICATION_ID",
            "v2_client_secret": "SMARTCAR_V2_CLIENT_SECRET",
            "management_token": MANAGEMENT_TOKEN,
        },
    ).model_copy(update={"other_management_tokens": other_tokens})
    layout = _layout(values, given.folders or (given.root,), sandbox=sandbox)
    _check_tokens(layout.vehicles, credentials)
    return Settings(
        credentials=credentials,
        origins=_checked(Origins, values, {name[9:-7].lower(): name for name in ORIGINS}),
        database_url=SecretStr(database_urls.read(values["SMARTCAR_DATABASE_URL"], given.root)),
        mode=_one_of("SMARTCAR_MODE", values.get("SMARTCAR_MODE") or "live", ("live", "simulated")),
        allowance=_allowance(values, sandbox=sandbox),
        layout=layout,
        v2=_one_of("SMARTCAR_V2", values.get("SMARTCAR_V2") or "auto", ("auto", "off")),
        vault=find_vault(layout.vehicles, given.root),
        reports=reports_folder(given),
        root=given.root,
        environment=values.get("SMARTCAR_OPS_ENVIRONMENT", ""),
        sandbox=sandbox,
        file_mode=file_modes.read(values.get(file_modes.NAME, "")),
        tables=_table_formats(values.get(TABLES, "")),
        cell_minutes=_whole_number(CELL_MINUTES, values.get(CELL_MINUTES) or "0"),
    )


def _management_tokens(values: dict[str, str]) -> tuple[SecretStr, ...]:
    """Put the first management token into ``values`` and return the others, with references resolved.

    Commas separate the references; they are not split in the resolved values.
    """
    given = [token.strip() for token in values.get(MANAGEMENT_TOKEN, "").split(",")]
    if given == [""]:
        return ()
    found = [dereference(MANAGEMENT_TOKEN, token) for token in given]
    if not all(found):
        raise SettingsError(
            f"settings: {MANAGEMENT_TOKEN} contains an empty token; expected one, or several separated by commas."
        )
    for token in found:
        _refuse_unprintable(MANAGEMENT_TOKEN, token)
    values[MANAGEMENT_TOKEN] = found[0]
    return tuple(SecretStr(token) for token in found[1:])


def reports_folder(given: Source) -> Path:
    """Return the reports folder: ``SMARTCAR_OPS_REPORTS``, or `reports` beside `notebooks`."""
    return (given.root / _expanded(given.values.get("SMARTCAR_OPS_REPORTS") or "reports")).resolve()


def _expanded(path: str) -> Path:
    """Return a path with `~` expanded if there is such a home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def dereference(name: str, value: str) -> str:
    """Return the value, or what it refers to if it is a reference: ``file:/path`` or ``env:NAME``."""
    kind, _, target = value.partition(":")
    if kind == "env":
        if not os.environ.get(target):
            raise SettingsError(f"settings: {name} refers to env:{target}, which is not set.")
        return os.environ[target]
    if kind == "file" and not target.startswith("memory"):
        try:
            return _expanded(target).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SettingsError(
                f"settings: {name} refers to file:{target}, which can't be read ({why}); "
                "expected a file that contains only the value."
            ) from None
    return value


def _refuse_unprintable(name: str, value: str) -> None:
    """Raise SettingsError if a value has an invisible character, or a credential one beyond ASCII; never repeats it."""
    if not value.isprintable():
        raise SettingsError(
            f"settings: {name} contains a line break or another invisible character; expected one line with the value."
        )
    if name in CREDENTIALS and not value.isascii():
        raise SettingsError(
            f"settings: {name} contains a letter or quote beyond ASCII, which no credential has; copy it again."
        )


def _by_which(name: str, values: Mapping[str, str]) -> str:
    """Return the name that set a value: the kit's own, or the one that Smartcar's SDK also reads."""
    return PREFERRED[name] if values.get(PREFERRED[name]) else name


def _allowance(values: Mapping[str, str], *, sandbox: bool) -> Allowance:
    names = {
        "burst": "SMARTCAR_ALLOWANCE_BURST",
        "per_minute": "SMARTCAR_ALLOWANCE_PER_MINUTE",
        "batch": "SMARTCAR_ALLOWANCE_BATCH",
    }
    allowance = _checked(Allowance, values, names)
    limited = not sandbox or any(values.get(name) for name in names.values())
    return allowance.model_copy(update={"limited": limited})


def _layout(values: Mapping[str, str], folders: Sequence[Path], *, sandbox: bool) -> Layout:
    """Read the TOML file, which is found in the same way as `.env`; without one, use the guide's names."""
    named = values.get("SMARTCAR_OPS_CONFIG")
    if sandbox and not named:
        return Layout(limits=Limits.none())
    paths = [folder / _expanded(named or TOML) for folder in folders]
    path = next((path for path in paths if files.is_there(path)), None)
    if path is None:
        if named:
            raise SettingsError(f"settings: SMARTCAR_OPS_CONFIG is {named!r}, but there is no such file.")
        return Layout()
    try:
        layout = Layout.model_validate(tomllib.loads(files.read_text(path)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"settings: {path.name} can't be read as TOML: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"settings: {path.name}: {key}: {_plain(first['msg'])}.") from None
    return layout


def _check_tokens(vehicles: Vehicles, credentials: Credentials) -> None:
    """Raise SettingsError if the token settings in ``[vehicles]`` are contradictory or incomplete."""
    if vehicles.seal_token and not vehicles.open_token:
        raise SettingsError("settings: [vehicles] seal_token is set without open_token; expected both or neither.")
    if not vehicles.refresh:
        return
    refusal = "settings: [vehicles] refresh = true"
    for key in ("refresh_token", "access_token", "token_created_at"):
        if not getattr(vehicles, key):
            raise SettingsError(f"{refusal} needs a column for new tokens; name it in [vehicles] {key}.")
    if vehicles.from_:
        raise SettingsError(f"{refusal} can't write through [vehicles] from, which is read only; set one of them.")
    for name, value in (
        ("SMARTCAR_APPLICATION_ID", credentials.application_id),
        ("SMARTCAR_V2_CLIENT_SECRET", credentials.v2_client_secret.get_secret_value()),
    ):
        if not value:
            raise SettingsError(f"{refusal} needs {name}, which is not set; V2 refreshes tokens with id and secret.")
    if vehicles.open_token and not vehicles.seal_token:
        raise SettingsError(f"{refusal} with open_token needs [vehicles] seal_token, which encrypts new tokens.")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise SettingsError(f"settings: {name} is {value!r}; expected one of {', '.join(choices)}.")
    return value


def _table_formats(given: str) -> tuple[str, ...]:
    """Return the formats of a run's tables, in the order of `TABLE_FORMATS`; Parquet is always one of them."""
    words = {word.strip().lower() for word in given.split(",")} if given else set()
    if not words <= set(TABLE_FORMATS):
        raise SettingsError(
            f"settings: {TABLES} is {given!r}; expected parquet, xlsx or csv, or several of them separated by commas."
        )
    return tuple(name for name in TABLE_FORMATS if name in words or name == TABLE_FORMATS[0])


def _whole_number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise SettingsError(f"settings: {name} is {value!r}; expected a whole number, 0 or more.")
    return int(value)


def _checked(model: type[M], values: Mapping[str, str], names: Mapping[str, str]) -> M:
    present: dict[str, Any] = {key: values[name] for key, name in names.items() if values.get(name)}
    try:
        return model.model_validate(present)
    except ValidationError as error:
        first = error.errors()[0]
        name = names[str(first["loc"][0])]
        shown = "" if name in SECRETS or first["type"] == "value_error" else f" is {values.get(name)!r};"
        raise SettingsError(f"settings: {name}{shown} {_plain(first['msg'])}.") from None


def _plain(message: str) -> str:
    """Return pydantic's message in the kit's wording."""
    if message.startswith("Extra inputs"):
        return 'is not a key of this section; README, "On your own company", shows the keys'
    if message.startswith("Input should be a valid integer"):
        return "expected a whole number"
    if message.startswith("Input should be a valid number"):
        return "expected a number"
    return message.removeprefix("Value error, ").removesuffix(".").replace("Input should be", "expected")
