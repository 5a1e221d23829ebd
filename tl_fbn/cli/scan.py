"""``tl-fbn scan``: prompts in, a recording out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tl_fbn.cli import input_files as texts
from tl_fbn.cli.console import Console, rank
from tl_fbn.cli.models import load_model
from tl_fbn.cli.options import BatchSize, Device, Json, Model, Progress, Seed

SHORT = "Record a model while it reads the prompts of a block design."


def command(
    model: Model,
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="PROMPTS",
            help="A .tsv or .csv with the columns condition and prompt, a .jsonl with condition and prompt or messages, or demo:sort,rest.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder of the recording.")],
    site: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SITE", help="What to record, by default mlp.neurons; repeat for several sites in one pass."
        ),
    ] = None,
    layer: Annotated[list[int] | None, typer.Option(metavar="N", help="Only this layer; repeat for several.")] = None,
    runs: Annotated[int, typer.Option(metavar="N", min=1, help="Runs; no prompt is shared between them.")] = 4,
    cycles: Annotated[int, typer.Option(metavar="N", min=1, help="How often a run presents every condition.")] = 6,
    tokens_per_block: Annotated[int, typer.Option(metavar="N", min=1, help="Rows of a block.")] = 64,
    order: Annotated[str, typer.Option(metavar="ORDER", help="alternate, off/on/off or random.")] = "alternate",
    baseline: Annotated[str | None, typer.Option(metavar="NAME", help="The off condition of off/on/off.")] = None,
    reuse: Annotated[bool, typer.Option("--reuse", help="Prompts may come back within a run.")] = False,
    generate: Annotated[
        bool, typer.Option("--generate", help="Rows are tokens that the model writes after each prompt.")
    ] = False,
    tokens_per_prompt: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --generate: tokens a prompt.")
    ] = None,
    carry_context: Annotated[
        bool, typer.Option("--carry-context", help="With --generate: a run is one growing context.")
    ] = False,
    temperature: Annotated[float, typer.Option(metavar="T", min=0.0, help="With --generate: 0 for greedy.")] = 0.0,
    seed: Seed = 0,
    dtype: Annotated[str, typer.Option(metavar="DTYPE", help="float32, bfloat16 or float16 on disk.")] = "float32",
    model_dtype: Annotated[
        str, typer.Option(metavar="DTYPE", help="float32, bfloat16 or float16 while the model runs.")
    ] = "float32",
    pool: Annotated[str, typer.Option(metavar="ROWS", help="token, or last or mean for one row a prompt.")] = "token",
    batch_size: BatchSize = 8,
    surprisal: Annotated[bool, typer.Option(help="Record each token's surprisal.")] = True,
    entropy: Annotated[bool, typer.Option(help="Record the entropy of the prediction of each token.")] = False,
    device: Device = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be recorded and how large it is.")] = False,
    json: Json = False,
    progress: Progress = None,
) -> None:
    """Record a model's activations while it reads, or writes after, the prompts of a block design.

    A scan that was stopped goes on where it was; the same scan again returns at once.

    \b
    Example: tl-fbn scan gpt2 prompts.tsv -o recordings/first --tokens-per-block 48
    Next:    tl-fbn glm recordings/first "task - rest" --top 0.05 --by effect --positive --name task
    Or:      tl-fbn networks recordings/first -k 16

    On several GPUs: torchrun --nproc-per-node 4 -m tl_fbn scan gpt2 prompts.tsv -o recordings/first
    """
    console = Console(json, progress)
    with console.working(
        f"runs that were committed are kept in {out}, and the same command goes on from there", shared=True
    ):
        import tl_fbn as fbn

        design = fbn.block_design(
            texts.read_conditions(prompts),
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
        scanner = fbn.Scanner(
            load_model(model, dtype=model_dtype, device=device, progress=console.bars),
            site=site[0] if site and len(site) == 1 else site or "mlp.neurons",
            layers=layer,
            dtype=dtype,  # pyright: ignore[reportArgumentType]
            pool=pool,
            batch_size=batch_size,
            surprisal=surprisal,
            entropy=entropy,
        )
        planned = scanner.plan(design, out)
        counts: dict[str, Any] = {
            "verb": "scan",
            "rows": planned.n_rows,
            "runs": planned.n_runs,
            "units": {space.site: space.n_units for space in planned.spaces},
            "prompts": planned.n_contexts,
            "bytes": planned.n_bytes,
            "free_bytes": planned.free_bytes,
            "conditions": list(design.conditions),
        }
        recording = None
        if not plan:
            console.note(repr(planned))
            share = (rank(), int(os.environ.get("WORLD_SIZE", "1")))
            recording = scanner.scan(design, out, progress=console.bars, share=share)
    if recording is None:
        console.result(f"{design!r}\n{planned!r}", **counts, recording=None)
    else:
        console.result(repr(recording), **counts, recording=recording.path, key=recording.key)
