"""``tl-fbn cgvst``: task neurons from gradients at the special tokens of chats.

The command scores every MLP neuron with :func:`tl_fbn.cgvst` (Song et al. 2024), once for each file of chats, and saves
a map of the scores and a network of the largest ones for each task. With ``--specific`` maps are made comparable and
the largest of the other tasks' is subtracted from each (:func:`tl_fbn.specific_scores`). "Released" in the help texts
means the setting of the code that Song et al. published.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tl_fbn.cli import input_files, model_argument, result_files, unit_lists
from tl_fbn.cli.console import WHOLE, Console, table
from tl_fbn.cli.options import (
    BatchTokensOption,
    DeviceOption,
    JsonFlag,
    LabelOption,
    ModelArgument,
    ModelDtypeOption,
    ProgressFlag,
    SeedOption,
    amount,
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
from tl_fbn.errors import InputError

_ROWS_OF_A_TASK = 30  # that neurons are scored on with --tasks; --items says otherwise
SHORT = "Score neurons by gradients at the special tokens of chats."


def command(
    model: ModelArgument,
    chats: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHATS...]",
            show_default=False,
            help='A .jsonl file of chats for each task, whose lines are {"messages": [...]}, lists of messages or '
            '{"text": ...}; or demo:sort, the chats of a task that come with the package.',
        ),
    ] = None,
    tasks: TasksOption = None,
    shots: ShotsOption = 5,
    head: HeadOption = "drawn",
    template: TaskTemplateOption = None,
    chat: ChatFlag = False,
    top: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Size of the network: a number of units (57) or a share of all (0.05). By default 0.05, and 0.002 "
            "with --tasks.",
            show_default=False,
        ),
    ] = None,
    specific: Annotated[
        bool | None,
        typer.Option(
            "--specific/--no-specific",
            help="Subtract what other tasks score from each task's scores, all scaled to the same mean magnitude, or "
            "do not; needs two tasks or more, and is the default with --tasks. The published networks are not "
            "specific.",
            show_default=False,
        ),
    ] = None,
    less: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="With --specific, what is subtracted: largest (the default: the largest score on any other task, by "
            "rank) or mean (of the other tasks, of scores over their mean magnitude).",
            show_default=False,
        ),
    ] = None,
    # the score
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="TOKENS",
            help="Tokens at which the loss is taken: special (those of the chat template; released), answer (the "
            "assistant's), content (of other messages), all or random. By default special, and answer with --tasks.",
            show_default=False,
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="VARIANT",
            help="Formula of the score: row_sum (released), row_l1, row_l2, grad_x_act or grad; by default row_sum, or "
            "row_l1 where that is zero by construction, and grad_x_act with --tasks.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="SITE",
            help="Site that the loss is differentiated at: mlp.up (up projection; released), mlp.pre or mlp.neurons. "
            "By default mlp.up, and mlp.neurons with --tasks.",
            show_default=False,
        ),
    ] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="How the scores of several chats become one: sum_abs (released), mean_abs, abs_mean, mean or t. By "
            "default sum_abs, and mean with --tasks.",
            show_default=False,
        ),
    ] = None,
    # which positions are special, and how they are weighed
    span: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Text of a special token, such as [INST]; repeat the option for several. By default those of the chat "
            "template.",
        ),
    ] = None,
    groups: Annotated[
        str,
        typer.Option(
            metavar="GROUPS",
            help="How scored positions are weighed: turns (last turn as much as all before it), none (alike), or a "
            "number of positions after which a second group begins (released: 28).",
        ),
    ] = "turns",
    bos_eos: Annotated[
        bool,
        typer.Option(help="Keep the beginning and end of text, which are special tokens too, or leave them empty."),
    ] = True,
    # which chats
    items: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Read only this number of chats from each file.")
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=2, help="Leave out and count chats of more tokens; by default they are an error."
        ),
    ] = None,
    batch_tokens: BatchTokensOption = 8192,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name of a task, given once for each file; by default the file's name."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for the results; by default the folder results beside the first file of chats.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: ModelDtypeOption = "auto",
    label: LabelOption = None,
    json: JsonFlag = False,
    progress: ProgressFlag = None,
) -> None:
    """Score every MLP neuron by how much the model would change it to learn some tokens of a task's chats.

    Saves a map of the scores and a network of the largest ones, for each task. The score of one task is not compared
    with that of another, unless --specific is given; and it is no evidence of a cause before a lesion has been tried.

    \b
    Example: tl-fbn cgvst MODEL sort.jsonl --top 0.05 -o recordings/first/results
    Tasks:   tl-fbn cgvst chat.gguf --tasks plural.json capital.json -o results
    Several: tl-fbn cgvst demo demo:sort demo:add demo:upper --specific --tokens answer -o results
    Next:    tl-fbn lesion MODEL recordings/first/results/network-cgvst-sort.safetensors --battery items.jsonl
    """
    console = Console(json, progress)
    with console.working(WHOLE):
        require_one(tasks, chats, "CHATS")
        size = amount(top or ("0.002" if tasks else "0.05"), "--top")
        assert size is not None
        rows = None
        if tasks:
            rows = read_tasks(tasks, shots=shots, head=head, template=template, chat=chat, only=name or ())
            names = list(rows.names)
        else:
            names = name or [input_files.name_of(source) for source in chats or ()]
        _check_names(chats or (), name, names, specific)
        # everything that can be refused is refused before the model is loaded
        result_files.require_different_files(names)
        given_of_task: dict[str, tuple[Any, Any]] = {}  # items, and the positions of the scored tokens where marked
        if chats:
            given_of_task = {
                task: (input_files.read_chats(source, items), None) for task, source in zip(names, chats, strict=True)
            }
        kind, at_site = (tokens or "answer", at or "mlp.neurons") if tasks else (tokens or "special", at or "mlp.up")
        if rows is not None and kind != "answer" and not rows.is_chat:
            raise InputError(f"--tokens {kind} is for chats; give --chat, or leave it out to score answers")
        position_groups = _groups_value(groups)
        taken = _specificity(less)
        into = result_files.writable(out or _results_beside((tasks or chats or [""])[0]))
        from tl_fbn.analysis.networks.specificity import specific_scores
        from tl_fbn.attribution.cgvst import cgvst
        from tl_fbn.attribution.rivals import gradient_x_activation

        loaded = model_argument.load(console, model, dtype=dtype, device=device, label=label)
        shared: dict[str, Any] = {
            "spans": span,
            "bos_eos": bos_eos,
            "max_tokens": max_tokens,
            "batch_tokens": batch_tokens,
            "seed": seed,
            "progress": console.bars,
        }

        def scores_of(given: Any, positions: Any) -> Any:
            if tasks and variant in (None, "grad_x_act") and at_site == "mlp.neurons":  # signed, in nats
                how: Any = aggregate or "mean"
                which: Any = None if positions is not None else kind
                return gradient_x_activation(loaded, given, positions, tokens=which, aggregate=how, **shared)
            return cgvst(
                loaded,
                given,
                positions,
                tokens="special" if positions is not None else kind,  # pyright: ignore[reportArgumentType]
                variant=variant,  # pyright: ignore[reportArgumentType]
                site=at_site,  # pyright: ignore[reportArgumentType]
                groups=position_groups,
                aggregate=aggregate or "sum_abs",  # pyright: ignore[reportArgumentType]
                **shared,
            )

        if rows is not None and kind == "answer":
            given_of_task = dict(rows.items(loaded, n=items or _ROWS_OF_A_TASK))
        elif rows is not None:
            given_of_task = {task: (given, None) for task, given in rows.chats(n=items or _ROWS_OF_A_TASK).items()}
        maps = {task: scores_of(*given) for task, given in given_of_task.items()}
        specific = bool(tasks) and len(names) > 1 if specific is None else specific
        # of the scores themselves: specific scores have a provenance of their own
        provenances = {task: dict(scores.provenance) for task, scores in maps.items()}
        if specific:
            maps = specific_scores(maps, how=taken, scale="rank" if taken == "least" else "mean")
        first = next(iter(maps.values()))
        speaking = unit_lists.speaking(console, loaded, first.space)
        words_of = unit_lists.WITH_WORDS if json else unit_lists.FIRST
        found: list[dict[str, Any]] = [
            _save_task(task, scores, size, into, provenances[task])
            | {"unit_list": unit_lists.unit_list(scores.top(size), scores, speaking, words_of=words_of)}
            for task, scores in maps.items()
        ]
    files = result_files.list_of_files(one[kind] for one in found for kind in ("map", "network"))
    summary = _summary_text(first, found, taken if specific else None)
    console.result(
        "\n\n".join([summary, _layer_table(found), _unit_tables(found), files]),
        verb="cgvst",
        model=first.space.model,
        units=first.space.n_units,
        widths=first.space.widths,
        specific=specific,
        tasks=found,
        seed=seed,
    )


def _save_task(task: str, scores: Any, size: int | float, into: Path, provenance: dict[str, Any]) -> dict[str, Any]:
    """Save a task's map and network; what they are, how they were made and where they lie."""
    network = scores.top(size, name=task)
    paths = {kind: result_files.file_for(into, f"{kind}-cgvst", task) for kind in ("map", "network")}
    scores.save(paths["map"])
    network.save(paths["network"])
    return {
        "task": task,
        "items": provenance.get("n_items"),
        "skipped_as_too_long": provenance.get("skipped_as_too_long"),
        "tokens": provenance.get("tokens"),
        "scored_positions": provenance.get("scored_positions"),
        "variant": provenance.get("variant"),
        "variant_reason": provenance.get("variant_reason"),
        "members": len(network),
        "per_layer": network.per_layer(),
        "widths": network.space.widths,
        **paths,
    }


def _check_names(
    chats: Sequence[str], given: Sequence[str] | None, names: Sequence[str], specific: bool | None
) -> None:
    """Raise an error unless there is a name a file of chats, and two tasks where they are to be compared."""
    if specific and len(names) < 2:
        raise InputError("--specific compares tasks; give the chats of at least two")
    if chats and given and len(given) != len(chats):
        raise InputError(f"{len(given)} names for {len(chats)} files of chats; give --name once a file, or not at all")


def _specificity(less: str | None) -> Any:
    """What --less asks for as :func:`tl_fbn.specific_scores` takes it."""
    ways = {None: "least", "mean": "difference", "largest": "least"}
    if less not in ways:
        raise InputError(f"--less must be mean or largest; got {less}")
    return ways[less]


def _groups_value(text: str) -> Any:
    """The text of --groups as :func:`tl_fbn.cgvst` takes it: "turns", None or a number."""
    if text in ("turns", "none"):
        return None if text == "none" else "turns"
    if not text.isdecimal():
        raise InputError(f"--groups must be turns, none or a number of positions; got {text}")
    return int(text)


def _results_beside(source: str) -> Path:
    """The folder of results beside a file of chats; in the working folder for chats that come with the package."""
    return (
        Path(result_files.RESULTS)
        if source.startswith(input_files.DEMO)
        else Path(source).parent / result_files.RESULTS
    )


def _summary_text(first: Any, found: list[dict[str, Any]], taken: str | None) -> str:
    """What was scored, how, and what the selection does not show."""
    lines = [f"{first.space.describe()}, {first.space.n_units:,} neurons"]
    for one in found:
        # the answers of tasks from files are marked by their positions
        noun, kind = ("rows", "answer") if one["tokens"] == "given positions" else ("chats", one["tokens"])
        scored = f": {one['items']:,} {noun}, {one['scored_positions']:,} {kind} tokens scored, {one['variant']}"
        left = f"; {one['skipped_as_too_long']} left out as too long" if one["skipped_as_too_long"] else ""
        reason = f" ({one['variant_reason']})" if one["variant_reason"] else ""
        lines.append(f"{one['task']}{scored}{reason}{left}")
    words = {"difference": "less the mean of the other tasks'", "least": "by rank, less the largest on any other task"}
    how = words.get(taken or "", "of one task, compared with no other")
    lines.append(
        f"The largest scores {how}: chosen by size, not tested. Chance alone would spread them over layers as units "
        "are."
    )
    return "\n".join(lines)


def _unit_tables(found: list[dict[str, Any]]) -> str:
    """The first units of each task, with the words that they promote."""
    lists = [unit_lists.first_units(one["unit_list"], one["task"]) for one in found]
    return "\n\n".join([*lists, unit_lists.READING] if "promotes" in found[0]["unit_list"] else lists)


def _layer_table(found: list[dict[str, Any]]) -> str:
    """Number of units found in each layer, a column a task, beside what chance would give."""
    import pandas as pd

    widths = found[0]["widths"]
    frame = pd.DataFrame({"layer": range(len(widths)), "units": widths})
    members = found[0]["members"]
    # as many members as in the network, spread over layers in proportion to their widths
    frame["by chance"] = [members * width / sum(widths) for width in widths]
    for one in found:
        frame[one["task"]] = one["per_layer"]
    return table(frame, decimals={"by chance": ".1f"})
