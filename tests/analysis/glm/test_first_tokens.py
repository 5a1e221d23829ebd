"""The column for first tokens: where it is, where it is left out, and that block means are about other tokens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.helpers import real_calibration
from tests.helpers.fits import recording_of
from tests.helpers.recordings import blocks
from tl_fbn.analysis.glm.design_matrix import is_nuisance
from tl_fbn.analysis.glm.first_tokens import rows_of_first_tokens

ORDER = ["a", "b", "b", "a"] * 3
EVENTS = blocks(ORDER, 20)
N_ROWS = 240


def row_table(n_rows: int = N_ROWS, *, block: int = 20, seed: int = 0) -> pd.DataFrame:
    """Prompts of four to nine tokens; the last of every block of rows is cut, the first begins with it."""
    rng = np.random.default_rng(seed)
    position, prompt = [], []
    while len(position) < n_rows:
        length = min(int(rng.integers(4, 10)), block - len(position) % block)
        prompt += [prompt[-1] + 1 if prompt else 0] * length
        position += range(length)
    return pd.DataFrame({"prompt": prompt, "position": position})


def massive(y: np.ndarray, rows: pd.DataFrame, *, height: float = 1000.0, spread: float = 200.0) -> np.ndarray:
    """Activations whose first tokens are a thousand times as large as the others, and differ."""
    first = (rows["position"] == 0).to_numpy()
    out = y.copy()
    out[first] += height + spread * np.random.default_rng(9).normal(size=(first.sum(), y.shape[1]))
    return out


def null(n_units: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N_ROWS, n_units))


def one_run(rows: pd.DataFrame | None = None, events: pd.DataFrame = EVENTS, n_rows: int = N_ROWS) -> fbn.Recording:
    return recording_of([np.zeros((n_rows, 1))], [events], None if rows is None else [rows])


# The column


def test_it_is_one_in_the_first_row_of_every_prompt_of_every_run() -> None:
    tables = [row_table(seed=1), row_table(seed=2)]
    recording = recording_of([np.zeros((N_ROWS, 1))] * 2, [EVENTS] * 2, tables)
    for run, table in zip(recording, tables, strict=True):
        design = fbn.design_matrix(run)
        assert list(design)[:4] == ["a", "b", "position", "first_token"]
        expected = np.r_[1, np.diff(table["prompt"])]  # a prompt begins where its number changes
        np.testing.assert_array_equal(design["first_token"], expected)
        assert "first_token" not in fbn.design_matrix(run, first_token=False)
    assert is_nuisance("first_token")


def test_a_table_without_positions_has_it_from_the_prompts() -> None:
    rows = row_table()
    design = fbn.design_matrix(one_run(rows[["prompt"]])[0])
    np.testing.assert_array_equal(design["first_token"], (rows["position"] == 0).astype(float))


def pairs() -> pd.DataFrame:
    return pd.DataFrame({"prompt": np.arange(N_ROWS) // 2, "position": np.arange(N_ROWS) % 2})


WITHOUT = {
    "no row table": (None, {}),
    "a table that does not tell": (row_table().assign(token="x")[["token"]], {}),
    "rows that are prompts": (pd.DataFrame({"prompt": np.arange(N_ROWS)}), {}),
    "nothing but first tokens": (pd.DataFrame({"prompt": np.arange(N_ROWS), "position": 0}), {}),
    "tokens that the model wrote": (row_table().assign(position=lambda rows: rows["position"] + 7), {}),
    "the same column under another name": (row_table(), {"confounds": ("onset",)}),
    "lags, which model every first row": (row_table(), {"kernel": "fir", "n_lags": 3}),
    "position, which is as much in prompts of two tokens": (pairs(), {}),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_it_is_left_out_where_it_says_nothing_or_cannot_be_estimated(case: str) -> None:
    rows, options = WITHOUT[case]
    design = fbn.design_matrix(one_run(rows)[0], **options)
    assert "first_token" not in design
    pd.testing.assert_frame_equal(design, fbn.design_matrix(one_run(rows)[0], first_token=False, **options))


def test_pooled_prompts_have_none() -> None:
    rows = row_table().assign(flags="", trial_type="a", block=0)
    recording = one_run(rows)
    assert "first_token" in fbn.design_matrix(recording[0])
    for how in ("mean", "last"):
        assert "first_token" not in fbn.design_matrix(recording.pool(how)[0])


def test_a_run_with_as_many_rows_as_columns_has_none() -> None:
    """It would refuse a fit that is possible without."""
    rows = pd.DataFrame({"prompt": [0, 0, 1, 1], "position": [0, 1, 0, 1]})
    three = one_run(rows.iloc[:3], blocks(["a", "b"], 1), 3)
    assert list(fbn.design_matrix(three[0], position=False)) == ["a", "b", "intercept"]
    four = one_run(rows, blocks(["a", "b"], 2), 4)
    assert list(fbn.design_matrix(four[0], position=False)) == ["a", "b", "first_token"]
    fbn.fit_glm(four, position=False)


def test_a_condition_that_is_first_tokens_can_still_be_told_from_others() -> None:
    """Prompts of one token beside tokens that the model wrote: the column would be the condition."""
    written = np.repeat([name == "b" for name in ORDER], 20)
    rows = pd.DataFrame({"prompt": np.arange(N_ROWS), "position": np.where(written, 5, 0)})
    y = null(3) + written[:, None]
    fit = fbn.fit_glm(recording_of([y], [EVENTS], [rows]), position=False, drift="none", noise="ols")
    assert fit.columns == ["a", "b"]
    effect = fit.contrast("b - a", level="token").effect.values
    np.testing.assert_allclose(effect, y[written].mean(0) - y[~written].mean(0), rtol=1e-5)


def test_it_never_takes_the_estimability_of_another_contrast() -> None:
    for rows, options in (*WITHOUT.values(), (row_table(), {}), (row_table(), {"confounds": ("log_position",)})):
        run = one_run(rows)[0]
        without, with_it = (fbn.design_matrix(run, first_token=flag, **options) for flag in (False, True))
        for expression in ("a - b", "a", *without.columns):
            before, after = (fbn.glm.efficiency(design, f"{expression}") for design in (without, with_it))
            assert (before > 0) == (after > 0)


def test_a_condition_of_that_name_is_refused_only_where_the_column_is_added() -> None:
    named = blocks(["first_token", "b"] * 6, 20)
    with pytest.raises(ValueError, match="condition 'first_token' has the name of a column that the design adds"):
        fbn.design_matrix(one_run(row_table(), named)[0])
    recording = one_run(row_table(), named)
    assert list(fbn.design_matrix(recording[0], first_token=False))[:2] == ["first_token", "b"]
    design = fbn.design_matrix(recording[0], first_token=False)
    assert not rows_of_first_tokens(design, recording[0]).any()  # the condition's blocks are no first tokens


# Block means


@pytest.mark.parametrize("noise", ["ols", "ar1"])
def test_block_means_are_about_other_tokens(noise: str) -> None:
    """Known answer: the t test of means of ordinary rows, however large first tokens are and however they differ."""
    rows = row_table()
    y = massive(null(), rows)
    options = {"drift": "none", "position": False, "noise": noise}
    contrast = fbn.fit_glm(recording_of([y], [EVENTS], [rows]), **options).contrast("a - b")
    means = pd.DataFrame(y[rows["position"] > 0]).groupby(np.repeat(np.arange(12), 20)[rows["position"] > 0]).mean()
    a = np.array(ORDER) == "a"
    truth = stats.ttest_ind(means[a], means[~a])
    np.testing.assert_allclose(contrast.t.values, truth.statistic, rtol=1e-4)  # recordings are float32
    assert contrast.dof == 10
    blind = fbn.fit_glm(recording_of([y], [EVENTS], [rows]), first_token=False, **options).contrast("a - b")
    assert np.corrcoef(blind.t.values, truth.statistic)[0, 1] < 0.3


def test_an_effect_under_massive_first_tokens_is_found_at_every_level() -> None:
    tables = [row_table(seed=seed) for seed in range(4)]
    effect = 0.6 * np.repeat([name == "a" for name in ORDER], 20)[:, None]
    arrays = [massive(null(200, seed) + effect, table, spread=0.0) for seed, table in enumerate(tables)]
    recording = recording_of(arrays, [EVENTS] * 4, tables)
    for level in ("block", "token", "run"):
        found, blind = (
            fbn.fit_glm(recording, first_token=flag).contrast("a - b", level=level)  # type: ignore[arg-type]
            for flag in (True, False)
        )
        assert found.effect.values.mean() == pytest.approx(0.6, abs=0.03)
        assert (found.p.values < 0.05).mean() > 0.9
        assert (blind.p.values < 0.05).mean() < 0.2


def test_a_block_of_first_tokens_alone_keeps_them_less_their_coefficient() -> None:
    rows = row_table()
    rows.loc[:19] = pd.DataFrame({"prompt": np.arange(1000, 1020), "position": 0})  # block 0: prompts of one token
    y = massive(null(5), rows, spread=0.0)
    fit = fbn.fit_glm(recording_of([y], [EVENTS], [rows]), drift="none", position=False, noise="ols")
    run = fit.runs[0]
    place = fit.columns.index("first_token")
    np.testing.assert_allclose(run.block_design[:, place], [1.0] + [0.0] * 11)
    x = fit.designs[0].to_numpy()
    coefficient = np.linalg.lstsq(x, y, rcond=None)[0][place]
    np.testing.assert_allclose(run.means_between()[0], y[:20].mean(0) - coefficient, rtol=1e-4, atol=1e-3)
    assert fit.contrast("a - b").dof == 10


def test_it_varies_within_blocks_and_belongs_to_the_token_level() -> None:
    fit = fbn.fit_glm(one_run(row_table()), drift="none")
    with pytest.raises(ValueError, match='names first_token, which varies within blocks; use level="token"'):
        fit.contrast("first_token")
    y = massive(null(5), row_table(), spread=0.0)
    fit = fbn.fit_glm(recording_of([y], [EVENTS], [row_table()]), drift="none")
    assert fit.contrast("first_token", level="token").effect.values == pytest.approx(1000, abs=2)


def test_prompts_as_replicates_leave_theirs_out() -> None:
    rows = row_table()
    y = massive(null(20), rows)
    fit = fbn.fit_glm(
        recording_of([y], [EVENTS], [rows]), drift="none", position=False, noise="ols", replicates="prompts"
    )
    kept = (rows["position"] > 0).to_numpy()
    means = pd.DataFrame(y[kept]).groupby(rows["prompt"].to_numpy()[kept]).mean()
    alone = rows.groupby("prompt").size() == 1  # a cut prompt of one token has no other row
    found = fit.runs[0].block_means
    assert len(found) == rows["prompt"].nunique()
    np.testing.assert_allclose(found[~alone.to_numpy()], means, rtol=1e-4, atol=1e-4)


def test_a_design_of_ones_own_that_has_the_column_does_the_same() -> None:
    rows = row_table()
    recording = recording_of([massive(null(20), rows)], [EVENTS], [rows])
    ours = fbn.fit_glm(recording)
    theirs = fbn.fit_glm(recording, design=pd.DataFrame(fbn.design_matrix(recording[0]).to_dict("list")))
    np.testing.assert_array_equal(ours.contrast("a - b").t.values, theirs.contrast("a - b").t.values)
    graded = fbn.design_matrix(recording[0]).assign(first_token=lambda design: design["first_token"] * 0.5)
    assert not rows_of_first_tokens(graded, recording[0]).any()  # no mark of rows, but somebody's regressor


def test_a_stream_has_the_column_and_the_means_of_the_stored_recording(demo_model, tmp_path) -> None:
    prompts = {name: fbn.prompts(name) for name in ("sort", "reverse")}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=3, tokens_per_block=24, seed=0)
    scanner = fbn.Scanner(demo_model, surprisal=False)
    stored = fbn.fit_glm(scanner.scan(design, tmp_path / "r", progress=False))
    streamed = fbn.fit_glm(scanner.stream(design, progress=False))
    assert streamed.columns == stored.columns
    assert "first_token" in stored.columns
    for ours, theirs in zip(streamed.runs, stored.runs, strict=True):
        np.testing.assert_allclose(ours.block_means, theirs.block_means, atol=1e-5)
        np.testing.assert_array_equal(ours.within, theirs.within)


def test_a_fit_says_that_block_means_are_without_them() -> None:
    (said,) = fbn.fit_glm(one_run(row_table()), drift="none")._methods_()
    assert "the confounds position and first_token was fitted" in said
    assert said.endswith("Means of blocks are without first tokens, which have a column.")
    (said,) = fbn.fit_glm(one_run(row_table()), drift="none", first_token=False)._methods_()
    assert "the confounds position was" in said
    assert "first tokens" not in said


# Error rates on real activations, under 300 random labellings; a real model's are in tests/real


@pytest.mark.slow
def test_every_level_holds_on_the_embedded_model(demo_model, tmp_path) -> None:
    recording = real_calibration.recorded(demo_model, tmp_path / "r", prompts=real_calibration.task_prompts())
    assert "first_token" in fbn.design_matrix(recording[0])
    shares = real_calibration.false_positives(recording, 300)
    assert set(shares) == {"block", "token", "run"}
    assert all(0.04 < share < 0.06 for share in shares.values()), shares
