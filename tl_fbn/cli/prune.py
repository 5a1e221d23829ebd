"""``tl-fbn prune``: a smaller model without the units outside a network, written as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tl_fbn.cli import input_files as texts
from tl_fbn.cli import result_files as places
from tl_fbn.cli.console import Console, table
from tl_fbn.cli.models import load_model, loading
from tl_fbn.cli.options import Device, Json, Model, ModelDtype, Progress
from tl_fbn.errors import InputError

SHORT = "Cut units out of a model and write the smaller one."


def command(
    model: Model,
    network: Annotated[
        str, typer.Argument(metavar="NETWORK", help="File of a network, an atlas or, with --ratio, a map of scores.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the checkpoint.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the network's units instead of all others.")] = False,
    ratio: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Keep the highest scores, so that this share of all parameters goes."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this network of an atlas; repeat for several.")
    ] = None,
    compensate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A recording's folder: means of removed units come back as a bias."),
    ] = None,
    protect_first: Annotated[
        int, typer.Option(metavar="N", min=0, help="Layers at the beginning that stay whole.")
    ] = 0,
    protect_last: Annotated[int, typer.Option(metavar="N", min=0, help="Layers at the end that stay whole.")] = 0,
    battery: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Score this before and after: a .jsonl, or demo; repeat for several."),
    ] = None,
    items: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first items of every task.")] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder for the result that tl-fbn report shows; by default the network's."
        ),
    ] = None,
    device: Device = None,
    dtype: ModelDtype = "float32",
    json: Json = False,
    progress: Progress = None,
) -> None:
    """Keep a network's units, cut out all others of its site, and write a Hugging Face checkpoint.

    The smaller model is checked before it is written: its logits are those of the whole model with the removed units at zero (or
    at their means, with --compensate). That it still does its task is shown by --battery, or not at all.

    \b
    Example: tl-fbn prune MODEL recordings/first/results/network-sort.safetensors --remove -o pruned --battery sort.jsonl
    Share:   tl-fbn prune MODEL recordings/first/results/atlas-spatial-16.safetensors --ratio 0.2 -o pruned --compensate recordings/first
    Next:    tl-fbn scan pruned prompts.tsv -o recordings/pruned
    """
    console = Console(json, progress)
    with console.working(f"{out} may be half written: delete it, or run the same command again"):
        if ratio is not None and remove:
            raise InputError("--ratio says how much goes, --remove which units; give one of them")
        _refuse_occupied(out)
        given, name = _chosen(Path(network), only or (), ratio)
        recording = None if compensate is None else places.open_recording(compensate, _neurons_of(compensate))
        tasks = texts.read_battery(battery, n=items) if battery else None
        loaded = load_model(model, dtype=dtype, device=device, progress=console.bars)
        from tl_fbn.intervention.pruning.prune import prune
        from tl_fbn.intervention.pruning.prune_ratio import keep_for_ratio

        if ratio is not None:
            given = keep_for_ratio(loaded, given, ratio=ratio, protect_first=protect_first, protect_last=protect_last)
        heads = given.space.site == "attn.heads"
        before = None if tasks is None else tasks.evaluate(loaded)
        small = prune(
            loaded,
            keep=None if remove or heads else given,
            remove=given if remove and not heads else None,
            heads=None if not heads else ~given if remove else given,
            compensate=recording,
            protect_first=protect_first,
            protect_last=protect_last,
            progress=console.bars,
        )
        after = None if tasks is None else tasks.evaluate(small)
        with loading(console.bars):
            small.save_pretrained(out)
        into = places.writable(results or Path(network).parent)
        path = places.file_for(into, "prune", f"{name}{'-removed' if remove else ''}")
        small.pruned.save(path)
    report = small.pruned
    scores = None if before is None or after is None else _scores(before, after)
    check = f"Checked: its logits differ from those of the masked model by at most {report.difference:.2g}."
    parts = [repr(report), table(report.to_dataframe()), check]
    if scores is not None:
        parts.append(table(scores))
    console.result(
        "\n\n".join([*parts, f"Checkpoint in {out}, which is a MODEL to every command; result saved as {path}"]),
        verb="prune",
        checkpoint=out,
        result=path,
        parameters_before=report.n_before,
        parameters_after=report.n_after,
        removed_share=report.ratio,
        units_kept=len(report.kept),
        difference=report.difference,
        compensation=report.compensation,
        layers=report.to_dataframe(),
        scores=scores,
    )


def _refuse_occupied(folder: Path) -> None:
    from tl_fbn.results import PRUNED

    if folder.is_file():
        raise InputError(f"{folder} is a file; give a folder for the checkpoint")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PRUNED).exists():
        raise InputError(f"{folder} holds something that is no pruned model; give another folder")


def _neurons_of(folder: Path) -> str | None:
    from tl_fbn.acquisition.recording.recording import Recording

    sites = Recording.open(folder).sites if folder.is_dir() else []
    return "mlp.neurons" if len(sites) > 1 and "mlp.neurons" in sites else None


def _chosen(path: Path, only: Any, ratio: float | None) -> tuple[Any, str]:
    """A network, or with a ratio the scores; and what it is called."""
    from tl_fbn.units import Atlas, Network, UnitMap

    result = places.load_result(path)
    allowed = (Atlas, UnitMap) if ratio is not None else (Atlas, Network)
    if not isinstance(result, allowed):
        wanted = (
            "an atlas or a map of scores"
            if ratio is not None
            else "a network or an atlas (a map of scores goes with --ratio)"
        )
        raise InputError(f"{path} holds a {type(result).__name__}; give {wanted}")
    if only and (not isinstance(result, Atlas) or ratio is not None):
        raise InputError("--only chooses networks of an atlas, without --ratio")
    if isinstance(result, Atlas) and ratio is None:
        names = list(only) or list(result)
        return result.union(names, name="+".join(names) if len(names) < 4 else path.stem), path.stem
    return result, path.stem


def _scores(before: Any, after: Any) -> Any:
    import pandas as pd

    columns = ["task", "n", "chance", "exact_match", "log_likelihood"]
    frame = before[columns].rename(columns={"exact_match": "before", "log_likelihood": "ll before"})
    frame.insert(4, "after", after["exact_match"])
    return pd.concat([frame, after["log_likelihood"].rename("ll after")], axis=1)
