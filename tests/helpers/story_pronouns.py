"""Which neurons of a story-teller carry that a child is a he or a she: maps, and lesions of what they name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tl_fbn as fbn

BOYS, GIRLS = ("Tom", "Ben", "Max", "Tim", "Sam", "Jack"), ("Lily", "Lucy", "Mia", "Sue", "Anna", "Emma")


OTHER_BOYS, OTHER_GIRLS = ("Bob", "Leo", "John", "Billy"), ("Jane", "Amy", "Sara", "Molly")


FOUND_ON = (
    "Once upon a time, there was a little {kind} named {name}. One day,",
    "{name} was a happy {kind}. Every day,",
)


SCORED_ON = (
    "There was a {kind} called {name}. {name} was sad because",
    "{name} the {kind} went to the park with a ball. In the park,",
    "The {kind} named {name} liked to play. When it was late,",
    "A {kind} saw {name}'s dog. The {kind} was scared, so",
)


def texts(frames: tuple[str, ...], boys: tuple[str, ...], girls: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(prompt, right pronoun, wrong pronoun) of every frame and name."""
    cases = [("boy", name, "he", "she") for name in boys] + [("girl", name, "she", "he") for name in girls]
    return [
        (frame.format(kind=kind, name=name), right, wrong) for frame in frames for kind, name, right, wrong in cases
    ]


def maps_of(model: Any) -> dict[str, fbn.UnitMap]:
    """The maps, from the frames they are found on."""
    shown = texts(FOUND_ON, BOYS, GIRLS)
    by_kind = {kind: [text for text, right, _ in shown if right == kind] for kind in ("he", "she")}
    design = fbn.block_design(by_kind, n_runs=1, n_cycles=4, tokens_per_block=42, order="random", seed=0)
    with tempfile.TemporaryDirectory() as folder:
        recording = fbn.Scanner(model).scan(design, Path(folder, "r"), progress=False)
        fit = fbn.fit_glm(recording)
        pooled = recording.pool("last")
        t, difference = fbn.glm.welch_t(pooled, "he", "she"), fbn.glm.activation_difference(pooled, "he", "she")
    magnitude = fbn.UnitMap(difference.space, np.abs(difference.values), "difference", difference.provenance)
    asked = [f"{text} {right}" for text, right, _ in shown]
    last = [[len(model.tokenizer(one).input_ids) - 1] for one in asked]
    return {
        "t": t,
        "glm t": fit.contrast("he - she", level="token").t,
        "difference": magnitude,
        "gradient x activation": fbn.attribution.gradient_x_activation(model, asked, last, progress=False),
    }


def battery() -> fbn.Battery:
    return fbn.Battery.from_choices(
        {
            "he or she": [
                (prompt, [right, wrong], 0) for prompt, right, wrong in texts(SCORED_ON, OTHER_BOYS, OTHER_GIRLS)
            ]
        }
    )


def table(folder: Path, *, tops: tuple[float, ...] = (0.03, 0.05), n_controls: int = 100) -> pd.DataFrame:
    """One line a map and size: agreement and log-likelihood without and with the lesion, beside the controls'."""
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(folder), device="cpu").eval()
    maps, lines = maps_of(model), []
    for top in tops:
        study = fbn.causal_check(model, maps, battery(), top=top, seed=0, n_controls=n_controls, progress=False)
        for metric in ("exact_match", "log_likelihood"):
            one = study.to_dataframe(metric=metric)
            worst = study.control_drops(metric)[:, :, 0].max(1)
            lines.append(one.assign(top=top, control_worst=worst))
    return pd.concat(lines, ignore_index=True)
