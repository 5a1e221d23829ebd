"""A significant map is not a causal one, on a model nobody here trained: ``python -m tests.benchmarks.stories_truth
../shared/models/stories260K``.

The question is which neurons carry that the child of the story is a *he* or a *she*. Maps are made from two sentence
frames with some names; the lesions are
scored on four other frames with other names: which of "he" and "she" comes next. Maps:

- ``t``: Welch's t of boy against girl texts at their last token, the field's localizer (largest \\|t\\|);
- ``glm t``: the same question to the GLM, block designs of boy and girl stories, token level;
- ``difference``: difference of mean activations, in magnitude;
- ``gradient x activation``: of the pronoun's log-likelihood at the last token of the frames, summed magnitudes.

Each map's top neurons (3 and 5 % of 860) are silenced, beside 100 random sets with as many neurons in each layer, by
:func:`tl_fbn.causal_check`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.helpers.story_pronouns import table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    columns = [
        "top",
        "network",
        "metric",
        "baseline",
        "lesioned",
        "drop",
        "low",
        "high",
        "control_median",
        "control_worst",
        "p",
    ]
    print(table(options.model)[columns].to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
