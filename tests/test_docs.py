"""What the documents say is so: commands, settings, links, packages."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from smartcar_ops import cli, session
from smartcar_ops.compare.live import FleetComparison
from smartcar_ops.reports import parameters, runner
from smartcar_ops.settings import environment
from smartcar_ops.settings.layout import Layout
from tests.support.notebooks import NAMES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "reports/README.md", "docs/scale.md")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def blocks(language: str, document: str = README) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", document, re.DOTALL)


def commands(program: str) -> list[str]:
    """The commands of a program that the README's console blocks show."""
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith(f"$ {program} ")]


def package(requirement: str) -> str:
    """A requirement's package name."""
    return re.split(r"[\[<>=; ]", requirement, maxsplit=1)[0].lower()


@pytest.mark.parametrize("command", commands("smartcar-ops"))
def test_a_command_in_the_readme_is_one(command: str) -> None:
    """Its name, options, notebook and parameters are known, and the values have the right type."""
    _, name, *arguments = shlex.split(command)
    context = cli.cli.commands[name].make_context(name, arguments)
    if name == "run":
        path = runner.find(context.params["notebook"], ROOT)
        parameters.read(path, context.params["given"])


@pytest.mark.parametrize("command", commands("make"))
def test_a_make_target_in_the_readme_is_one(command: str) -> None:
    """The Makefile has it."""
    target = command.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_settings_in_the_readme_are_read() -> None:
    """Every SMARTCAR_… name the README mentions is one that the kit reads."""
    known = (ROOT / "smartcar_ops/settings/environment.py").read_text()
    names = set(re.findall(r"\bSMARTCAR_[A-Z0-9_]+[A-Z0-9]\b", README))
    assert set() == {name for name in names if name not in known}
    assert len(names) > 8


def test_the_toml_in_the_readme_is_valid() -> None:
    """The example of `smartcar_ops.toml` is read without a complaint."""
    (example,) = blocks("toml")
    assert "customers" == Layout.model_validate(tomllib.loads(example)).users.table


def test_the_env_file_in_the_readme_has_what_is_required() -> None:
    """The example of `.env` sets the three required names."""
    (example,) = blocks("ini")
    assert set(environment.REQUIRED) <= {line.partition("=")[0] for line in example.splitlines()}


def test_the_readme_tells_of_every_notebook() -> None:
    """Each notebook has its row: answers, reads, writes, calls."""
    rows = dict(re.findall(r"^\| `(\d\d_\w+)` \|(.*)$", README, re.MULTILINE))
    assert set(NAMES) == set(rows)
    assert {4} == {row.strip("| ").count("|") + 1 for row in rows.values()}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    """Every relative link and picture is a file of the project."""
    path = ROOT / document
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [] == [link for link in local if not (path.parent / link).exists()]


def test_the_example_of_docs_scale_fits_the_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports what is there and calls the comparison as it wants to be called; dask itself is played."""
    (example,) = blocks("python", (ROOT / "docs" / "scale.md").read_text(encoding="utf-8"))
    client = create_autospec(pytest.importorskip("distributed").Client)
    monkeypatch.setattr("dask.distributed.Client", client)
    monkeypatch.setattr("smartcar_ops.session.open_session", create_autospec(session.open_session))
    monkeypatch.setattr("smartcar_ops.compare.live.FleetComparison", comparing := create_autospec(FleetComparison))
    exec(compile(example, "docs/scale.md", "exec"), {})
    read = comparing.return_value.read
    given = client.return_value.__enter__.return_value.get_executor.return_value
    read.assert_called_once_with(executor=given, remote=True)
    assert "scale" in PYPROJECT["project"]["optional-dependencies"]


def test_conda_and_pyproject_name_the_same_packages() -> None:
    """`environment.yml` has every runtime package and nbval, with the same bounds, then the kit itself."""
    listed = re.findall(r"^  - ([a-z][\w.>=-]*)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    conda = {package(line): line for line in listed if package(line) not in ("python", "pip", "conda-forge")}
    nbval = next(line for line in PYPROJECT["dependency-groups"]["dev"] if package(line) == "nbval")
    project = {package(line): line for line in [*PYPROJECT["project"]["dependencies"], nbval]}
    assert project == conda
    assert "- -e ." in (ROOT / "environment.yml").read_text()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_have_hashes_and_name_no_host(lock: str) -> None:
    """Every package is pinned with hashes; no address stands in the file."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    pinned = re.findall(r"^([\w.-]+)(?:\[.*\])?==", text, re.MULTILINE)
    assert "://" not in text
    assert text.count("==") <= text.count("--hash=sha256:")
    assert {package(line) for line in PYPROJECT["project"]["dependencies"]} <= {name.lower() for name in pinned}


def test_what_docs_smartcar_names_is_there() -> None:
    """Every test function and test file that docs/smartcar.md points to exists."""
    page = (ROOT / "docs" / "smartcar.md").read_text(encoding="utf-8")
    written = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    functions = set(re.findall(r"`(test_\w+)", page))
    files = set(re.findall(r"`(tests/[\w/.]+)`", page))
    assert 20 < len(functions)
    assert set() == {name for name in functions if f"def {name}(" not in written}
    assert set() == {name for name in files if not (ROOT / name).exists()}
