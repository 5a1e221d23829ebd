"""``tl-fbn scan``: prompts in, a recording out.

The command plans a block design of the prompts (:func:`tl_fbn.block_design`), shows it to a model, and records one site
or several (:class:`tl_fbn.Scanner`). A scan that was interrupted goes on with the runs that are missing. Several
processes of a launcher such as ``torchrun`` divide the runs among them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tl_fbn.cli import input_files, model_argument
from tl_fbn.cli.console import Console, rank
from tl_fbn.cli.options import (
    BatchSizeOption,
    DeviceOption,
    JsonFlag,
    LabelOption,
    ModelArgument,
    ModelDtypeOption,
    ProgressFlag,
    SeedOption,
)
from tl_fbn.cli.task_options import (
    ChatFlag,
    HeadOption,
    ShotsOption,
    TasksOption,
    TaskTemplateOption,
    read_tasks,
    require_one,
)

SHORT = "Record a model while it reads the prompts of a block design."


def command(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the recording.")],
    prompts: Annotated[
        str | None,
        typer.Argument(
            metavar="[PROMPTS]",
            show_default=False,
            help="A .tsv or .csv file with the columns condition and prompt, a .jsonl file with condition and prompt "
            "or messages, or demo:sort,reverse for prompts that come with the package.",
        ),
    ] = None,
    tasks: TasksOption = None,
    shots: ShotsOption = 5,
    head: HeadOption = "drawn",
    template: TaskTemplateOption = None,
    chat: ChatFlag = False,
    site: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SITE",
            help="Site to record, by default mlp.neurons; repeat the option for several sites in one pass.",
        ),
    ] = None,
    layer: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Record only this layer, counted from 0; repeat the option for several."),
    ] = None,
    # the block design
    runs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of runs; no prompt is shown in two of them.")
    ] = 4,
    cycles: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of times that a run shows every condition.")
    ] = 6,
    tokens_per_block: Annotated[int, typer.Option(metavar="N", min=1, help="Number of rows of a block.")] = 64,
    order: Annotated[
        str,
        typer.Option(
            metavar="ORDER",
            help="Order of the blocks: alternate, off/on/off (the baseline around every other block) or random.",
        ),
    ] = "alternate",
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="With --order off/on/off: name of the off condition; by default rest, or the last."
        ),
    ] = None,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Show prompts again in a run that has shown all it has.")
    ] = False,
    # rows that the model writes
    generate: Annotated[
        bool,
        typer.Option("--generate", help="Record tokens that the model writes after each prompt, not the prompt's own."),
    ] = False,
    tokens_per_prompt: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="With --generate: number of tokens after each prompt; by default a whole block."
        ),
    ] = None,
    carry_context: Annotated[
        bool,
        typer.Option("--carry-context", help="With --generate: the prompts and answers of a run are one growing text."),
    ] = False,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="T", min=0.0, help="With --generate: temperature of sampling; 0 takes the most probable token."
        ),
    ] = 0.0,
    seed: SeedOption = 0,
    # what is stored of each row
    store_dtype: Annotated[
        str,
        typer.Option(metavar="DTYPE", help="Number type of activations on disk: float32, bfloat16 or float16."),
    ] = "float32",
    pool: Annotated[
        str,
        typer.Option(
            metavar="ROWS",
            help="Rows to record: token (one row a token), or last or mean, which make one row of each prompt.",
        ),
    ] = "token",
    batch_size: BatchSizeOption = 8,
    surprisal: Annotated[bool, typer.Option(help="Record the surprisal of each token, in nats.")] = True,
    entropy: Annotated[bool, typer.Option(help="Record the entropy of the prediction of each token, in nats.")] = False,
    device: DeviceOption = None,
    dtype: ModelDtypeOption = "auto",
    label: LabelOption = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be recorded and how large it would be.")
    ] = False,
    json: JsonFlag = False,
    progress: ProgressFlag = None,
) -> None:
    """Record a model's activations while it reads, or writes after, the prompts of a block design.

    A scan that was interrupted goes on where it was when the same command is run again; a finished one returns at once.

    \b
    Example: tl-fbn scan gpt2 prompts.tsv -o recordings/first --tokens-per-block 48
    Tasks:   tl-fbn scan chat.gguf --tasks plural.json capital.json -o recordings/tasks --reuse
    Next:    tl-fbn glm recordings/first "sort - reverse" --top 0.05 --by effect --positive --name sort
    Or:      tl-fbn networks recordings/first -k 16

    On several GPUs: torchrun --nproc-per-node 4 -m tl_fbn scan gpt2 prompts.tsv -o recordings/first
    """
    console = Console(json, progress)
    with console.working(
        f"runs that were committed are kept in {out}, and the same command goes on from there", shared=True
    ):
        import tl_fbn as fbn

        require_one(tasks, prompts, "PROMPTS")
        if tasks:
            rows = read_tasks(tasks, shots=shots, head=head, template=template, chat=chat)
            conditions = rows.prompts(answers=not generate)
        else:
            assert prompts is not None
            conditions = input_files.read_conditions(prompts)
        design = fbn.block_design(
            conditions,
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
            model_argument.load(console, model, dtype=dtype, device=device, label=label),
            # a single site is given by its name, several as a list
            site=site[0] if site and len(site) == 1 else site or "mlp.neurons",
            layers=layer,
            dtype=store_dtype,  # pyright: ignore[reportArgumentType]
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
            # of several processes, each begins with runs of its own
            share = (rank(), int(os.environ.get("WORLD_SIZE", "1")))
            recording = scanner.scan(design, out, progress=console.bars, share=share)
    if recording is None:
        console.result(f"{design!r}\n{planned!r}", **counts, recording=None)
    else:
        console.result(repr(recording), **counts, recording=recording.path, key=recording.key)
