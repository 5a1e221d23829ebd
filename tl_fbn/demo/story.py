"""What the demo found, in words and pictures: tables for the terminal, a report and a viewer for the browser.

Nothing is computed here beyond means and roundings. Lesions are told in points of exact match (per cent of the items)
where the tasks have right answers, and else in nats a token. A network passes for the introduction of the report if its
lesion costs its own task more than chance (p < .02 among matched random networks) and more than three times what it
costs the median other task.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from tl_fbn.demo.pipeline import ADD, DemoResult, Experiment
from tl_fbn.reporting import plot
from tl_fbn.reporting.page.report import Report, Section
from tl_fbn.reporting.plot._lesion_controls import controls_table
from tl_fbn.reporting.plot._overlap_matrix import dice_table
from tl_fbn.reporting.plot._time_courses import course_table
from tl_fbn.reporting.viewer.viewer import Viewer, view


def network_table(result: DemoResult) -> pd.DataFrame:
    """One line a network: units, share of all units, and units in each layer.

    Args:
        result: What the demo found.
    """
    table = result.atlas.to_dataframe()
    return table.assign(share=[f"{share:.1%}" for share in table["share"]])


def lesion_table(result: DemoResult) -> pd.DataFrame:
    """What each lesion costs each task, beside what matched random networks cost the network's own task.

    Args:
        result: What the demo found.

    Returns:
        One line a network: a column for each task, ``| own`` (its own task), ``other median`` and ``other worst`` (of
        the other tasks), ``random median`` and ``random p95`` (of the random networks, on the own task) and p. Costs
        are in whole points of exact match, or in nats a token to three digits.
    """
    study = result.study
    # points: 100 times the share of items
    factor, digits = (100, 0) if study.metric == "exact_match" else (1, 3)
    table = pd.DataFrame(study.drops() * factor, index=list(study.networks), columns=list(study.tasks))
    own = study.summary().set_index("network")
    table["| own"] = own["own"] * factor
    table["other median"] = own["other_median"] * factor
    table["other worst"] = own["other_worst"] * factor
    table["random median"] = own["control_median"] * factor
    table["random p95"] = own["control_p95"] * factor
    table = table.round(digits) + 0.0  # adding 0 turns -0.0 into 0.0
    table = table.astype(int) if digits == 0 else table
    return table.assign(p=own["p"].round(4)).rename_axis("network").reset_index()


def lesion_unit(result: DemoResult) -> str:
    """The unit of a lesion's cost, in words.

    Args:
        result: What the demo found; its study says which measure was scored.
    """
    return "points of exact match lost" if result.study.metric == "exact_match" else "nats a token lost"


def amplification_summary(result: DemoResult) -> pd.DataFrame:
    """The amplification table, rounded to three digits.

    Args:
        result: What the demo found.
    """
    return result.amplification.round(3)


def tables(result: DemoResult, experiment: Experiment) -> str:
    """Tables of networks, lesions and amplification as the text that the command prints.

    Args:
        result: What the demo found.
        experiment: Model, prompts and items that it was found with.
    """
    parts = [
        ("Networks found: units in each layer", network_table(result)),
        (f"Lesions ({lesion_unit(result)}; rows: inhibited network, columns: task)", lesion_table(result)),
        (
            f"Amplification: {ADD:g} added to every member (log-likelihood, nats a token). "
            f"{experiment.amplification_note}",
            amplification_summary(result),
        ),
    ]
    return "\n\n".join(f"{title}\n{table.to_string(index=False)}" for title, table in parts)


def report(result: DemoResult, experiment: Experiment) -> Report:
    """The report of a demo: from behaviour without lesions to what lesions and amplification change.

    Args:
        result: What the demo found.
        experiment: Model, prompts and items that it was found with.
    """
    space = result.atlas.space
    n_controls = result.study.controls.shape[1]
    own = result.study.summary()
    # with 100 random networks p < .02 is at most one that costs as much
    passed = own[(own["p"] < 0.02) & (own["own"] > 3 * own["other_median"])]
    unit = lesion_unit(result)
    share = next(iter(result.atlas.values())).share
    intro = (
        f"{space.model} was shown {len(experiment.conditions)} conditions in blocks of "
        f"{result.design.tokens_per_block} tokens while {space.n_units:,} MLP neurons were recorded. A linear model "
        f"found a network of {share:.1%} of the neurons for each condition; each network was then silenced while every "
        "task was scored on items it was not found on.\n\n"
        f"Of {len(own)} networks, {len(passed)} cost their own task more than all but at most one in a hundred of "
        f"{n_controls} random networks with as many neurons in every layer (p < .02) and more than three times what "
        f"they cost the median other task: {', '.join(passed['network']) or 'none'}."
    )
    # networks whose lesion is like one of chance
    unmoved = own[own["p"] >= 0.05]["network"].tolist()
    quiet = (
        f" No cost beyond chance was found for {', '.join(unmoved)}: what these need is not in a few MLP neurons, or "
        "not in those that a difference of means finds."
        if unmoved
        else ""
    )
    if "copy" in unmoved:
        quiet += " Copying, for one, can be done by attention alone."
    sections = [
        Section(
            "Behaviour before any lesion",
            "Held-out items. A score means something only above chance and majority.",
            table=result.baseline.round(4),
        ),
        Section(
            "What was shown and recorded",
            f"{result.design!r}.\n\n{result.recording!r}. Key {result.recording.key[:16]}.",
            table=result.design.to_dataframe()
            .groupby("trial_type", as_index=False)
            .agg(blocks=("block", "size"), rows=("duration", "sum")),
        ),
        Section(
            "Which neurons answer to which condition",
            "For every neuron, the smallest difference of mean activation between the condition and each of the others "
            f"(a conjunction of effects, in activation units){_phase_note(experiment)}. Marked are the members of each "
            "network, chosen by size alone. A strong difference does not show that a neuron is needed: that is what "
            "the lesions are for.",
            figure=partial(plot.unit_map, result.maps, networks=result.atlas),
            table=_largest_effects(result),
        ),
        Section(
            "When the networks are active",
            "Mean activation of each network's members at every token of the first run; shading marks the blocks. A "
            "network was chosen for its task, so that it follows the task here is no evidence: what other prompts do "
            "to it, and it to them, is.",
            figure=partial(plot.time_courses, result.recording, result.atlas),
            table=_means_by_condition(course_table(result.recording, result.atlas)),
        ),
        Section(
            "Where the networks lie",
            f"Share of each layer's neurons that belong to a network ({share:.1%} of all neurons each).",
            figure=partial(plot.layer_profile, result.atlas),
            table=network_table(result),
        ),
        Section(
            "Why not simply each condition against rest",
            "Dice coefficients of networks of the same size cut from plain contrasts, condition - rest"
            f"{_phase_note(experiment)}. They share members far beyond chance: such a contrast finds what conditions "
            "have in common. The networks used here are disjoint by construction, since a unit can differ most from "
            "all others for one condition only.",
            figure=partial(plot.overlap_matrix, result.plain),
            table=dice_table(result.plain),
        ),
        Section(
            "What breaks when a network is silenced",
            f"{unit.capitalize()} when a network (row) is set to zero at every position while a task (column) is "
            f"scored, beside the median of {n_controls} random networks with as many neurons in each layer. p = (1 + "
            f"number of random networks that cost at least as much) / {n_controls + 1}.{quiet}",
            figure=partial(plot.lesion_matrix, result.study),
            table=result.study.to_dataframe(),
        ),
        Section(
            "Each lesion among its controls",
            "What silencing a network costs its own task, with the interval over items, over the costs of its "
            f"{n_controls} matched random networks.",
            figure=partial(plot.lesion_controls, result.study),
            table=controls_table(result.study),
        ),
        Section(
            "What a strengthened network does",
            f"{experiment.amplification_note} {ADD:g} is added to the activation of every member at every position, "
            f"beside {n_controls} random networks treated alike. Log-likelihood in nats a token.",
            table=result.amplification,
        ),
        Section("How it was done", _methods_text(result, n_controls)),
    ]
    # the sections show tables of these results; the page's methods and provenance are told of the results themselves
    sources = (result.recording, result.fit, result.atlas, result.study)
    return Report(f"Functional networks of {space.model}", *sections, intro=intro, sources=sources)


def viewer(result: DemoResult) -> Viewer:
    """The page to explore: every map, the course of every network, every token.

    Args:
        result: What the demo found.
    """
    return view(
        result.recording, result.atlas, maps=result.maps, title=f"Functional networks of {result.atlas.space.model}"
    )


def _means_by_condition(courses: pd.DataFrame) -> pd.DataFrame:
    """Mean of every network's course over the rows of each condition, one line a condition."""
    # each once, in the order in which they first come
    conditions = list(dict.fromkeys(courses["condition"]))
    names = [name for name in courses if name not in ("run", "row", "prompt", "position", "token", "condition")]
    means = [[courses.loc[courses["condition"] == one, name].mean() for name in names] for one in conditions]
    table = pd.DataFrame(means, columns=[str(name) for name in names])
    table.insert(0, "condition", conditions)
    return table


def _phase_note(experiment: Experiment) -> str:
    """Words for a caption: the rows that conditions are compared on, or nothing where that is all of them."""
    return f", over the rows of the phase {experiment.phase!r} only" if experiment.phase else ""


def _largest_effects(result: DemoResult) -> pd.DataFrame:
    """The three neurons with the largest values in the map of each condition."""
    lines = []
    for name, each in result.maps.items():
        best = np.argsort(-each.values, kind="stable")[:3]  # stable: of equal values the lower index comes first
        lines += [(name, *each.space.locate(int(index)), float(each.values[index])) for index in best]
    return pd.DataFrame(lines, columns=["network", "layer", "neuron", "effect"])


def _methods_text(result: DemoResult, n_controls: int) -> str:
    fit = result.fit
    return (
        f"Activations at {fit.space.site} were modelled unit by unit with one boxcar a condition, the position in the "
        f"context and slow cosine drift (noise: {fit.noise}, one autocorrelation a unit, mean "
        f"{float(fit.rho.mean()):.2f}; contexts are independent prompts). Networks are the units with the largest "
        "conjunction of effects; no significance threshold enters. Prompts for discovery and items for scoring are "
        "disjoint by construction and checked by digest. Exact match is teacher-forced. Lesions set activations to "
        f"zero, {n_controls} controls a network are drawn without regard to membership. Our choices, not taken from a "
        "paper: the conjunction, the share of 5 %, the amount added."
    )
