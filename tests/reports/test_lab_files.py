"""Saved from JupyterLab, a notebook of the kit is as it was committed; while the server runs, its outputs stay."""

from __future__ import annotations

import copy
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from smartcar_ops.reports.lab_files import LabFiles, is_own
from tests.support.house import NOTEBOOKS
from tests.support.notebooks import NAMES

CLASS = f"{LabFiles.__module__}.{LabFiles.__qualname__}"
SECRET = "4f0c6a3e-0000-4000-8000-00000000abcd"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """A real Jupyter server on a copy of the notebooks, and one of the user's own: its contents, and the folder."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(NOTEBOOKS, root / "notebooks")
    shutil.copyfile(NOTEBOOKS / f"{NAMES[0]}.ipynb", root / "notebooks" / "mine.ipynb")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = [f"--ServerApp.root_dir={root}", f"--port={port}", "--no-browser", "--allow-root"]
    options += ["--IdentityProvider.token=", f"--ServerApp.contents_manager_class={CLASS}"]
    options += ["--ServerApp.disable_check_xsrf=True"]
    command = [sys.executable, "-m", "jupyter_server", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/contents/notebooks/", timeout=30)
    for _ in range(600):
        try:
            client.get("")
            break
        except httpx.HTTPError:
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail("the server ended before it answered")
    yield client, root / "notebooks"
    process.terminate()
    process.wait(20)
    client.close()


def executed(content: dict[str, Any]) -> dict[str, Any]:
    """The notebook as JupyterLab sends it after Run All: outputs, counts, times, and the kernel's own metadata."""
    content = copy.deepcopy(content)
    content["metadata"]["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    content["metadata"]["language_info"] = {"name": "python", "version": "3.99.0", "file_extension": ".py"}
    for number, cell in enumerate(cell for cell in content["cells"] if cell["cell_type"] == "code"):
        cell["execution_count"] = number + 1
        cell["metadata"]["execution"] = {"iopub.execute_input": "2026-11-30T10:00:00Z"}
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": f"user {SECRET}\n"}]
    return content


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_notebook_is_as_it_was_committed(served: tuple[httpx.Client, Path], name: str) -> None:
    """Byte for byte, whatever was executed; opened again, the outputs are there, and nothing else has changed."""
    client, folder = served
    before = client.get(f"{name}.ipynb").json()["content"]
    content = executed(before)
    saved = client.put(f"{name}.ipynb", json={"type": "notebook", "format": "json", "content": content})
    assert 200 == saved.status_code, saved.text
    assert (NOTEBOOKS / f"{name}.ipynb").read_bytes() == (folder / f"{name}.ipynb").read_bytes()
    again = client.get(f"{name}.ipynb").json()["content"]
    shown = [cell["outputs"] for cell in again["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in content["cells"] if cell["cell_type"] == "code"] == shown
    for cell in again["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    for cell in (*before["cells"], *again["cells"]):
        cell["metadata"].pop("trusted", None)  # added by the server, never saved
    assert before == again


def test_what_a_user_changes_is_saved(served: tuple[httpx.Client, Path]) -> None:
    """A parameter's new value is on disk; a cell that another program changed has no output any more."""
    client, folder = served
    path = folder / f"{NAMES[1]}.ipynb"
    content = executed(client.get(path.name).json()["content"])
    parameters = next(cell for cell in content["cells"] if cell["metadata"].get("tags") == ["parameters"])
    parameters["source"] += "\n# mine"
    client.put(path.name, json={"type": "notebook", "format": "json", "content": content})
    assert "# mine" in path.read_text() and SECRET not in path.read_text()
    path.write_text(path.read_text().replace("# mine", "# another"))
    cells = [cell for cell in client.get(path.name).json()["content"]["cells"] if cell["cell_type"] == "code"]
    outputs = {"".join(cell["source"])[-9:]: cell["outputs"] for cell in cells}
    assert [] == outputs["# another"]
    assert 1 < sum(bool(output) for output in outputs.values())


def test_other_files_are_the_users_own(served: tuple[httpx.Client, Path]) -> None:
    """A notebook with another name keeps its outputs on disk, and a text file is saved as ever."""
    client, folder = served
    content = executed(client.get("mine.ipynb").json()["content"])
    client.put("mine.ipynb", json={"type": "notebook", "format": "json", "content": content})
    assert SECRET in (folder / "mine.ipynb").read_text()
    client.put("notes.txt", json={"type": "file", "format": "text", "content": "a note"})
    assert "a note" == (folder / "notes.txt").read_text()
    assert json.loads((folder / "mine.ipynb").read_text())["metadata"]["language_info"]["version"] == "3.99.0"


@pytest.mark.parametrize("path", ["notebooks/mine.ipynb", "20_audit_user_ids.ipynb", "notebooks/20_audit_user_ids.txt"])
def test_only_the_kits_notebooks_are_its_own(path: str) -> None:
    """By folder and name."""
    assert not is_own(path)
    assert is_own("/notebooks/20_audit_user_ids.ipynb")
