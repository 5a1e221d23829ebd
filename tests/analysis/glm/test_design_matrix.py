"""The default design matrix: cell means, confounds by name, drift that leaves the task alone."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.glm.design_matrix import cosine_drift, design_matrix, longest_cycle


def run_of(events: pd.DataFrame, n_rows: int, rows: pd.DataFrame | None = None) -> Run:
    """A run with one silent unit."""
    tables = None if rows is None else [rows]
    return fbn.Recording.from_arrays([[np.zeros((n_rows, 1))]], events=[events], rows=tables)[0]


def test_conditions_are_boxcars_and_need_no_intercept() -> None:
    design = design_matrix(run_of(blocks(["a", "b", "a"], 4), 12), drift="none")
    expected = pd.DataFrame({"a": [1.0] * 4 + [0.0] * 4 + [1.0] * 4, "b": [0.0] * 4 + [1.0] * 4 + [0.0] * 4})
    pd.testing.assert_frame_equal(design, expected)


def test_intercept_only_where_rows_have_no_condition() -> None:
    design = design_matrix(run_of(blocks(["a", "b"], 4), 10), drift="none")
    assert list(design) == ["a", "b", "intercept"]
    assert (design["intercept"] == 1).all()
    assert design.loc[8:, ["a", "b"]].to_numpy().sum() == 0
    assert np.linalg.matrix_rank(design.to_numpy()) == 3


def test_coefficients_of_the_plain_design_are_cell_means() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(12, 3)) + 5
    recording = fbn.Recording.from_arrays([[y]], events=[blocks(["a", "b", "a"], 4)])
    fit = fbn.fit_glm(recording, noise="ols", drift="none")
    means = np.array([np.delete(y, range(4, 8), 0).mean(0), y[4:8].mean(0)])
    np.testing.assert_allclose(fit.runs[0].coefficients(), means, rtol=1e-6)


def test_position_is_centred_and_scaled_and_can_be_left_out() -> None:
    rows = pd.DataFrame({"prompt": np.repeat([0, 1, 2], 4), "position": [0, 1, 2, 3] * 3})
    run = run_of(blocks(["a", "b", "a"], 4), 12, rows)
    position = design_matrix(run, drift="none")["position"].to_numpy()
    assert abs(position.mean()) < 1e-12
    assert position.std() == pytest.approx(1)
    np.testing.assert_allclose(np.diff(position[:4]), np.diff(position[:4])[0])
    assert "position" not in design_matrix(run, drift="none", position=False)


def test_position_of_one_token_contexts_is_left_out() -> None:
    rows = pd.DataFrame({"prompt": range(8), "position": [0] * 8})
    assert "position" not in design_matrix(run_of(blocks(["a", "b"], 4), 8, rows))


def test_drift_has_the_documented_periods_and_is_orthonormal_up_to_rows() -> None:
    basis = cosine_drift(400, 100)
    assert basis.shape == (400, 8)  # periods 800, 400, ..., 100
    np.testing.assert_allclose(basis.T @ basis / 400, np.eye(8), atol=1e-12)
    np.testing.assert_allclose(basis.sum(0), 0, atol=1e-9)
    spectrum = np.abs(np.fft.rfft(np.concatenate([basis, basis[::-1]]), axis=0))  # of the even extension
    np.testing.assert_array_equal(spectrum.argmax(0), np.arange(1, 9))


def test_default_cutoff_is_four_cycles() -> None:
    conditions = ["a", "b"] * 8
    design = design_matrix(run_of(blocks(conditions, 10), 160))  # a cycle has 20 rows: periods down to 80
    assert [name for name in design if name.startswith("drift")] == [f"drift_{i}" for i in (1, 2, 3, 4)]
    assert list(design_matrix(run_of(blocks(conditions, 10), 160), cutoff=40)) == [
        "a",
        "b",
        *(f"drift_{i}" for i in range(1, 9)),
    ]


def test_default_drift_takes_little_of_an_alternating_task() -> None:
    design = design_matrix(run_of(blocks(["a", "b"] * 8, 10), 160))
    task = (design["a"] - design["b"]).to_numpy()
    drift = design.filter(like="drift").to_numpy()
    lost = np.square(np.linalg.lstsq(drift, task, rcond=None)[0] @ drift.T).sum() / np.square(task).sum()
    assert lost < 0.05


def test_nothing_repeats_so_there_is_no_drift() -> None:
    assert list(design_matrix(run_of(blocks(["a", "b"], 5), 10))) == ["a", "b"]


def test_longest_cycle() -> None:
    assert longest_cycle(blocks(["a", "b", "a", "c", "c", "b"], 10), 60) == 40  # b to b
    assert longest_cycle(blocks(["a", "b"], 10), 20) == 20


def test_overlapping_blocks_of_one_condition_count_once() -> None:
    events = pd.DataFrame({"onset": [0, 2, 6], "duration": [4, 4, 4], "trial_type": ["a", "a", "b"]})
    np.testing.assert_array_equal(design_matrix(run_of(events, 10), drift="none")["a"], [1] * 6 + [0] * 4)


def chat_rows() -> pd.DataFrame:
    """Four chats of five rows: BOS, a question, the mark that ends it, an answer of two."""
    tokens = ["<s>", "q", "[/INST]", "x", "y"] * 4
    flags = ["bos", "", "special", "", ""] * 4
    return pd.DataFrame(
        {"prompt": np.repeat(range(4), 5), "position": list(range(5)) * 4, "token": tokens, "flags": flags}
    )


def test_phases_split_a_condition() -> None:
    run = run_of(blocks(["a", "b"], 10), 20, chat_rows())
    phases = fbn.glm.from_token("[/INST]", "answer")
    design = design_matrix(run, drift="none", position=False, first_token=False, phases=phases)
    assert list(design) == ["a", "a_answer", "b", "b_answer"]
    np.testing.assert_array_equal(design["a_answer"], [0, 0, 1, 1, 1] * 2 + [0] * 10)
    np.testing.assert_array_equal(design["b"], [0] * 10 + [1, 1, 0, 0, 0] * 2)
    np.testing.assert_array_equal(design.sum(axis=1), 1)


def test_a_phase_ends_with_its_prompt_and_at_the_next_special_token() -> None:
    rows = chat_rows()
    rows.loc[[4], ["token", "flags"]] = ["</s>", "special"]
    rows.loc[[10], ["token", "flags"]] = ["plain", ""]  # a prompt without BOS: the last answer does not reach into it
    design = design_matrix(
        run_of(blocks(["a", "b"], 10), 20, rows),
        drift="none",
        position=False,
        phases=fbn.glm.from_token("[/INST]", "answer"),
    )
    np.testing.assert_array_equal(design["a_answer"], [0, 0, 1, 1, 0, 0, 0, 1, 1, 1] + [0] * 10)
    np.testing.assert_array_equal(design["b_answer"], [0] * 10 + [0, 0, 1, 1, 1] * 2)


def test_bad_phases() -> None:
    run = run_of(blocks(["a", "b"], 10), 20, chat_rows())
    with pytest.raises(ValueError, match=r"no row of this run holds the token '\[INST\]'; give a token that"):
        design_matrix(run, phases=fbn.glm.from_token("[INST]", "answer"))
    with pytest.raises(ValueError, match="phases gave 3 labels for 20 rows; give one a row"):
        design_matrix(run, phases=lambda rows: ["x"] * 3)
    bare = run_of(blocks(["a", "b"], 10), 20, chat_rows()[["prompt"]])
    with pytest.raises(ValueError, match="columns prompt, token and flags; it lacks token, flags"):
        design_matrix(bare, phases=fbn.glm.from_token("[/INST]", "answer"))


def test_bad_input() -> None:
    run = run_of(blocks(["a", "b"] * 4, 10), 80)
    with pytest.raises(ValueError, match=r"cutoff=30 rows is shorter than two full cycles of the design \(40 rows\)"):
        design_matrix(run, cutoff=30)
    with pytest.raises(ValueError, match="no events, so no condition"):
        design_matrix(run_of(blocks([], 10), 80))
    with pytest.raises(ValueError, match=r"drift must be 'cosine', 'polynomial' or 'none'; got 'poly'"):
        inspect.unwrap(design_matrix)(run, drift="poly")  # as where types are not checked


@pytest.mark.parametrize("name", ["position", "intercept", "drift_1"])
def test_condition_named_like_a_confound_is_refused(name: str) -> None:
    rows = pd.DataFrame({"position": list(range(10)) * 9})
    with pytest.raises(ValueError, match=f"condition '{name}' has the name of a column that the design adds"):
        design_matrix(run_of(blocks([name, "b"] * 4, 10), 90, rows))


CYCLES = blocks(["a", "b"] * 4, 12)


def segmented(n_rows: int = 96, length: int = 6) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prompt": np.repeat(np.arange(n_rows // length), length),
            "position": np.tile(np.arange(length), n_rows // length),
        }
    )


def test_a_leaking_condition_builds_up_anew_in_every_context() -> None:
    run = run_of(CYCLES, 96, segmented())
    column = design_matrix(run, drift="none", position=False, kernel="leak", leak=0.5)["a"].to_numpy()
    expected = 1 - 0.5 ** np.arange(1, 7)
    np.testing.assert_allclose(column[:12], np.tile(expected, 2))
    assert not column[12:24].any()
    by_hand = [sum(0.5 * 0.5**k for k in range(t + 1)) for t in range(6)]
    np.testing.assert_allclose(expected, by_hand)


def test_fir_has_a_column_a_lag_that_starts_anew_in_every_context() -> None:
    run = run_of(CYCLES, 96, segmented())
    design = design_matrix(run, drift="none", position=False, kernel="fir", n_lags=3)
    assert list(design) == ["a", "a_lag1", "a_lag2", "b", "b_lag1", "b_lag2"]
    np.testing.assert_array_equal(design["a_lag2"][:12], [0, 0, 1, 1, 1, 1] * 2)


def test_lags_of_one_condition_are_no_other_condition() -> None:
    """The boxcar of a condition sort_lag1 would be taken for the delayed one of sort, and one of both lost."""
    run = run_of(blocks(["sort", "sort_lag1"] * 4, 12), 96, segmented())
    with pytest.raises(
        ValueError, match=r"column of 'sort' at lag 1 would be called 'sort_lag1', as another column is"
    ):
        design_matrix(run, drift="none", kernel="fir", n_lags=3)
    assert {"sort", "sort_lag1"} <= set(design_matrix(run, drift="none"))


def test_columns_are_named_as_text() -> None:
    """1 and "1" are two columns of a table and one name of a contrast."""
    recording = fbn.Recording.from_arrays([[np.zeros((20, 2))]], events=[blocks(["a", "b"], 10)])
    twice = pd.DataFrame(np.eye(20)[:, :2], columns=[1, "1"])
    with pytest.raises(ValueError, match="the design of run 0 names a column twice: 1, 1"):
        fbn.fit_glm(recording, design=twice)


def test_fir_recovers_any_response() -> None:
    rng = np.random.default_rng(0)
    run = run_of(CYCLES, 96, segmented())
    design = design_matrix(run, drift="none", position=False, kernel="fir", n_lags=4)
    truth = rng.normal(size=(8, 3))
    y = design.to_numpy() @ truth
    recording = fbn.Recording.from_arrays([[y]], events=[CYCLES], rows=[segmented()])
    fit = fbn.fit_glm(recording, noise="ols", drift="none", position=False, kernel="fir", n_lags=4)
    np.testing.assert_allclose(fit.runs[0].coefficients(), truth, atol=1e-5)
    total = fit.contrast("a + a_lag1 + a_lag2 + a_lag3", level="token")
    np.testing.assert_allclose(total.effect.values, truth[:4].sum(0), atol=1e-5)


def test_polynomial_drift_takes_off_what_polynomials_are() -> None:
    place = np.linspace(-1, 1, 96)
    y = np.column_stack([3 * place, 5 * place**2 - place])
    y[np.repeat([True, False] * 4, 12)] += 1.0
    recording = fbn.Recording.from_arrays([[y]], events=[CYCLES])
    fit = fbn.fit_glm(recording, noise="ols", drift="polynomial", degree=2)
    np.testing.assert_allclose(fit.contrast("a - b", level="token").effect.values, 1.0, atol=1e-5)
    assert [name for name in fit.columns if name.startswith("drift")] == ["drift_1", "drift_2"]


def test_drift_that_takes_the_task_is_refused() -> None:
    run = run_of(CYCLES, 96)
    with pytest.raises(ValueError, match=r"drift takes \d+% of the efficiency of a - b \(a fifth is allowed\)"):
        design_matrix(run, drift="polynomial", degree=12)
    design_matrix(run)
    clumped = run_of(blocks(["a"] * 4 + ["b"] * 2 + ["a", "b", "b"] + ["b"] * 3, 8), 96)
    assert not [name for name in design_matrix(clumped) if name.startswith("drift")]  # the default gives way instead
    off_on_off = run_of(blocks(["rest", "a", "rest"], 32), 96)
    assert list(design_matrix(off_on_off)) == ["rest", "a"] or "drift_1" in design_matrix(off_on_off)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "leak"}, 'kernel="leak" needs leak= between 0 and 1'),
        ({"kernel": "leak", "leak": 1.0}, "got 1.0"),
        ({"kernel": "fir", "n_lags": 0}, "n_lags of at least 1; got 0"),
        ({"confounds": ["mood"]}, "a confound must be one of position, log_position, .*; got 'mood'"),
    ],
)
def test_bad_kernels_and_confounds(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        design_matrix(run_of(CYCLES, 96), **options)
