"""``tl-fbn networks``: units that act together, whatever the task."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tl_fbn.cli import result_files as places
from tl_fbn.cli.console import WHOLE, Console, table
from tl_fbn.cli.options import Json, Out, Progress, RecordingFolder, Seed, Site
from tl_fbn.errors import InputError

SHORT = "Find networks without a task, by independent components."
CANDIDATES = (4, 8, 16, 32)
MOST_LAYERS = 12  # with a column each; more are told by where most units are


def command(
    folder: RecordingFolder,
    k: Annotated[
        str,
        typer.Option("-k", "--components", metavar="K", help="How many networks, or auto to have a number proposed."),
    ],
    method: Annotated[str, typer.Option(metavar="METHOD", help="spatial, temporal or canica.")] = "spatial",
    restarts: Annotated[
        int, typer.Option(metavar="N", min=1, help="Resampled analyses behind stability; 1 for none.")
    ] = 20,
    noise_sets: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Noise data sets behind the p of stability; 0 for none.")
    ] = None,
    threshold: Annotated[
        str, typer.Option(metavar="Z", help="Members: |z| at least this number, or percentile or mixture.")
    ] = "3.0",
    one_sided: Annotated[bool, typer.Option("--one-sided", help="Members of the positive tail only.")] = False,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Score and cut within layers.")] = False,
    by_layer: Annotated[bool, typer.Option("--by-layer", help="Decompose every layer by itself.")] = False,
    window: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Decompose every window of so many layers.")
    ] = None,
    standardize: Annotated[
        str, typer.Option(metavar="HOW", help="no, yes (by the sd of a unit) or robust (by its MAD).")
    ] = "no",
    drop_first: Annotated[
        int, typer.Option(metavar="N", min=0, help="Rows left out at the start of every context.")
    ] = 0,
    clip: Annotated[float | None, typer.Option(metavar="X", help="Clip values beyond so many sds, or MADs.")] = None,
    pool: Annotated[str, typer.Option(metavar="ROWS", help="token, or last or mean for one row a prompt.")] = "token",
    candidates: Annotated[
        str,
        typer.Option(
            metavar="K,K", help="With -k auto: numbers to try; those the recording is too short for are left out."
        ),
    ] = ",".join(map(str, CANDIDATES)),
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the atlas; by default method and number.")
    ] = None,
    site: Site = None,
    out: Out = None,
    seed: Seed = 0,
    json: Json = False,
    progress: Progress = None,
) -> None:
    """Decompose a recording into networks of units that act together, and say how far each can be trusted.

    Stability (Iq) is 1 where resampled analyses find the same network again; p is the share of networks of matched
    noise that are as stable. No model is loaded. First tokens and massive activations make networks of their own:
    --drop-first 1 --standardize robust --clip 5.

    \b
    Example: tl-fbn networks recordings/first -k 16 --drop-first 1
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
            "clip": clip,
        }
        number = None if k == "auto" else _number(k, "-k")
        tried = None if number is not None else [_number(one, "--candidates") for one in candidates.split(",")]
        limit = _limit(threshold)
        recording = places.open_recording(folder, site)
        if pool != "token":
            recording = recording.pool(pool)  # pyright: ignore[reportArgumentType]
        into = places.writable(out or places.results_of(folder))
        from tl_fbn.analysis.ica.find_networks import find_networks

        suffix = f"-{site}" if site else ""
        fields: dict[str, Any] = {"verb": "networks", "recording": folder, "seed": seed}
        proposed = ""
        if tried is not None:
            choice = _choose(recording, tried, console, seed=seed, **preparation)
            number = choice.proposal
            path = places.file_for(into, "choice", f"{name or method}{suffix}")
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
            threshold=limit,
            one_sided=one_sided,
            per_layer=per_layer,
            **preparation,
        )
        path = places.file_for(into, "atlas", f"{name or f'{method}-{number}'}{suffix}")
        atlas.save(path)
    full = atlas.to_dataframe().rename(columns={"stability_p": "p"})
    if by_layer is False and window is None:
        full.insert(3, "explained", atlas.explained)
    shown = full if atlas.space.n_layers <= MOST_LAYERS else _brief(full)
    console.result(
        f"{proposed}{table(shown, decimals={'share': '.1%', 'explained': '.1%', 'stability': '.2f'})}\n\n{_trust(atlas)}\nSaved as {path}",
        **fields,
        atlas=path,
        n_components=number,
        method=method,
        converged=atlas.converged,
        networks=full,
        unstable=atlas.unstable if atlas.stability_p is not None else None,
        noise_iq=[] if atlas.noise_iq is None else atlas.noise_iq.tolist(),
    )


def _brief(full: Any) -> Any:
    """The table with the three layers that hold most units in the place of all."""
    layers = [name for name in full if name.startswith("layer ")]
    counts = full[layers].to_numpy()
    most = [
        ", ".join(f"{layers[at][6:]} ({line[at]})" for at in (-line).argsort(kind="stable")[:3] if line[at])
        for line in counts
    ]
    return full.drop(columns=layers).assign(**{"layers with most units": most})


def _choose(recording: Any, tried: list[int], console: Console, **options: Any) -> Any:
    from tl_fbn.analysis.ica.model_order import choose_components

    most = min(recording.n_rows - len(recording), recording.space.n_units - 1)
    fitting = [number for number in tried if number <= most]
    if not fitting:
        raise InputError(
            f"--candidates {','.join(map(str, tried))}: {recording.n_rows} rows and {recording.space.n_units} units allow at most {most} networks"
        )
    if len(fitting) < len(tried):
        console.note(f"left out, for want of rows or units: {', '.join(str(n) for n in tried if n not in fitting)}")
    return choose_components(recording, fitting, **options)


def _number(text: str, option: str) -> int:
    if not text.strip().isdecimal() or int(text) < 2:
        raise InputError(
            f"{option} {text} is no number of networks; give a whole number of at least 2"
            + (", or auto" if option == "-k" else "")
        )
    return int(text)


def _limit(text: str) -> Any:
    """A threshold: a number, or the name of a rule."""
    try:
        return float(text)
    except ValueError:
        return text  # the rules are checked where they are known


def _trust(atlas: Any) -> str:
    words = [] if atlas.converged else ["The final rotation did not converge: take fewer networks, or more rows."]
    if atlas.stability is None:
        words.append("Stability was not measured; --restarts 20 does.")
    elif atlas.stability_p is None:
        words.append("Stability was not compared with noise; leave --noise-sets out.")
    else:
        noise = max(atlas.noise_iq)
        words.append(
            f"Networks of matched noise reach a stability of {noise:.2f} (95th percentile). "
            + (
                f"No more stable than noise (p >= .05): {', '.join(atlas.unstable)}."
                if atlas.unstable
                else "Every network is more stable than noise (p < .05)."
            )
        )
    return " ".join(words)
