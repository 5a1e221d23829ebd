"""The demo in words and pictures: tables for the terminal, a page for the browser."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from tl_fbn.demo.pipeline import ADD, DemoResult, Experiment
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.page.report import Report, Section
from tl_fbn.reporting.plot._lesion_controls import controls_table
from tl_fbn.reporting.plot._overlap_matrix import dice_table
from tl_fbn.reporting.plot._time_courses import course_table
from tl_fbn.reporting.viewer.viewer import Viewer, view


def network_table(result: DemoResult) -> pd.DataFrame:
    """Networks found: units, share of all, units in each layer."""
    table = result.atlas.to_dataframe()
    return table.assign(share=[f"{share:.1%}" for share in table["share"]])


def lesion_table(result: DemoResult) -> pd.DataFrame:
    """Network x task drops (points of exact match, or nats), with matched random networks and p for the own task."""
    study = result.study
    factor, digits = (100, 0) if study.metric == "exact_match" else (1, 3)
    table = pd.DataFrame(study.drops() * factor, index=list(study.networks), columns=list(study.tasks))
    own = study.summary().set_index("network")
    table["| own"] = own["own"] * factor
    table["other median"] = own["other_median"] * factor
    table["other worst"] = own["other_worst"] * factor
    table["random median"] = own["control_median"] * factor
    table["random p95"] = own["control_p95"] * factor
    table = table.round(digits) + 0.0
    table = table.astype(int) if digits == 0 else table
    return table.assign(p=own["p"].round(4)).rename_axis("network").reset_index()


def lesion_unit(result: DemoResult) -> str:
    return "points of exact match lost" if result.study.metric == "exact_match" else "nats a token lost"


def amplification_summary(result: DemoResult) -> pd.DataFrame:
    """The amplification table, rounded."""
    return result.amplification.round(3)


def tables(result: DemoResult, experiment: Experiment) -> str:
    """The three tables as text."""
    parts = [
        ("Networks found: units in each layer", network_table(result)),
        (f"Lesions ({lesion_unit(result)}; rows: inhibited network, columns: task)", lesion_table(result)),
        (
            f"Amplification: {ADD:g} added to every member (log-likelihood, nats a token). {experiment.amplification_note}",
            amplification_summary(result),
        ),
    ]
    return "\n\n".join(f"{title}\n{table.to_string(index=False)}" for title, table in parts)


def report(result: DemoResult, experiment: Experiment) -> Report:
    """The page."""
    space = result.atlas.space
    n_controls = result.study.controls.shape[1]
    own = result.study.summary()
    passed = own[(own["p"] < 0.02) & (own["own"] > 3 * own["other_median"])]
    unit = lesion_unit(result)
    share = next(iter(result.atlas.values())).share
    intro = (
        f"{space.model} was shown {len(experiment.conditions)} conditions in blocks of {result.design.tokens_per_block} tokens while "
        f"{space.n_units:,} MLP neurons were recorded. A linear model found a network of {share:.1%} of the neurons for each condition; "
        f"each network was then silenced while every task was scored on items it was not found on.\n\n"
        f"Of {len(own)} networks, {len(passed)} cost their own task more than all but at most one in a hundred of {n_controls} random "
        f"networks with as many neurons in every layer (p < .02) and more than three times what they cost the median other task: "
        f"{', '.join(passed['network']) or 'none'}."
    )
    unmoved = own[own["p"] >= 0.05]["network"].tolist()
    quiet = (
        f" No cost beyond chance was found for {', '.join(unmoved)}: what these need is not in a few MLP neurons, or not in those "
        "that a difference of means finds."
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
            "For every neuron, the smallest difference of mean activation between the condition and each of the others (a conjunction of "
            f"effects, in activation units){_phase_note(experiment)}. Marked are the members of each network, chosen by size alone. A strong difference does not "
            "show that a neuron is needed: that is what the lesions are for.",
            figure=partial(figures.unit_map, result.maps, networks=result.atlas),
            table=_peaks(result),
        ),
        Section(
            "When the networks are active",
            "Mean activation of each network's members at every token of the first run; shading marks the blocks. A network was chosen "
            "for its task, so that it follows the task here is no evidence: what other prompts do to it, and it to them, is.",
            figure=partial(figures.time_courses, result.recording, result.atlas),
            table=_by_condition(course_table(result.recording, result.atlas)),
        ),
        Section(
            "Where the networks lie",
            f"Share of each layer's neurons that belong to a network ({share:.1%} of all neurons each).",
            figure=partial(figures.layer_profile, result.atlas),
            table=network_table(result),
        ),
        Section(
            "Why not simply each condition against rest",
            f"Dice coefficients of networks of the same size cut from plain contrasts, condition - rest{_phase_note(experiment)}. They share "
            "members far beyond chance: such a contrast finds what conditions have in common. The networks used here are disjoint "
            "by construction, since a unit can differ most from all others for one condition only.",
            figure=partial(figures.overlap_matrix, result.plain),
            table=dice_table(result.plain),
        ),
        Section(
            "What breaks when a network is silenced",
            f"{unit.capitalize()} when a network (row) is set to zero at every position while a task (column) is scored, beside the "
            f"median of {n_controls} random networks with as many neurons in each layer. p = (1 + number of random networks that cost at least as "
            f"much) / {n_controls + 1}.{quiet}",
            figure=partial(figures.lesion_matrix, result.study),
            table=result.study.to_dataframe(),
        ),
        Section(
            "Each lesion among its controls",
            f"What silencing a network costs its own task, with the interval over items, over the costs of its {n_controls} matched random networks.",
            figure=partial(figures.lesion_controls, result.study),
            table=controls_table(result.study),
        ),
        Section(
            "What a strengthened network does",
            f"{experiment.amplification_note} {ADD:g} is added to the activation of every member at every position, beside {n_controls} random networks treated alike. Log-likelihood in nats a token.",
            table=result.amplification,
        ),
        Section("How it was done", _methods(result, n_controls)),
    ]
    sources = (result.recording, result.fit, result.atlas, result.study)
    return Report(f"Functional networks of {space.model}", *sections, intro=intro, sources=sources)


def viewer(result: DemoResult) -> Viewer:
    """The page to walk through: every map, every network's course, every token."""
    return view(
        result.recording, result.atlas, maps=result.maps, title=f"Functional networks of {result.atlas.space.model}"
    )


def _by_condition(courses: pd.DataFrame) -> pd.DataFrame:
    """Mean of every network's course over the rows of each condition."""
    conditions = list(dict.fromkeys(courses["condition"]))
    names = [name for name in courses if name not in ("run", "row", "prompt", "position", "token", "condition")]
    means = [[courses.loc[courses["condition"] == one, name].mean() for name in names] for one in conditions]
    table = pd.DataFrame(means, columns=[str(name) for name in names])
    table.insert(0, "condition", conditions)
    return table


def _phase_note(experiment: Experiment) -> str:
    return f", over the rows of the phase {experiment.phase!r} only" if experiment.phase else ""


def _peaks(result: DemoResult) -> pd.DataFrame:
    lines = []
    for name, each in result.maps.items():
        best = np.argsort(-each.values, kind="stable")[:3]
        lines += [(name, *each.space.locate(int(index)), float(each.values[index])) for index in best]
    return pd.DataFrame(lines, columns=["network", "layer", "neuron", "effect"])


def _methods(result: DemoResult, n_controls: int) -> str:
    fit = result.fit
    return (
        f"Activations at {fit.space.site} were modelled unit by unit with one boxcar a condition, the position in the context and slow cosine "
        f"drift (noise: {fit.noise}, one autocorrelation a unit, mean {float(fit.rho.mean()):.2f}; contexts are independent prompts). Networks are the "
        "units with the largest conjunction of effects; no significance threshold enters. Prompts for discovery and items for scoring "
        f"are disjoint by construction and checked by digest. Exact match is teacher-forced. Lesions set activations to zero, {n_controls} controls a "
        "network are drawn without regard to membership. Our choices, not taken from a paper: the conjunction, the share of 5 %, the "
        "amount added."
    )
