"""``tl-fbn demo``: a whole analysis in one command, from a block design to lesions and a page.

The steps are those of :mod:`tl_fbn.demo.pipeline`: scan, find networks, silence and amplify them beside matched random
networks, and write a report and a viewer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tl_fbn.cli import model_argument
from tl_fbn.cli.console import Console
from tl_fbn.cli.options import DeviceOption, JsonFlag, LabelOption, ModelDtypeOption, ProgressFlag, SeedOption

SHORT = "Run a whole analysis in one command, on the embedded model."


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
    controls: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of matched random networks for each network.")
    ] = 100,
    items: Annotated[
        int, typer.Option(metavar="N", min=2, help="Number of held-out items of each task of the embedded model.")
    ] = 60,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: ModelDtypeOption = "auto",
    label: LabelOption = None,
    json: JsonFlag = False,
    progress: ProgressFlag = None,
) -> None:
    """Scan a model through block designs, find networks, break and strengthen them, and write a page.

    Without --model it uses the embedded model and its formal tasks, needs no internet connection, and takes under three
    minutes. With --model it runs the same steps with topics of short English stories, scored by log-likelihood.

    Example: tl-fbn demo --out my-demo

    Your own prompts next: tl-fbn scan --help
    """
    console = Console(json, progress)
    with console.working(
        f"the recording under {out} is kept as far as it got, and the same command goes on from there"
    ):
        loaded = model_argument.load(console, model or "demo", dtype=dtype, device=device, label=label)
        from tl_fbn.demo import pipeline, story
        from tl_fbn.models import loading

        if model is None:
            with loading(False):  # what it needs is in the package, and quickly loaded
                experiment = replace(pipeline.formal_experiment(n_items=items), model=loaded)
        else:  # any model reads English; no other has the formal tasks
            experiment = pipeline.topic_experiment(loaded)
        result = pipeline.run_demo(
            experiment, out, n_controls=controls, seed=seed, progress=console.bars, say=console.note
        )
        # the results lie in the folder itself, where tl-fbn report finds them again
        page = out / "report.html"
        story.report(result, experiment).save(page)
        story.viewer(result).save(out / "viewer.html")
    viewer = out / "viewer.html"
    console.result(
        f"{story.tables(result, experiment)}\n\n{result.seconds:.0f} s. Page: {page}; every neuron and token: {viewer}",
        verb="demo",
        page=page,
        viewer=viewer,
        recording=result.recording.path,
        results=[out / name for name in ("atlas.safetensors", "glm.safetensors", "lesions.safetensors")],
        seconds=result.seconds,
        seed=seed,
        networks=result.atlas.to_dataframe(),
        baseline=result.baseline,
        lesions=result.study.to_dataframe(),
        summary=result.study.summary(),
        amplification=result.amplification,
    )
