"""``tl-fbn glm``: which units follow a contrast of conditions, and how sure that is.

The command fits :func:`tl_fbn.fit_glm` to a recording, thresholds each contrast, and saves fit, contrasts and networks
in the folder of results. All numbers are the library's; here options become arguments, and what was found becomes a few
sentences (:mod:`.glm_text`). No model is loaded, but for the words that units promote, if ``--model`` asks for them.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from tl_fbn.cli import glm_text, options, result_files, unit_lists
from tl_fbn.cli.console import WHOLE, Console
from tl_fbn.cli.options import amount
from tl_fbn.errors import InputError

if TYPE_CHECKING:
    from tl_fbn.analysis.glm.fit import GLMFit

SHORT = "Fit a linear model to every unit and test contrasts."


def command(
    folder: options.RecordingArgument,
    expression: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXPRESSION]...",
            help='A contrast of conditions or other columns of the design: "sort - reverse", or against the mean of '
            'all other conditions "sort - others"; several are tested one by one.',
        ),
    ] = None,
    others: Annotated[
        bool,
        typer.Option("--others", help="Test every condition against the mean of all others, one by one."),
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name of a contrast and its network, given once for each expression; by default the expression. "
            "Earlier results of that name are replaced.",
        ),
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(
            metavar="Q",
            help="False discovery rate: expected share of false units among those found. This is the default, at 0.05.",
        ),
    ] = None,
    fwe: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Family-wise error: chance that any of the units found is false; it takes the place of --fdr.",
        ),
    ] = None,
    top: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Take the largest units without a test: a number of units (57) or a share (0.05)."
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="MAP",
            help="With --top: the map whose largest units are taken: t, effect, standardized, contribution (effect "
            "times norm of outgoing weights) or z_within_layer (effect beside those of its layer).",
        ),
    ] = "t",
    method: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Correction for the number of units: bh, by or layers for --fdr, holm or bonferroni for --fwe. By "
            "default bh or holm.",
        ),
    ] = None,
    positive: Annotated[
        bool, typer.Option("--positive", help="Take only units with a positive effect, tested one-sided.")
    ] = False,
    min_effect: Annotated[
        float,
        typer.Option(metavar="X", min=0.0, help="Smallest effect that a unit must have, in units of the activations."),
    ] = 0.0,
    level: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            help="What counts as an independent observation: block, token or run. It decides what the result speaks "
            "about: prompts of this kind, these prompts, or runs.",
        ),
    ] = "block",
    f_test: Annotated[
        bool,
        typer.Option("--f-test", help="Test all expressions together by F: does any of them differ from 0?"),
    ] = False,
    permutations: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=19,
            help="Correct over units by the largest t in so many random relabellings of blocks; goes with --fwe.",
        ),
    ] = None,
    null: Annotated[
        str,
        typer.Option(
            metavar="NULL",
            help="With --permutations: labels (shuffle the labels of blocks), shift (rotate their sequence) or signs "
            "(change the signs of effects).",
        ),
    ] = "labels",
    noise: options.NoiseOption = "ar1",  # from here on the noise model and the design; options.py explains them
    maxlags: options.MaxlagsOption = None,
    replicates: options.ReplicatesOption = "blocks",
    confound: options.ConfoundOption = None,
    drift: options.DriftOption = "cosine",
    cutoff: options.CutoffOption = None,
    degree: options.DegreeOption = None,
    position: options.PositionOption = True,
    first_token: options.FirstTokenOption = True,
    kernel: options.KernelOption = "none",
    leak: options.LeakOption = None,
    lags: options.LagsOption = 4,
    answer_after: options.AnswerAfterOption = None,
    site: options.SiteOption = None,
    model: options.WordsModelOption = None,
    save_fit: Annotated[
        bool, typer.Option(help='Save the fit too; "tl-fbn report" shows its design and noise.')
    ] = True,
    out: options.OutFolderOption = None,
    verify: options.VerifyFlag = True,
    seed: options.SeedOption = 0,
    json: options.JsonFlag = False,
    progress: options.ProgressFlag = None,
) -> None:
    """Fit a general linear model to every unit of a recording and threshold contrasts.

    Saves the fit, each contrast and its network, and lists the first units. Compare a task with one that shares all but
    the task, or with the mean of all others: between a task and rest nearly every unit differs, whatever it is for. Of
    many significant units take the largest with --top: on a real model by t or z_within_layer, as the largest effects
    are mostly those of the last layer. Let "tl-fbn lesion" say what they are needed for.

    \b
    Example: tl-fbn glm recordings/first "sort - reverse" --top 0.05 --by effect --positive --name sort
    Others:  tl-fbn glm recordings/first "sort - others" --top 0.05 --by effect --positive --name sort
    All:     tl-fbn glm recordings/first --others --top 0.05 --by effect --positive
    Tested:  tl-fbn glm recordings/first "sort - reverse" "add - reverse" --fdr 0.05 --confound surprisal
    Exact:   tl-fbn glm recordings/first "sort - reverse" --permutations 1000 --fwe 0.05
    Next:    tl-fbn lesion MODEL recordings/first/results/network-sort.safetensors --battery items.jsonl
    """
    console = Console(json, progress)
    with console.working(WHOLE):
        rule = _threshold_rule(fdr, fwe, top, by, method, positive, min_effect, permutations, f_test)
        # an F test is one contrast of all expressions
        expression = expression or []
        contrasts: list[Any] = [expression] if f_test else list(expression)
        _require_contrasts(expression, others, f_test)
        if name and len(name) != len(contrasts):
            raise InputError(
                f"{len(name)} names for {len(contrasts)} contrasts; give --name once a contrast, or not at all"
            )
        result_files.require_different_files(
            name or [", ".join(one) if isinstance(one, list) else one for one in contrasts]
        )
        recording = result_files.open_recording(folder, site, verify=verify)
        into = result_files.writable(out or result_files.results_of(folder))
        loaded = unit_lists.load_model(console, model, recording.space)
        from tl_fbn.analysis.glm.design_matrix import from_token
        from tl_fbn.analysis.glm.fit import fit_glm
        from tl_fbn.analysis.glm.others import against_others
        from tl_fbn.units.outgoing_norms import require_norms

        # a recording of an earlier version says nothing of output weights, which the model has
        of_model = loaded if by == "contribution" and recording.outgoing_norms is None else None
        if by == "contribution" and of_model is None:
            require_norms(recording.outgoing_norms, recording.space)

        settings: dict[str, Any] = {
            "noise": noise,
            "maxlags": maxlags,
            "replicates": replicates,
            "drift": drift,
            "cutoff": cutoff,
            "degree": degree,
            "position": position,
            "first_token": first_token,
            "confounds": tuple(confound or ()),
            "kernel": kernel,
            "leak": leak,
            "n_lags": lags,
        }
        phases = None if answer_after is None else from_token(answer_after, "answer")
        fit = fit_glm(recording, phases=phases, model=of_model, progress=console.bars, **settings)
        how: dict[str, Any] = {"level": level, "rule": rule, "permutations": permutations, "null": null, "seed": seed}
        titles = [fit.in_columns(one if isinstance(one, list) else [one])[0] for one in contrasts]
        names = name or titles
        if others:
            against = against_others(fit.columns, fit.conditions).values()
            contrasts += [one for one, _ in against]
            called = [title for _, title in against]
            titles, names = titles + called, names + called
        result_files.require_different_files(names)
        words_of = unit_lists.WITH_WORDS if json else unit_lists.FIRST
        tests = [
            _test_contrast(fit, one, title, named, loaded, words_of, progress=console.bars, **how)
            for one, title, named in zip(contrasts, titles, names, strict=True)
        ]
        suffix = f"-{site}" if site else ""  # results of several sites of one recording lie side by side
        saved = {}
        files = []
        if save_fit:
            saved["fit"] = result_files.file_for(into, "glm", _unusual_settings(settings, answer_after) + suffix)
            fit.save(saved["fit"])
            files.append(saved["fit"])
        # results leave the dicts of what was found, and their files take their place
        for test, named in zip(tests, names, strict=True):
            for kind in [kind for kind in ("contrast", "permutations", "network") if kind in test]:
                path = result_files.file_for(into, kind, named + suffix)
                test.pop(f"_{kind}").save(path)
                test[kind] = path
                files.append(path)
    meant = glm_text.others_sentence(fit, expression, others)
    about = f"{fit!r}\n{glm_text.level_sentence(level, replicates, permutations)}{meant}"
    tables = [glm_text.layer_table(tests), *glm_text.unit_tables(tests, words=loaded is not None)]
    console.result(
        "\n\n".join([about, *map(glm_text.contrast_text, tests), *tables, result_files.list_of_files(files)]),
        verb="glm",
        recording=folder,
        columns=fit.columns,
        noise=noise,
        contrasts=tests,
        seed=seed,
        **saved,
    )


def _require_contrasts(expressions: list[str], others: bool, f_test: bool) -> None:
    """Refuse to test nothing, or contrasts together of which the last follows from the others."""
    if not expressions and not others:
        raise InputError('no contrast; give expressions such as "sort - reverse", or --others for every condition')
    if others and f_test:
        raise InputError(
            "--others with --f-test: contrasts of all conditions with the mean of the others follow from each other; "
            'write all but one of them, as in "sort - others" "reverse - others"'
        )


def _unusual_settings(settings: dict[str, Any], answer_after: str | None) -> str:
    """The settings that differ from the default fit, as part of a file's name: each fit has a file of its own."""
    from tl_fbn.analysis.glm.design_matrix import design_matrix
    from tl_fbn.analysis.glm.fit import fit_glm

    defaults = {**inspect.signature(design_matrix).parameters, **inspect.signature(fit_glm).parameters}
    words = [] if answer_after is None else [f"after-{answer_after}"]  # phases are a function, which has no default
    for option, value in settings.items():
        if value == defaults[option].default:
            continue
        if value in (False, "none"):
            words.append(f"no-{option}")
        elif isinstance(value, tuple):
            words += [option, *map(str, value)]
        else:
            words.append(f"{option}-{value}")
    return "-".join(words)


def _threshold_rule(
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
    """How units are chosen, as arguments of a threshold; options that cannot go together are refused."""
    from tl_fbn.analysis.glm.contrast import SelectedBy

    given = {"--fdr": fdr, "--fwe": fwe, "--top": top}
    chosen = [option for option, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(chosen)} are ways to choose units; give one of them")
    if by not in get_args(SelectedBy) or (by != "t" and (top is None or f_test)):
        raise InputError(
            f"--by {by} cannot be: it is one of {', '.join(get_args(SelectedBy))}, and all but t go with --top and "
            "single contrasts"
        )
    if permutations is not None and (fdr is not None or top is not None or method is not None or f_test):
        raise InputError(
            "--permutations corrects over units by the largest t: give it with --fwe, and without --fdr, --top, "
            "--method and --f-test"
        )
    if f_test and (positive or min_effect):
        raise InputError("--f-test has no direction and no single effect; leave --positive and --min-effect out")
    if by != "t" and min_effect:
        raise InputError(f"--min-effect is for tests and t; --top --by {by} takes the largest anyway")
    # without an option: .05, of the only rate that a permutation test controls, else of false discoveries
    rule: dict[str, Any] = {"fwe": 0.05} if permutations is not None else {"fdr": 0.05}
    if chosen:
        rule = {"fdr": {"fdr": fdr}, "fwe": {"fwe": fwe}, "top": {"top": amount(top, "--top")}}[chosen[0][2:]]
    if method is not None:
        rule["method"] = method
    return rule | {"two_sided": not positive, "min_effect": min_effect, "by": by}


def _test_contrast(
    fit: GLMFit,
    expression: str | list[str],
    title: str,
    name: str,
    model: Any,
    words_of: int | None,
    *,
    level: str,
    rule: dict[str, Any],
    permutations: int | None,
    null: str,
    seed: int,
    progress: bool,
) -> dict[str, Any]:
    """One contrast, thresholded: what is said of it; under names with an underscore, the results that are saved."""
    import numpy as np

    rule = dict(rule)
    by = rule.pop("by")
    two_sided = rule.pop("two_sided")
    min_effect = rule.pop("min_effect")
    contrast = fit.contrast(expression, level=level, name=name)  # pyright: ignore[reportCallIssue, reportArgumentType]
    found: dict[str, Any] = {
        "expression": contrast.expression if isinstance(expression, str) else list(contrast.expressions),  # pyright: ignore[reportAttributeAccessIssue]
        "title": title,
        "name": name,
        "level": level,
        "contrast": None,  # None keeps the order of keys until the path of the file takes its place
        "_contrast": contrast,
    }
    if permutations is not None:
        from tl_fbn.analysis.glm.permutation import max_t

        test = max_t(
            fit,
            str(expression),
            n_permutations=permutations,
            seed=seed,
            null=null,  # pyright: ignore[reportArgumentType]
            name=name,
            progress=progress,
        )
        network = test.threshold(**rule, two_sided=two_sided, min_effect=min_effect or None, name=name)
        # the largest |t| (one-sided: t) over units that 1 - P of the relabellings stay below
        limit = float(np.quantile(test.largest if two_sided else test.highest, 1 - rule["fwe"]))
        found |= {
            "permutations": None,
            "_permutations": test,
            "largest_t_by_chance": limit,
            "n_permutations": permutations,
        }
    elif isinstance(expression, list):
        network = contrast.threshold(**rule, name=name)
    elif by != "t":  # largest values, whatever their noise
        network = getattr(contrast, by).top(rule["top"], two_sided=two_sided, name=name)
    else:
        network = contrast.threshold(  # pyright: ignore[reportCallIssue]
            **rule, two_sided=two_sided, min_effect=min_effect, name=name
        )
    statistic = contrast.f if isinstance(expression, list) else contrast.t  # pyright: ignore[reportAttributeAccessIssue]
    # units that never vary have no statistic, and are not tested
    known = ~np.isnan(statistic.values)
    chosen_by = statistic if by == "t" else getattr(contrast, by)
    tested = int(known.sum())
    p = contrast.p.values[known]
    return found | {
        "network": None,
        "_network": network,
        "dof": contrast.dof,
        "threshold": {
            **rule,
            "two_sided": two_sided,
            "min_effect": min_effect,
            **({"by": by} if "top" in rule else {}),
        },
        "units": fit.space.n_units,
        "tested": tested,
        "survivors": len(network),
        "positive": len(network.positive()),
        "negative": len(network.negative()),
        "per_layer": network.per_layer(),
        "widths": list(fit.space.widths),
        "uncorrected": int((p < 0.05).sum()),  # units at p < .05 without any correction, for the JSON
        "skipped_runs": {str(run): why for run, why in contrast.skipped.items()},
        "chance": glm_text.chance_sentence(rule, by, network, tested, found),
        "unit_list": unit_lists.unit_list(network, chosen_by, model, words_of=words_of),
    }
