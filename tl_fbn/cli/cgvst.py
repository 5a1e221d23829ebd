"""``tl-fbn cgvst``: task neurons from gradients at the special tokens of chats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tl_fbn.cli import input_files as texts
from tl_fbn.cli import result_files as places
from tl_fbn.cli.console import WHOLE, Console, table
from tl_fbn.cli.models import load_model
from tl_fbn.cli.options import BatchSize, Device, Json, Model, ModelDtype, Progress, Seed, amount
from tl_fbn.errors import InputError

SHORT = "Score neurons by gradients at the special tokens of chats."


def command(
    model: Model,
    chats: Annotated[
        list[str],
        typer.Argument(
            metavar="CHATS...",
            help='A .jsonl of {"messages": [...]}, lists of messages or {"text": ...}, one file a task; or demo:sort.',
        ),
    ],
    top: Annotated[
        str, typer.Option(metavar="SIZE", help="Size of the network: a number of units (57) or a share of them (0.05).")
    ] = "0.05",
    specific: Annotated[
        bool,
        typer.Option(
            "--specific", help="Of several tasks: each one's scores less the others', as the papers' masks are not."
        ),
    ] = False,
    tokens: Annotated[
        str, typer.Option(metavar="TOKENS", help="special (released), answer, content, all or random.")
    ] = "special",
    variant: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="row_sum (released), row_l1, row_l2, grad_x_act or grad.")
    ] = None,
    at: Annotated[
        str, typer.Option(metavar="SITE", help="What is differentiated: mlp.up (released), mlp.pre or mlp.neurons.")
    ] = "mlp.up",
    aggregate: Annotated[
        str, typer.Option(metavar="HOW", help="Over chats: sum_abs (released), mean_abs, abs_mean, mean or t.")
    ] = "sum_abs",
    span: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="A literal special text, e.g. [INST]; repeat. By default the chat template's own."
        ),
    ] = None,
    groups: Annotated[
        str,
        typer.Option(metavar="GROUPS", help="turns, none, or the number at which positions are cut (released: 28)."),
    ] = "turns",
    bos_eos: Annotated[bool, typer.Option(help="Beginning and end of text are special tokens too.")] = True,
    items: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first chats of each file.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Longer chats are left out and counted.")
    ] = None,
    batch_size: BatchSize = 8,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Name of a task, one a file; by default the file's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for the results; by default results beside the chats.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    dtype: ModelDtype = "float32",
    json: Json = False,
    progress: Progress = None,
) -> None:
    """Score every MLP neuron by how much the model would change it to learn some tokens of a task's chats.

    Saves a map and a network of the largest scores. The score compares no two tasks (--specific does, of several files)
    and is not causal before a lesion says so.

    \b
    Example: tl-fbn cgvst MODEL sort.jsonl --top 0.05 -o recordings/first/results
    Several: tl-fbn cgvst demo demo:sort demo:add demo:upper --specific --tokens answer -o results
    Next:    tl-fbn lesion MODEL recordings/first/results/network-cgvst-sort.safetensors --battery items.jsonl
    """
    console = Console(json, progress)
    with console.working(WHOLE):
        size = amount(top, "--top")
        assert size is not None
        if specific and len(chats) < 2:
            raise InputError("--specific compares tasks; give the chats of at least two")
        if name and len(name) != len(chats):
            raise InputError(
                f"{len(name)} names for {len(chats)} files of chats; give --name once a file, or not at all"
            )
        names = name or [texts.name_of(one) for one in chats]
        places.differing(names)
        read = {task: texts.read_chats(source, items) for task, source in zip(names, chats, strict=True)}
        cut = _groups(groups)
        into = places.writable(out or _beside(chats[0]))
        from tl_fbn.analysis.networks.specificity import specific_scores
        from tl_fbn.attribution.cgvst import cgvst

        loaded = load_model(model, dtype=dtype, device=device, progress=console.bars)
        maps = {
            task: cgvst(
                loaded,
                given,
                tokens=tokens,  # pyright: ignore[reportArgumentType]
                variant=variant,  # pyright: ignore[reportArgumentType]
                site=at,  # pyright: ignore[reportArgumentType]
                groups=cut,
                aggregate=aggregate,  # pyright: ignore[reportArgumentType]
                spans=span,
                bos_eos=bos_eos,
                max_tokens=max_tokens,
                batch_size=batch_size,
                seed=seed,
                progress=console.bars,
            )
            for task, given in read.items()
        }
        abouts = {task: dict(scores.provenance) for task, scores in maps.items()}
        if specific:
            maps = specific_scores(maps)
        found = [_kept(task, scores, size, into, abouts[task]) for task, scores in maps.items()]
    first = next(iter(maps.values()))
    console.result(
        f"{_words(first, found, specific)}\n\n{_layers(found)}\n\n{places.saved(one[kind] for one in found for kind in ('map', 'network'))}",
        verb="cgvst",
        model=first.space.model,
        units=first.space.n_units,
        widths=first.space.widths,
        specific=specific,
        tasks=found,
        seed=seed,
    )


def _kept(task: str, scores: Any, size: int | float, into: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Save a task's map and network, and say what they are and how they were made."""
    network = scores.top(size, name=task)
    paths = {kind: places.file_for(into, f"{kind}-cgvst", task) for kind in ("map", "network")}
    scores.save(paths["map"])
    network.save(paths["network"])
    return {
        "task": task,
        "items": about.get("n_items"),
        "skipped_as_too_long": about.get("skipped_as_too_long"),
        "tokens": about.get("tokens"),
        "scored_positions": about.get("scored_positions"),
        "variant": about.get("variant"),
        "variant_reason": about.get("variant_reason"),
        "members": len(network),
        "per_layer": network.per_layer(),
        "widths": network.space.widths,
        **paths,
    }


def _groups(text: str) -> Any:
    if text in ("turns", "none"):
        return None if text == "none" else "turns"
    if not text.isdecimal():
        raise InputError(f"--groups must be turns, none or a number of positions; got {text}")
    return int(text)


def _beside(source: str) -> Path:
    return Path(places.RESULTS) if source.startswith(texts.DEMO) else Path(source).parent / places.RESULTS


def _words(first: Any, found: list[dict[str, Any]], specific: bool) -> str:
    lines = [f"{first.space.describe()}, {first.space.n_units:,} neurons"]
    for one in found:
        scored = (
            f": {one['items']:,} chats, {one['scored_positions']:,} {one['tokens']} tokens scored, {one['variant']}"
        )
        left = f"; {one['skipped_as_too_long']} left out as too long" if one["skipped_as_too_long"] else ""
        reason = f" ({one['variant_reason']})" if one["variant_reason"] else ""
        lines.append(f"{one['task']}{scored}{reason}{left}")
    how = "less the mean of the other tasks'" if specific else "of one task, compared with no other"
    lines.append(
        f"The largest scores {how}: chosen by size, not tested. Chance alone would spread them over layers as units are."
    )
    return "\n".join(lines)


def _layers(found: list[dict[str, Any]]) -> str:
    import pandas as pd

    widths = found[0]["widths"]
    frame = pd.DataFrame({"layer": range(len(widths)), "units": widths})
    members = found[0]["members"]
    frame["by chance"] = [members * width / sum(widths) for width in widths]
    for one in found:
        frame[one["task"]] = one["per_layer"]
    return table(frame, decimals={"by chance": ".1f"})
