"""Commands: ``tl-fbn demo`` and what it grows into; ``python -m tl_fbn`` is the same.

Bad input ends with one line on standard error and exit status 2.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def root() -> None:
    """Functional neuroimaging for language models, on top of TransformerLens."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for recording, results and page.")] = Path("tl-fbn-demo"),
    model: Annotated[str | None, typer.Option(help="Another model: a Hugging Face name or a local folder.")] = None,
    controls: Annotated[int, typer.Option(min=1, help="Matched random networks for each network.")] = 100,
    items: Annotated[int, typer.Option(min=2, help="Held-out items a task of the embedded model.")] = 60,
    seed: Annotated[int, typer.Option(help="Of design and controls.")] = 0,
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
) -> None:
    """Scan a model through block designs, find networks, break and strengthen them, and write a page.

    Without --model it uses the embedded model and its formal tasks, needs no network, and takes under three minutes.
    With --model it runs the same steps with topics of short English stories and log-likelihood.

    Example: tl-fbn demo --out my-demo
    """
    if model is None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from tl_fbn.demo import pipeline, story

    experiment = (
        pipeline.formal_experiment(n_items=items) if model is None else pipeline.topic_experiment(load_model(model))
    )
    result = pipeline.run_demo(experiment, out, n_controls=controls, seed=seed, progress=progress, say=typer.echo)
    typer.echo(f"\n{story.tables(result, experiment)}")
    page = out / "report.html"
    story.report(result, experiment).save(page)
    typer.echo(f"\n{result.seconds:.0f} s. Page: {page}")


def load_model(name: str) -> Any:
    """A model TransformerLens loads, by Hugging Face name or local folder, in eval mode."""
    from transformer_lens.model_bridge import TransformerBridge

    if not Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise ValueError(f"no folder at {name}; give a folder with a Hugging Face model, or a name such as gpt2")
    try:
        return TransformerBridge.boot_transformers(name).eval()
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"TransformerLens cannot load {name!r} ({first}); give a model name or a folder it can load"
        ) from error


def main() -> None:
    """Entry point: errors that a user can mend become one line."""
    try:
        app()
    except (ValueError, TypeError, OSError) as error:
        typer.echo(f"tl-fbn: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
