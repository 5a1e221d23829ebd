"""How far a reader has to go: the files and functions of the package that three flows run through, and how deep calls
go.

    python -m tests.benchmarks.flows

======== ==========================================================================================================
prompt   ``block_design -> Scanner.scan -> fit_glm -> contrast -> threshold``
network  ``inhibit -> lesion_study -> to_dataframe``
item     ``cgvst``
page     ``Report.save`` of a lesion study
======== ==========================================================================================================

*Depth* counts calls from one function of the package to another: helpers of other packages between them do not count,
nor do comprehensions, which
Python 3.11 runs as functions. ``python -m tests.benchmarks.flows page`` prints the deepest chain of a flow as well.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd

import tl_fbn as fbn

PACKAGE = str(Path(fbn.__file__).parent)
NO_FUNCTIONS = ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>", "<module>")


class Trail:
    """What of the package ran while this was a context."""

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()
        self.edges: set[tuple[str, str]] = set()
        self.chain: list[str] = []

    def __enter__(self) -> Trail:
        threading.setprofile(self._seen)
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *_: Any) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # pyright: ignore[reportArgumentType]

    def _seen(self, frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(PACKAGE) or frame.f_code.co_name in NO_FUNCTIONS:
            return
        if frame.f_code.co_qualname.startswith("__getattr__"):  # of the lazy names, not of the flow
            return
        self.functions.add((file, frame.f_code.co_qualname))
        callers = []
        above = frame.f_back
        while above is not None:
            if above.f_code.co_filename.startswith(PACKAGE) and above.f_code.co_name not in NO_FUNCTIONS:
                callers.append(above.f_code)
            above = above.f_back
        if len(callers) + 1 > len(self.chain):
            self.chain = [code.co_qualname for code in (*reversed(callers), frame.f_code)]
        if callers and callers[0].co_filename != file:
            self.edges.add((callers[0].co_filename, file))

    @property
    def files(self) -> set[str]:
        """Files of the package, relative to it."""
        return {str(Path(file).relative_to(PACKAGE)) for file, _ in self.functions}


def followed(flow: Callable[[], Any]) -> tuple[Trail, Any]:
    """What ran, and what the flow returned. It runs once before, so that imports and caches are not counted."""
    flow()
    with Trail() as trail:
        result = flow()
    return trail, result


def main() -> None:
    """Print one line a flow."""
    model = fbn.demo.load_model()
    tasks = {name: fbn.prompts(name) for name in ("sort", "reverse")}
    battery = fbn.demo.battery(n=5).select(["sort", "reverse"])
    with tempfile.TemporaryDirectory() as scratch:
        scans = iter(range(100))

        def prompt() -> Any:
            design = fbn.block_design(tasks, n_runs=2, n_cycles=4, seed=0)
            path = Path(scratch) / str(next(scans))
            recording = fbn.Scanner(model).scan(design, path, progress=False)
            return fbn.fit_glm(recording).contrast("sort - reverse").threshold(fdr=0.05)

        def network() -> Any:
            with fbn.inhibit(model, found):
                model(model.to_tokens("sort"))
            study = fbn.lesion_study(model, {"sort": found}, battery, n_controls=5, seed=0, progress=False)
            study.to_dataframe()
            return study

        def item() -> Any:
            return fbn.cgvst(model, fbn.chats("sort")[:8], progress=False)

        lines = []
        trail, whole = followed(prompt)
        found = whole.top(0.05) if hasattr(whole, "top") else whole
        lines.append(("prompt", trail))
        trail, study = followed(network)
        lines.append(("network", trail))
        lines.append(("item", followed(item)[0]))
        lines.append(("page", followed(lambda: fbn.Report("Lesions", study).save(Path(scratch) / "page.html"))[0]))
    table = pd.DataFrame(
        [(name, len(one.files), len(one.functions), len(one.edges), len(one.chain)) for name, one in lines],
        columns=["flow", "files", "functions", "edges between files", "depth"],
    )
    print(table.to_string(index=False))
    for name, one in lines:
        if name in sys.argv[1:]:
            print(f"\n{name}:", *one.chain, sep="\n  ")


if __name__ == "__main__":
    main()
