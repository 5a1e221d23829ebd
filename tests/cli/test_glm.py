"""``tl-fbn glm``: the numbers are the library's, and what cannot go together is refused."""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.cli import answer, invoke, planted, refused
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording import store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("glm") / "r"
    planted(path)
    return path


def test_planted_units_are_found_and_saved(folder):
    found = answer("glm", folder, "a - b", "--fwe", "0.01")
    (contrast,) = found["contrasts"]
    network = fbn.Network.load(contrast["network"])
    assert network.indices.tolist() == [3, 27]
    assert contrast["per_layer"] == [1, 1]
    assert (contrast["survivors"], contrast["positive"], contrast["tested"]) == (2, 2, 50)
    assert contrast["chance"] == "The chance that any of them is false is at most 0.01."
    expected = fbn.fit_glm(fbn.Recording.open(folder)).contrast("a - b")
    saved = fbn.glm.Contrast.load(contrast["contrast"])
    assert np.array_equal(saved.estimate, expected.estimate)
    assert contrast["dof"] == expected.dof
    assert fbn.glm.GLMFit.load(found["fit"]).columns == found["columns"]
    assert str(folder / "results") in found["fit"]


def test_the_text_says_what_was_tested_and_against_which_chance(folder):
    text = invoke("glm", folder, "a - b", "--name", "task").stdout
    assert 'a - b, network "task": ' in text
    assert "of 50 units pass" in text
    assert "One estimate a block, tested over blocks: it speaks about prompts of this kind." in text
    assert "a share of 0.05 is expected to be false" in text
    assert "layer  units  task\n    0     20 " in text
    assert f"  {folder / 'results' / 'network-task.safetensors'}\n" in f"{text}\n"


def test_several_contrasts_options_and_another_folder(folder, tmp_path):
    options = ("--noise", "ols", "--drift", "none", "--no-position", "--level", "run", "--no-save-fit")
    names = ("--name", "up", "--name", "down")
    found = answer(
        "glm", folder, "a - b", "b - a", *options, *names, "--top", "2", "--positive", "-o", tmp_path / "out"
    )
    fit = fbn.fit_glm(fbn.Recording.open(folder), noise="ols", drift="none", position=False)
    for line, expression in zip(found["contrasts"], ("a - b", "b - a"), strict=True):
        expected = fit.contrast(expression, level="run").threshold(top=2, two_sided=False)
        assert fbn.Network.load(line["network"]) == expected
    assert "fit" not in found
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "contrast-down.safetensors",
        "contrast-up.safetensors",
        "network-down.safetensors",
        "network-up.safetensors",
    ]


def test_fits_of_one_recording_stand_side_by_side(folder, tmp_path):
    asked = ("glm", folder, "a - b", "-o", tmp_path)
    options = ("--noise", "ols", "--drift", "none", "--confound", "spikes", "--no-position")
    files = [
        answer(*asked)["fit"],
        answer(*asked, *options)["fit"],
        answer(*asked, "--lags", "3", "--kernel", "fir", "--level", "token")["fit"],
    ]
    assert [name.rpartition("/")[2] for name in files] == [
        "glm.safetensors",
        "glm-noise-ols-no-drift-no-position-confounds-spikes.safetensors",
        "glm-kernel-fir-n_lags-3.safetensors",
    ]
    assert fbn.glm.GLMFit.load(files[1]).noise == "ols"


def test_first_tokens_have_a_column_unless_told_otherwise(tmp_path):
    y = np.random.default_rng(0).normal(size=(120, 8))
    rows = pd.DataFrame({"prompt": np.arange(120) // 5, "position": np.arange(120) % 5})
    y[rows["position"] == 0] += 1000
    recording = fbn.Recording.from_arrays(
        [[y]], events=[blocks(["a", "b"] * 6, 10)], rows=[rows], path=tmp_path / "r", site="mlp.neurons"
    )
    asked = ("glm", tmp_path / "r", "a - b", "--level", "token", "-o", tmp_path / "out")
    found, without = answer(*asked), answer(*asked, "--no-first-token")
    assert "first_token" in found["columns"]
    assert without["columns"] == [name for name in found["columns"] if name != "first_token"]
    assert without["fit"].endswith("glm-no-first_token.safetensors")
    for one, wanted in ((found, True), (without, False)):
        expected = fbn.fit_glm(recording, first_token=wanted).contrast("a - b", level="token")
        assert one["contrasts"][0]["uncorrected"] == (expected.p.values < 0.05).sum()
    assert "position, first_token" in invoke(*asked).stdout  # the columns of the fit


def test_largest_effects(folder, tmp_path):
    (line,) = answer("glm", folder, "a - b", "--top", "0.1", "--by", "effect", "--positive", "-o", tmp_path)[
        "contrasts"
    ]
    expected = fbn.fit_glm(fbn.Recording.open(folder)).contrast("a - b").effect.top(0.1)
    assert fbn.Network.load(line["network"]) == expected
    assert line["chance"] == "Chosen by the largest effect, not tested: 5 units whatever the data."


def test_largest_of_other_maps(tmp_path, demo_model):
    prompts = {name: fbn.prompts(name, n=40) for name in ("sort", "rest")}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=2, tokens_per_block=12, seed=0)
    recording = fbn.Scanner(demo_model).scan(design, tmp_path / "r", progress=False)
    contrast = fbn.fit_glm(recording, progress=False).contrast("sort - rest")
    for by in ("standardized", "contribution", "z_within_layer"):
        (line,) = answer("glm", tmp_path / "r", "sort - rest", "--top", "0.05", "--by", by, "--positive")["contrasts"]
        values = getattr(contrast, by)
        assert fbn.Network.load(line["network"]) == values.top(0.05)
        assert line["threshold"]["by"] == by and line["unit_list"][0][by] == pytest.approx(values.values.max())
        assert line["chance"].startswith(f"Chosen by the largest {by}, not tested: 57 units")


def test_norms_of_an_older_recording_are_those_of_the_model(tmp_path, demo_model):
    prompts = {name: fbn.prompts(name, n=40) for name in ("sort", "rest")}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=2, tokens_per_block=12, seed=0)
    recording = fbn.Scanner(demo_model).scan(design, tmp_path / "r", progress=False)
    expected = fbn.fit_glm(recording, progress=False).contrast("sort - rest").contribution.top(0.05)
    about = store.read_about(tmp_path / "r")
    del about["outgoing_norms"]
    store.write_about(tmp_path / "r", about)
    asked = ("glm", tmp_path / "r", "sort - rest", "--top", "0.05", "--by", "contribution", "--positive")
    folder = fbn.demo.weights_folder()
    assert "are not known" in (line := refused(*asked)) and "in a shell --model MODEL" in line
    assert fbn.Network.load(answer(*asked, "--model", folder)["contrasts"][0]["network"]) == expected


def test_permutations(folder, tmp_path):
    asked = ("glm", folder, "a - b", "--permutations", "199", "--seed", "3", "-o", tmp_path)
    (line,) = answer(*asked)["contrasts"]
    expected = fbn.max_t(fbn.Recording.open(folder), "a - b", n_permutations=199, seed=3)
    assert line["largest_t_by_chance"] == pytest.approx(np.quantile(expected.largest, 0.95))
    assert fbn.Network.load(line["network"]) == expected.threshold(fwe=0.05)
    assert np.array_equal(fbn.glm.PermutationTest.load(line["permutations"]).largest, expected.largest)
    assert "In 0.95 of 199 relabellings the largest |t|" in invoke(*asked).stdout


@pytest.mark.parametrize(("flag", "shown"), [("--progress", True), ("--no-progress", False)])
def test_bars_of_fit_and_permutations_are_shown_as_asked(flag, shown, folder, tmp_path, monkeypatch):
    for name in ("fit", "permutation_schemes"):  # a fit as small as this one ends before its bar is due
        monkeypatch.setattr(importlib.import_module(f"tl_fbn.analysis.glm.{name}"), "BAR_AFTER", 0)
    asked = ("glm", folder, "a - b", "--permutations", "19", "--fwe", "0.05", "-o", tmp_path)
    bars = invoke(*asked, flag).stderr
    assert ("GLM:" in bars, "permutations:" in bars) == (shown, shown)


def test_an_f_test(folder, tmp_path):
    (line,) = answer("glm", folder, "a", "b", "--f-test", "--name", "any", "-o", tmp_path)["contrasts"]
    expected = fbn.fit_glm(fbn.Recording.open(folder)).contrast(["a", "b"])
    assert line["expression"] == ["a", "b"]
    assert np.array_equal(fbn.glm.FContrast.load(line["contrast"]).statistic, expected.statistic)
    assert line["survivors"] == len(expected.threshold(fdr=0.05))


def test_nothing_found_is_said_and_saved(folder, tmp_path):
    (line,) = answer("glm", folder, "a - b", "--fdr", "0.05", "--min-effect", "100", "-o", tmp_path)["contrasts"]
    assert line["survivors"] == 0
    assert len(fbn.Network.load(line["network"])) == 0


@pytest.mark.usefixtures("unchecked")  # the type checker of tests knows the words a user may get wrong
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["a - c"], 'names "c", which is no column of the design; columns: a, b'),
        (["a - "], "cannot be read"),
        (["a - b", "--fdr", "2"], "no error rate"),
        (["a - b", "--fdr", "0.1", "--top", "3"], "--fdr and --top are ways to choose units"),
        (["a - b", "--top", "1.5"], "--top 1.5 is neither"),
        (["a - b", "--top", "51"], "asks for 51 units"),
        (["a - b", "--by", "effect"], "all but t go with --top"),
        (["a - b", "--by", "contribution", "--top", "3"], "norms of the outgoing weights of external mlp.neurons"),
        (["a - b", "--by", "z_within_layer", "--top", "3", "--min-effect", "1"], "--min-effect is for tests"),
        (["a - b", "--by", "size", "--top", "3"], "--by size cannot be"),
        (["a - b", "--level", "prompt"], "level must be 'block', 'token' or 'run'; got 'prompt'"),
        (["a - b", "--noise", "pink"], "noise must be 'ar1', 'ar1_pooled', 'newey_west' or 'ols'; got 'pink'"),
        (["a - b", "--confound", "surprisal"], "needs surprisal in the row table"),
        (["a - b", "--permutations", "99", "--fdr", "0.1"], "give it with --fwe"),
        (["a - b", "--permutations", "3"], "--permutations"),
        (["a", "--permutations", "99"], "compares conditions with nothing"),
        (["a - b", "--f-test", "--positive"], "--f-test has no direction"),
        (["a - b", "b - a", "--f-test"], "follow from each other"),
        (["a - b", "b - a", "--name", "x"], "1 names for 2 contrasts"),
        (["a - b", "a -  b"], "would be saved as one file"),
        (["a - others", "--others"], "would be saved as one file"),
        ([], "no contrast; give expressions such as"),
        (["--others", "--f-test"], "follow from each other"),
        (["a - b", "--site", "attn.out"], "site 'attn.out' was not recorded"),
        (["a - b", "--answer-after", "[/INST]"], "token"),
    ],
)
def test_what_cannot_be_is_refused(asked, words, folder, tmp_path):
    assert words in refused("glm", folder, *asked, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_recording_of_several_sites_asks_which(tmp_path, demo_model):
    prompts = {name: fbn.prompts(name, n=60) for name in ("sort", "rest")}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=2, tokens_per_block=12, seed=0)
    fbn.Scanner(demo_model, site=["mlp.neurons", "attn.heads"]).scan(design, tmp_path / "r", progress=False)
    assert "holds the sites mlp.neurons, attn.heads; choose one with --site" in refused(
        "glm", tmp_path / "r", "sort - rest"
    )
    found = answer("glm", tmp_path / "r", "sort - rest", "--site", "attn.heads")
    assert fbn.Network.load(found["contrasts"][0]["network"]).space.site == "attn.heads"
    assert found["fit"].endswith("glm-attn.heads.safetensors")  # beside that of another site


def test_every_condition_against_the_mean_of_all_others(tmp_path):
    rng = np.random.default_rng(0)
    order = ["a", "b-c", "rest"] * 4
    y = rng.normal(size=(120, 6))
    y[np.repeat(np.array(order) == "a", 10), 2] += 5
    fbn.Recording.from_arrays([[y]], events=[blocks(order, 10)]).save(tmp_path / "r")
    fit = fbn.fit_glm(fbn.Recording.open(tmp_path / "r"), progress=False)
    found = answer("glm", tmp_path / "r", "b-c - rest", "--others", "--top", "1", "--name", "mine")["contrasts"]
    by_hand = ["`b-c` - rest", "a - (`b-c` + rest) / 2", "`b-c` - (a + rest) / 2", "rest - (a + `b-c`) / 2"]
    names = ["mine", "a - others", "b-c - others", "rest - others"]
    for one, expression, name in zip(found, by_hand, names, strict=True):
        expected = fit.contrast(expression)
        saved = fbn.glm.Contrast.load(one["contrast"])
        assert np.array_equal(saved.estimate, expected.estimate) and saved.name == one["name"] == name
        assert fbn.Network.load(one["network"]).name == name
    assert found[0]["title"] == found[0]["expression"] == "b-c - rest" and found[1]["expression"] == by_hand[1]
    assert found[2]["contrast"].endswith("contrast-b-c-others.safetensors")
    text = invoke("glm", tmp_path / "r", "a - others", "--top", "1").stdout
    assert "\nothers: the mean of all conditions that a contrast does not name, of a, b-c, rest.\n" in text
    assert "\na - others: 1 of 6 units" in text
    assert "others" not in invoke("glm", tmp_path / "r", "a - rest", "--top", "1").stdout


def test_a_condition_called_others_is_itself_and_that_is_said(tmp_path):
    y = np.random.default_rng(0).normal(size=(120, 6))
    fbn.Recording.from_arrays([[y]], events=[blocks(["a", "others", "b"] * 4, 10)]).save(tmp_path / "r")
    asked = ("glm", tmp_path / "r", "a - others", "--others", "--top", "1")
    assert '\n"others" is a column of this design, and means that column alone.\n' in invoke(*asked).stdout
    lines = answer(*asked)["contrasts"]
    assert [line["name"] for line in lines] == ["a - others", "a - all others", "others - all others", "b - all others"]
