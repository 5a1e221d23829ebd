"""``tl-fbn demo``: a whole analysis in one command, from a recording to lesions and a page.

On the embedded model the steps are those of :mod:`tl_fbn.demo.pipeline`, on any other model, or with tasks from files,
those of :mod:`tl_fbn.demo.task_study`. Either writes a report and a viewer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tl_fbn.cli import model_argument, result_files
from tl_fbn.cli.console import Console
from tl_fbn.cli.options import DeviceOption, JsonFlag, LabelOption, ModelDtypeOption, ProgressFlag, SeedOption
from tl_fbn.cli.task_options import ChatFlag, HeadOption, ShotsOption, TasksOption, TaskTemplateOption, read_tasks
from tl_fbn.errors import InputError

SHORT = "Run a whole analysis in one command, on the embedded model or any other."


def command(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the recording, the results and the page.")
    ] = Path("tl-fbn-demo"),
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Another model than the embedded one: its name at Hugging Face, a local folder or a .gguf file.",
        ),
    ] = None,
    tasks: TasksOption = None,
    shots: ShotsOption = 5,
    head: HeadOption = "drawn",
    template: TaskTemplateOption = None,
    chat: ChatFlag = False,
    share: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0.0,
            max=1.0,
            help="Size of each network as a share of all neurons; by default 0.05 of the embedded model, 0.002 of "
            "another.",
            show_default=False,
        ),
    ] = None,
    controls: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of matched random networks for each network; by default 100 for the embedded model, 19 for "
            "another.",
            show_default=False,
        ),
    ] = None,
    items: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            help="Number of held-out items of each task; by default 60 for the embedded model, 20 for another.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="With --model or --tasks: only say what it would cost.")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: ModelDtypeOption = "auto",
    label: LabelOption = None,
    json: JsonFlag = False,
    progress: ProgressFlag = None,
) -> None:
    """Find the neurons that tasks need, silence them beside matched random ones, and write a page.

    Without --model it uses the embedded model and its formal tasks, needs no internet connection, and takes under three
    minutes. With --model it asks which of the tasks of --tasks (of topics of short English stories, if there are none)
    have a network of their own; it says first what that will cost, and goes on where it was interrupted.

    \b
    Example: tl-fbn demo --out my-demo
    Another: tl-fbn demo --model chat.gguf --tasks plural.json capital.json past.json -o tasks
    Your own prompts next: tl-fbn scan --help
    """
    console = Console(json, progress)
    with console.working(f"what is finished is kept in {out}, and the same command goes on from there"):
        if model is None and tasks is None:
            if plan:
                raise InputError("--plan is for --model or --tasks; the demo of the embedded model takes some minutes")
            fields = _formal_demo(
                console, out, share or 0.05, controls or 100, items or 60, seed, (dtype, device, label)
            )
        else:
            rows = read_tasks(tasks, shots=shots, head=head, template=template, chat=chat) if tasks else None
            if rows is not None and len(rows.names) < 2:
                raise InputError("--tasks needs two tasks or more: a network is a task's own beside others")
            result_files.writable(out)
            loaded = model_argument.load(console, model or "demo", dtype=dtype, device=device, label=label)
            settings = {"share": share or 0.002, "n_controls": controls or 19, "seed": seed}
            fields = _task_demo(console, out, rows, loaded, items or 20, settings, plan)
    text = fields.pop("text")
    console.result(text, verb="demo", seed=seed, **fields)


def _formal_demo(
    console: Console, out: Path, share: float, controls: int, items: int, seed: int, how: tuple[Any, Any, Any]
) -> dict[str, Any]:
    """The demo of the embedded model; what it found, and as ``text`` what is printed."""
    from tl_fbn.demo import pipeline, story
    from tl_fbn.models import loading

    dtype, device, label = how
    loaded = model_argument.load(console, "demo", dtype=dtype, device=device, label=label)
    with loading(False):  # what it needs is in the package, and quickly loaded
        experiment = replace(pipeline.formal_experiment(n_items=items), model=loaded)
    result = pipeline.run_demo(
        experiment, out, share=share, n_controls=controls, seed=seed, progress=console.bars, say=console.note
    )
    # the results lie in the folder itself, where tl-fbn report finds them again
    story.report(result, experiment).save(out / "report.html")
    story.viewer(result).save(out / "viewer.html")
    return _pages(out, story.tables(result, experiment), result.seconds) | {
        "recording": result.recording.path,
        "networks": result.atlas.to_dataframe(),
        "baseline": result.baseline,
        "lesions": result.study.to_dataframe(),
        "summary": result.study.summary(),
        "amplification": result.amplification,
    }


def _task_demo(
    console: Console, out: Path, rows: Any, loaded: Any, items: int, settings: dict[str, Any], plan: bool
) -> dict[str, Any]:
    """The study of tasks or topics on any model; what it found, and as ``text`` what is printed."""
    from tl_fbn.demo import task_story, task_study

    if rows is None:
        subject = task_study.subject_of_topics(loaded, n_items=items)
    else:
        subject = task_study.subject_of_tasks(rows, loaded, n_items=items)
    if plan:
        design = task_study.planned_design(subject, settings["seed"])
        said = task_study.plan(subject, loaded, design, settings["n_controls"])
        return {"text": said, "plan": said}
    result = task_study.run_study(subject, loaded, out, progress=console.lines, say=console.note, **settings)
    task_story.report(result).save(out / "report.html")
    task_story.viewer(result).save(out / "viewer.html")
    return _pages(out, task_story.tables(result), result.seconds) | {
        "recording": result.recording.path,
        "answer": task_story.answer_table(result),
        "networks": result.atlas.to_dataframe(),
        "words": result.words,
        "lesions": result.study.to_dataframe(),
        "summary": result.study.summary(),
    }


def _pages(out: Path, text: str, seconds: float) -> dict[str, Any]:
    """Where pages and results lie, and the text with that at its end."""
    page, viewer = out / "report.html", out / "viewer.html"
    return {
        "text": f"{text}\n\n{seconds:.0f} s. Page: {page}; every neuron and token: {viewer}",
        "page": page,
        "viewer": viewer,
        "results": [out / name for name in ("atlas.safetensors", "glm.safetensors", "lesions.safetensors")],
        "seconds": seconds,
    }
