"""What a study of tasks found, in words and pictures: the answer first, then the tables and how it was done.

A task has *a network of its own* where two things hold, both over held-out items and in nats a token:

- its lesion costs more than every one of the matched random networks (so p is as small as their number allows);
- it costs the own task more than the task that loses most beside it: the 95 % interval of the difference is above 0.

Matched random networks alone are passed by nearly any list of chosen neurons on a real model; the other tasks are the
control that counts.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from tl_fbn.demo.task_study import TaskStudy, overlap_with_activity
from tl_fbn.intervention.studies import intervals
from tl_fbn.reporting import plot
from tl_fbn.reporting.page.report import Report, Section
from tl_fbn.reporting.plot._lesion_controls import controls_table
from tl_fbn.reporting.viewer.viewer import Viewer, view

_NOTHING = 0.05  # nats a token, 5 % of a token's probability: less is told as no loss
_NOT_SHOWN = (
    "Not shown: that only these neurons matter, that they matter in other prompts, or what they compute; setting a "
    "neuron to zero also moves the model off what it has learnt."
)


@dataclass(frozen=True)
class Verdict:
    """What the lesion of one network says.

    Args:
        task: The network's own task.
        own: Log-likelihood that the own task loses, in nats a token.
        worst: The task that loses most of the others.
        other: What that task loses.
        control: What the costliest of the matched random networks costs the own task.
        more: 95 % interval of ``own`` minus ``other``, over the items of both tasks.
        beyond_chance: Whether no random network costs as much.
        exact: Exact match of the own task without and with the lesion; None where a task has none.
    """

    task: str
    own: float
    worst: str
    other: float
    control: float
    more: tuple[float, float]
    beyond_chance: bool
    exact: tuple[float, float] | None

    @property
    def own_network(self) -> bool:
        """Whether the task has a network of its own."""
        return self.more[0] > 0 and self.beyond_chance and self.own > _NOTHING


def verdicts(result: TaskStudy) -> list[Verdict]:
    """What the lesion of every network says, in the order of the tasks.

    Args:
        result: What the study found.
    """
    study = result.study
    table = study.to_dataframe(metric="log_likelihood").to_dict("records")
    lines: dict[tuple[str, str], Mapping[str, Any]] = {(line["network"], line["task"]): line for line in table}
    drops = study.control_drops("log_likelihood")
    made = []
    for number, name in enumerate(study.networks):
        others = {task: lines[name, task] for task in study.tasks if task != name}
        worst = max(others, key=lambda task: others[task]["drop"])
        own, place = lines[name, name], study.tasks.index(name)
        exact = (float(study.baseline[place, 0]), float(study.lesioned[number, place, 0]))
        costliest = float(drops[number, :, place].max())
        made.append(
            Verdict(
                name,
                own["drop"],
                worst,
                others[worst]["drop"],
                costliest,
                intervals.of_sum([_term(own, 1.0), _term(others[worst], -1.0)]),
                own["drop"] > costliest,
                None if math.isnan(exact[0]) else exact,  # passages have no exact match
            )
        )
    return made


def _term(line: Mapping[str, Any], weight: float) -> tuple[float, tuple[float, float]]:
    """A loss and its interval as a term of a sum."""
    return intervals.scaled(line["drop"], (line["low"], line["high"]), weight)


def answer_table(result: TaskStudy) -> pd.DataFrame:
    """Own task against the worst other, with controls: one line a network.

    Args:
        result: What the study found.

    Returns:
        task, own (nats a token that the own task loses), worst other (what the task beside it loses), control max (of
        the random networks, on the own task), exact match without and with the lesion where there is one, and whether
        the task has a network of its own.
    """
    lines = []
    for one in verdicts(result):
        line = {"task": one.task, "own": round(one.own, 2), "worst other": f"{one.other:.2f} {one.worst}"}
        line["control max"] = round(one.control, 2)
        if one.exact:
            line["exact match"] = f"{one.exact[0]:.2f} -> {one.exact[1]:.2f}"
        lines.append(line | {"of its own": "yes" if one.own_network else "no"})
    return pd.DataFrame(lines)


def answer(result: TaskStudy) -> list[str]:
    """The answer in a few lines: which tasks have a network of their own, what its loss does, what is not shown.

    Args:
        result: What the study found.
    """
    noun = result.subject.noun
    found = verdicts(result)
    own = [one for one in found if one.own_network]
    n_controls = result.study.controls.shape[1]
    members = len(next(iter(result.atlas.values())))
    model = result.atlas.space.model
    said = [
        f"{len(own)} of {len(found)} {noun}s have a network of their own in {model}"
        f"{': ' + ', '.join(one.task for one in own) if own else ''}."
    ]
    if own:
        best = max(own, key=lambda one: one.own - one.other)
        exact = f" (exact match {best.exact[0]:.2f} -> {best.exact[1]:.2f})" if best.exact else ""
        said.append(
            f"Silencing the {members} neurons of {best.task} ({result.share:.2%} of {result.atlas.space.n_units:,}) "
            f"costs it {best.own:.2f} nats a token{exact}; the {noun} that loses most beside it, {best.worst}, loses "
            f"{best.other:.2f}, and the costliest of {n_controls} random networks with as many neurons in every layer "
            f"costs {best.control:.2f} (p = {1 / (1 + n_controls):.2g}, the smallest that {n_controls} can give)."
        )
    for one in found:
        if one.own_network:
            continue
        if one.own < _NOTHING:
            said.append(f"{one.task}: silencing its network does next to nothing ({one.own:.2f} nats a token).")
        elif not one.beyond_chance:
            said.append(f"{one.task}: silencing its network costs no more than random networks do ({one.own:.2f}).")
        else:
            low, high = one.more
            said.append(
                f"{one.task}: not its own. It loses {one.own:.2f}, {one.worst} beside it {one.other:.2f} (95 % "
                f"interval of the difference {low:.2f} to {high:.2f})."
            )
    return [*said, _NOT_SHOWN]


def tables(result: TaskStudy) -> str:
    """The answer and its tables as the text that the command prints.

    Args:
        result: What the study found.
    """
    parts = [
        "\n".join(textwrap.fill(line, 80) for line in answer(result)),
        "Log-likelihood lost (nats a token) when a network is silenced, on held-out items:\n"
        + answer_table(result).to_string(index=False),
    ]
    if result.words is not None:
        parts.append(_words_text(result.words))
    return "\n\n".join(parts)


def _words_text(words: pd.DataFrame) -> str:
    """The first three neurons of each network, and what they promote."""
    lines = ["The first neurons of each network, and words that their output weights promote (an approximation):"]
    for name, of_network in words.groupby("network", sort=False):
        lines.append(f"  {name}")
        for line in of_network.head(3).to_dict("records"):
            lines.append(f"    layer {line['layer']:>2} neuron {line['unit']:>5}: {line['promotes']}"[:79])
    return "\n".join(lines)


def report(result: TaskStudy) -> Report:
    """The page: the answer, the lesions, which neurons and what they write, then how it was done.

    Args:
        result: What the study found.
    """
    subject, study = result.subject, result.study
    n_controls = study.controls.shape[1]
    noun = subject.noun
    sections = [
        Section(
            "Own task against the worst other",
            "Nats a token lost on held-out items. A network is a task's own where no random network costs as much and "
            "the own task loses more than the other task that loses most: the 95 % interval of the difference is above "
            "0.",
            table=answer_table(result),
        ),
        Section(
            f"What every {noun} loses",
            f"Nats a token that a {noun} (column) loses when a network (row) is silenced, beside the median of its "
            "random networks.",
            figure=partial(plot.lesion_matrix, study, metrics=["log_likelihood"]),
        ),
        Section(
            "Each lesion among its controls",
            f"What silencing a network costs its own {noun}, over the costs of {n_controls} random networks with as "
            "many neurons in every layer.",
            figure=partial(plot.lesion_controls, study),
            table=controls_table(study),
        ),
    ]
    if result.words is not None:
        sections.append(
            Section(
                "What the neurons write",
                "The neurons of largest score of each network, and words that their output weights promote and "
                "suppress, through the final norm's gain and the unembedding. A reading of weights that leaves out "
                "what later layers make of a neuron.",
                table=result.words.round({"score": 2}),
            )
        )
    sections += [
        Section(
            "Which neurons",
            "Gradient times activation at the answers, less the largest score on any other task; marked are the "
            "members of each network.",
            figure=partial(plot.unit_map, result.maps, networks=result.atlas),
            table=result.atlas.to_dataframe(),
        ),
        Section(
            "Where the networks lie",
            f"Share of each layer's neurons that belong to a network ({result.share:.2%} of all neurons each).",
            figure=partial(plot.layer_profile, result.atlas),
        ),
        Section(
            "Are these the neurons whose activity differs?",
            "Members of each network among as many neurons of the largest t of the task against the mean of the "
            "others, beside what chance would give. Neurons that are active in a task and neurons that it needs are "
            "different questions.",
            table=overlap_with_activity(result).round(2),
        ),
        Section(
            "When the networks are active",
            "Mean activation of each network's members at every token of the first run; shading marks the blocks.",
            figure=partial(plot.time_courses, result.recording, result.atlas),
        ),
        Section("How it was done", f"{subject.about}\n\n{result.design!r}.\n\n{result.recording!r}."),
    ]
    sources = (result.recording, result.fit, result.atlas, study)
    return Report(
        f"Which neurons does a {noun} need? {result.atlas.space.model}",
        *sections,
        intro="\n\n".join(answer(result)),
        sources=sources,
    )


def viewer(result: TaskStudy) -> Viewer:
    """The page to explore: every map, the course of every network, every token.

    Args:
        result: What the study found.
    """
    return view(result.recording, result.atlas, maps=result.maps, title=f"Networks of {result.atlas.space.model}")
