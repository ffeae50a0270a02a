"""Makes the kept outputs anew: executes every notebook on a fresh house and writes the copies."""

from __future__ import annotations

import configparser
import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.support.house import NOTEBOOKS, House
from tests.support.notebooks import GOLDEN, NAMES, SANITIZE, SEED, USERS, settle


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Puts words in place of what differs between two machines or two days, as nbval will on both sides."""
    rules = configparser.RawConfigParser()
    rules.read(SANITIZE, encoding="utf-8")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            texts = output.get("data", output)
            for kind in [kind for kind in texts if isinstance(texts[kind], str) and kind != "output_type"]:
                for rule in rules.sections():
                    texts[kind] = re.sub(rules[rule]["regex"], rules[rule]["replace"], texts[kind])


def main() -> None:
    """Writes one copy a notebook, with outputs and without times or widget state."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "house"
        house = settle(House(f"sqlite:///{folder}/company.sqlite", root, users=USERS, seed=SEED))
        os.environ.update(house.environment)
        try:
            for name in NAMES:
                notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
                NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(root)}}).execute()
                notebook.metadata.pop("widgets", None)
                tidy(notebook)
                (GOLDEN / f"{name}.ipynb").write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
                print(f"made {name}")
        finally:
            house.close()


if __name__ == "__main__":
    main()
