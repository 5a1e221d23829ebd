"""``tl-fbn prune``: a smaller model without the units outside a network, written as a checkpoint.

The command cuts units out with :func:`tl_fbn.prune`, which checks the logits of the smaller model against those of the
masked one, and writes a Hugging Face folder that every command takes as a MODEL. With ``--ratio`` the units to keep are
chosen by their scores (:func:`tl_fbn.pruning.keep_for_ratio`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tl_fbn.cli import input_files, model_argument, result_files
from tl_fbn.cli.console import Console, table
from tl_fbn.cli.options import (
    DeviceOption,
    JsonFlag,
    LabelOption,
    ModelArgument,
    ModelDtypeOption,
    ProgressFlag,
    VerifyFlag,
)
from tl_fbn.errors import InputError

SHORT = "Cut units out of a model and write the smaller one."


def command(
    model: ModelArgument,
    # what goes and what stays
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="File of a network or an atlas; with --ratio, of an atlas or a map of scores."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the checkpoint.")],
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the units of the network, instead of all others of its site.")
    ] = False,
    ratio: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Keep the units of the highest scores, so that this share of all parameters of the model is removed.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Use only the network of this name of an atlas; repeat the option for several."
        ),
    ] = None,
    compensate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of a recording; the mean contribution of removed units comes back as a bias, instead of zero.",
        ),
    ] = None,
    allow_other_weights: Annotated[
        bool,
        typer.Option("--allow-other-weights", help="Also take a recording of other weights than the model's."),
    ] = False,
    protect_first: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of layers at the beginning that stay whole.")
    ] = 0,
    protect_last: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of layers at the end that stay whole.")
    ] = 0,
    # what is measured before and after
    battery: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Battery to score before and after: a .jsonl file of items, or demo; repeat the option for several.",
        ),
    ] = None,
    items: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Score only this number of items of every task.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help='Folder for the result that "tl-fbn report" shows; by default that of the network.',
        ),
    ] = None,
    device: DeviceOption = None,
    dtype: ModelDtypeOption = "auto",
    label: LabelOption = None,
    verify: VerifyFlag = True,
    json: JsonFlag = False,
    progress: ProgressFlag = None,
) -> None:
    """Keep a network's units, cut out all others of its site, and write a Hugging Face checkpoint.

    The smaller model is checked before it is written: its logits are those of the whole model with the removed units at
    zero (or at their means, with --compensate). Whether it still does its task is shown by --battery only.

    \b
    Example: tl-fbn prune MODEL network-sort.safetensors --remove -o pruned --battery sort.jsonl
    Share:   tl-fbn prune MODEL atlas-spatial-16.safetensors --ratio 0.2 -o pruned --compensate recordings/first
    Next:    tl-fbn scan pruned prompts.tsv -o recordings/pruned
    """
    console = Console(json, progress)
    # a checkpoint is several files: an interrupt can leave some of them
    with console.working(f"{out} may be half written: delete it, or run the same command again"):
        if ratio is not None and remove:
            raise InputError("--ratio says how much goes, --remove which units; give one of them")
        _require_free_folder(out)
        given, name = _network_or_scores(Path(network), only or (), ratio)
        # a recording of several sites is read at the neurons, which the bias is computed from
        recording = None
        if compensate is not None:
            recording = result_files.open_recording(compensate, _neuron_site_of(compensate), verify=verify)
        tasks = input_files.read_battery(battery, n=items) if battery else None
        loaded = model_argument.load(console, model, dtype=dtype, device=device, label=label)
        from tl_fbn.intervention.pruning.prune import prune
        from tl_fbn.intervention.pruning.prune_ratio import keep_for_ratio
        from tl_fbn.models import loading

        if ratio is not None:
            # the scores become the network of units to keep
            given = keep_for_ratio(loaded, given, ratio=ratio, protect_first=protect_first, protect_last=protect_last)
        heads = given.space.site == "attn.heads"
        before = None if tasks is None else tasks.evaluate(loaded)
        # neurons are kept or removed; of heads, prune takes only those that stay
        small = prune(
            loaded,
            keep=None if remove or heads else given,
            remove=given if remove and not heads else None,
            heads=None if not heads else ~given if remove else given,
            compensate=recording,
            allow_other_weights=allow_other_weights,
            protect_first=protect_first,
            protect_last=protect_last,
            progress=console.bars,
        )
        after = None if tasks is None else tasks.evaluate(small)
        with loading(console.bars):
            small.save_pretrained(out)
        into = result_files.writable(results or Path(network).parent)
        path = result_files.file_for(into, "prune", f"{name}{'-removed' if remove else ''}")
        small.pruned.save(path)
    report = small.pruned
    scores = None if before is None or after is None else _scores_before_and_after(before, after)
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


def _require_free_folder(folder: Path) -> None:
    """Raise unless the folder is new, empty, or a pruned model, which is replaced."""
    from tl_fbn.results import PRUNED

    if folder.is_file():
        raise InputError(f"{folder} is a file; give a folder for the checkpoint")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PRUNED).exists():
        raise InputError(f"{folder} holds something that is no pruned model; give another folder")


def _neuron_site_of(folder: Path) -> str | None:
    """The site to read in a recording of several; None where there is nothing to choose."""
    from tl_fbn.acquisition.recording.recording import Recording

    sites = Recording.open(folder).sites if folder.is_dir() else []
    return "mlp.neurons" if len(sites) > 1 and "mlp.neurons" in sites else None


def _network_or_scores(path: Path, only: Any, ratio: float | None) -> tuple[Any, str]:
    """The network of a file (an atlas becomes one), or with a ratio its scores; and the name for the result."""
    from tl_fbn.units import Atlas, Network, UnitMap

    result = result_files.load_result(path)
    # a network has no scores to rank units by, a map has no members to keep
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
    return result, path.stem  # scores, or a network as it is


def _scores_before_and_after(before: Any, after: Any) -> Any:
    """Scores of the whole and of the smaller model, a line a task."""
    import pandas as pd

    columns = ["task", "n", "chance", "exact_match", "log_likelihood"]
    frame = before[columns].rename(columns={"exact_match": "before", "log_likelihood": "ll before"})
    frame.insert(4, "after", after["exact_match"])
    return pd.concat([frame, after["log_likelihood"].rename("ll after")], axis=1)
