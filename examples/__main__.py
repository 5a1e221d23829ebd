"""Build the tutorials: percent scripts in, executed notebooks out.

    python -m examples                  # all of them: examples/NN_name.ipynb, with pictures (needs Chrome or Chromium)
    python -m examples 01 04            # some of them
    python -m examples --check          # run them without pictures, write nothing, fail if a notebook is not its script's

The scripts are the source of truth: change those, then build. Every notebook runs in a fresh kernel, in this folder. What is
written is what a reader needs and nothing that changes from one build to the next: no times, no folders, no progress bars, ids of
cells that follow from their text. Whatever a cell says on its error stream fails the build: in a tutorial it would be noise.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WIDTH, SCALE = 900, 1  # of pictures, in pixels
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "PYTHONWARNINGS": "ignore:IProgress not found,ignore:The kopts argument",  # no bars, and the browser is ours
}
PICTURES = f"""
import kaleido, plotly.io
kaleido.start_sync_server(silence_warnings=True)  # one browser for all pictures
plotly.io.renderers["png"].width, plotly.io.renderers["png"].height = {WIDTH}, None
plotly.io.renderers["png"].scale = {SCALE}
plotly.io.renderers.default = "png"
"""


def scripts(names: list[str] | None = None) -> list[Path]:
    """The tutorials, or those whose names begin with one of ``names``."""
    found = sorted(HERE.glob("[0-9][0-9]_*.py"))
    unknown = [name for name in names or [] if not any(path.name.startswith(name) for path in found)]
    if unknown:
        raise SystemExit(f"no tutorial begins with {', '.join(unknown)}; there are {', '.join(p.stem for p in found)}")
    return [path for path in found if not names or any(path.name.startswith(name) for name in names)]


def notebook_of(script: Path) -> Any:
    """The script as a notebook without outputs; a cell's id is a digest of its text."""
    notebook = importlib.import_module("jupytext").reads(script.read_text(encoding="utf-8"), fmt="py:percent")
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def cells_of(notebook: Any) -> list[tuple[str, str]]:
    """What a notebook and its script must agree in: kind and text of every cell."""
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def execute(script: Path, *, pictures: bool, scratch: Path) -> Any:
    """Run a script's notebook in a fresh kernel whose temporary files go to ``scratch``; RuntimeError where a cell complains."""
    nbclient, nbformat = importlib.import_module("nbclient"), importlib.import_module("nbformat")
    notebook = notebook_of(script)
    # one thread: sums in the same order give the same last digits; json: the figure is made and laid out, and no browser is asked to draw it
    env = {
        "OMP_NUM_THREADS": "1",
        **os.environ,
        **QUIET,
        "TMPDIR": str(scratch),
        "PLOTLY_RENDERER": "png" if pictures else "json",
    }
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        record_timing=False,
        resources={"metadata": {"path": str(HERE)}},
    )
    with client.setup_kernel(env=env):
        if pictures:
            title = notebook.cells[0]
            client.execute_cell(nbformat.v4.new_code_cell(PICTURES), 0, store_history=False)
            notebook.cells[0] = title  # nbclient puts what it runs in its place
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    complaints = [
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream" and output["name"] == "stderr"
    ]
    if complaints:
        raise RuntimeError(f"{script.name} wrote to its error stream: {''.join(complaints)[:2000]}")
    return tidied(notebook, scratch)


def tidied(notebook: Any, scratch: Path) -> Any:
    """Without what differs between two builds or belongs to one machine: execution metadata, temporary folders, free space."""
    count = 0
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
            if output.output_type == "stream":
                output.text = anywhere(output.text, scratch)
            else:
                output.metadata = {}
                said = {
                    kind: anywhere(value, scratch) for kind, value in output.data.items() if kind.startswith("text/")
                }
                output.data = {**output.data, **said}
    return notebook


def anywhere(text: str, scratch: Path) -> str:
    """What a cell said, on whatever machine."""
    text = re.sub(re.escape(str(scratch)) + r"/[\w-]+", "\u2026", text)
    return re.sub(r", [\d.,]+ [kMGT]?B free", "", text)


def main() -> int:
    """Build or check; the exit status says whether all is well."""
    parser = argparse.ArgumentParser(prog="python -m examples", description="Build the tutorials.")
    parser.add_argument("names", nargs="*", help="beginnings of names, e.g. 01; all without")
    parser.add_argument(
        "--check", action="store_true", help="run without pictures, write nothing, fail on stale notebooks"
    )
    options = parser.parse_args()
    nbformat = importlib.import_module("nbformat")
    wrong = []
    for script in scripts(options.names):
        started = time.monotonic()
        target = script.with_suffix(".ipynb")
        with tempfile.TemporaryDirectory(prefix="tl-fbn-examples-") as scratch:
            try:
                notebook = execute(script, pictures=not options.check, scratch=Path(scratch))
            except Exception as error:
                wrong.append(f"{script.name}: {str(error).strip()}")
                continue
        if not options.check:
            nbformat.validate(notebook)
            nbformat.write(notebook, target)
        elif not target.exists():
            wrong.append(f"{target.name} is missing: python -m examples {script.stem}")
        elif cells_of(nbformat.read(target, as_version=4)) != cells_of(notebook):
            wrong.append(f"{target.name} is not its script's: python -m examples {script.stem}")
        print(f"{script.stem}: {time.monotonic() - started:.0f} s", flush=True)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
