"""Settings: where they are found, what is required, what is refused before any connection, and what is never shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from smartcar_ops import cli
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import SettingsError
from smartcar_ops.settings import environment
from smartcar_ops.settings.credentials import ORIGINS
from smartcar_ops.settings.environment import Settings, Source, find_root, mask_url, read, source
from smartcar_ops.settings.layout import Layout
from tests.support.house import NOTEBOOKS

UUID = "a4c81b2c-0000-4000-8000-000000000001"
SECRETS = ("s3cr3t-one", "s3cr3t-two", "amt-plant", "pass-plant")
BASE = {
    "SMARTCAR_CLIENT_ID": "client_planted",
    "SMARTCAR_CLIENT_SECRET": SECRETS[0],
    "SMARTCAR_DATABASE_URL": f"postgresql://kit:{SECRETS[3]}@db.example:5432/company?sslmode=require",
}
FULL = {
    **BASE,
    "SMARTCAR_APPLICATION_ID": UUID,
    "SMARTCAR_V2_CLIENT_SECRET": SECRETS[1],
    "SMARTCAR_MANAGEMENT_TOKEN": SECRETS[2],
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with notebooks, and the working folder."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def given(root: Path, **changed: str) -> Settings:
    """Settings from the least that is needed, with changes."""
    return read(Source({**BASE, **changed}, root))


def refusal(root: Path, **changed: str) -> str:
    """The message with which settings are refused, exit 5."""
    with pytest.raises(SettingsError) as caught:
        given(root, **changed)
    assert 5 == caught.value.exit_code
    return str(caught.value)


@pytest.mark.parametrize("words", [("doctor",), ("demo",), ("run", "00")])
def test_a_sandbox_that_can_not_be_started_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Exit 2: its folder is none, or can't be written."""
    (tmp_path / "notebooks").symlink_to(NOTEBOOKS, target_is_directory=True)
    (tmp_path / ".sandbox").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    assert 2 == ended.value.code
    assert "sandbox: it can't be started here" in capsys.readouterr().err


def test_defaults_are_the_contracts(root):
    """With the required three set, everything else is as the contract says."""
    found = given(root)
    assert list(ORIGINS.values()) == list(found.origins.model_dump().values())
    assert ("live", 120, 2.0, "paths", True) == (
        found.mode,
        found.allowance.burst,
        found.allowance.per_minute,
        found.allowance.batch,
        found.allowance.limited,
    )
    assert (root / "reports", "", False) == (found.reports, found.environment, found.sandbox)


@pytest.mark.parametrize("name", BASE)
@pytest.mark.parametrize("left", [True, False])
def test_a_missing_one_of_the_three_is_named(root, name, left):
    """As soon as one is set, all three are required, and the missing one is named; empty is missing."""
    values = {**FULL, name: ""} if left else {other: value for other, value in FULL.items() if other != name}
    with pytest.raises(SettingsError, match=f"^settings: {name} is not set; .*set: .*SMARTCAR_APPLICATION_ID"):
        read(Source(values, root))


@pytest.mark.parametrize("name", [*FULL, *ORIGINS, "SMARTCAR_OPS_CLIENT_ID", "SMARTCAR_OPS_CLIENT_SECRET"])
def test_anything_real_keeps_the_sandbox_away(root, name):
    """One credential, the database or an origin is enough to leave the sandbox alone."""
    assert not source({name: "x"}, root).wants_sandbox


@pytest.mark.parametrize("name", ["SMARTCAR_MODE", "SMARTCAR_ALLOWANCE_BURST", "SMARTCAR_OPS_REPORTS", "OTHER"])
def test_the_rest_does_not(root, name):
    """Mode, allowance, reports and other programs' variables leave the sandbox in use; so does an empty value."""
    assert source({name: "x"}, root).wants_sandbox
    assert source({"SMARTCAR_CLIENT_ID": " "}, root).wants_sandbox


def test_demo_knows_nothing_else(root):
    """In a demo every other name and the `.env` file are ignored."""
    (root / ".env").write_text("SMARTCAR_CLIENT_ID=client_file\n")
    found = source({**FULL, environment.DEMO: "1"}, root)
    assert ({}, True) == (found.values, found.wants_sandbox)


def test_the_environment_wins_over_the_file(root):
    """A `.env` file is read, the environment is over it, blanks around values are dropped."""
    (root / ".env").write_text("SMARTCAR_CLIENT_ID=client_file\nSMARTCAR_MODE=simulated\n")
    found = source({"SMARTCAR_CLIENT_ID": " client_own ", "PATH": "/bin"}, root).values
    assert {"SMARTCAR_CLIENT_ID": "client_own", "SMARTCAR_MODE": "simulated"} == found


def test_the_kits_own_names_win(root):
    """``SMARTCAR_OPS_CLIENT_ID`` and its secret win over the names that Smartcar's SDK reads as its V2 pair."""
    (root / ".env").write_text(f"SMARTCAR_OPS_CLIENT_ID=client_kit\nSMARTCAR_OPS_CLIENT_SECRET={SECRETS[1]}\n")
    found = read(source({**BASE, "SMARTCAR_CLIENT_ID": UUID}, root)).credentials
    assert ("client_kit", SECRETS[1]) == (found.client_id, found.client_secret.get_secret_value())


@pytest.mark.parametrize("name", [".env", "smartcar_ops.toml"])
@pytest.mark.parametrize("place", ["working folder", "parent with notebooks"])
def test_where_the_two_files_are_found(root, monkeypatch, name, place):
    """Both files are found in the working folder, or else in the nearest parent with notebooks."""
    below = root / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    texts = {".env": "SMARTCAR_MODE=simulated\n", "smartcar_ops.toml": '[users]\ntable = "people"\n'}
    ((below if place == "working folder" else root) / name).write_text(texts[name])
    found = read(source(BASE))
    assert (root, "simulated" if name == ".env" else "live", "users" if name == ".env" else "people") == (
        found.root,
        found.mode,
        found.layout.users.table,
    )


def test_the_nearer_file_counts(root, monkeypatch):
    """The working folder's file hides the one beside the notebooks."""
    (root / "below").mkdir()
    monkeypatch.chdir(root / "below")
    for folder, table in ((root, "far"), (root / "below", "near")):
        (folder / "smartcar_ops.toml").write_text(f'[users]\ntable = "{table}"\n')
    assert "near" == read(source(BASE)).layout.users.table


def test_the_root_without_notebooks(tmp_path):
    """Where no parent has notebooks, the working folder is the root."""
    (tmp_path / "x" / "notebooks").mkdir(parents=True)
    assert tmp_path / "x" == find_root(tmp_path / "x" / "notebooks")
    assert tmp_path == find_root(tmp_path)


def test_a_named_configuration(root):
    """``SMARTCAR_OPS_CONFIG`` names the file; a name without a file is refused."""
    (root / "own.toml").write_text('[vehicles]\nfrom = "SELECT 1"\n')
    assert "SELECT 1" == given(root, SMARTCAR_OPS_CONFIG="own.toml").layout.vehicles.from_
    assert "SMARTCAR_OPS_CONFIG is 'none.toml', but there is no such file" in refusal(
        root, SMARTCAR_OPS_CONFIG="none.toml"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[users", "can't be read as TOML"),
        ("[users]\nsmartcar_user = 'x'\n", "users.smartcar_user: is not a key of this section"),
        ("[gate]\nlost_share = 2\n", "gate.lost_share: "),
    ],
)
def test_a_broken_configuration(root, text, words):
    """A file that can't be read or has a misspelt key is refused, naming file and key."""
    (root / "smartcar_ops.toml").write_text(text)
    message = refusal(root)
    assert message.startswith("settings: smartcar_ops.toml")
    assert words in message


def test_who_is_believed_without_proof(root):
    """`[webhooks]` refuses unless it says otherwise, and takes no other word."""
    rules = given(root).layout.webhooks
    assert ("refuse", "refuse") == (rules.unsigned, rules.wrong_signature)
    (root / "smartcar_ops.toml").write_text('[webhooks]\nunsigned = "believe"\n')
    assert "believe" == given(root).layout.webhooks.unsigned
    (root / "smartcar_ops.toml").write_text("[webhooks]\nwrong_signature = true\n")
    assert "webhooks.wrong_signature: expected 'refuse' or 'believe'" in refusal(root)


def test_the_sandbox_ignores_a_configuration_it_was_not_given(root):
    """The embedded sandbox has the guide's names, whatever file lies about."""
    (root / "smartcar_ops.toml").write_text('[users]\ntable = "people"\n')
    assert "users" == read(Source(BASE, root), sandbox=True).layout.users.table


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "SMARTCAR_CLIENT_ID",
            UUID,
            "is 'a4c8…-…', which looks like an Application ID; the V3 client id starts with 'client_'",
        ),
        ("SMARTCAR_CLIENT_ID", "s3cr3t-one", "perhaps the id and the secret are swapped"),
        ("SMARTCAR_CLIENT_SECRET", "client_01", "perhaps the id and the secret are swapped"),
        ("SMARTCAR_V2_CLIENT_SECRET", "client_01", "perhaps the id and the secret are swapped"),
        ("SMARTCAR_APPLICATION_ID", "client_01", "looks like a V3 client id"),
        ("SMARTCAR_APPLICATION_ID", "12", "is not a UUID"),
        ("SMARTCAR_MODE", "test", "is 'test'; expected one of live, simulated"),
        ("SMARTCAR_ALLOWANCE_BURST", "0", "is '0'; "),
        ("SMARTCAR_ALLOWANCE_BURST", "many", "is 'many'; "),
        ("SMARTCAR_ALLOWANCE_PER_MINUTE", "-1", "is '-1'; "),
        ("SMARTCAR_ALLOWANCE_PER_MINUTE", "inf", "is 'inf'; "),
        ("SMARTCAR_ALLOWANCE_PER_MINUTE", "nan", "is 'nan'; "),
        ("SMARTCAR_ALLOWANCE_BATCH", "two", "is 'two'; "),
        ("SMARTCAR_API_ORIGIN", "api.smartcar.com", "is 'api.smartcar.com'; expected an address such as"),
        ("SMARTCAR_IAM_ORIGIN", "ftp://x", "expected an address"),
        ("SMARTCAR_IAM_ORIGIN", "https://", "expected an address"),
        ("SMARTCAR_IAM_ORIGIN", "https://host:port", "expected an address"),
        ("SMARTCAR_IAM_ORIGIN", "https://host:70000", "expected an address"),
        ("SMARTCAR_IAM_ORIGIN", "https://[::1", "expected an address"),
        ("SMARTCAR_IAM_ORIGIN", "https://ho st", "expected an address"),
        ("SMARTCAR_IAM_ORIGIN", "https://host?x=1", "expected an address"),
        ("SMARTCAR_DATABASE_URL", "company.db", "is not a SQLAlchemy URL"),
        ("SMARTCAR_OPS_TABLES", "xlsx,excel", "is 'xlsx,excel'; expected parquet, xlsx or csv, or several of them"),
        ("SMARTCAR_OPS_TABLES", "xlsx,", "is 'xlsx,'; expected parquet, xlsx or csv, or several of them"),
    ],
)
def test_what_is_known_wrong_is_refused_before_anything_connects(root, name, value, words):
    """Each ill-formed value is refused, naming the setting, what was expected and, where it is no secret, the value."""
    message = refusal(root, **{name: value})
    assert message.startswith(f"settings: {name} ")
    assert words in message
    assert not [secret for secret in SECRETS if secret in message]


@pytest.mark.parametrize(
    "address", ["https://kit:pass-plant@host", "https://kit:pass-plant@host:port", "//pass-plant@x"]
)
def test_an_origin_with_a_password_is_refused_without_showing_it(root, address):
    """A user name or a password does not belong into an origin, and is not repeated."""
    message = refusal(root, SMARTCAR_API_ORIGIN=address)
    assert "settings: SMARTCAR_API_ORIGIN contains an '@'" in message
    assert "pass-plant" not in message


def test_origins_lose_their_trailing_slash(root):
    """A trailing slash makes no difference, and a path is kept."""
    assert "https://x.example/a" == given(root, SMARTCAR_API_ORIGIN="https://x.example/a/").origins.api


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", ("parquet",)), ("parquet", ("parquet",)), ("CSV, xlsx", ("parquet", "xlsx", "csv"))],
)
def test_parquet_is_always_a_tables_format(root, value, expected):
    """xlsx and csv come in addition, in whatever order and case they are named."""
    assert expected == given(root, SMARTCAR_OPS_TABLES=value).tables


def test_secrets_may_be_references(root, monkeypatch):
    """``file:`` and ``env:`` lead to the value itself, blanks around a file's value dropped."""
    (root / "secret").write_text(f" {SECRETS[1]}\n")
    monkeypatch.setenv("KIT_DATABASE", "sqlite:////tmp/kit.db")
    found = given(root, SMARTCAR_CLIENT_SECRET=f"file:{root / 'secret'}", SMARTCAR_DATABASE_URL="env:KIT_DATABASE")
    assert SECRETS[1] == found.credentials.client_secret.get_secret_value()
    assert "sqlite:////tmp/kit.db" == found.database_url.get_secret_value()


def test_several_management_tokens(root, monkeypatch):
    """Separated by commas before references are resolved; the first is in force, all of them prove a signature."""
    (root / "older").write_text("file,token\n")
    monkeypatch.setenv("KIT_AMT", "env,token")
    known = given(root, SMARTCAR_MANAGEMENT_TOKEN=f" env:KIT_AMT , file:{root / 'older'},plain").credentials
    every = [token.get_secret_value() for token in known.management_tokens]
    assert ["env,token", "file,token", "plain"] == every
    assert "env,token" == known.management_token.get_secret_value()
    assert not any(token in repr(known) for token in every)
    assert () == given(root).credentials.management_tokens


@pytest.mark.parametrize("value", ["one,,two", "one,", ",", "file:{root}/empty"])
def test_an_empty_management_token_is_refused(root, value):
    """It would prove whatever anybody signs with nothing; the others are not repeated."""
    (root / "empty").write_text("\n")
    message = refusal(root, SMARTCAR_MANAGEMENT_TOKEN=value.format(root=root))
    assert "SMARTCAR_MANAGEMENT_TOKEN contains an empty token; expected one, or several separated by commas" in message
    assert "one,two" not in message.replace("one, or", "")


def test_references_that_lead_nowhere(root):
    """A reference to nothing, or to a file that is no text, is refused by the setting's name."""
    (root / "binary").write_bytes(b"\xff\xfe\x00")
    assert "SMARTCAR_CLIENT_SECRET refers to env:KIT_NONE, which is not set" in refusal(
        root, SMARTCAR_CLIENT_SECRET="env:KIT_NONE"
    )
    for name in ("none", "binary"):
        message = refusal(root, SMARTCAR_CLIENT_SECRET=f"file:{root / name}")
        assert f"SMARTCAR_CLIENT_SECRET refers to file:{root / name}, which can't be read" in message


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql+pg8000://u:p@h/d", "postgresql+pg8000://u:p@h/d"),
        ("mysql://u:p@h/d", "mysql+pymysql://u:p@h/d"),
        ("mariadb://u:p@h/d", "mariadb+pymysql://u:p@h/d"),
        ("sqlite:////abs/kit.db", "sqlite:////abs/kit.db"),
        ("sqlite:///file:kit.db?mode=ro&uri=true", "sqlite:///file:kit.db?mode=ro&uri=true"),
        ("sqlite://", "sqlite://"),
    ],
)
def test_a_databases_driver(root, url, expected):
    """A URL without a driver gets the kit's; another stays as it is."""
    assert expected == given(root, SMARTCAR_DATABASE_URL=url).database_url.get_secret_value()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://kit:pass@plant@db.example/d", "contains more than one '@'; in a user name or a password, write"),
        ("postgresql://kit:pass@pl/ant@db.example/d", "contains more than one '@'"),
        ("postgresql://kit:pass-plant/d", "has a port that is not a number from 1 to 65535"),
        ("mysql://kit:p@db.example:pass-plant/d", "has a port that is not a number from 1 to 65535"),
        ("mysql://kit:p@db.example:99999/d", "has a port that is not a number from 1 to 65535"),
        ("mysql://kit:pass-plant@[::1/d", "has a port that is not a number from 1 to 65535"),
        ("Postgres//kit:pass-plant@h/d", "is not a SQLAlchemy URL"),
        ("postgresql://kit:pass-\nplant@h/d", "contains a line break"),
    ],
)
def test_a_database_url_that_does_not_parse_is_not_repeated(root, url, words):
    """Exit 5 before anything connects, and no part of what may be its password is told."""
    message = refusal(root, SMARTCAR_DATABASE_URL=url)
    assert message.startswith(f"settings: SMARTCAR_DATABASE_URL {words}")
    assert "plant" not in message
    assert "plant" not in mask_url(url.replace("\n", ""))


@pytest.mark.parametrize(
    "url",
    [
        "mysql://kit:pass-plant@127.0.0.1:1/d?sslmode=pass-plant",
        "mysql://kit:pass-plant@127.0.0.1:1/d?charset=pass-plant",
        "mysql://kit:pass-plant@127.0.0.1:1/d?ssl_ca=/pass-plant",
        "sqlite:////srv/d?timeout=pass-plant",
        "postgresql+plantless://kit:pass-plant@h/d",
    ],
)
def test_options_that_a_driver_does_not_take_are_one_sentence(root, url):
    """Exit 5; what the driver says of them may hold a part of the URL."""
    with pytest.raises(SettingsError, match="settings: SMARTCAR_DATABASE_URL") as caught:
        Company.connect(given(root, SMARTCAR_DATABASE_URL=url).database_url.get_secret_value(), Layout())
    assert "pass-plant" not in str(caught.value)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_that_docker_keeps_are_none_of_the_value(root, quote):
    """`docker --env-file` gives a value with the quotes around it."""
    found = read(source({name: f" {quote}{value}{quote} " for name, value in BASE.items()}, root))
    assert given(root) == found


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SMARTCAR_CLIENTID", "SMARTCAR_CLIENT_ID"),
        ("SMARTCAR_DATABSE_URL", "SMARTCAR_DATABASE_URL"),
        ("SMARTCAR_DB_URL", "SMARTCAR_DATABASE_URL"),
        ("SMARTCAR_MANAGMENT_TOKEN", "SMARTCAR_MANAGEMENT_TOKEN"),
    ],
)
def test_a_misspelt_name_is_no_reason_for_the_sandbox(root, name, meant):
    """It is refused with the name that may be meant; beside real settings it is the company's own."""
    with pytest.raises(SettingsError, match=f"^settings: {name} is not a setting; did you mean {meant}"):
        source({name: "x"}, root)
    assert not source({**BASE, name: "x"}, root).wants_sandbox
    assert source({"SMARTCAR_REDIRECT_URI": "x", "SMARTCAR_WEBHOOK_SECRET": "x"}, root).wants_sandbox


def test_a_misspelt_name_of_the_kit_is_refused_beside_real_settings(root):
    """What begins with the kit's own prefix is meant for it."""
    with pytest.raises(SettingsError, match="ENVIROMENT is not a setting; did you mean SMARTCAR_OPS_ENVIRONMENT"):
        source({**BASE, "SMARTCAR_OPS_ENVIROMENT": "production"}, root)


@pytest.mark.parametrize("name", ["SMARTCAR_CLIENT_SECRET", "SMARTCAR_MANAGEMENT_TOKEN", "SMARTCAR_OPS_ENVIRONMENT"])
@pytest.mark.parametrize("odd", ["\n", "\u200b", "\u00a0"])
def test_a_value_with_a_character_that_nobody_sees_is_refused(root, name, odd):
    """Of a file with two lines, or of text copied from a page; the value is not repeated."""
    message = refusal(root, **{name: f"pass-plant{odd}two"})
    assert f"settings: {name} contains a line break or another invisible character" in message
    assert "pass-plant" not in message


@pytest.mark.parametrize("name", ["SMARTCAR_CLIENT_SECRET", "SMARTCAR_MANAGEMENT_TOKEN"])
def test_a_credential_with_a_typographic_quote_is_refused(root, name):
    """Sent as it is it would be taken for a network that fails; one of several tokens too."""
    message = refusal(root, **{name: f"s3cr3t-one,{chr(0x201C)}pass-plant{chr(0x201D)}"})
    assert message.startswith(f"settings: {name} contains a letter or quote beyond ASCII, which no credential has")
    assert "pass-plant" not in message


def test_the_name_that_was_given_is_the_name_that_is_told(root):
    """Of the two names of one setting."""
    message = refusal(root, SMARTCAR_OPS_CLIENT_ID=UUID, SMARTCAR_CLIENT_ID=UUID)
    assert message.startswith("settings: SMARTCAR_OPS_CLIENT_ID ")


def test_a_relative_sqlite_file_belongs_to_the_root(root, monkeypatch):
    """A relative file is the same from every folder."""
    (root / "below").mkdir()
    monkeypatch.chdir(root / "below")
    found = read(source({**BASE, "SMARTCAR_DATABASE_URL": "sqlite:///data/kit.db"}))
    assert f"sqlite:///{root / 'data' / 'kit.db'}" == found.database_url.get_secret_value()


def test_reports_may_be_elsewhere(root, tmp_path):
    """A relative folder belongs to the root, an absolute one stays."""
    assert root / "out" == given(root, SMARTCAR_OPS_REPORTS="out").reports
    assert Path("/srv/out") == given(root, SMARTCAR_OPS_REPORTS="/srv/out").reports


@pytest.mark.parametrize(
    ("sandbox", "set_", "limited"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_when_the_allowance_binds(root, sandbox, set_, limited):
    """Against the embedded sandbox the allowance is off unless set; against anything else it is on."""
    values = {**BASE, **({"SMARTCAR_ALLOWANCE_BURST": "7"} if set_ else {})}
    assert limited is read(Source(values, root), sandbox=sandbox).allowance.limited


def test_the_service_is_origins_and_client_id(root):
    """Evidence is tied to the origins and the client id; a new secret or database is the same service."""
    here = given(root).service
    assert here == given(root, SMARTCAR_CLIENT_SECRET="s3cr3t-new", SMARTCAR_DATABASE_URL="sqlite:///x").service
    others = {given(root, **{name: "https://other.example"}).service for name in ORIGINS}
    assert len(ORIGINS) == len(others - {here})
    assert here != given(root, SMARTCAR_CLIENT_ID="client_other").service
    assert "planted" not in here


def test_secrets_are_in_no_repr(root):
    """Settings, their parts and their source show no secret, in no way of showing them."""
    found, told = read(Source(FULL, root)), Source(FULL, root)
    held = [found, found.credentials, found.database_url, found.where, found.service, told]
    shown = " ".join(f"{one!r} {one}" for one in held) + found.credentials.model_dump_json()
    assert [] == [secret for secret in SECRETS if secret in shown]


MODULE = """
import base64
KEY = "key-PLANT"
def unseal(stored): return base64.b64decode(stored).decode()
def seal(token): return base64.b64encode(token.encode()).decode()
"""


def configured(root: Path, *lines: str) -> None:
    """A configuration whose `[vehicles]` has these lines."""
    (root / "smartcar_ops.toml").write_text("\n".join(["[vehicles]", *lines]))


def test_a_tokens_functions_are_found_in_the_root(root, monkeypatch):
    """``open_token`` and ``seal_token`` name functions of a module beside the notebooks."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (root / "own_vault_a.py").write_text(MODULE)
    configured(root, 'open_token = "own_vault_a:unseal"', 'seal_token = "own_vault_a:seal"')
    vault = given(root).vault
    assert ("token", "dG9rZW4=", None) == (vault.opened("dG9rZW4="), vault.sealed("token"), vault.opened("é"))


def test_a_tokens_functions_may_be_installed(root):
    """A function of an installed package will do; without the key a token is used as it is stored."""
    assert "as it is" == given(root).vault.opened("as it is")
    configured(root, 'open_token = "html:unescape"')
    assert "a&b" == given(root).vault.opened("a&amp;b")


def test_a_file_of_the_root_hides_no_package(root, monkeypatch):
    """Putting the root on the path lets no file there replace an installed module."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (root / "colorsys.py").write_text("raise SystemExit")
    configured(root, 'open_token = "colorsys:rgb_to_hsv"')
    assert given(root).vault.open is not None


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("own_vault_b", 'expected "module:function".'),
        ("own_vault_b:", 'expected "module:function".'),
        ("own_vault_b.unseal", 'expected "module:function".'),
        ("own vault:unseal", 'expected "module:function".'),
        ("a:b:c", 'expected "module:function".'),
        ("../own_vault_b:unseal", 'expected "module:function".'),
        ("no_such_module:unseal", "but the module can't be imported (ModuleNotFoundError); it must be in "),
        ("own_vault_c:unseal", "but the module can't be imported (SyntaxError); it must be in "),
        ("own_vault_d:unseal", "but the module can't be imported (SystemExit); it must be in "),
        ("own_vault_b:none", "but the module has no such function."),
        ("own_vault_b:KEY", "but the module has a str of that name."),
    ],
)
@pytest.mark.parametrize("key", ["open_token", "seal_token"])
def test_a_function_that_is_not_there_is_refused(root, monkeypatch, key, named, words):
    """An ill-formed name, a missing module or function, or something else than a function, is one sentence, exit 5."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    for module in ("own_vault_b", "own_vault_c", "own_vault_d"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    (root / "own_vault_b.py").write_text(MODULE)
    (root / "own_vault_c.py").write_text("key-PLANT = (")
    (root / "own_vault_d.py").write_text("raise SystemExit('key-PLANT')")
    other = "seal_token" if key == "open_token" else "open_token"
    configured(root, f'{key} = "{named}"', f'{other} = "html:escape"')
    message = refusal(root)
    assert f"settings: [vehicles] {key} is {named!r}" in message
    assert words in message
    assert "key-PLANT" not in message


REFRESHING = {
    "SMARTCAR_APPLICATION_ID": UUID,
    "SMARTCAR_V2_CLIENT_SECRET": SECRETS[1],
}


@pytest.mark.parametrize("sealed", [True, False])
def test_refreshing_is_allowed_where_all_is_named(root, sealed):
    """With the column, the application's pair, and both ways where tokens are sealed, the kit may refresh."""
    ways = ('open_token = "html:unescape"', 'seal_token = "html:escape"') if sealed else ()
    configured(root, "refresh = true", 'refresh_token = "renewal"', *ways)
    assert given(root, **REFRESHING).layout.vehicles.refresh


@pytest.mark.parametrize(
    ("lines", "without", "words"),
    [
        ((), "", "refresh = true needs a column for new tokens; name it in [vehicles] refresh_token."),
        (('refresh_token = "r"', 'access_token = ""'), "", "name it in [vehicles] access_token."),
        (('refresh_token = "r"', 'token_created_at = ""'), "", "name it in [vehicles] token_created_at."),
        (('refresh_token = "r"', 'from = "SELECT 1"'), "", "refresh = true can't write through [vehicles] from"),
        (('refresh_token = "r"',), "SMARTCAR_APPLICATION_ID", "needs SMARTCAR_APPLICATION_ID, which is not set"),
        (('refresh_token = "r"',), "SMARTCAR_V2_CLIENT_SECRET", "needs SMARTCAR_V2_CLIENT_SECRET, which is not set"),
        (('refresh_token = "r"', 'open_token = "html:escape"'), "", "with open_token needs [vehicles] seal_token"),
    ],
)
def test_refreshing_that_can_not_work_is_refused(root, lines, without, words):
    """``refresh = true`` without what it needs is refused before anything connects, in one sentence."""
    configured(root, "refresh = true", *lines)
    message = refusal(root, **{**REFRESHING, **({without: ""} if without else {})})
    assert message.startswith("settings: [vehicles] refresh = true ")
    assert words in message
    assert [] == [secret for secret in SECRETS if secret in message]


def test_sealing_without_opening_is_refused(root):
    """A way back alone contradicts itself."""
    configured(root, 'seal_token = "html:escape"')
    assert "settings: [vehicles] seal_token is set without open_token; expected both or neither." == refusal(root)


def test_where_it_acts_is_said(root):
    """One line names the host, the client, the mode and the database, or the sandbox."""
    assert (
        "vehicle.api.smartcar.com as client_plant…, mode live, database postgresql+psycopg://kit@db.example:5432/company"
        == (given(root).where)
    )
    pretend = read(Source(BASE, root), sandbox=True).where
    assert pretend.startswith("the sandbox")
    assert "a pretend Smartcar at https://vehicle.api.smartcar.com" in pretend


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h:5/d?password=q", "postgresql://u@h:5/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgresql://:p@h/d", "postgresql://h/d"),
        ("postgresql+psycopg://u:p@[::1]:5/d", "postgresql+psycopg://u@[::1]:5/d"),
        ("postgresql:///d?host=/run/pg&password=q", "postgresql:///d"),
        ("sqlite:////home/a@b/kit.db?mode=ro", "sqlite:////home/a@b/kit.db"),
        ("sqlite://", "sqlite://"),
    ],
)
def test_a_masked_url_keeps_the_rest(url, expected):
    """User, host, port and database are shown; password and query are not."""
    assert expected == mask_url(url)


@pytest.mark.parametrize("password", ["pl/ant", "pl#ant", "pl?ant", "12/ant", "pl:ant", "pl%40ant", "pl ant", "pl[ant"])
def test_a_password_of_any_kind_is_masked(password):
    """A password that SQLAlchemy takes as one is masked as one, whatever characters it has."""
    url = f"postgresql://kit:{password}@db.example:5432/company"
    assert (sa.make_url(url).host, "company") == ("db.example", sa.make_url(url).database)
    assert "postgresql://kit@db.example:5432/company" == mask_url(url)


@pytest.mark.parametrize(
    "url", ["postgresql://kit:pl@ant@h/d", "postgresql://kit:pl@a/nt@h/d", "postgresql://kit:p@h:x/d"]
)
def test_a_url_that_is_broken_is_masked_all_the_same(url):
    """An unescaped ``@`` in a password or a port that is none shows nothing more and is no traceback."""
    assert mask_url(url) in {"postgresql://kit@h/d", "postgresql://kit@h:x/d"}
