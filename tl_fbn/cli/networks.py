"""``tl-fbn networks``: units that act together, whatever the task.

The command decomposes a recording with :func:`tl_fbn.find_networks`, saves the atlas, and says of each network which
condition it follows (:func:`tl_fbn.networks.followed_conditions`), beside chance. With ``-k auto`` it first
tries several numbers of networks (:func:`tl_fbn.choose_components`), saves that comparison too, and takes the number
that is proposed. No model is loaded, but for the words that units promote, if ``--model`` asks for them.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tl_fbn.cli import result_files, unit_lists
from tl_fbn.cli.console import WHOLE, Console, table
from tl_fbn.cli.options import (
    JsonFlag,
    OutFolderOption,
    ProgressFlag,
    RecordingArgument,
    SeedOption,
    SiteOption,
    VerifyFlag,
    WordsModelOption,
)
from tl_fbn.errors import InputError, one_of

SHORT = "Find networks without a task, by independent components."
CANDIDATES = (4, 8, 16, 32)


def command(
    folder: RecordingArgument,
    # how many networks, by which decomposition
    k: Annotated[
        str,
        typer.Option(
            "-k",
            "--components",
            metavar="K",
            help="Number of networks to find; auto tries the --candidates and takes the number that is proposed.",
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="spatial (networks have independent maps), temporal (independent time courses) or canica (spatial, "
            "within the subspace that all runs share).",
        ),
    ] = "spatial",
    restarts: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Number of resampled analyses that stability is measured over; 1 for none."
        ),
    ] = 20,
    noise_sets: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Number of noise data sets that stability is compared with, for p; 0 for none. By default as many as "
            "make 20 noise networks.",
        ),
    ] = None,
    # which units are members
    threshold: Annotated[
        str,
        typer.Option(
            metavar="Z",
            help="What makes a unit a member of a network: |z| of at least this number, or the rule percentile or "
            "mixture.",
        ),
    ] = "3.0",
    one_sided: Annotated[
        bool, typer.Option("--one-sided", help="Take only members with a positive z in the map of a network.")
    ] = False,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Compute z and the threshold within each layer, not over all.")
    ] = False,
    # all layers together, or some at a time
    by_layer: Annotated[
        bool, typer.Option("--by-layer", help="Decompose every layer by itself, into K networks each.")
    ] = False,
    window: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Decompose every window of this number of layers, into K networks each."),
    ] = None,
    # what is done to the rows first
    standardize: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="Divide every unit by its spread first: no, yes (standard deviation) or robust (median absolute "
            "deviation).",
        ),
    ] = "robust",
    drop_first: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of rows to leave out at the start of every context.")
    ] = 1,
    clip: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="Clip values further from a unit's mean than this number of standard deviations (with --standardize "
            "robust: from its median, in scaled median absolute deviations); 0 clips nothing.",
        ),
    ] = 5.0,
    pool: Annotated[
        str,
        typer.Option(
            metavar="ROWS",
            help="Rows to decompose: token (every recorded row), or last or mean, which make one row of each prompt.",
        ),
    ] = "token",
    candidates: Annotated[
        str,
        typer.Option(
            metavar="K,K",
            help="With -k auto: numbers of networks to try, separated by commas. Numbers that the recording is too "
            "short for are left out.",
        ),
    ] = ",".join(map(str, CANDIDATES)),
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the atlas; by default the method and the number.")
    ] = None,
    site: SiteOption = None,
    model: WordsModelOption = None,
    out: OutFolderOption = None,
    verify: VerifyFlag = True,
    seed: SeedOption = 0,
    json: JsonFlag = False,
    progress: ProgressFlag = None,
) -> None:
    """Decompose a recording into networks of units that act together, and say how far each can be trusted.

    Stability (Iq) is 1 where resampled analyses find the same network again; p is the share of networks of matched
    noise that are at least as stable. First tokens and massive activations, which would make networks
    of their own, are kept out; --drop-first 0 --standardize no --clip 0 takes activations as they are.

    \b
    Example: tl-fbn networks recordings/first -k 16
    Or:      tl-fbn networks recordings/first -k auto --candidates 8,16,32
    Next:    tl-fbn lesion MODEL recordings/first/results/atlas-spatial-16.safetensors --only N03 --battery items.jsonl
    """
    console = Console(json, progress)
    with console.working(WHOLE):
        if by_layer and window is not None:
            raise InputError("--by-layer and --window are two ways to decompose layers; give one of them")
        if standardize not in ("no", "yes", "robust"):
            raise InputError(f"--standardize must be no, yes or robust; got {standardize}")
        preparation: dict[str, Any] = {
            "method": method,
            "standardize": {"no": False, "yes": True, "robust": "robust"}[standardize],
            "drop_first": drop_first,
            "clip": clip or None,
        }
        # either a number is given, or there are candidates to choose it from
        number = None if k == "auto" else _number_of_networks(k, "-k")
        tried = None
        if number is None:
            tried = [_number_of_networks(one, "--candidates") for one in candidates.split(",")]
        membership = _threshold_value(threshold)
        recording = result_files.open_recording(folder, site, verify=verify)
        one_of(pool, ("token", "last", "mean"), "pool")
        if pool != "token":
            recording = recording.pool(pool)  # pyright: ignore[reportArgumentType]
        into = result_files.writable(out or result_files.results_of(folder))
        loaded = unit_lists.load_model(console, model, recording.space)
        from tl_fbn.analysis.ica.find_networks import find_networks

        suffix = f"-{site}" if site else ""  # atlases of several sites of one recording lie side by side
        fields: dict[str, Any] = {"verb": "networks", "recording": folder, "seed": seed}
        proposed = ""
        if tried is not None:
            choice = _choose_number(recording, tried, console, seed=seed, **preparation)
            number = choice.proposal
            path = result_files.file_for(into, "choice", f"{name or method}{suffix}")
            choice.save(path)
            fields |= {"choice": path, "candidates": choice.table, "agreed": choice.agreed}
            proposed = f"{choice!r}\n{table(choice.table)}\n\n"
        assert number is not None
        atlas = find_networks(
            recording,
            number,
            seed=seed,
            across_layers=False if by_layer else window or True,
            n_restarts=restarts,
            n_null=noise_sets,
            threshold=membership,
            one_sided=one_sided,
            per_layer=per_layer,
            progress=console.bars,
            **preparation,
        )
        path = result_files.file_for(into, "atlas", f"{name or f'{method}-{number}'}{suffix}")
        atlas.save(path)
        lists = unit_lists.atlas_lists(atlas, loaded, words_of=unit_lists.WITH_WORDS if json else 0)
        words = None if loaded is None else unit_lists.words_of_networks(atlas, loaded)
        followed = _followed_conditions(recording, atlas, seed, drop_first=0 if pool != "token" else max(1, drop_first))
    full = atlas.to_dataframe().rename(columns={"stability_p": "p"})
    # decompositions of several windows explain shares of different totals
    if by_layer is False and window is None:
        full.insert(3, "explained", atlas.explained)
    if words is not None:
        full["promotes"] = list(words.values())
    trusted = [name for name in full if name in ("network", "units", "share", "explained", "stability", "p")]
    shown: Any = full[trusted]
    if followed is not None:
        shown = shown.assign(**{name: followed[name] for name in ("follows", "r", "chance")})
        shown["follows"] = [name or "-" for name in shown["follows"]]
    decimals = {"share": ".1%", "explained": ".1%", "stability": ".2f", "p": ".2g", "r": ".2f", "chance": ".2f"}
    console.result(
        f"{proposed}{table(shown, decimals=decimals)}\n\n{_trust_text(atlas)}\n{_followed_text(followed)}\n\n"
        f"{unit_lists.first_of_each(lists, _largest_layers(full), words)}\n"
        f"{unit_lists.HINT if words is None else unit_lists.READING}\n\nSaved as {path}",
        **fields,
        atlas=path,
        n_components=number,
        method=method,
        converged=atlas.converged,
        networks=full,
        follows=followed,
        unit_lists=lists,
        unstable=atlas.unstable if atlas.stability_p is not None else None,
        noise_iq=[] if atlas.noise_iq is None else atlas.noise_iq.tolist(),
    )


def _largest_layers(full: Any) -> list[str]:
    """The three layers that hold most units of each network, and how many each."""
    layers = [name for name in full if name.startswith("layer ")]
    counts = full[layers].to_numpy()
    return [
        ", ".join(f"{layers[at][6:]} ({line[at]})" for at in (-line).argsort(kind="stable")[:3] if line[at])
        for line in counts
    ]


def _followed_conditions(recording: Any, atlas: Any, seed: int, *, drop_first: int) -> Any:
    """Which condition each network follows; None where there is nothing to compare."""
    from tl_fbn.analysis.networks.followed_conditions import followed_conditions

    try:
        return followed_conditions(recording, atlas, seed=seed, drop_first=drop_first)
    except InputError:  # one condition, or one in every run
        return None


def _followed_text(followed: Any) -> str:
    """What the columns on conditions mean."""
    if followed is None:
        return "No run has blocks of two conditions, so nothing says which condition a network follows."
    return (
        f"Follows: the condition that a network goes with most over {followed['blocks'].tolist()[0]} blocks "
        "(r of its mean; below 0: less active there), if p < .05. Chance: 95th percentile of the largest |r| with "
        "labels of blocks exchanged within runs; not corrected for the number of networks."
    )


def _choose_number(recording: Any, tried: list[int], console: Console, **options: Any) -> Any:
    """The comparison of those candidates that the recording is long enough for."""
    from tl_fbn.analysis.ica.model_order import choose_components
    from tl_fbn.analysis.ica.reduction import kept_rows

    n_rows = sum(int(kept.sum()) for kept in kept_rows(recording, options["drop_first"]))
    # centring takes one dimension of the rows of every run, and one of the units
    most = min(n_rows - len(recording), recording.space.n_units - 1)
    fitting = [number for number in tried if number <= most]
    if not fitting:
        raise InputError(
            f"--candidates {','.join(map(str, tried))}: {n_rows} rows and {recording.space.n_units} units "
            f"allow at most {most} networks"
        )
    if len(fitting) < len(tried):
        console.note(f"left out, for want of rows or units: {', '.join(str(n) for n in tried if n not in fitting)}")
    return choose_components(recording, fitting, progress=console.bars, **options)


def _number_of_networks(text: str, option: str) -> int:
    """A whole number of at least 2, from the text of an option."""
    if not text.strip().isdecimal() or int(text) < 2:
        raise InputError(
            f"{option} {text} is no number of networks; give a whole number of at least 2"
            + (", or auto" if option == "-k" else "")
        )
    return int(text)


def _threshold_value(text: str) -> Any:
    """The text of --threshold as a number, or as it is: the name of a rule."""
    try:
        return float(text)
    except ValueError:
        return text  # the rules are checked where they are known


def _trust_text(atlas: Any) -> str:
    """How far the networks can be trusted: convergence, and stability against that of noise."""
    words = [] if atlas.converged else ["The final rotation did not converge: take fewer networks, or more rows."]
    if atlas.empty:
        words.append(f"No unit reaches the threshold in {', '.join(atlas.empty)}.")
    if atlas.stability is None:
        words.append("Stability was not measured; --restarts 20 does.")
    elif atlas.stability_p is None:
        words.append("Stability was not compared with noise; leave --noise-sets out.")
    else:
        noise = max(atlas.noise_iq)  # of windows, that with the most stable noise
        words.append(
            f"Networks of matched noise reach a stability of {noise:.2f} (95th percentile). "
            + (
                f"No more stable than noise (p >= .05): {', '.join(atlas.unstable)}."
                if atlas.unstable
                else "Every network is more stable than noise (p < .05)."
            )
        )
    return " ".join(words)
