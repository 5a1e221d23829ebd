"""Courses of several models on one time axis: segments by hand, special tokens, texts that only one model has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.networks.common_axis import aligned_run, of_variance_one
from tl_fbn.analysis.networks.leave_one_out import AlignedRun
from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace


def run_of(prompts: list[list[str]], *, kinds: str = "", flags: dict[str, str] | None = None) -> tuple[Run, np.ndarray]:
    """A run of one network whose course counts its rows."""
    tokens = [token for prompt in prompts for token in prompt]
    rows = pd.DataFrame({"prompt": np.repeat(np.arange(len(prompts)), [len(one) for one in prompts]), "token": tokens})
    if kinds:
        rows["trial_type"] = np.repeat(list(kinds), [len(one) for one in prompts])
    if flags:
        rows["flags"] = [flags.get(token, "") for token in tokens]
    course = np.arange(len(tokens), dtype=float)[:, None]
    tables = {"events": pd.DataFrame(columns=["onset", "duration", "trial_type"]), "rows": rows}
    return Run(UnitSpace("networks", (1,)), {0: course}, {"key": "made up"}, None, tables), course


def test_segments_are_means_over_tokens() -> None:
    first = run_of([["<s>", "ab", "cd", "e"]])
    second = run_of([["a", "b", "c", "d", "e"]])
    found = aligned_run([first, second], 0, 0)
    assert found.lengths.tolist() == [3]
    assert found.courses[:, :, 0].tolist() == [[1, 2, 3], [0.5, 2.5, 4]]
    assert aligned_run([first, second], 0, 1).courses[:, :, 0].tolist() == [[2, 3], [2.5, 4]]
    assert aligned_run([first, second], 0, 2).lengths.tolist() == []  # one segment is no course


def test_words_of_chat_templates_that_are_special_have_no_characters() -> None:
    first = run_of([["[INST]", "ab", "c", "[/INST]", "d"]], flags={"[INST]": "special", "[/INST]": "special cut"})
    second = run_of([["user:", "a", "bc", "d"]], flags={"user:": "bos"})
    assert aligned_run([first, second], 0, 0).courses[:, :, 0].tolist() == [[1.5, 4], [1.5, 3]]


def test_the_same_tokens_are_rows_as_they_are() -> None:
    same = run_of([["<s>", "a", "b"], ["<s>", "c", "d", "e"]])
    found = aligned_run([same, same], 0, 1)
    assert found.lengths.tolist() == [2, 3] and found.courses[0, :, 0].tolist() == [1, 2, 4, 5, 6]


def test_texts_that_only_one_model_has_are_left_out() -> None:
    first = run_of([["a", "b"], ["x", "y"], ["c", "d"]], kinds="kmk")
    second = run_of([["ab"], ["x", "y"], ["cd"], ["p", "q"]], kinds="kmkm")
    found = aligned_run([first, second], 0, 0)
    assert found.lengths.tolist() == [2] and found.courses[:, :, 0].tolist() == [[2, 3], [1, 2]]
    with pytest.raises(InputError, match="text 1 of k run 3 differs"):
        aligned_run([first, run_of([["ab"], ["ce"]], kinds="kk")], 3, 0)


def test_courses_are_of_norm_one_over_all_runs() -> None:
    rng = np.random.default_rng(0)
    runs = [AlignedRun(rng.normal(5, 2, size=(2, n, 2)), np.array([n])) for n in (6, 9)]
    for one in runs:
        one.courses[1, :, 1] = 0.1 + 0.2  # whose mean is another number
    found = of_variance_one(runs)
    assert all(one.courses[:, :, 0].mean(1) == pytest.approx([0, 0], abs=1e-12) for one in found)
    squares = sum(np.square(one.courses).sum(1) for one in found)
    assert squares[:, 0] == pytest.approx([1, 1]) and np.isnan(squares[1, 1]) and squares[0, 1] == pytest.approx(1)
