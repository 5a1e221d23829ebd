"""The tutorials: scripts that say what they ask and what they do not show, notebooks that are their scripts', executed
and clean.

They are run by ``python -m examples --check``, as ``.ci/run`` does; here they are read.
"""

from __future__ import annotations

import ast
import json
import re
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import ROOT

SCRIPTS = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
NOTEBOOKS = [script.with_suffix(".ipynb") for script in SCRIPTS]
by_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
by_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(script: Path) -> list[tuple[str, str]]:
    """(kind, text) of every cell of a percent script, read without jupytext."""
    cells: list[tuple[str, str]] = []
    for part in re.split(r"(?m)^(?=# %%)", script.read_text(encoding="utf-8")):
        if not part.strip():
            continue
        head, _, body = part.partition("\n")
        text = body.strip("\n")
        if "[markdown]" in head:
            text = "\n".join(line[2:] for line in text.split("\n"))
        cells.append(("markdown" if "[markdown]" in head else "code", text))
    return cells


def read(notebook: Path) -> dict[str, Any]:
    return json.loads(notebook.read_text(encoding="utf-8"))


def outputs_of(notebook: Path) -> list[dict[str, Any]]:
    return [output for cell in read(notebook)["cells"] for output in cell.get("outputs", [])]


def test_there_are_five():
    assert [script.name[:2] for script in SCRIPTS] == ["01", "02", "03", "04", "05"]


@by_script
def test_a_script_asks_a_question_and_ends_with_what_it_does_not_show(script: Path):
    ast.parse(script.read_text(encoding="utf-8"))
    cells = cells_of(script)
    prose = [text for kind, text in cells if kind == "markdown"]
    assert cells[0][0] == "markdown"
    assert re.match(rf"# {int(script.name[:2])}\. ", prose[0])
    assert "**The question:" in prose[0] and "?**" in prose[0]
    assert "At the end you will" in prose[0]
    assert "## What this does not show" in prose[-1] and "**Next:**" in prose[-1]
    assert any("wrong conclusion" in text for text in prose)
    assert any("hance" in text or "random" in text for text in prose)
    assert any("assert " in text for kind, text in cells if kind == "code")


@by_script
def test_links_between_tutorials_lead_somewhere(script: Path):
    for target in re.findall(r"\]\(([^)]+\.ipynb)\)", script.read_text(encoding="utf-8")):
        assert (script.parent / target).with_suffix(".py") in SCRIPTS


@by_notebook
def test_a_notebook_is_its_scripts(notebook: Path):
    written = [(cell["cell_type"], "".join(cell["source"])) for cell in read(notebook)["cells"]]
    assert written == cells_of(notebook.with_suffix(".py")), f"python -m examples {notebook.stem}"


@by_notebook
def test_a_notebook_ran_clean(notebook: Path):
    code = [cell for cell in read(notebook)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = outputs_of(notebook)
    assert all(output["output_type"] != "error" and output.get("name") != "stderr" for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)


@by_notebook
def test_a_notebook_names_no_machine_and_no_moment(notebook: Path):
    content = read(notebook)
    assert set(content["metadata"]) == {"kernelspec", "language_info"}
    assert all(cell["metadata"] == {} for cell in content["cells"])
    for output in outputs_of(notebook):
        said = json.dumps({kind: value for kind, value in output.get("data", output).items() if kind != "image/png"})
        assert not re.search(r"/(tmp|home|root|work|var|Users)/|[A-Z]:\\\\|site-packages", said), said[:300]
        assert not re.search(r"\d+ (GB|TB) free|\d+\.\d+ s\b", said), said[:300]


def test_notebooks_are_small():
    assert sum(notebook.stat().st_size for notebook in NOTEBOOKS) < 1_500_000


def builder() -> Any:
    """``examples/__main__.py`` as a module."""
    spec = util.spec_from_file_location("examples_main", ROOT / "examples" / "__main__.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_builder_names_tutorials_by_their_beginnings():
    assert builder().scripts(["01", "04"]) == [SCRIPTS[0], SCRIPTS[3]]
    with pytest.raises(SystemExit, match="no tutorial begins with 99; there are 01_first"):
        builder().scripts(["01", "99"])


@by_script
def test_the_builder_reads_scripts_as_the_tests_do_with_stable_ids(script: Path):
    pytest.importorskip("jupytext")
    once, twice = builder().notebook_of(script), builder().notebook_of(script)
    assert builder().cells_of(once) == cells_of(script)
    ids = [cell["id"] for cell in once.cells]
    assert ids == [cell["id"] for cell in twice.cells] and len(set(ids)) == len(ids)
