"""Models of other tokenizers: planted courses come back, places are found, what is left out is said; refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.common_texts import read_by_model, texts
from tests.helpers.recordings import blocks
from tests.helpers.results import inter_model_correlation as made

Models = tuple[dict[str, fbn.Recording], dict[str, fbn.Atlas]]


@pytest.fixture(scope="module")
def models() -> Models:
    """Three models with tokens of up to 2, 3 and 9 letters: network N0 follows the words, N1 something of its own."""
    read = texts(20, 2, seed=0)
    recordings, atlases = {}, {}
    for number, pieces in enumerate((2, 3, 9)):
        rng = np.random.default_rng(number)
        own = [(words, np.column_stack([effect[:, 0], rng.normal(size=len(words))])) for words, effect in read]
        recordings[f"M{number}"], atlases[f"M{number}"] = read_by_model(own, pieces, 0.5, seed=number)
    return recordings, atlases


@pytest.fixture(scope="module")
def found(models: Models) -> fbn.networks.InterModelCorrelation:
    return fbn.inter_model_correlation(*models, seed=0, n_null=99)


def test_what_models_share_is_found_and_nothing_else(found) -> None:
    table = found.to_dataframe().set_index("network")
    assert table.loc["N0", "r"] > 0.8 and table.loc["N0", "p"] == 0.01
    assert abs(table.loc["N1", "r"]) < 0.15 and table.loc["N1", "p"] > 0.05
    assert table.loc["N1", "low"] < 0 < table.loc["N1", "high"] and table.loc["N0", "low"] > 0.7
    assert "beyond chance (p <= 0.05), in N0." in found.verdict() and "Not shown to be shared: N1" in found.verdict()
    assert found.n_texts == 20 and "1 beyond chance" in repr(found)


def test_correlations_are_those_of_word_means(models: Models, found) -> None:
    """By hand: the mean over the tokens of a word of the mean over a network's members, first words left out."""
    courses = []
    for name, recording in models[0].items():
        run = recording[0]
        y = np.asarray(run.layer(0), dtype=float)[:, :10].mean(1)
        word = (run.rows["token"].str.startswith("\u0120") | (run.rows["token"] == "<s>")).cumsum()
        means = pd.DataFrame({"y": y, "word": word, "prompt": run.rows["prompt"]}).groupby(["prompt", "word"]).y.mean()
        kept = [part.to_numpy()[2:] for _, part in means.groupby(level=0)]  # <s> and the first word
        courses.append(np.concatenate(kept))
        assert name in found.models
    # words that end at a place where no piece of another model does are no matter here: all do
    assert len({len(one) for one in courses}) == 1
    coarse = np.corrcoef(courses)
    assert found.pairs[0] == pytest.approx(coarse, abs=0.06)  # segments are words or parts of them
    assert found.n_rows >= len(courses[0])


def test_one_model_twice_is_the_same(models: Models) -> None:
    recordings, atlases = models
    twice = fbn.inter_model_correlation(
        {"A": recordings["M0"], "B": recordings["M0"]}, atlases["M0"], seed=0, n_null=19
    )
    assert twice.correlation == pytest.approx(np.ones((2, 2))) and (twice.p == 0.05).all()
    assert twice.n_rows == sum(one[0].n_rows - 20 for one in [recordings["M0"]])  # rows but the first of each text
    assert twice.to_dataframe()["low"].to_numpy() == pytest.approx([1, 1], abs=1e-6)


def test_a_stranger_among_models_stands_apart(models: Models) -> None:
    recordings, atlases = models
    read = [(words, np.random.default_rng(9).normal(size=effect.shape)) for words, effect in texts(20, 2, seed=0)]
    stranger, atlas = read_by_model(read, 4, 0.5, seed=9)
    found = fbn.inter_model_correlation(
        {**recordings, "stranger": stranger}, {**atlases, "stranger": atlas}, seed=0, n_null=19
    )
    of_models = found.by_model().query("network == 'N0'").set_index("model")
    assert of_models["r"].idxmin() == "stranger" and of_models.loc["stranger", "p"] > 0.05
    assert list(found.by_model()["network"]) == ["N0"] * 4 + ["N1"] * 4


def test_first_tokens_are_left_out_or_not(models: Models) -> None:
    recordings, atlases = models
    pair = dict.fromkeys(("M0", "again"), recordings["M0"])
    same = dict.fromkeys(pair, atlases["M0"])
    kept = fbn.inter_model_correlation(pair, same, seed=0, n_null=9, drop_first=0)
    assert kept.n_rows == recordings["M0"].n_rows
    assert kept.to_dataframe()["chance"].min() > 0.9  # every text begins with 40: chance shows it


def test_courses_may_be_given_and_settings_are_said(models: Models, found) -> None:
    recordings, atlases = models
    courses = {name: fbn.networks.time_courses(one, atlases[name]) for name, one in recordings.items()}
    again = fbn.inter_model_correlation(courses, seed=0, n_null=99)
    pd.testing.assert_frame_equal(again.to_dataframe(), found.to_dataframe())
    other = fbn.inter_model_correlation(courses, seed=0, n_null=9, null="phase", interval="bootstrap", n_bootstrap=50)
    assert other.pairs == pytest.approx(found.pairs)
    assert "phases of frequencies" in other._methods_()[0] and "bootstrap over texts" in other._methods_()[0]
    assert other.provenance["drop_first"] == 1 and not fbn.inter_model_correlation(courses, seed=0, n_null=0).null.size


def test_signs_count_or_not(models: Models) -> None:
    recordings, atlases = models
    space = recordings["M0"].space
    turned = fbn.Network(space, atlases["M0"]["N0"].members, signs=-atlases["M0"]["N0"].members.astype(np.int8))
    both = {"M0": fbn.Atlas.from_networks({"N0": turned}), "M1": atlases["M1"]}
    two = {name: recordings[name] for name in both}
    assert fbn.inter_model_correlation(two, both, seed=0, n_null=0).correlation[0, 0] < -0.7
    assert fbn.inter_model_correlation(two, both, seed=0, n_null=0, signed=False).correlation[0, 0] > 0.7
    assert fbn.inter_model_correlation(two, both, seed=0, n_null=0).provenance["left_out"] == ["N1"]


def test_texts_are_matched_by_condition_and_place() -> None:
    """Blocks of other tokenizers hold other numbers of prompts: the n-th of a condition is the same text."""
    rng = np.random.default_rng(0)
    effect = {(kind, i): rng.normal(size=6) for kind in "ab" for i in range(4)}

    def recording(order: list[tuple[str, int]]) -> fbn.Recording:
        y = np.concatenate([effect[one] for one in order])[:, None]
        rows = pd.DataFrame(
            {
                "prompt": np.repeat(np.arange(len(order)), 6),
                "token": [f"{kind}{i}{j}" for kind, i in order for j in range(6)],
                "trial_type": np.repeat([kind for kind, _ in order], 6),
            }
        )
        return fbn.Recording.from_arrays([[y]], events=[blocks(["a"], len(y))], rows=[rows])

    first = recording([("a", 0), ("a", 1), ("b", 0), ("b", 1), ("a", 2), ("b", 2)])
    second = recording([("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 2), ("b", 3), ("a", 2), ("a", 3)])
    atlas = fbn.Atlas.from_networks({"N": fbn.Network.from_indices(first.space, [0])})
    found = fbn.inter_model_correlation({"A": first, "B": second}, atlas, seed=0, n_null=9)
    assert found.n_texts == 6 and found.correlation == pytest.approx(np.ones((2, 1)))


def test_a_network_that_never_varies_has_no_correlation(models: Models) -> None:
    recordings, atlases = models
    run = recordings["M0"][0]
    y = np.asarray(run.layer(0), dtype=float).copy()
    y[:, :10] = 3.3
    still = fbn.Recording.from_arrays([[y]], events=[run.events], rows=[run.rows])
    found = fbn.inter_model_correlation(
        {"A": still, "B": recordings["M1"]}, {"A": atlases["M0"], "B": atlases["M1"]}, seed=0, n_null=9
    )
    table = found.to_dataframe().set_index("network")
    assert table.loc["N0"].isna().all() and table.loc["N1"].notna().all()
    assert "Not shown to be shared: N0" in found.verdict()


def test_a_file_is_the_result(tmp_path: Path, found) -> None:
    found.save(tmp_path / "i.safetensors")
    again = fbn.load(tmp_path / "i.safetensors")
    assert repr(again) == repr(found) and str(again) == str(found)
    pd.testing.assert_frame_equal(again.by_model(), found.by_model())
    page = fbn.Report("Models", found).to_html()
    assert "The same texts in several models" in page and "Each model with the others" in page


def test_p_by_hand() -> None:
    found = made()
    r = found.correlation
    assert r[:, 1] == pytest.approx([1.0 / np.sqrt(3)] * 3)  # .5 with each of two that correlate by .5
    expected = (1 + (found.null[:, 3, 0] >= r[:, 0].mean()).sum()) / 40
    assert found.to_dataframe()["p"][0] == pytest.approx(expected)
    assert found.to_dataframe()["chance_95"][1] == pytest.approx(np.quantile(found.null[:, 3, 1], 0.95))
    assert "1 networks left out" in repr(found)


def refused(models: Models, **changed: Any) -> None:
    recordings, atlases = models
    fbn.inter_model_correlation(**{"recordings": recordings, "networks": atlases, "seed": 0, "n_null": 3, **changed})


def test_refusals(models: Models) -> None:
    recordings, atlases = models
    with pytest.raises(fbn.InputError, match="compares models; got 1"):
        refused(models, recordings={"M0": recordings["M0"]})
    with pytest.raises(fbn.InputError, match="no networks for model 'M1'; networks= has M0"):
        refused(models, networks={"M0": atlases["M0"]})
    with pytest.raises(fbn.InputError, match="no networks were given; give the atlas of each model"):
        refused(models, networks=None)
    other = atlases["M1"].rename({"N0": "A", "N1": "B"})
    with pytest.raises(fbn.InputError, match=r"no network's name in common \(M0: N0 and N1; M1: A and B"):
        refused(models, networks={**atlases, "M1": other})
    with pytest.raises(fbn.InputError, match="drop_first=-1"):
        refused(models, drop_first=-1)
    with pytest.raises(fbn.InputError, match="have 0 texts of at least two segments in common"):
        refused(models, drop_first=100)
    strange, _ = read_by_model(texts(20, 2, seed=5), 3, 0.5, seed=1)
    with pytest.raises(fbn.InputError, match=r"text 0 of the run 0 differs between the recordings"):
        refused(models, recordings={**recordings, "M1": strange})
    runs = [[np.asarray(recordings["M0"][0].layer(0))]] * 2
    doubled = fbn.Recording.from_arrays(
        runs, events=[recordings["M0"][0].events] * 2, rows=[recordings["M0"][0].rows] * 2
    )
    with pytest.raises(fbn.InputError, match="the recordings have 1 and 2 runs"):
        refused(models, recordings={**recordings, "M1": doubled}, networks={**atlases, "M1": atlases["M0"]})
    with pytest.raises(fbn.InputError, match="n_bootstrap=1 draws have no spread"):
        refused(models, interval="bootstrap", n_bootstrap=1)
    with pytest.raises(fbn.InputError, match="null must be 'texts', 'shift' or 'phase'"):
        refused(models, null="nothing")
