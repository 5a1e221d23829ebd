"""The three papers' protocols on one model: ``python -m tests.benchmarks.papers --model MODEL FILES... -o FOLDER``.

Runs :mod:`tl_fbn.papers` (s2, then s1 and s0), prints every table of claims as Markdown, with the seconds that each took
in this call, and keeps everything in the folder: the same command goes on where it was interrupted, and prints the same
tables in seconds once all is done. ``examples/papers.md`` quotes it.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pandas as pd
import torch

import tl_fbn as fbn


def shown(study: fbn.papers.PaperStudy) -> str:
    """The claims as a Markdown table, and their readings as a list."""
    lines = ["| claim | measure | found | control | p | verdict |", "|---|---|---|---|---|---|"]
    for line in study.claims.to_dict("records"):
        found = f"{line['found']:.2f}"
        if pd.notna(line["low"]):
            found += f" [{line['low']:.2f}, {line['high']:.2f}]"
        control = f"{line['control']:.2f} ({line['beside']})" if pd.notna(line["control"]) else ""
        p = f"{line['p']:.2g}" if pd.notna(line["p"]) else ""
        lines.append(f"| {line['claim']} | {line['measure']} | {found} | {control} | {p} | {line['verdict']} |")
    lines += ["", *(f"- {line['claim']}: {line['reading']} ({line['n']})" for line in study.claims.to_dict("records"))]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="task files, for s0 and s1")
    parser.add_argument("--model", required=True, help="name, checkpoint folder or .gguf file")
    parser.add_argument("--out", "-o", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=["s2", "s1", "s0"], choices=["s0", "s1", "s2"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = fbn.load_model(options.model)
    for name in options.only:
        started = time.monotonic()
        run = getattr(fbn.papers, name).run
        subject = None if name == "s2" else options.tasks
        study = run(model, subject, options.out / name, seed=0, quick=options.quick, progress=False, say=print)
        print(f"\n## {name}: {study.source}, on {study.model} ({time.monotonic() - started:.0f} s)\n")
        print(shown(study), flush=True)


if __name__ == "__main__":
    main()
