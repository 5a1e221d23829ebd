"""Commands: ``tl-fbn demo``, ``tl-fbn scan``, and what they grow into; ``python -m tl_fbn`` is the same.

Bad input ends with one line on standard error and exit status 2. Under ``torchrun`` (or any launcher that sets ``RANK`` and
``WORLD_SIZE``) the processes of a scan divide its runs among them; the folder they share is all they need.
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


@app.command()
def scan(
    model: Annotated[
        str, typer.Argument(help='A Hugging Face name, a local folder, or "demo" for the embedded model.')
    ],
    prompts: Annotated[Path, typer.Argument(help="A .tsv or .csv file with the columns condition and prompt.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the recording.")],
    site: Annotated[
        list[str] | None, typer.Option(help="What to record; repeat for several sites in one pass.")
    ] = None,
    layer: Annotated[list[int] | None, typer.Option(help="Only this layer; repeat for several.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs; no prompt is shared between them.")] = 4,
    cycles: Annotated[int, typer.Option(min=1, help="How often a run presents every condition.")] = 6,
    tokens_per_block: Annotated[int, typer.Option(min=1, help="Rows of a block.")] = 64,
    order: Annotated[str, typer.Option(help="alternate, off/on/off or random.")] = "alternate",
    baseline: Annotated[str | None, typer.Option(help="The off condition of off/on/off.")] = None,
    reuse: Annotated[bool, typer.Option(help="Prompts may come back within a run.")] = False,
    generate: Annotated[bool, typer.Option(help="Rows are tokens that the model writes after each prompt.")] = False,
    tokens_per_prompt: Annotated[int | None, typer.Option(help="With --generate: tokens a prompt.")] = None,
    carry_context: Annotated[bool, typer.Option(help="With --generate: a run is one growing context.")] = False,
    temperature: Annotated[float, typer.Option(help="With --generate: 0 for greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the design and of sampling.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16 on disk.")] = "float32",
    model_dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16 while the model runs.")] = "float32",
    pool: Annotated[str, typer.Option(help="token, or last or mean for one row a prompt.")] = "token",
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts in a forward pass.")] = 8,
    surprisal: Annotated[bool, typer.Option(help="Record each token's surprisal.")] = True,
    device: Annotated[str | None, typer.Option(help="Where the model runs; default a GPU if there is one.")] = None,
    plan: Annotated[bool, typer.Option(help="Only say what would be recorded and how large it is.")] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Record a model's activations while it reads, or writes after, the prompts of a block design.

    A scan that was stopped goes on where it was; the same scan again returns at once.

    Example: tl-fbn scan gpt2 prompts.tsv -o recordings/first --tokens-per-block 48

    On several GPUs: torchrun --nproc-per-node 4 -m tl_fbn scan gpt2 prompts.tsv -o recordings/first
    """
    import tl_fbn as fbn

    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    design = fbn.block_design(
        fbn.read_prompts(prompts),
        seed=seed,
        n_runs=runs,
        n_cycles=cycles,
        tokens_per_block=tokens_per_block,
        order=order,  # pyright: ignore[reportArgumentType]
        baseline=baseline,
        reuse=reuse,
        generate=generate,
        tokens_per_prompt=tokens_per_prompt,
        carry_context=carry_context,
        temperature=temperature,
    )
    loaded = load_model(model, dtype=model_dtype, device=device)
    scanner = fbn.Scanner(
        loaded,
        site=site[0] if site and len(site) == 1 else site or "mlp.neurons",
        layers=layer,
        dtype=dtype,  # pyright: ignore[reportArgumentType]
        pool=pool,
        batch_size=batch_size,
        surprisal=surprisal,
    )
    if rank == 0:
        typer.echo(repr(scanner.plan(design, out)))
    if not plan:
        recording = scanner.scan(design, out, progress=progress and rank == 0, share=(rank, processes))
        if rank == 0:
            typer.echo(repr(recording))


def load_model(name: str, *, dtype: str = "float32", device: str | None = None) -> Any:
    """A model TransformerLens loads, by Hugging Face name or local folder, or the embedded one; in eval mode.

    Args:
        name: Name, folder, or ``"demo"``.
        dtype: Of weights and activations.
        device: Where it runs; default a GPU if there is one, under a launcher the process's own.
    """
    import torch

    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"model dtype {dtype!r} is none of float32, bfloat16, float16")
    if device is None and torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if name == "demo":
        from tl_fbn import demo as embedded

        loaded = embedded.load_model()
        return loaded if device is None else loaded.to(device)
    from transformer_lens.model_bridge import TransformerBridge

    if not Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise ValueError(f"no folder at {name}; give a folder with a Hugging Face model, or a name such as gpt2")
    try:
        return TransformerBridge.boot_transformers(name, dtype=getattr(torch, dtype), device=device).eval()
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
