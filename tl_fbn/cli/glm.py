"""``tl-fbn glm``: which units follow a contrast of conditions, and how sure that is."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tl_fbn.cli import result_files as places
from tl_fbn.cli.console import WHOLE, Console, table
from tl_fbn.cli.options import Json, Out, Progress, RecordingFolder, Seed, Site, amount
from tl_fbn.errors import InputError

if TYPE_CHECKING:
    from tl_fbn.analysis.glm.fit import GLMFit
    from tl_fbn.units import Network

SHORT = "Fit a linear model to every unit and test contrasts."


def command(
    folder: RecordingFolder,
    expression: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPRESSION...", help='Contrasts of columns, e.g. "sort - rest"; each is tested by itself.'
        ),
    ],
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name of a contrast and its network, one a contrast; by default the expression. Earlier ones of that name are replaced.",
        ),
    ] = None,
    fdr: Annotated[
        float | None, typer.Option(metavar="Q", help="Expected share of false units; by default 0.05.")
    ] = None,
    fwe: Annotated[float | None, typer.Option(metavar="P", help="Chance of any false unit, instead of --fdr.")] = None,
    top: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Instead of a test, a number of units (57) or a share of them (0.05)."),
    ] = None,
    by: Annotated[str, typer.Option(metavar="t|effect", help="With --top: largest t or effect.")] = "t",
    method: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Of --fdr: bh, by or layers; of --fwe: holm or bonferroni.")
    ] = None,
    positive: Annotated[bool, typer.Option("--positive", help="Only units with a positive effect.")] = False,
    min_effect: Annotated[float, typer.Option(metavar="X", min=0.0, help="And an effect at least this large.")] = 0.0,
    level: Annotated[
        str, typer.Option(metavar="LEVEL", help="block, token or run: what the test speaks about.")
    ] = "block",
    f_test: Annotated[
        bool, typer.Option("--f-test", help="Test all expressions together: does any differ from 0?")
    ] = False,
    permutations: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=19, help="Correct over units by so many relabellings of blocks; goes with --fwe."
        ),
    ] = None,
    null: Annotated[str, typer.Option(metavar="NULL", help="With --permutations: labels, shift or signs.")] = "labels",
    noise: Annotated[str, typer.Option(metavar="NOISE", help="ar1, ar1_pooled, newey_west or ols.")] = "ar1",
    maxlags: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="With --noise newey_west: rows of autocorrelation.")
    ] = None,
    replicates: Annotated[
        str, typer.Option(metavar="UNIT", help="blocks, or prompts: what the block level tests over.")
    ] = "blocks",
    confound: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Column of no interest, e.g. log_position or surprisal; repeat for several."),
    ] = None,
    drift: Annotated[str, typer.Option(metavar="DRIFT", help="cosine, polynomial or none.")] = "cosine",
    cutoff: Annotated[float | None, typer.Option(metavar="ROWS", help="Shortest drift period, in rows.")] = None,
    degree: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --drift polynomial: highest power.")
    ] = None,
    position: Annotated[bool, typer.Option(help="Model the place in the context.")] = True,
    kernel: Annotated[str, typer.Option(metavar="KERNEL", help="none, leak or fir: how a condition lasts.")] = "none",
    leak: Annotated[
        float | None, typer.Option(metavar="X", help="With --kernel leak: what is left after one row.")
    ] = None,
    lags: Annotated[int, typer.Option(metavar="N", min=1, help="With --kernel fir: columns a condition.")] = 4,
    answer_after: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN", help="Rows from this token on get columns of their own: sort becomes sort and sort_answer."
        ),
    ] = None,
    site: Site = None,
    save_fit: Annotated[bool, typer.Option(help="Keep the fit too, for its page in the report.")] = True,
    out: Out = None,
    seed: Seed = 0,
    json: Json = False,
    progress: Progress = None,
) -> None:
    """Fit a general linear model to every unit of a recording and threshold contrasts.

    Saves the fit, each contrast and its network. No model is loaded. Significant is not specific: where most units
    differ, take the largest effects with --top, and let tl-fbn lesion say what they are needed for.

    \b
    Example: tl-fbn glm recordings/first "sort - rest" --top 0.05 --by effect --positive --name sort
    Tested:  tl-fbn glm recordings/first "sort - rest" "add - rest" --fdr 0.05 --confound surprisal
    Exact:   tl-fbn glm recordings/first "sort - rest" --permutations 1000 --fwe 0.05
    Next:    tl-fbn lesion MODEL recordings/first/results/network-sort.safetensors --battery items.jsonl
    """
    console = Console(json, progress)
    with console.working(WHOLE):
        rule = _rule(fdr, fwe, top, by, method, positive, min_effect, permutations, f_test)
        asked: list[Any] = [expression] if f_test else list(expression)
        titles = [", ".join(one) if isinstance(one, list) else one for one in asked]
        if name and len(name) != len(asked):
            raise InputError(
                f"{len(name)} names for {len(asked)} contrasts; give --name once a contrast, or not at all"
            )
        names = name or titles
        places.differing(names)
        recording = places.open_recording(folder, site)
        into = places.writable(out or places.results_of(folder))
        from tl_fbn.analysis.glm.design_matrix import from_token
        from tl_fbn.analysis.glm.fit import fit_glm

        settings: dict[str, Any] = {
            "noise": noise,
            "maxlags": maxlags,
            "replicates": replicates,
            "drift": drift,
            "cutoff": cutoff,
            "degree": degree,
            "position": position,
            "confounds": tuple(confound or ()),
            "kernel": kernel,
            "leak": leak,
            "n_lags": lags,
        }
        phases = None if answer_after is None else from_token(answer_after, "answer")
        fit = fit_glm(recording, phases=phases, **settings)
        tests = [
            _tested(fit, one, named, level=level, rule=rule, permutations=permutations, null=null, seed=seed)
            for one, named in zip(asked, names, strict=True)
        ]
        suffix = f"-{site}" if site else ""
        saved = {}
        files = []
        if save_fit:
            saved["fit"] = places.file_for(into, "glm", _unusual(settings, answer_after) + suffix)
            fit.save(saved["fit"])
            files.append(saved["fit"])
        for test, named in zip(tests, names, strict=True):
            for kind in [kind for kind in ("contrast", "permutations", "network") if kind in test]:
                path = places.file_for(into, kind, named + suffix)
                test.pop(f"_{kind}").save(path)
                test[kind] = path
                files.append(path)
    about = f"{fit!r}\n{_level(level, replicates, permutations)}"
    parts = [about, *(_words(test) for test in tests), _layers(tests), places.saved(files)]
    console.result(
        "\n\n".join(parts),
        verb="glm",
        recording=folder,
        columns=fit.columns,
        noise=noise,
        contrasts=tests,
        seed=seed,
        **saved,
    )


def _unusual(settings: dict[str, Any], answer_after: str | None) -> str:
    """What differs from the default fit, for a file of its own: fits of one recording stand side by side."""
    from tl_fbn.analysis.glm.design_matrix import design_matrix
    from tl_fbn.analysis.glm.fit import fit_glm

    defaults = {**inspect.signature(design_matrix).parameters, **inspect.signature(fit_glm).parameters}
    words = [] if answer_after is None else [f"after-{answer_after}"]
    for option, value in settings.items():
        if value != defaults[option].default:
            words += (
                [f"no-{option}"]
                if value in (False, "none")
                else [option, *map(str, value)]
                if isinstance(value, tuple)
                else [f"{option}-{value}"]
            )
    return "-".join(words)


def _rule(
    fdr: float | None,
    fwe: float | None,
    top: str | None,
    by: str,
    method: str | None,
    positive: bool,
    min_effect: float,
    permutations: int | None,
    f_test: bool,
) -> dict[str, Any]:
    """How units are chosen, with everything that cannot go together refused."""
    given = {"--fdr": fdr, "--fwe": fwe, "--top": top}
    chosen = [option for option, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(chosen)} are ways to choose units; give one of them")
    if by not in ("t", "effect") or (by == "effect" and (top is None or f_test)):
        raise InputError(f"--by {by} cannot be: it is t or effect, and effect goes with --top and single contrasts")
    if permutations is not None and (fdr is not None or top is not None or method is not None or f_test):
        raise InputError(
            "--permutations corrects over units by the largest t: give it with --fwe, and without --fdr, --top, --method and --f-test"
        )
    if f_test and (positive or min_effect):
        raise InputError("--f-test has no direction and no single effect; leave --positive and --min-effect out")
    if by == "effect" and min_effect:
        raise InputError("--min-effect is for tests; --top --by effect takes the largest effects anyway")
    rule: dict[str, Any] = {"fwe": 0.05} if permutations is not None else {"fdr": 0.05}
    if chosen:
        rule = {"fdr": {"fdr": fdr}, "fwe": {"fwe": fwe}, "top": {"top": amount(top, "--top")}}[chosen[0][2:]]
    if method is not None:
        rule["method"] = method
    return rule | {"two_sided": not positive, "min_effect": min_effect, "by": by}


def _tested(
    fit: GLMFit,
    asked: str | list[str],
    name: str,
    *,
    level: str,
    rule: dict[str, Any],
    permutations: int | None,
    null: str,
    seed: int,
) -> dict[str, Any]:
    """One contrast, thresholded: what is said of it, and under names with an underscore what is saved."""
    import numpy as np

    rule = dict(rule)
    by = rule.pop("by")
    two_sided = rule.pop("two_sided")
    least = rule.pop("min_effect")
    contrast = fit.contrast(asked, level=level)  # pyright: ignore[reportCallIssue, reportArgumentType]
    found: dict[str, Any] = {"expression": asked, "name": name, "level": level, "contrast": None, "_contrast": contrast}
    if permutations is not None:
        from tl_fbn.analysis.glm.permutation import max_t

        test = max_t(fit, str(asked), n_permutations=permutations, seed=seed, null=null)  # pyright: ignore[reportArgumentType]
        network = test.threshold(**rule, two_sided=two_sided, min_effect=least or None, name=name)
        limit = float(np.quantile(test.largest if two_sided else test.highest, 1 - rule["fwe"]))
        found |= {
            "permutations": None,
            "_permutations": test,
            "largest_t_by_chance": limit,
            "n_permutations": permutations,
        }
    elif isinstance(asked, list):
        network = contrast.threshold(**rule, name=name)
    elif by == "effect":
        network = contrast.effect.top(rule["top"], two_sided=two_sided, name=name)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        network = contrast.threshold(**rule, two_sided=two_sided, min_effect=least, name=name)  # pyright: ignore[reportCallIssue]
    statistic = contrast.f if isinstance(asked, list) else contrast.t  # pyright: ignore[reportAttributeAccessIssue]
    tested = int(np.isfinite(statistic.values).sum())
    p = contrast.p.values[np.isfinite(statistic.values)]
    return found | {
        "network": None,
        "_network": network,
        "dof": contrast.dof,
        "threshold": {**rule, "two_sided": two_sided, "min_effect": least, **({"by": by} if "top" in rule else {})},
        "units": fit.space.n_units,
        "tested": tested,
        "survivors": len(network),
        "positive": len(network.positive()),
        "negative": len(network.negative()),
        "per_layer": network.per_layer(),
        "widths": list(fit.space.widths),
        "uncorrected": int((p < 0.05).sum()),
        "skipped_runs": {str(run): why for run, why in contrast.skipped.items()},
        "chance": _chance(rule, by, network, tested, found),
    }


def _chance(rule: dict[str, Any], by: str, network: Network, tested: int, found: dict[str, Any]) -> str:
    """What chance alone would give, in a sentence."""
    if "top" in rule:
        return f"Chosen by the largest {by}, not tested: {len(network):,} units whatever the data."
    if "largest_t_by_chance" in found:
        return (
            f"In {1 - rule['fwe']:.4g} of {found['n_permutations']:,} relabellings the largest |t| over all units stays below {found['largest_t_by_chance']:.2f}; "
            f"the chance that any of these units is false is at most {rule['fwe']:.3g}."
        )
    if "fwe" in rule:
        return f"The chance that any of them is false is at most {rule['fwe']:.3g}."
    return f"Of those that pass, a share of {rule['fdr']:.3g} is expected to be false, about {rule['fdr'] * len(network):,.0f}; without a correction chance alone would pass about {0.05 * tested:,.0f} at p < .05."


def _level(level: str, replicates: str, permutations: int | None) -> str:
    one = replicates.removesuffix("s")
    if permutations is not None:
        return f"Labels of {replicates} exchanged within runs: it speaks about prompts of this kind."
    return {
        "block": f"One estimate a {one}, tested over {replicates}: it speaks about prompts of this kind.",
        "token": "Tested over rows: it speaks about these prompts only.",
        "run": "Tested over runs.",
    }[level]


def _words(test: dict[str, Any]) -> str:
    asked = test["expression"] if isinstance(test["expression"], str) else "F test of " + ", ".join(test["expression"])
    signs = f" ({test['positive']:,} up, {test['negative']:,} down)" if test["positive"] + test["negative"] else ""
    named = "" if test["name"] == asked else f', network "{test["name"]}"'
    skipped = "".join(f"\nNot estimable in run {run}: {why}." for run, why in test["skipped_runs"].items())
    return f"{asked}{named}: {test['survivors']:,} of {test['tested']:,} units{'' if 'top' in test['threshold'] else ' pass'}{signs}. {test['chance']}{skipped}"


def _layers(tests: list[dict[str, Any]]) -> str:
    import pandas as pd

    first = tests[0]
    frame = pd.DataFrame({"layer": range(len(first["widths"])), "units": first["widths"]})
    for test in tests:
        frame[test["name"]] = test["per_layer"]
    return table(frame)
