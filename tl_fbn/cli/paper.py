"""``tl-fbn paper``: a paper's protocol from prompts to page, on any model.

The command runs :mod:`tl_fbn.papers`: ``s0`` (Liu et al. 2025), ``s1`` (Song et al. 2024) or ``s2`` (Nencka et al.
2023), prints the claims and writes the page beside the study. Every finished step is kept in the folder, so that the
same command goes on where it was interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tl_fbn.cli import model_argument, result_files
from tl_fbn.cli.console import Console, table
from tl_fbn.cli.options import (
    DeviceOption,
    JsonFlag,
    LabelOption,
    ModelArgument,
    ModelDtypeOption,
    ProgressFlag,
    SeedOption,
)
from tl_fbn.cli.task_options import HeadOption, ShotsOption, TasksOption
from tl_fbn.errors import InputError, one_of

SHORT = "Run a paper's whole protocol and judge its claims."

Paper = Literal["s0", "s1", "s2"]


def command(
    paper: Annotated[
        str,
        typer.Argument(
            metavar="PAPER",
            help="s0 (Liu et al. 2025: networks by ICA), s1 (Song et al. 2024: CGVST) or s2 (Nencka et al. 2023: block "
            "designs and a GLM).",
        ),
    ],
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for every step and the page.")],
    tasks: TasksOption = None,
    shots: ShotsOption = 5,
    head: HeadOption = "fixed",
    quick: Annotated[
        bool, typer.Option("--quick", help="A small run to see that everything works; too few items for a claim.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would cost.")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: ModelDtypeOption = "auto",
    label: LabelOption = None,
    json: JsonFlag = False,
    progress: ProgressFlag = None,
) -> None:
    """Run the protocol of a paper on a model: its claims, what is found here, and the control that the paper lacks.

    s0 and s1 need --tasks; s2 brings its own topics. On the embedded model, --tasks demo, and for s2 no tasks, are
    enough to see how it works.

    \b
    Example: tl-fbn paper s2 chat.gguf -o s2
    Another: tl-fbn paper s1 chat.gguf --tasks plural.json capital.json past.json -o s1
    A trial: tl-fbn paper s1 demo --tasks demo --quick -o trial
    """
    console = Console(json, progress)
    with console.working(f"what is finished is kept in {out}, and the same command goes on from there"):
        one_of(paper, Paper, "PAPER")
        if (tasks is None) != (paper == "s2"):
            raise InputError(
                "s2 brings its own topics; leave --tasks out" if tasks else f"{paper} needs --tasks FILES, or demo"
            )
        result_files.writable(out)
        loaded = model_argument.load(console, model, dtype=dtype, device=device, label=label)
        subject = _subject(paper, model, tasks, shots, head)
        fields = _run(console, paper, loaded, subject, out, seed, quick, plan)
    text = fields.pop("text")
    console.result(text, verb="paper", paper=paper, seed=seed, **fields)


def _subject(paper: str, model: str, tasks: list[str] | None, shots: int, head: str) -> Any:
    """The tasks of a protocol, or the topics of s2: the paper's, or the formal tasks of the embedded model."""
    from tl_fbn import demo
    from tl_fbn.intervention.behaviour.task_set import CHAT, PLAIN, Tasks

    if paper == "s2":
        return demo.topics() if model == "demo" else None
    template = CHAT if paper == "s1" else PLAIN
    if tasks == ["demo"]:
        return demo.tasks(chat=paper == "s1")
    return Tasks([Path(one) for one in tasks or ()], shots=shots, head=head, template=template)  # pyright: ignore[reportArgumentType]


def _run(
    console: Console, paper: str, model: Any, subject: Any, out: Path, seed: int, quick: bool, plan: bool
) -> dict[str, Any]:
    """The study or its plan; what it found, and as ``text`` what is printed."""
    from tl_fbn import papers

    run = {"s0": papers.s0.run, "s1": papers.s1.run, "s2": papers.s2.run}[paper]
    if plan:
        planned = run(model, subject, out, seed=seed, quick=quick, plan=True)
        return {"text": str(planned), "plan": planned.to_dataframe()}
    study = run(model, subject, out, seed=seed, quick=quick, progress=console.lines, say=console.note)
    page = out / "report.html"
    shown = study.claims[["claim", "found", "control", "p", "verdict"]].round(3)
    text = f"{study.verdict()}\n\n{table(shown)}\n\nPage: {page}"
    return {"text": text, "claims": study.claims, "page": page, "results": [out / "study.safetensors"]}
