"""Confounds: columns from the row table, what they take off, and what they need."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.analysis.glm.confounds import confound_columns, spike_rows

EVENTS = blocks(["a", "b"] * 3, 8)
TOKENS = [" cat", "12", "\n", "!!", "<eos>", "\u0120dog", "\u2581sat", "x"]


def rows() -> pd.DataFrame:
    surprisal = np.tile([np.nan, 1, 2, 3, 4, 5, 6, 7.0], 6)
    return pd.DataFrame(
        {
            "prompt": np.repeat(np.arange(6), 8),
            "position": np.tile(np.arange(8), 6),
            "token": TOKENS * 6,
            "flags": (["", "", "", "", "special", "", "", ""]) * 6,
            "surprisal": surprisal,
        }
    )


def recording(y: np.ndarray | None = None) -> fbn.Recording:
    return fbn.Recording.from_arrays([[np.zeros((48, 2)) if y is None else y]], events=[EVENTS], rows=[rows()])


def test_columns_say_what_a_token_is() -> None:
    found = confound_columns(recording()[0], ["token_class", "onset", "log_position", "surprisal"])
    classes = {name: values[:8].astype(int).tolist() for name, values in found.items() if name.startswith("is_")}
    assert classes == {
        "is_space": [1, 0, 0, 0, 0, 1, 1, 0],
        "is_punctuation": [0, 0, 0, 1, 0, 0, 0, 0],
        "is_digit": [0, 1, 0, 0, 0, 0, 0, 0],
        "is_newline": [0, 0, 1, 0, 0, 0, 0, 0],
        "is_special": [0, 0, 0, 0, 1, 0, 0, 0],
    }
    assert found["prompt_onset"].reshape(6, 8).tolist() == [[1.0] + [0.0] * 7] * 6
    place = np.log1p(np.tile(np.arange(8), 6))
    np.testing.assert_allclose(found["log_position"], (place - place.mean()) / place.std())
    surprisal = found["surprisal"]
    assert surprisal[0] == 0  # the first token of a context has none: the mean of the others
    assert surprisal.mean() == pytest.approx(0, abs=1e-12)
    assert surprisal.std() == pytest.approx(1)


def test_a_confound_takes_its_variance_off() -> None:
    rng = np.random.default_rng(0)
    found = confound_columns(recording()[0], ["surprisal"])["surprisal"]
    y = rng.normal(size=(48, 2)) * 0.1
    y[:, 0] += 5 * found
    plain = fbn.fit_glm(recording(y), noise="ols", drift="none", first_token=False)
    cleaned = fbn.fit_glm(recording(y), noise="ols", drift="none", first_token=False, confounds=("surprisal",))
    assert cleaned.runs[0].innovation_variance[0] < plain.runs[0].innovation_variance[0] / 50
    assert "surprisal" in cleaned.columns
    assert cleaned.contrast("surprisal", level="token").effect.values[0] == pytest.approx(5, abs=0.1)


def test_massive_rows_get_a_column_each_and_no_longer_count() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(48, 30))
    y[17] += 400
    one = recording(y)
    assert np.flatnonzero(spike_rows(one[0])).tolist() == [17]
    fit = fbn.fit_glm(one, noise="ols", drift="none", first_token=False, confounds=("spikes",))
    assert "spike_17" in fit.columns
    without = np.delete(np.arange(48), 17)
    a = np.repeat([True, False] * 3, 8)
    means = [y[without][a[without] == kind].mean(0) for kind in (True, False)]
    place = fit.designs[0]["position"].to_numpy()
    x = np.column_stack([a, ~a, place])[without].astype(float)
    by_hand = np.linalg.lstsq(x, y[without], rcond=None)[0]
    np.testing.assert_allclose(fit.runs[0].coefficients()[:2], by_hand[:2], atol=1e-5)
    assert len(means) == 2


def test_columns_that_never_vary_are_left_out() -> None:
    table = rows().assign(token="x", flags="")
    run = fbn.Recording.from_arrays([[np.zeros((48, 2))]], events=[EVENTS], rows=[table])[0]
    assert confound_columns(run, ["token_class"]) == {}


def test_infinite_surprisal_counts_as_the_largest_there_is() -> None:
    """A token that the model rules out surprises without bound: it is no missing value, and the column stays."""
    table = rows()
    table.loc[[3, 11], "surprisal"] = np.inf
    run = fbn.Recording.from_arrays([[np.zeros((48, 2))]], events=[EVENTS], rows=[table])[0]
    values = table["surprisal"].replace(np.inf, 7.0)
    wanted = (values - values.mean()).fillna(0)
    np.testing.assert_allclose(confound_columns(run, ["surprisal"])["surprisal"], wanted / wanted.std(ddof=0))


def test_a_column_without_any_value_is_refused() -> None:
    """It would leave the design without a word."""
    table = rows().assign(entropy=np.nan)
    run = fbn.Recording.from_arrays([[np.zeros((48, 2))]], events=[EVENTS], rows=[table])[0]
    with pytest.raises(
        ValueError, match="confound 'entropy' needs entropy in the row table, which has no value in any"
    ):
        confound_columns(run, ["entropy"])


def test_what_is_missing_is_named(demo_model) -> None:
    with pytest.raises(
        ValueError,
        match="confound 'entropy' needs entropy in the row table, which this run lacks; scan with entropy=True",
    ):
        confound_columns(recording()[0], ["entropy"])
    rng = np.random.default_rng(0)
    wild = rng.normal(size=(48, 2)) * np.where(np.arange(48) % 4 == 0, 1e3, 1e-3)[:, None]
    with pytest.raises(ValueError, match="of 48 rows are spikes, too many"):
        confound_columns(recording(wild)[0], ["spikes"])
    design = fbn.block_design({"sort": fbn.prompts("sort"), "rest": fbn.prompts("rest")}, n_runs=1, n_cycles=1, seed=0)
    stream = fbn.Scanner(demo_model).stream(design, progress=False)
    with pytest.raises(ValueError, match="activations, which a stream has not seen"):
        fbn.fit_glm(stream, confounds=("spikes",))
