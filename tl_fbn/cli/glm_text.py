"""What ``tl-fbn glm`` says of the contrasts that it tested: level, number of units, chance, layers, first units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tl_fbn.cli import unit_lists
from tl_fbn.cli.console import table

if TYPE_CHECKING:
    from tl_fbn.analysis.glm.fit import GLMFit
    from tl_fbn.units import Network


def chance_sentence(rule: dict[str, Any], by: str, network: Network, tested: int, found: dict[str, Any]) -> str:
    """What chance alone would give: the sentence that stands behind the number of units found.

    Args:
        rule: How units were chosen, as arguments of a threshold.
        by: What the largest were taken by, ``"t"`` or ``"effect"``.
        network: The units found.
        tested: Number of units that were tested.
        found: What else is known of the contrast; read for permutations.
    """
    if "top" in rule:
        return f"Chosen by the largest {by}, not tested: {len(network):,} units whatever the data."
    if "largest_t_by_chance" in found:
        return (
            f"In {1 - rule['fwe']:.4g} of {found['n_permutations']:,} relabellings the largest |t| over all units "
            f"stays below {found['largest_t_by_chance']:.2f}; the chance that any of these units is false is at most "
            f"{rule['fwe']:.3g}."
        )
    if "fwe" in rule:
        return f"The chance that any of them is false is at most {rule['fwe']:.3g}."
    return (
        f"Of those that pass, a share of {rule['fdr']:.3g} is expected to be false, about "
        f"{rule['fdr'] * len(network):,.0f}; without a correction chance alone would pass about "
        f"{0.05 * tested:,.0f} at p < .05."
    )


def level_sentence(level: str, replicates: str, permutations: int | None) -> str:
    """What was counted as independent, and what the test therefore speaks about.

    Args:
        level: The level of the contrast: ``"block"``, ``"token"`` or ``"run"``.
        replicates: What a block-level test counts as independent, ``"blocks"`` or ``"prompts"``.
        permutations: Number of relabellings; None where labels were not exchanged.
    """
    one = replicates.removesuffix("s")
    if permutations is not None:
        return f"Labels of {replicates} exchanged within runs: it speaks about prompts of this kind."
    return {
        "block": f"One estimate a {one}, tested over {replicates}: it speaks about prompts of this kind.",
        "token": "Tested over rows: it speaks about these prompts only.",
        "run": "Tested over runs.",
    }[level]


def others_sentence(fit: GLMFit, expressions: Sequence[str], others: bool) -> str:
    """What the word others stands for, as a line of its own; nothing where it was not used.

    Args:
        fit: The fitted model.
        expressions: The contrasts as the user wrote them.
        others: Whether every condition is compared with the mean of all others.
    """
    from tl_fbn.analysis.glm.readings import OTHERS

    used = any(re.search(rf"(?<![\w`]){OTHERS}(?![\w`])", one) for one in expressions)
    if used and OTHERS in fit.columns:
        return f'\n"{OTHERS}" is a column of this design, and means that column alone.'
    if not used and not others:
        return ""
    conditions = dict.fromkeys(fit.conditions.values())  # of phases and lags once
    return f"\n{OTHERS}: the mean of all conditions that a contrast does not name, of {', '.join(conditions)}."


def contrast_text(test: dict[str, Any]) -> str:
    """What was found for one contrast, in two or three sentences.

    Args:
        test: What is said of the contrast, as in the JSON of the command.
    """
    title = test["title"] if isinstance(test["expression"], str) else f"F test of {test['title']}"
    signs = f" ({test['positive']:,} up, {test['negative']:,} down)" if test["positive"] + test["negative"] else ""
    network = "" if test["name"] == title else f', network "{test["name"]}"'
    passed = "" if "top" in test["threshold"] else " pass"
    skipped = "".join(f"\nNot estimable in run {run}: {why}." for run, why in test["skipped_runs"].items())
    count = f"{test['survivors']:,} of {test['tested']:,} units{passed}{signs}"
    return f"{title}{network}: {count}. {test['chance']}{skipped}"


def unit_tables(tests: list[dict[str, Any]], *, words: bool) -> list[str]:
    """The first units of each contrast, and how to read or get the words beside them; nothing where none was found.

    Args:
        tests: What was found, one a contrast.
        words: Whether the lists hold words that units promote.
    """
    lists = [unit_lists.first_units(test["unit_list"], test["name"]) for test in tests if test["survivors"]]
    return [*lists, unit_lists.READING if words else unit_lists.HINT] if lists else []


def layer_table(tests: list[dict[str, Any]]) -> str:
    """Number of units found in each layer, a column a contrast.

    Args:
        tests: What was found, one a contrast.
    """
    import pandas as pd

    first = tests[0]
    frame = pd.DataFrame({"layer": range(len(first["widths"])), "units": first["widths"]})
    for test in tests:
        frame[test["name"]] = test["per_layer"]
    return table(frame)
