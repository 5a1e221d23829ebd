"""``tl-fbn lesion``: silence networks, score tasks, and do the same with matched random networks.

The command runs :func:`tl_fbn.lesion_study` and saves the study. It prints what every task loses under each network,
beside what it loses under random networks with as many units in every layer. Finished parts are kept on disk while it
runs, so that an interrupted study goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tl_fbn.cli import input_files, model_argument, result_files
from tl_fbn.cli.console import Console, table
from tl_fbn.cli.escapes import EXPLAINED, unescaped
from tl_fbn.cli.options import (
    BatchTokensOption,
    DeviceOption,
    JsonFlag,
    LabelOption,
    ModelArgument,
    ModelDtypeOption,
    ProgressFlag,
    SeedOption,
    SiteOption,
    VerifyFlag,
)
from tl_fbn.cli.task_options import ChatFlag, HeadOption, ShotsOption, TasksOption, read_tasks, require_one

if TYPE_CHECKING:
    from tl_fbn.intervention.studies.lesion_results import LesionStudy

SHORT = "Silence networks and score tasks, beside random networks."


def command(
    model: ModelArgument,
    # which networks, and which items
    network: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="File of a network or an atlas; FILE:N03 is one network of an atlas, NAME=FILE calls a network NAME, "
            "and a folder of results gives all networks in it.",
        ),
    ],
    battery: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A .jsonl file of minimal pairs, multiple choice or questions with answers, or demo for the tasks of "
            "the embedded model; repeat the option for several.",
        ),
    ] = None,
    tasks: TasksOption = None,
    shots: ShotsOption = 5,
    head: HeadOption = "drawn",
    chat: ChatFlag = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Silence only the network of this name; repeat the option for several."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Score only the task of this name; repeat the option for several."),
    ] = None,
    items: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Score only this number of items of every task.")
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="What the lines of the .jsonl are: pairs, choices or qa; auto goes by the first line.",
        ),
    ] = "auto",
    template: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help='Makes the prompt of a question from fields of its line, such as "Q: {question}\\nA:" (with --tasks: '
            '"Q: {input}\\nA:"); '
            f"{EXPLAINED}.",
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Stands between prompt and answer, whatever they are; by default one space, where the prompt ends in "
            f"a letter, digit or closing mark and neither brings white space. {EXPLAINED}.",
        ),
    ] = None,
    scored: Annotated[
        str, typer.Option(metavar="WHAT", help="What is scored of multiple choice: text or label of the alternatives.")
    ] = "text",
    # what the networks are compared with
    controls: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of random networks of each kind for each network.")
    ] = 100,
    stop: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Lesion no more random networks for a network once N of them cost its own task as much as it does; 10 "
            "is common. By default all are lesioned.",
        ),
    ] = None,
    control_kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="Kind of random networks: random (as many units in each layer), activity (units as active, too) or "
            "rotated (as many random directions); repeat the option for several. The first kind gives p.",
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of collapse neurons, or of a network: units that are taken out of networks and random networks "
            "alike.",
        ),
    ] = None,
    # how units are silenced, and where
    method: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="What silenced units are given: zero, or mean, position_mean, resample or noise, which need "
            "--reference.",
        ),
    ] = "zero",
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of a recording of the same units, for methods other than zero and for activity controls.",
        ),
    ] = None,
    allow_other_weights: Annotated[
        bool,
        typer.Option("--allow-other-weights", help="Also take a reference of other weights than the model's."),
    ] = False,
    site: SiteOption = None,
    positions: Annotated[
        str,
        typer.Option(
            metavar="TOKENS", help="Tokens at which units are silenced: all, prompt, generated, last or special."
        ),
    ] = "all",
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="What is shown: exact_match or log_likelihood; by default exact match where every task has one.",
        ),
    ] = None,
    # what is kept, and where
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that keeps finished parts for a later run; by default one beside the study, which is deleted "
            "when the study is saved.",
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what the study would cost.")] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the study; by default those of networks and battery.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for the study; by default that of the networks.",
            show_default=False,
        ),
    ] = None,
    batch_tokens: BatchTokensOption = 8192,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: ModelDtypeOption = "auto",
    label: LabelOption = None,
    verify: VerifyFlag = True,
    json: JsonFlag = False,
    progress: ProgressFlag = None,
) -> None:
    """Silence networks while tasks are scored, beside random networks with as many units in every layer.

    A network that is named like a task counts as that task's own, and the table compares what its task loses with what
    the others lose. Items that a network was found on are refused. An interrupted study goes on where it was when the
    same command is run again.

    \b
    Example: tl-fbn lesion MODEL recordings/first/results --battery sort.jsonl --battery add.jsonl
    Renamed: tl-fbn lesion MODEL sort=recordings/first/results/atlas-spatial-16.safetensors:N03 --battery sort.jsonl
    Tasks:   tl-fbn lesion chat.gguf results --tasks plural.json capital.json --items 20 --controls 19
    Next:    tl-fbn report recordings/first
    """
    console = Console(json, progress)
    with console.working():
        require_one(tasks, battery, "--battery FILE")
        networks, folder = result_files.load_networks(network, only or ())
        rows, scored_items = None, None
        if tasks:
            rows = read_tasks(tasks, shots=shots, head=head, template=template, chat=chat, only=task or ())
        else:
            scored_items = input_files.read_battery(
                battery or (),
                n=items,
                tasks=task or (),
                format=format,
                template=None if template is None else unescaped(template),
                scored=scored,
                delimiter=None if delimiter is None else unescaped(delimiter),
            )
        recording = None
        if reference is not None:
            recording = result_files.open_recording(reference, site or _site_of(networks), verify=verify)
        out_of_all = None if exclude is None else result_files.load_exclusion(exclude)
        chosen: dict[str, Any] = {
            "exclude": out_of_all,
            "n_controls": controls,
            "stop": stop,
            "controls": tuple(control_kind or ("random",)),
            "batch_tokens": batch_tokens,
        }
        into = folder if out is None else out  # by default beside the networks
        without = "" if exclude is None else f"-without-{exclude.stem}"
        path = result_files.file_for(
            into, "lesions", name or _study_name(list(networks), tasks or battery or [], method) + without
        )
        loaded = model_argument.load(console, model, dtype=dtype, device=device, label=label)
        if rows is not None:  # a chat template is the model's
            scored_items = rows.battery(loaded, n=items)
        assert scored_items is not None
        from tl_fbn.intervention.hooks.interventions import silencer
        from tl_fbn.intervention.studies.lesion import lesion_study
        from tl_fbn.intervention.studies.lesion_plan import plan_lesions

        silence = silencer(
            loaded,
            method=method,  # pyright: ignore[reportArgumentType]
            reference=recording,
            positions=positions,
            seed=seed,
            allow_other_weights=allow_other_weights,
        )
        # an intervention that cannot be made is refused before anything is written
        for one in networks.values():
            silence(one)
        planned = plan_lesions(loaded, networks, scored_items, **chosen) if plan else None
    if planned is not None:
        console.result(repr(planned), verb="lesion", plan=vars(planned), study=None)
        return
    result_files.writable(into)
    parts = resume or path.with_suffix(".parts")  # named like the study, so that the same command finds it again
    with console.working(f"finished items are kept in {parts}, and the same command goes on from there"):
        study = lesion_study(
            loaded,
            networks,
            scored_items,
            method=method,  # pyright: ignore[reportArgumentType]
            reference=recording,
            allow_other_weights=allow_other_weights,
            positions=positions,
            metric=metric,
            path=parts,
            seed=seed,
            progress=console.bars,
            **chosen,
        )
        study.save(path)
        # a folder that the user named is the user's
        if resume is None:
            _delete_parts(parts)
    console.result(
        f"{_summary_text(study)}\n\nSaved as {path}",
        verb="lesion",
        study=path,
        metric=study.metric,
        method=method,
        seed=seed,
        controls={kind: array.shape[1] for kind, array in study.control_scores.items()},
        networks=dict(zip(study.networks, study.sizes.sum(1).tolist(), strict=True)),
        excluded=study.provenance.get("excluded"),
        verdict=study.verdict(),
        summary=study.summary(),
        lesions=study.to_dataframe(),
        double_dissociations=study.dissociations() if len(study.summary()) > 1 else [],
    )


def _site_of(networks: Any) -> str | None:
    """The site of the networks: where a reference with several sites is read."""
    return next(iter(networks.values())).space.site


def _study_name(networks: list[str], battery: list[str], method: str) -> str:
    """Name of a study from its networks, its battery and its method, as far as they differ from the default."""
    who = "+".join(networks) if len(networks) < 4 else f"{len(networks)}-networks"
    what = "+".join(map(input_files.name_of, battery)) if len(battery) < 4 else f"{len(battery)}-batteries"
    return (who if who == what else f"{who}-{what}") + ("" if method == "zero" else f"-{method}")


def _delete_parts(parts: Path) -> None:
    """Delete what only an unfinished study needs; the folder too, if nothing else is in it."""
    for file in [*parts.glob("*.safetensors"), parts / "study.json"]:
        file.unlink(missing_ok=True)
    if not any(parts.iterdir()):
        parts.rmdir()


def _summary_text(study: LesionStudy) -> str:
    """What every task loses, beside controls, and what the reader has to know to judge it."""
    from tl_fbn.intervention.studies.exclusion import exclusion_in_words

    points = study.metric == "exact_match"
    kinds = " and ".join(f"{array.shape[1]} {kind}" for kind, array in study.control_scores.items())
    what = "points of exact match" if points else "nats a token of log-likelihood"
    lines = [repr(study), f"Lost: {what}, beside {kinds} networks with as many units in each layer."]
    own = study.summary()  # a line for each network that is named like a task
    every = study.to_dataframe()  # a line for each network and task
    if out := exclusion_in_words(study.provenance):
        lines.append(out)
    lines.append(_baseline_sentence(every, points))
    named = list(own["network"]) if len(own) else []
    if named:
        drops = ["own", "other_worst", "control_p95"]
        columns = ["network", "units", "own", "other_worst", "worst_task", "isolation", "control_p95", "p"]
        lines += ["", _table_of_drops(own, columns, drops, points)]
    # networks that are no task's own have a line for each task instead
    others = every[~every["network"].isin(named)]
    if len(others):
        drops = ["lesioned", "drop", "low", "high", "control_p95"]
        lines += ["", _table_of_drops(others, ["network", "task", *drops, "p"], drops, points)]
        if not named:
            tasks = ", ".join(study.tasks)
            lines += ["", f"No network is named like a task ({tasks}); NAME=FILE says which network is which task's."]
    lines += ["", study.verdict()]
    smallest_p = 1 / (1 + study.controls.shape[1])
    lines += [
        "",
        "p: the share of random networks that cost at least as much, the network itself counted, so at least "
        f"{smallest_p:.2g}; not corrected for the number of lines.",
    ]
    # items must not be prompts that a network was found on; networks from elsewhere do not say what they were found on
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


def _baseline_sentence(every: Any, points: bool) -> str:
    """What each task scores without a lesion, beside chance: all that a lesion can take away."""
    first = every.drop_duplicates("task")
    lines = zip(*(first[column].tolist() for column in ("task", "baseline", "chance")), strict=True)
    if not points:
        return "Without a lesion: " + ", ".join(f"{task} {score:.3f}" for task, score, _ in lines) + "."
    scores = [
        f"{task} {100 * score:.0f}" + (f" (chance {100 * chance:.0f})" if chance > 0 else "")
        for task, score, chance in lines
    ]
    return "Without a lesion: " + ", ".join(scores) + "."


def _table_of_drops(frame: Any, columns: list[str], drops: list[str], points: bool) -> str:
    """Some columns of a table as text: drops of exact match in points (of 100), of log-likelihood in nats."""
    shown = frame[columns].copy()
    shown[drops] = shown[drops] * (100 if points else 1)
    keys = 2 if columns[1] == "task" else 1
    return table(shown, decimals=dict.fromkeys(drops, ".0f" if points else ".3f"), keys=keys)
