"""Every benchmark of the package, one table: ``python -m tests.benchmarks``.

Each benchmark runs in a process of its own, one after the other, and nothing else should run beside them. The table
stands ours beside a peer or a
limit measured in the same run, the ratio that counts, and its target; it is printed, and written as Markdown and JSON
with the
versions and the machine it was measured on.

``--quick`` repeats less and leaves out what takes minutes (the growth curves, the fits from disk); its figures are
rougher and say so.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.benchmarks.lines import Line, markdown

BENCHMARKS: dict[str, tuple[str, ...]] = {  # module: what --quick adds
    "bench_scanner": ("--batches", "4", "--repeats", "3"),
    "bench_glm": ("--repeats", "1", "--only", "fit"),
    "bench_ica": ("--repeats", "1", "--only", "fit"),
    "bench_cgvst": ("--repeats", "1"),
    "bench_intervention": ("--repeats", "2"),
    "bench_studies": ("--repeats", "1"),
    "bench_cluster": ("--quick",),
    "growth": ("--points", "3"),
    "gpu": ("--shape", "gpt2"),
    "soak": ("--minutes", "1"),
}
PACKAGES = (
    "tl-fbn",
    "transformer-lens",
    "transformers",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "nilearn",
    "dask",
    "distributed",
)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    about = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in about.read_text().splitlines() if line.startswith("model name")]
        if about.is_file()
        else []
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Versions of what was measured, and of what it was measured against."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def run(name: str, options: list[str]) -> tuple[dict[str, Any], float]:
    """One benchmark in a process of its own: its report, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.json")
        started = time.perf_counter()
        command = [sys.executable, "-m", f"tests.benchmarks.{name}", *options, "--json", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(path.read_text()), time.perf_counter() - started


def page(lines: list[Line], about: dict[str, Any]) -> str:
    """The Markdown file."""
    where = about["machine"]
    missed = [line for line in lines if line.met is False]
    aims = sum(line.met is not None for line in lines)
    words = [
        "# Benchmarks of tl_fbn",
        f"{aims - len(missed)} of {aims} targets met{' (quick: rough figures)' if about['quick'] else ''}. {where['processor']}, {where['cores']} cores, "
        f"{where['memory_gib']} GiB, {where['system']}, Python {where['python']}; load when it began {where['load']:.2f}.",
        ", ".join(f"{name} {version}" for name, version in about["versions"].items()) + ".",
        markdown(lines),
        "Seconds of each benchmark: "
        + ", ".join(f"{name} {took:.0f}" for name, took in about["seconds"].items())
        + ".",
        *(f"**Failed: {what}.**" for what in about["failed"]),
    ]
    return "\n\n".join(words) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(BENCHMARKS), action="append", help="repeat for several")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks"), help="benchmarks.md and benchmarks.json")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"quick": options.quick, "machine": machine(), "versions": versions(), "seconds": {}}
    about["failed"] = []
    lines: list[Line] = []
    reports: dict[str, Any] = {}
    for name in options.only or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            reports[name], about["seconds"][name] = run(name, list(BENCHMARKS[name]) if options.quick else [])
        except subprocess.CalledProcessError as error:
            about["failed"].append(f"{name} ended with exit status {error.returncode}")
        else:
            lines += importlib.import_module(f"tests.benchmarks.{name}").lines(reports[name])
        told = {**about, "lines": [line.to_dict() for line in lines], "reports": reports}
        options.out.with_suffix(".json").write_text(json.dumps(told, indent=1))  # each in turn: an hour is easily lost
        options.out.with_suffix(".md").write_text(page(lines, about))
    print(page(lines, about))
    sys.exit(bool(about["failed"]) or any(line.met is False for line in lines))


if __name__ == "__main__":
    main()
