"""Files that settings are taken from: every form and encoding people save, and whose they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartcar_ops.errors import SettingsError
from smartcar_ops.reports import runner
from smartcar_ops.settings import files as setting_files
from smartcar_ops.settings import home as homes
from smartcar_ops.settings import layout
from smartcar_ops.settings.environment import read, source
from smartcar_ops.settings.home import home

CLIENT, SECRET, URL = "client_planted", "s3cr3t-plant", "sqlite:////srv/company.db"
GOOD = f"SMARTCAR_CLIENT_ID={CLIENT}\nSMARTCAR_CLIENT_SECRET={SECRET}\nSMARTCAR_DATABASE_URL={URL}\n"
NAMES = {"SMARTCAR_CLIENT_ID": CLIENT, "SMARTCAR_CLIENT_SECRET": SECRET, "SMARTCAR_DATABASE_URL": URL}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with notebooks, and the working folder."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(root: Path, content: str | bytes, **environment: str) -> str:
    """With what words a `.env` file is refused, exit 5; nothing it says is repeated."""
    (root / ".env").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SettingsError) as caught:
        source(environment)
    assert 5 == caught.value.exit_code
    assert str(caught.value).startswith("settings: ")
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_with_a_byte_order_mark_is_read(root: Path, encoding: str, end: str) -> None:
    """As an editor or PowerShell's `>` saves it: what is in it counts, in whatever encoding it says it is."""
    (root / ".env").write_bytes(GOOD.replace("\n", end).encode(encoding))
    assert NAMES == source({}).values


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD.encode("utf-16-le"), "contains NUL characters, perhaps UTF-16 without a byte order mark"),
        (f"{GOOD}# Schlüssel\n".encode("cp1252"), "line 4 is not in UTF-8; save the file as UTF-8"),
        (b"\xff\xfe" + GOOD.encode()[:-1], "is not in UTF-8"),
    ],
)
def test_another_encoding_is_one_sentence(root: Path, content: bytes, words: str) -> None:
    """It names the file and, where it can, the line."""
    assert words in refusal(root, content)


FORMS = {
    "a colon": f"SMARTCAR_MODE=live\nSMARTCAR_CLIENT_ID: {CLIENT}\n",
    "a colon without a blank": f"\n\nSMARTCAR_CLIENT_SECRET:{SECRET}\n",
    "YAML": f"x: 1\n- SMARTCAR_CLIENT_SECRET={SECRET}\n",
    "JSON": f'{{\n"SMARTCAR_CLIENT_SECRET": "{SECRET}"}}\n',
    "Windows": f"# set\nset SMARTCAR_CLIENT_SECRET={SECRET}\n",
    "PowerShell": f'A=1\n$env:SMARTCAR_CLIENT_SECRET="{SECRET}"\n',
    "small letters": f"\nsmartcar_client_secret={SECRET}\n",
    "no value": "A=1\nSMARTCAR_CLIENT_SECRET\n",
    "an open quote": f'A=1\nSMARTCAR_CLIENT_SECRET="{SECRET}\n',
    "an open quote, closed lines below": f'A=1\nSMARTCAR_CLIENT_SECRET="{SECRET}\nSMARTCAR_CLIENT_ID="{CLIENT}"\n',
    "another's open quote": f'A=1\nPATH="/x\nSMARTCAR_CLIENT_SECRET={SECRET}\nB="\n',
}


@pytest.mark.parametrize("form", FORMS)
def test_a_line_about_the_kit_that_is_not_understood_is_named(root: Path, form: str) -> None:
    """Whatever else the file or the environment says: exit 5 with the line, never the sandbox and never in silence."""
    line = next(n for n, text in enumerate(FORMS[form].splitlines(), 1) if SECRET in text or "CLIENT" in text)
    line -= form == "another's open quote"
    for environment in ({}, NAMES):
        assert f".env: line {line} can't be parsed; expected NAME=value" in refusal(root, FORMS[form], **environment)


@pytest.mark.parametrize(
    "line", ["export {}={}", "{} = {}", "{}='{}'", '{}="{}"', "{}={}   # a comment", "  {}={}  ", "{}={}\nexport {}"]
)
def test_forms_that_are_understood(root: Path, line: str) -> None:
    """As a shell or a reader of such files takes them."""
    (root / ".env").write_text("\n".join(line.format(*pair, pair[0]) for pair in NAMES.items()))
    assert NAMES == source({}).values


def test_a_reference_in_a_value_is_text(root: Path) -> None:
    """A password may hold `${…}`; nothing is put in its place."""
    (root / ".env").write_text(GOOD.replace(SECRET, "a${HOME}b$c"))
    assert "a${HOME}b$c" == source({}).values["SMARTCAR_CLIENT_SECRET"]


def test_a_file_that_names_nothing_of_the_kit_is_no_reason_for_the_sandbox(root: Path) -> None:
    """It is refused by its first line; with real settings elsewhere it is another program's."""
    message = refusal(root, "\n# ours\nCLIENT_ID=x\n")
    assert "sets nothing for smartcar-ops (see line 3)" in message
    assert CLIENT == source(NAMES).values["SMARTCAR_CLIENT_ID"]
    (root / ".env").write_text("# nothing yet\n\n")
    assert source({}).wants_sandbox


def test_another_programs_file_does_not_hide_the_kits(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder's file is passed over where it names nothing of the kit."""
    below = root / "app"
    below.mkdir()
    (below / ".env").write_text("FLASK_ENV=x\nodd line\n")
    (root / ".env").write_text(GOOD)
    monkeypatch.chdir(below)
    assert NAMES == source({}).values


@pytest.mark.parametrize("name", [".env", "smartcar_ops.toml"])
def test_a_file_that_cannot_be_read_is_there_all_the_same(root: Path, name: str) -> None:
    """A link that leads nowhere, or a pipe, is named; a folder is none (a virtual environment may be called `.env`)."""
    path = root / name

    def settings_by_it() -> None:
        read(source(NAMES))

    path.symlink_to(root / "gone")
    with pytest.raises(SettingsError, match=rf"{name} can't be read \(No such file"):
        settings_by_it()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SettingsError, match=f"{name} is not a regular file"):
        settings_by_it()
    path.unlink()
    path.mkdir()
    settings_by_it()


def test_a_configuration_with_a_byte_order_mark(root: Path) -> None:
    """TOML as Windows' editors save it is read; in another encoding, or nested without end, it is one sentence."""
    path = root / "smartcar_ops.toml"
    text = '[users]\ntable = "kündigungen"\n'
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert "kündigungen" == read(source(NAMES)).layout.users.table
    path.write_bytes(text.encode("cp1252"))
    with pytest.raises(SettingsError, match="line 2 is not in UTF-8"):
        read(source(NAMES))
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(SettingsError, match="can't be read as TOML"):
        read(source(NAMES))


# --- whose they are ------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", ["file", "folder"])
def test_nothing_is_taken_from_a_folder_of_another_user(tmp_path: Path, monkeypatch, place: str) -> None:
    """Settings, configuration, notebooks and modules: what anybody could have put there is refused by its place."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    files = {name: tmp_path / name for name in (".env", "smartcar_ops.toml", "vault.py", "notebooks/20_audit.ipynb")}
    for path in files.values():
        path.write_text("")
    files[".env"].write_text(GOOD)
    acts = {
        ".env": lambda: source({}),
        "smartcar_ops.toml": lambda: read(source(NAMES)),
        "vault.py": lambda: layout.find_vault(layout.Vehicles(open_token="vault:open"), tmp_path),
        "notebooks/20_audit.ipynb": lambda: runner.find("20"),
    }
    for name, act in acts.items():
        taken = files[name] if place == "file" else files[name].parent
        os.chown(taken, 12345, -1)
        with pytest.raises(SettingsError, match=f"{taken} belongs to another user \\(uid 12345\\)"):
            act()
        os.chown(taken, 0, -1)
        files[".env"].unlink(missing_ok=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
def test_a_checkout_mounted_into_a_container_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root takes settings of the user who owns the code that root runs anyway."""
    (tmp_path / ".env").write_text(GOOD)
    (tmp_path / "code.py").write_text("")
    for path in (tmp_path, *tmp_path.iterdir()):
        os.chown(path, 12345, -1)
    with pytest.raises(SettingsError, match="belongs to another user"):
        setting_files.refuse_foreign(tmp_path / ".env")
    monkeypatch.setattr(setting_files, "OWN_CODE", tmp_path / "code.py")
    setting_files.refuse_foreign(tmp_path / ".env")


def test_files_of_this_user_are_taken(tmp_path: Path) -> None:
    """Of this user's or root's folders, as every test uses them."""
    (tmp_path / ".env").write_text(GOOD)
    setting_files.refuse_foreign(tmp_path / ".env")
    assert NAMES == setting_files.read_env(tmp_path / ".env").values


# --- where it is at home ------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The kit's checkout, and a working folder elsewhere."""
    checkout, elsewhere = tmp_path / "kit", tmp_path / "elsewhere"
    for folder in (checkout / "notebooks", elsewhere):
        folder.mkdir(parents=True)
    monkeypatch.setattr(homes, "CHECKOUT", checkout)
    monkeypatch.chdir(elsewhere)
    return checkout, elsewhere


def test_settings_are_found_from_any_folder(places: tuple[Path, Path]) -> None:
    """Those of the kit's own checkout, where the working folder has none; never the sandbox beside them."""
    checkout, elsewhere = places
    assert (checkout, checkout) == (home(), home(in_notebook=True))
    (elsewhere / ".env").write_text("SMARTCAR_MODE=simulated\n")
    assert (elsewhere, elsewhere) == (home(), home(in_notebook=True))
    (checkout / ".env").write_text(GOOD)
    assert (elsewhere, checkout) == (home(), home(in_notebook=True))
    assert NAMES == source({}, home(in_notebook=True)).values


def test_a_notebook_that_is_told_its_path_is_at_home_there(places: tuple[Path, Path], tmp_path: Path) -> None:
    """Where papermill tells it, the folder beside the notebook's comes first."""
    own = tmp_path / "own"
    (own / "notebooks").mkdir(parents=True)
    (places[0] / ".env").write_text(GOOD)
    assert own == home(notebook=own / "notebooks" / "20_audit_user_ids.ipynb", in_notebook=True)


def test_the_notebooks_of_others_are_no_home(places: tuple[Path, Path]) -> None:
    """A project with a folder of its own notebooks hides neither the checkout nor its settings."""
    checkout, elsewhere = places
    (elsewhere / "notebooks").mkdir()
    (elsewhere / "notebooks" / "01_explore.ipynb").write_text("")
    assert checkout == home(in_notebook=True)
    (elsewhere / "notebooks" / "20_audit_user_ids.ipynb").write_text("")
    assert elsewhere == home(in_notebook=True)


def test_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, no traceback."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SettingsError, match="the working folder can't be read"):
        home()
    monkeypatch.chdir(tmp_path)
