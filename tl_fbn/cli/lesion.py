"""``tl-fbn lesion``: silence networks, score tasks, and do the same with matched random networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tl_fbn.cli import input_files as texts
from tl_fbn.cli import result_files as places
from tl_fbn.cli.console import Console, table
from tl_fbn.cli.models import load_model
from tl_fbn.cli.options import BatchSize, Device, Json, Model, ModelDtype, Progress, Seed, Site

if TYPE_CHECKING:
    from tl_fbn.intervention.studies.lesion_results import LesionStudy

SHORT = "Silence networks and score tasks, beside random networks."
P_SMALL = 0.05


def command(
    model: Model,
    network: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="Files of networks or atlases, a network of one as FILE:N03, any renamed as NAME=FILE, or a folder of results.",
        ),
    ],
    battery: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="A .jsonl of minimal pairs, choices or questions with answers, or demo; repeat for several.",
        ),
    ],
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this network of those; repeat for several.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this task of the battery; repeat for several.")
    ] = None,
    items: Annotated[int | None, typer.Option(metavar="N", min=2, help="Only the first items of every task.")] = None,
    format: Annotated[str, typer.Option(metavar="FORMAT", help="Of the .jsonl: auto, pairs, choices or qa.")] = "auto",
    template: Annotated[
        str | None, typer.Option(metavar="TEXT", help='Makes a question\'s prompt, e.g. "Q: {question}\\nA:".')
    ] = None,
    scored: Annotated[str, typer.Option(metavar="WHAT", help="Of choices: text or label.")] = "text",
    controls: Annotated[
        int, typer.Option(metavar="N", min=1, help="Random networks of each kind for each network.")
    ] = 100,
    control_kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="random (as many units in each layer), activity or rotated; repeat for several. The first gives p.",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="zero, mean, position_mean, resample or noise.")
    ] = "zero",
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A recording's folder, for methods other than zero and for activity controls."
        ),
    ] = None,
    site: Site = None,
    positions: Annotated[
        str, typer.Option(metavar="TOKENS", help="all, prompt, generated, last or special: which tokens are touched.")
    ] = "all",
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC", help="exact_match or log_likelihood; by default exact match where every task has one."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that keeps results as they come; by default beside the study, and gone when it is done.",
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it will cost.")] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the study; by default of its networks and battery.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for the results; by default that of the networks.",
            show_default=False,
        ),
    ] = None,
    batch_size: BatchSize = 128,
    seed: Seed = 0,
    device: Device = None,
    dtype: ModelDtype = "float32",
    json: Json = False,
    progress: Progress = None,
) -> None:
    """Silence networks while tasks are scored, beside random networks with as many units in every layer.

    A network named like a task is that task's own, and gets a line of its own task against the others. Items that a
    network was found on are refused. An interrupted study goes on where it was when the same command comes again.

    \b
    Example: tl-fbn lesion MODEL recordings/first/results/network-sort.safetensors --battery sort.jsonl --battery add.jsonl
    Renamed: tl-fbn lesion MODEL sort=recordings/first/results/atlas-spatial-16.safetensors:N03 --battery sort.jsonl
    Next:    tl-fbn report recordings/first
    """
    console = Console(json, progress)
    with console.working():
        networks, folder = places.load_networks(network, only or ())
        tasks = texts.read_battery(battery, n=items, tasks=task or (), format=format, template=template, scored=scored)
        recording = None if reference is None else places.open_recording(reference, site or _site_of(networks))
        chosen: dict[str, Any] = {
            "n_controls": controls,
            "controls": tuple(control_kind or ("random",)),
            "batch_size": batch_size,
        }
        into = folder if out is None else out
        path = places.file_for(into, "lesions", name or _name(list(networks), battery, method))
        loaded = load_model(model, dtype=dtype, device=device, progress=console.bars)
        from tl_fbn.intervention.hooks.interventions import silencer
        from tl_fbn.intervention.studies.lesion import lesion_study, plan_lesions

        silence = silencer(loaded, method=method, reference=recording, positions=positions, seed=seed)  # pyright: ignore[reportArgumentType]
        for one in networks.values():
            silence(one)  # refuses what cannot be done, before anything is written
        planned = plan_lesions(loaded, networks, tasks, **chosen) if plan else None
    if planned is not None:
        console.result(repr(planned), verb="lesion", plan=vars(planned), study=None)
        return
    places.writable(into)
    parts = resume or path.with_suffix(".parts")
    with console.working(f"finished items are kept in {parts}, and the same command goes on from there"):
        study = lesion_study(
            loaded,
            networks,
            tasks,
            method=method,  # pyright: ignore[reportArgumentType]
            reference=recording,
            positions=positions,
            metric=metric,
            path=parts,
            seed=seed,
            progress=console.bars,
            **chosen,
        )
        study.save(path)
        if resume is None:
            _clear(parts)
    console.result(
        f"{_words(study)}\n\nSaved as {path}",
        verb="lesion",
        study=path,
        metric=study.metric,
        method=method,
        seed=seed,
        controls={kind: array.shape[1] for kind, array in study.control_scores.items()},
        networks={one: len(networks[one]) for one in study.networks},
        summary=study.summary(),
        lesions=study.to_dataframe(),
        double_dissociations=study.dissociations() if len(study.summary()) > 1 else [],
    )


def _site_of(networks: Any) -> str | None:
    """The networks' site, which is the one a reference is read at where it holds several."""
    return next(iter(networks.values())).space.site


def _name(networks: list[str], battery: list[str], method: str) -> str:
    """What tells this study from others."""
    who = "+".join(networks) if len(networks) < 4 else f"{len(networks)}-networks"
    what = "+".join(map(texts.name_of, battery)) if len(battery) < 4 else f"{len(battery)}-batteries"
    return (who if who == what else f"{who}-{what}") + ("" if method == "zero" else f"-{method}")


def _clear(parts: Path) -> None:
    """Take away what only an unfinished study needs."""
    for file in [*parts.glob("*.safetensors"), parts / "study.json"]:
        file.unlink(missing_ok=True)
    if not any(parts.iterdir()):
        parts.rmdir()


def _words(study: LesionStudy) -> str:
    points = study.metric == "exact_match"
    kinds = " and ".join(f"{array.shape[1]} {kind}" for kind, array in study.control_scores.items())
    what = "points of exact match" if points else "nats a token of log-likelihood"
    lines = [repr(study), f"Lost: {what}, beside {kinds} networks with as many units in each layer."]
    own = study.summary()
    every = study.to_dataframe()
    lines.append(_untouched(every, points))
    named = list(own["network"]) if len(own) else []
    if named:
        drops = ["own", "other_median", "other_worst", "control_median", "control_p95"]
        lines += ["", _scaled(own, ["network", "units", *drops, "worst_task", "p"], drops, points)]
    others = every[~every["network"].isin(named)]
    if len(others):
        drops = ["baseline", "lesioned", "drop", "low", "high", "control_median", "control_p95"]
        lines += ["", _scaled(others, ["network", "task", *drops, "p"], drops, points)]
        if not named:
            tasks = ", ".join(study.tasks)
            lines += ["", f"No network is named like a task ({tasks}); NAME=FILE says which network is which task's."]
    least = 1 / (1 + study.controls.shape[1])
    lines += [
        "",
        f"p: the share of random networks that cost at least as much, the network itself counted, so at least {least:.2g}; not corrected for "
        "the number of lines.",
    ]
    unknown = [one for one, known in study.discovery.items() if known != "disjoint"]
    if unknown:
        lines.append(
            f"What {', '.join(unknown)} was found on is unknown, so nothing shows that these items are others."
        )
    before = study.provenance.get("flags", {}).get("", {})  # what was wrong already is no lesion's doing
    lines += [f"Without a lesion, {task}: {flag}" for task, flag in before.items() if flag]
    flags = zip(*(every[column].tolist() for column in ("network", "task", "flag")), strict=True)
    lines += [f"{one} silenced, {task}: {flag}" for one, task, flag in flags if flag and flag != before.get(task)]
    return "\n".join(lines)


def _untouched(every: Any, points: bool) -> str:
    """What each task scores without a lesion, beside chance: what there is to lose."""
    first = every.drop_duplicates("task")
    lines = zip(*(first[column].tolist() for column in ("task", "baseline", "chance")), strict=True)
    if not points:
        return "Without a lesion: " + ", ".join(f"{task} {score:.3f}" for task, score, _ in lines) + "."
    said = [
        f"{task} {100 * score:.0f}" + (f" (chance {100 * chance:.0f})" if chance > 0 else "")
        for task, score, chance in lines
    ]
    return "Without a lesion: " + ", ".join(said) + "."


def _scaled(frame: Any, columns: list[str], drops: list[str], points: bool) -> str:
    """Some columns as text: drops of exact match in points, of log-likelihood in nats."""
    shown = frame[columns].copy()
    shown[drops] = shown[drops] * (100 if points else 1)
    return table(shown, decimals=dict.fromkeys(drops, ".0f" if points else ".3f"))
