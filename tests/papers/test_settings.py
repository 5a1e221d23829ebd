"""Presets: the paper's settings reach the functions that take them, and what is unknown is said."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import FastICA

import tl_fbn as fbn
from tests.helpers.designs import token_prompts
from tests.helpers.models import bridged, tiny_llama, worded
from tests.helpers.paths import SHARED
from tests.oracle.architectures import architecture
from tests.oracle.sources import planted
from tl_fbn.acquisition.model.sites import resolve_site


def test_s2_records_every_output_of_every_generated_token(tmp_path):
    s2, model = fbn.papers.s2.settings, bridged(tiny_llama())
    prompts = {"task": token_prompts(9, seed=1), "rest": token_prompts(18, seed=2)}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=1, tokens_per_block=8, seed=0, **s2.design)
    assert design.schedule == (("rest", "task", "rest"),) * 2
    sites = s2.sites(model)
    assert sites == ["mlp.pre", "mlp.up", "mlp.neurons", "mlp.out", "attn.out", "resid.post"]
    recording = fbn.Scanner(model, site=sites).scan(design, tmp_path / "r", progress=False)
    assert recording.sites == sites
    for site in sites:
        view = recording.site(site)
        assert view.space == resolve_site(model, site).space
        assert view.n_rows == 2 * 3 * 8
        assert view[0].rows["flags"].str.contains("generated").all()
        assert s2.glm["first_token"] is False  # tokens that the model wrote have none, and the paper no such column
        effect = fbn.fit_glm(view, **s2.glm).contrast("task - rest", **s2.contrast).effect.values
        assert np.isfinite(effect).all()


@pytest.mark.skipif(
    not (SHARED / "models" / "stories260K").is_dir(), reason="the shared model is not beside the repository"
)
@pytest.mark.slow
def test_s2_on_a_real_small_model(tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(SHARED / "models" / "stories260K")).eval()
    assert_s2_runs(model, tmp_path)


def test_s2_on_a_galactica_shaped_model(tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    galactica = architecture("Galactica")
    model = TransformerBridge.boot_transformers(str(worded(tmp_path / "model", galactica.build()))).eval()
    assert_s2_runs(model, tmp_path)


def assert_s2_runs(model, tmp_path):
    s2 = fbn.papers.s2.settings
    prompts = {name: fbn.prompts(f"s2/{name}") for name in ("archeology", "rest")}
    design = fbn.block_design(prompts, n_runs=3, n_cycles=1, tokens_per_block=12, seed=0, **s2.design)
    sites = s2.sites(model)
    recording = fbn.Scanner(model, site=sites).scan(design, tmp_path / "r", progress=False)
    for site in sites:
        contrast = fbn.fit_glm(recording.site(site), **s2.glm).contrast("archeology - rest", level="token")
        assert np.isfinite(contrast.z.values).all()
        contrast.threshold(fdr=0.05)


@pytest.mark.parametrize("name", ["settings", "canica", "fingerprint"])
def test_s0s_settings_run_and_say_what_is_not_theirs(name):
    preset = getattr(fbn.papers.s0, name)
    recording, _, _ = planted(6, rows=140)
    options = {**preset.networks, "n_components": 5, "n_restarts": min(preset.networks["n_restarts"], 3)}
    atlas = fbn.find_networks(recording, **options)
    assert len(atlas) == (15 if name == "canica" else 5)
    assert "not stated, our choice" in str(preset) and "our choice" in preset._repr_html_()


def test_s0s_first_version_equals_fastica_thresholded_by_hand():
    """The recipe written out: temporal FastICA, loadings z-scored over neurons, one-sided 3.6; signs are chance on
    either side.
    """
    recording, _, _ = planted(6, n_runs=1, rows=300, noise=1.0)
    options = {**fbn.papers.s0.settings.networks, "n_components": 6, "tol": 1e-8, "max_iter": 2000}
    atlas = fbn.find_networks(recording, **options)
    ica = FastICA(6, whiten="unit-variance", fun="logcosh", tol=1e-8, max_iter=2000, random_state=666)
    loadings = ica.fit(recording[0].read().astype(float)).mixing_.T
    z = (loadings - loadings.mean(1, keepdims=True)) / loadings.std(1, keepdims=True)
    r = np.corrcoef(z, atlas.maps)[:6, 6:]
    for mine, theirs in zip(*linear_sum_assignment(-np.abs(r)), strict=True):
        signed = z[mine] * np.sign(r[mine, theirs])
        members = list(atlas.values())[theirs].members
        assert (members != (signed >= 3.6)).sum() <= 1  # to float32
        assert members.any()


@pytest.mark.parametrize("n_runs", [1, 4])
def test_s2s_shape_can_be_tested_at_its_own_level_and_at_that_of_blocks(n_runs, tmp_path):
    s2 = fbn.papers.s2.settings
    prompts = {"task": token_prompts(9, seed=1), "rest": token_prompts(18, seed=2)}
    design = fbn.block_design(prompts, n_runs=n_runs, n_cycles=1, tokens_per_block=8, seed=0, **s2.design)
    recording = fbn.Scanner(bridged(tiny_llama()), surprisal=False).scan(design, tmp_path / "r", progress=False)
    fit = fbn.fit_glm(recording, progress=False, **s2.glm)
    assert np.isfinite(fit.contrast("task - rest", **s2.contrast).t.values).all()
    # three block means and two conditions: 1 degree of freedom a run
    assert fit.contrast("task - rest", level="block").dof == n_runs
    assert "leave 1 degree of freedom in a run" in s2.unknown["level"]


def test_s1_is_the_released_formula_on_the_released_positions(demo_model):
    s1 = fbn.papers.s1.settings
    chats = fbn.few_shot_chats(fbn.chats("add", n=12), seed=0, tokenizer=demo_model.tokenizer, **s1.chats)
    assert len(chats) == 12 and len(chats[0]) == 12
    ids, positions = [], []
    for chat in chats:
        text = "".join(f" [INST] {m['content']} [/INST]" if m["role"] == "user" else f" {m['content']}" for m in chat)
        ids.append(demo_model.tokenizer(text, add_special_tokens=False)["input_ids"])  # no beginning of text
        marks = [at for at, token in enumerate(ids[-1]) if token in (4, 5)]
        assert len(marks) == 12
        positions.append([marks[1:8], marks[9:]])
    by_hand = fbn.cgvst(demo_model, ids, positions=positions, variant="row_sum", progress=False)
    released = fbn.cgvst(demo_model, chats, **{**s1.cgvst, "groups": 8}, progress=False)
    assert np.allclose(released.values, by_hand.values, rtol=1e-6)
    scores = fbn.cgvst(demo_model, chats, **s1.cgvst, progress=False)
    assert scores.provenance["variant"] == "row_sum" and scores.provenance["groups"] == 28
    assert len(scores.top(s1.top)) == int(0.05 * 1152)
    assert "amplification: a gain of 2" in str(s1) and s1.sites(demo_model) == ["mlp.neurons"]
    # zero behind the gate's nonlinearity is zero at the neuron
    llama = bridged(tiny_llama())
    network = fbn.Network.from_indices(resolve_site(llama, "mlp.neurons").space, [3, 50])
    ids_ = torch.randint(0, 50, (2, 7))
    silence = [(f"blocks.{layer}.mlp.hook_pre", partial(_without, unit=unit)) for layer, unit in ((0, 3), (1, 2))]
    with torch.no_grad():
        with fbn.inhibit(llama, network):
            ours = llama(ids_)
        with llama.hooks(fwd_hooks=silence):
            theirs = llama(ids_)
    assert torch.allclose(ours, theirs, atol=1e-6)


def _without(tensor, hook, unit):
    """SiLU is zero at zero, so a gate of zero is S1's zero after the nonlinearity."""
    changed = tensor.clone()
    changed[..., unit] = 0
    return changed


def test_settings_of_interventions_reach_the_functions_that_take_them(demo_model):
    s0, s1, fnp = fbn.papers.s0.settings, fbn.papers.s1.settings, fbn.papers.s0.pruning
    space = fbn.Scanner(demo_model).space
    network = fbn.Network.from_indices(space, range(0, space.n_units, 40))
    ids = torch.tensor([[1, 5, 9, 20]])
    _, before = demo_model.run_with_cache(ids)
    with fbn.amplify(demo_model, network, **s1.amplify):
        _, doubled = demo_model.run_with_cache(ids)
    with fbn.amplify(demo_model, network, **s0.amplify):
        _, added = demo_model.run_with_cache(ids)
    members = network.by_layer()[0]
    torch.testing.assert_close(doubled["post", 0][..., members], 2 * before["post", 0][..., members])
    torch.testing.assert_close(added["post", 0][..., members], 1 + before["post", 0][..., members])
    for preset in (s0, s1):
        with fbn.inhibit(demo_model, network, **preset.inhibit):
            _, silent = demo_model.run_with_cache(ids)
        assert (silent["post", 0][..., members] == 0).all()
    answers = fbn.demo.battery(n=2).select(["sort"]).respond(demo_model, progress=False, **s1.respond)
    assert answers.to_dataframe()["exact_match"].all()
    scores = fbn.UnitMap(space, np.random.default_rng(0).normal(size=space.n_units), "z")
    with pytest.raises(ValueError, match="protect"):  # a model of three layers has none left to prune
        fbn.pruning.keep_for_ratio(demo_model, scores, **fnp.ratio)
    kept = fbn.pruning.keep_for_ratio(demo_model, scores, ratio=0.05)
    assert fbn.prune(demo_model, keep=kept).pruned.n_after < 0.96 * 353_760
