"""Every public function and method with arguments that it takes: what tests of bad arguments start from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tests.helpers import results as made
from tests.helpers.models import tiny_model
from tests.helpers.recordings import blocks
from tl_fbn.attribution import Example, ItemScores


@dataclass(frozen=True)
class Subject:
    """A function, and arguments with which it returns."""

    call: Callable[..., Any]
    arguments: dict[str, Any]


CHATS = [
    [{"role": "user", "content": "sort b a"}, {"role": "assistant", "content": "a b"}],
    [{"role": "user", "content": "sort d c"}, {"role": "assistant", "content": "c d"}],
]
EXAMPLES = [("sort", f"{word} a", f"a {word}") for word in "bcdefgh"]


def recording(seed: int = 0, path: Path | None = None, tokens: int = 0) -> fbn.Recording:
    """Two runs of noise at the tiny model's units, 8 blocks of 10 rows of conditions a and b."""
    rng = np.random.default_rng(seed)
    runs = [[rng.normal(size=(80, 24)) for _ in range(2)] for _ in range(2)]
    for run in runs:
        run[0][:, :3] += 3 * np.repeat([1.0, 0.0] * 4, 10)[:, None]
    ids = [tokens + 80 * run + np.arange(80) for run in range(2)]
    rows = [
        pd.DataFrame(
            {
                "prompt": np.repeat(np.arange(16), 5) + 16 * run,
                "position": np.tile(np.arange(5), 16),
                "token_id": ids[run],
                "token": "w",
                "surprisal": 1.0,
            }
        )
        for run in range(2)
    ]
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 4, 10)] * 2, rows=rows, path=path)


def subjects(folder: Path, demo: Any) -> dict[str, Subject]:
    """Name to subject.

    Args:
        folder: An empty folder, in which files are put for those that read some.
        demo: The embedded model.
    """
    model = tiny_model()
    prompts = {name: [[i, j, 1 + (name == "b")] for i in range(3, 11) for j in range(8)] for name in "ab"}
    design = fbn.block_design(prompts, seed=0, n_runs=2, n_cycles=2, tokens_per_block=12)
    stored = recording(path=folder / "recording")
    other = recording(1, tokens=1000)
    fit = fbn.fit_glm(stored, progress=False)
    contrast = fit.contrast("a - b")
    f_contrast = fit.contrast(["a - b", "a"])
    network = contrast.threshold(top=5, name="a")
    network.save(folder / "network.safetensors")
    second = fbn.Network.from_indices(stored.space, [1, 2, 30], name="second")
    space = stored.space
    atlas = fbn.find_networks(stored, 3, seed=0, n_restarts=2, threshold=1.0, progress=False)
    scores = fbn.UnitMap(space, np.arange(48.0), "attribution")
    test = fbn.max_t(stored, "a - b", n_permutations=20, seed=0, progress=False)
    battery = fbn.Battery.from_pairs(
        {name: [((i, 2), (3 + i,)) for i in some] for name, some in {"a": (1, 2, 3, 4), "b": (5, 6, 7, 8)}.items()}
    )
    worded = fbn.demo.battery(n=2).select(["sort", "reverse"])
    text_scores = fbn.cgvst(demo, CHATS, progress=False)
    demo_network = text_scores.top(20)
    layout = fbn.token_layout(demo, CHATS[0])
    run = stored[0]
    study = fbn.lesion_study(model, {"a": network}, battery, seed=0, n_controls=2, n_bootstrap=20, progress=False)
    dose = fbn.dose_response(
        model, network, battery, seed=0, gains=(0, 1), n_controls=2, n_bootstrap=20, progress=False
    )
    gain = fbn.calibrate_gain(
        model, network, battery, seed=0, gains=(1, 2), n_controls=2, n_bootstrap=20, tolerance=None, progress=False
    )
    item_scores = ItemScores(space, np.arange(96.0).reshape(2, 48))
    responses = worded.respond(demo, max_new_tokens=2, progress=False)
    pairs = {"model": model, "network": network}
    maps = {"a": scores, "b": contrast.t}
    studied = {"model": model, "battery": battery, "seed": 0, "n_controls": 2, "n_bootstrap": 20, "progress": False}
    text_files = {
        "prompts": ("prompts.tsv", "condition\tprompt\na\tone two\nb\tthree four\n"),
        "events": ("sub_events.tsv", "onset\tduration\ttrial_type\n0\t10\ta\n10\t10\tb\n"),
        "examples": ("examples.jsonl", json.dumps({"instruction": "sort", "input": "b a", "output": "a b"}) + "\n"),
        "items": ("items.jsonl", json.dumps({"prompt": "a", "answer": "b"}) + "\n"),
    }
    at = {}
    for kind, (name, text) in text_files.items():
        at[kind] = folder / name
        at[kind].write_text(text, encoding="utf-8")
    pruned = fbn.prune(demo, keep=text_scores.top(0.5), progress=False)
    pruned.save_pretrained(folder / "pruned")
    scanner = fbn.Scanner(model, batch_size=8)
    scored = fbn.demo.battery(n=2).select(["sort"]).score(demo)["sort"]
    task = fbn.demo.battery(n=2).tasks["sort"]
    networks = {"a": network, "b": second}

    def bare(function: Callable[..., Any], **arguments: Any) -> Subject:
        return Subject(function, arguments)

    def used(intervention: Callable[..., Any]) -> Callable[..., Any]:
        """The intervention, and one pass of the model under it."""

        def call(**arguments: Any) -> None:
            import torch

            with intervention(**arguments):
                model(torch.tensor([[1, 2, 3]]))

        return call

    found = {
        # units
        "UnitSpace": bare(fbn.UnitSpace, site="mlp.neurons", widths=(3, 4), model="m"),
        "UnitSpace.locate": bare(space.locate, index=3),
        "UnitSpace.index": bare(space.index, layer=1, unit=3),
        "UnitSpace.layer_slice": bare(space.layer_slice, layer=1),
        "UnitSpace.from_about": bare(fbn.UnitSpace.from_about, about=space.about()),
        "UnitSpace.require_same": bare(space.require_same, other=space, what="combine"),
        "UnitMap": bare(fbn.UnitMap, space=space, values=np.arange(48.0), kind="t", provenance={}),
        "UnitMap.top": bare(scores.top, amount=3, two_sided=False, per_layer=False, name="x"),
        "UnitMap.from_dataframe": bare(
            fbn.UnitMap.from_dataframe,
            table=scores.to_dataframe(),
            space=space,
            kind="attribution",
            value="value",
            site="mlp.neurons",
        ),
        "Network": bare(
            fbn.Network,
            space=space,
            members=np.arange(48) < 4,
            signs=np.ones(48, np.int8),
            name="x",
            provenance={},
        ),
        "Network.from_indices": bare(fbn.Network.from_indices, space=space, indices=[1, 2], name="x", provenance=None),
        "Network.restrict": bare(network.restrict, layers=[0]),
        "Network.rename": bare(network.rename, name="x"),
        "Network.to_json": bare(network.to_json, path=folder / "network.json"),
        "Network.from_json": bare(fbn.Network.from_json, source=network.to_json(), space=space, name="x"),
        "Network |": bare(network.__or__, other=second),
        "Network.save": bare(network.save, path=folder / "saved.safetensors"),
        "Network.load": bare(fbn.Network.load, path=folder / "network.safetensors"),
        "Atlas": bare(
            fbn.Atlas,
            space=space,
            networks=networks,
            maps=np.zeros((2, 48)),
            stability=np.ones(2),
            provenance={},
        ),
        "Atlas.from_networks": bare(fbn.Atlas.from_networks, networks=networks),
        "Atlas.rename": bare(atlas.rename, names={next(iter(atlas)): "x"}),
        "Atlas.union": bare(atlas.union, names=list(atlas)[:2], name="x"),
        "Atlas[]": bare(atlas.__getitem__, name=next(iter(atlas))),
        "Atlas.to_json": bare(atlas.to_json, path=folder / "atlas.json"),
        "Atlas.from_json": bare(fbn.Atlas.from_json, source=atlas.to_json(), space=space, names=None),
        "load": bare(fbn.load, path=folder / "network.safetensors"),
        "load_results": bare(fbn.load_results, folder=folder),
        # acquisition
        "block_design": bare(
            fbn.block_design,
            conditions=prompts,
            seed=0,
            n_runs=2,
            n_cycles=2,
            tokens_per_block=12,
            order="alternate",
            baseline=None,
            generate=False,
            reuse=False,
            tokens_per_prompt=None,
            carry_context=False,
            temperature=0.0,
        ),
        "BlockDesign.events": bare(design.events, run=0),
        "Scanner": bare(
            fbn.Scanner,
            model=model,
            site="mlp.neurons",
            layers=None,
            dtype="float32",
            pool="token",
            batch_size=8,
            surprisal=True,
            entropy=False,
        ),
        "Scanner.plan": bare(scanner.plan, design=design, path=folder / "plan"),
        "Scanner.scan": bare(
            scanner.scan, design=design, path=folder / "scan", hooks_id=None, progress=False, share=(0, 1)
        ),
        "Scanner.stream": bare(scanner.stream, design=design, hooks_id=None, progress=False),
        "Recording.open": bare(fbn.Recording.open, path=folder / "recording"),
        "Recording.load": bare(fbn.Recording.load, path=folder / "recording"),
        "Recording.save": bare(stored.save, path=folder / "copy"),
        "Recording.from_arrays": bare(
            fbn.Recording.from_arrays,
            activations=[[np.zeros((20, 3))]],
            events=[blocks(["a", "b"], 10)],
            rows=None,
            path=None,
            model="external",
            site="mlp.neurons",
        ),
        "Recording.site": bare(stored.site, name="mlp.neurons"),
        "Recording.pool": bare(stored.pool, how="mean"),
        "Recording[]": bare(stored.__getitem__, index=0),
        "Run.layer": bare(run.layer, layer=0),
        "Run.read": bare(run.read, units=network, rows=slice(0, 3)),
        "activation_cache": bare(fbn.activation_cache, recording=stored, run=0, prompt=None, model=None),
        "chats": bare(fbn.chats, name="sort", n=3, seed=0),
        "prompts": bare(fbn.prompts, name="sort", n=3, seed=0),
        "read_prompts": bare(fbn.read_prompts, path=at["prompts"]),
        "read_events": bare(fbn.read_events, path=at["events"], row_seconds=None),
        "write_events": bare(fbn.write_events, source=design, folder=folder / "bids", task="x", row_seconds=1.0),
        "token_layout": bare(
            fbn.token_layout,
            model=demo,
            item=CHATS[0],
            tokens="special",
            groups="turns",
            spans=None,
            bos_eos=True,
            reply=False,
            seed=0,
        ),
        "TokenLayout.positions": bare(layout.positions, tokens="special", seed=0),
        "TokenLayout.grouped": bare(layout.grouped, tokens="special", groups="turns", seed=0),
        # the general linear model
        "design_matrix": bare(
            fbn.design_matrix,
            run=run,
            drift="cosine",
            cutoff=None,
            position=True,
            phases=None,
            confounds=(),
            kernel="none",
            leak=None,
            n_lags=4,
            degree=None,
        ),
        "fit_glm": bare(
            fbn.fit_glm,
            recording=stored,
            noise="ar1",
            maxlags=None,
            replicates="blocks",
            design=None,
            extra=None,
            progress=False,
            drift="cosine",
            confounds=(),
        ),
        "fit_glm leak": bare(fbn.fit_glm, recording=stored, progress=False, kernel="leak", leak=0.5),
        "fit_glm lags": bare(fbn.fit_glm, recording=stored, progress=False, kernel="fir", n_lags=2),
        "GLMFit.contrast": bare(fit.contrast, expression="a - b", level="block"),
        "GLMFit.estimable": bare(fit.estimable, expressions=["a - b"]),
        "Contrast.interval": bare(contrast.interval, confidence=0.9, standardized=False),
        "Contrast.threshold": bare(
            contrast.threshold, fdr=None, fwe=None, top=0.1, two_sided=True, min_effect=0.0, name="x"
        ),
        "Contrast.threshold fdr": bare(contrast.threshold, fdr=0.5, method=None),
        "Contrast.threshold fwe": bare(contrast.threshold, fwe=0.5, method=None),
        "FContrast.threshold": bare(f_contrast.threshold, fdr=None, fwe=None, top=0.1, name="x"),
        "PermutationTest.threshold": bare(test.threshold, fwe=0.5, two_sided=True, min_effect=None, name="x"),
        "max_t": bare(
            fbn.max_t,
            recording=stored,
            expression="a - b",
            n_permutations=20,
            seed=0,
            null="labels",
            over=None,
            progress=False,
        ),
        "activation_difference": bare(fbn.glm.activation_difference, recording=stored, condition="a", other="b"),
        "efficiency": bare(fbn.glm.efficiency, design=fit.designs[0], expression="a - b"),
        "vif": bare(fbn.glm.vif, design=fit.designs[0]),
        "estimate_leak": bare(fbn.glm.estimate_leak, recording=stored, grid=(0.0, 0.5)),
        "from_token": bare(fbn.glm.from_token, token="w", label="x"),
        "lape": bare(fbn.glm.lape, recording=stored, conditions=["a", "b"], minimum=0.5, condition=None),
        "optimize_order": bare(fbn.glm.optimize_order, make=lambda seed: design, expression="a - b", n=2, seed=0),
        "welch_t": bare(fbn.glm.welch_t, recording=stored, condition="a", other="b", pool="last", absolute=True),
        # independent components and networks
        "find_networks": bare(
            fbn.find_networks,
            recording=stored,
            n_components=3,
            seed=0,
            method="spatial",
            across_layers=True,
            n_restarts=2,
            n_null=2,
            threshold=3.0,
            one_sided=False,
            per_layer=False,
            standardize=False,
            drop_first=0,
            clip=None,
            fun="logcosh",
            tol=1e-4,
            max_iter=50,
            align=True,
            progress=False,
        ),
        "choose_components": bare(
            fbn.choose_components,
            recording=stored,
            candidates=[2, 3],
            seed=0,
            method="spatial",
            n_restarts=2,
            n_null=2,
            standardize=False,
            drop_first=0,
            clip=None,
            progress=False,
        ),
        "rotated_basis": bare(fbn.ica.rotated_basis, recording=stored, seed=0),
        "overlap": bare(fbn.overlap, a=network, b=second, seed=0, n_null=20),
        "concordance": bare(fbn.concordance, maps=maps, seed=0, top=0.1, n_null=20),
        "conjunction": bare(fbn.conjunction, maps=[contrast.t, contrast.t]),
        "connectivity": bare(
            fbn.networks.connectivity,
            recording=stored,
            atlas=atlas,
            seed=0,
            kind="pearson",
            how="mean",
            n_bootstrap=20,
            stretch=None,
        ),
        "sliding_connectivity": bare(
            fbn.networks.sliding_connectivity,
            recording=stored,
            atlas=atlas,
            window=20,
            step=10,
            kind="pearson",
            how="mean",
        ),
        "dual_regression": bare(fbn.networks.dual_regression, recording=stored, atlas=atlas, samples="run"),
        "calibrate_fingerprint": bare(fbn.networks.calibrate_fingerprint, related=[0.9, 0.8], unrelated=[0.1, 0.2]),
        "fingerprint": bare(
            fbn.networks.fingerprint, first=stored, second=stored, seed=0, n_components=3, atlases=None, n_null=19
        ),
        "identify_task": bare(
            fbn.identify_task,
            recordings={"x": stored, "y": other},
            seed=0,
            networks=None,
            contrasts={"x": "a - b", "y": "a - b"},
            method="correlation",
            top=0.1,
            n_permutations=20,
            progress=False,
        ),
        "match_networks": bare(fbn.networks.match_networks, a=atlas, b=atlas, seed=0, n_null=20),
        "multiplicity": bare(fbn.networks.multiplicity, networks=networks),
        "recurrence": bare(
            fbn.recurrence,
            recording=stored,
            atlas=atlas,
            seed=0,
            threshold=0.2,
            method="dual",
            samples=None,
            n_components=None,
            n_null=9,
            progress=False,
        ),
        "reliability": bare(
            fbn.networks.reliability,
            recordings={"x": stored, "y": other},
            contrasts={"x": "a - b", "y": "a - b"},
            top=0.1,
        ),
        "shared_core": bare(fbn.networks.shared_core, networks=networks, at_least=None),
        "specific_scores": bare(fbn.specific_scores, scores=maps, how="difference", normalize=True),
        "task_unique": bare(fbn.networks.task_unique, networks=networks),
        "time_courses": bare(fbn.networks.time_courses, recording=stored, networks=networks, how="mean", signed=True),
        # attribution
        "cgvst": bare(
            fbn.cgvst,
            model=demo,
            items=CHATS,
            positions=None,
            tokens="special",
            variant=None,
            site="mlp.up",
            groups="turns",
            weight=1.0,
            aggregate="sum_abs",
            spans=None,
            bos_eos=True,
            max_tokens=None,
            batch_size=8,
            seed=0,
            progress=False,
        ),
        "cgvst positions": bare(
            fbn.cgvst, model=demo, items=[[1, 5, 6, 7], [1, 8, 9, 10]], positions=[[1, 2], [2]], progress=False
        ),
        "item_scores": bare(
            fbn.attribution.item_scores, model=demo, items=CHATS, positions=None, batch_size=8, progress=False
        ),
        "ItemScores": bare(ItemScores, space=space, values=np.zeros((2, 48)), provenance={}),
        "ItemScores.map": bare(item_scores.map, aggregate="sum_abs"),
        "ItemScores.split_half": bare(item_scores.split_half, amount=0.1, seed=0, n_splits=3, aggregate="sum_abs"),
        "attribution_patching": bare(
            fbn.attribution.attribution_patching,
            model=model,
            clean=[[1, 2, 3]],
            corrupted=[[1, 2, 4]],
            answers=[(5, 6)],
            positions="last",
            batch_size=8,
            progress=False,
        ),
        "gradient_x_activation": bare(
            fbn.attribution.gradient_x_activation,
            model=demo,
            items=CHATS,
            positions=None,
            tokens=None,
            aggregate="mean",
            progress=False,
        ),
        "integrated_gradients": bare(
            fbn.attribution.integrated_gradients,
            model=demo,
            items=CHATS,
            positions=None,
            tokens=None,
            n_steps=2,
            aggregate="mean",
            spans=None,
            bos_eos=True,
            max_tokens=None,
            batch_size=8,
            seed=0,
            progress=False,
        ),
        "random_scores": bare(fbn.attribution.random_scores, model=model, seed=0),
        "taylor": bare(
            fbn.attribution.taylor,
            model=demo,
            items=CHATS,
            positions=None,
            tokens=None,
            aggregate="sum_abs",
            progress=False,
        ),
        "few_shot_chats": bare(
            fbn.few_shot_chats,
            examples=EXAMPLES,
            seed=0,
            n_shots=2,
            n=2,
            instruction="first",
            tokenizer=None,
            bos_eos=True,
            max_tokens=None,
        ),
        "few_shot_chats tokens": bare(
            fbn.few_shot_chats, examples=EXAMPLES, seed=0, n_shots=2, n=2, tokenizer=demo.tokenizer, max_tokens=100
        ),
        "read_examples": bare(fbn.read_examples, path=at["examples"], instruction=None, n=None),
        "Example": bare(Example, instruction="sort", input="b a", output="a b"),
        # behaviour
        "Battery": bare(fbn.Battery, tasks=battery.tasks),
        "Battery.from_pairs": bare(fbn.Battery.from_pairs, tasks={"a": [("one", "two")]}),
        "Battery.from_texts": bare(fbn.Battery.from_texts, tasks={"a": ["one two"]}),
        "Battery.from_chats": bare(fbn.Battery.from_chats, tasks={"a": CHATS}, model=demo, bos_eos=True),
        "Battery.from_choices": bare(
            fbn.Battery.from_choices,
            tasks={"a": [{"question": "q", "choices": ["x", "y"], "answer": 0}]},
            template=None,
            scored="text",
        ),
        "Battery.from_jsonl": bare(
            fbn.Battery.from_jsonl, path=at["items"], format="auto", name=None, n=None, template=None, scored="text"
        ),
        "Battery.limit": bare(worded.limit, n=1),
        "Battery.select": bare(worded.select, names=["sort"]),
        "Battery.sizes": bare(worded.sizes, model=demo, batch_size=8),
        "Battery.digests": bare(worded.digests, tokenizer=demo.tokenizer),
        "Battery.score": bare(worded.score, model=demo, batch_size=8),
        "Battery.score ids": bare(battery.score, model=model, batch_size=8),
        "Battery.evaluate": bare(worded.evaluate, model=demo, batch_size=8),
        "Battery.respond": bare(
            worded.respond, model=demo, max_new_tokens=2, stop=(), parser=None, batch_size=8, progress=False
        ),
        "judge": bare(
            fbn.behaviour.judge,
            tasks={"sort": task},
            texts={"sort": ["a", "b"]},
            parser=None,
            loop=None,
        ),
        "monitor": bare(fbn.behaviour.monitor, task=task, scores=scored),
        "evaluate_harness": bare(
            fbn.behaviour.evaluate_harness,
            model=demo,
            tasks="arc",
            interventions=None,
            batch_size=8,
            model_options=None,
        ),
        # hooks
        "inhibit": bare(
            used(fbn.inhibit), **pairs, method="zero", reference=None, positions="all", layers=None, seed=0
        ),
        "inhibit resample": bare(used(fbn.inhibit), **pairs, method="resample", reference=stored, seed=0),
        "amplify gain": bare(used(fbn.amplify), **pairs, gain=2.0, positions="all", layers=None),
        "amplify add": bare(used(fbn.amplify), **pairs, add=2.0),
        "amplify add_sd": bare(used(fbn.amplify), **pairs, add_sd=2.0, reference=stored),
        "clamp at": bare(used(fbn.clamp), **pairs, at=1.0, positions="all", layers=None),
        "clamp at_sd": bare(used(fbn.clamp), **pairs, at_sd=1.0, reference=stored),
        "clamp bounds": bare(used(fbn.clamp), **pairs, low=-1.0, high=1.0),
        "retain": bare(used(fbn.retain), **pairs, method="zero", reference=None, positions="all", layers=None, seed=0),
        "Intervention.fwd_hooks": bare(fbn.inhibit(model, network).fwd_hooks, model=model),
        # studies
        "lesion_study": bare(
            fbn.lesion_study,
            **studied,
            networks={"a": network},
            controls=("random",),
            rivals=None,
            method="zero",
            reference=None,
            positions="all",
            metric=None,
            batch_size=8,
            path=None,
        ),
        "plan_lesions": bare(
            fbn.plan_lesions,
            model=model,
            networks={"a": network},
            battery=battery,
            n_controls=2,
            controls=("random",),
            rivals=None,
            batch_size=8,
        ),
        "causal_check": bare(fbn.causal_check, **studied, maps=maps, top=0.1, two_sided=None),
        "dose_response": bare(
            fbn.dose_response,
            **studied,
            network=network,
            gains=(0, 1),
            adds=None,
            adds_sd=None,
            sizes=None,
            method="zero",
            reference=None,
            positions="all",
            metric=None,
            batch_size=8,
        ),
        "dose_response adds": bare(fbn.dose_response, **studied, network=network, adds=(0.0, 1.0)),
        "dose_response adds_sd": bare(
            fbn.dose_response, **studied, network=network, adds_sd=(0.0, 1.0), reference=stored
        ),
        "dose_response sizes": bare(fbn.dose_response, **studied, network=scores, sizes=(0.1, 0.5)),
        "calibrate_gain": bare(
            fbn.calibrate_gain,
            **studied,
            network=network,
            task=None,
            gains=(1, 2),
            share=0.5,
            tolerance=None,
            controls="calibrated",
            metric="log_likelihood",
            reference=None,
            positions="all",
            batch_size=8,
        ),
        "retention_curve": bare(
            fbn.studies.retention_curve,
            model=model,
            atlas=atlas,
            battery=battery,
            seed=0,
            mode="retain",
            sizes=None,
            n_controls=2,
            method="zero",
            reference=None,
            batch_size=8,
            progress=False,
        ),
        "token_ablation": bare(
            fbn.studies.token_ablation,
            model=demo,
            chats={"sort": CHATS, "reverse": fbn.chats("reverse", n=2)},
            battery=worded,
            seed=0,
            tokens=("special",),
            variants=("row_l1",),
            select="specific",
            how="difference",
            top=0.05,
            n_controls=2,
            alpha=0.5,
            metric="exact_match",
            method="zero",
            reference=None,
            n_bootstrap=20,
            batch_size=64,
            progress=False,
            site="mlp.up",
        ),
        "validate_scores": bare(
            fbn.validate_scores,
            model=model,
            scores=maps,
            battery=battery,
            task="a",
            seed=0,
            top=0.1,
            n_units=4,
            n_groups=3,
            group=0.1,
            n_controls=2,
            n_null=9,
            method="zero",
            reference=None,
            metric="log_likelihood",
            batch_size=8,
            progress=False,
        ),
        "matched_controls": bare(fbn.matched_controls, network=network, n=2, seed=0, features=None),
        "lowest_ranked": bare(fbn.studies.lowest_ranked, scores=scores, network=network),
        "unit_features": bare(fbn.studies.unit_features, model=model, recording=stored),
        "untrained": bare(fbn.studies.untrained, model=demo, seed=0),
        "LesionStudy.drops": bare(study.drops, metric=None),
        "LesionStudy.control_drops": bare(study.control_drops, metric=None, control=None),
        "LesionStudy.to_dataframe": bare(study.to_dataframe, metric=None, control=None),
        "LesionStudy.summary": bare(study.summary, metric=None, control=None),
        "LesionStudy.dissociation": bare(
            made.study().dissociation, first="sort", second="add", metric=None, control=None
        ),
        "LesionStudy.equivalence": bare(study.equivalence, margin=0.1, metric=None, control=None),
        "GainCalibration.held_out": bare(gain.held_out, metric=None, control=None),
        "GainCalibration.intervention": bare(gain.intervention, model=model, positions=None),
        "Validation.best": bare(made.results()[-1].best, by="spearman"),
        # pruning
        "prune": bare(
            fbn.prune,
            model=model,
            keep=network,
            remove=None,
            heads=None,
            compensate=None,
            protect_first=0,
            protect_last=0,
            probe=None,
            batch_size=8,
            progress=False,
        ),
        "prune compensate": bare(
            fbn.prune, model=model, keep=network, compensate=[[1, 2, 3]], batch_size=8, progress=False
        ),
        "keep_for_ratio": bare(
            fbn.pruning.keep_for_ratio, model=model, scores=scores, ratio=0.1, protect_first=0, protect_last=0
        ),
        "load_pruned": bare(fbn.load_pruned, folder=folder / "pruned", device="cpu"),
        "only_network": bare(fbn.only_network, model=demo, network=demo_network),
        "save_pretrained": bare(pruned.save_pretrained, folder=folder / "again"),
        # reports
        "Report": bare(_report, title="x", result=contrast, intro=None, methods=True, provenance=True, sources=()),
        "Report.save": bare(fbn.Report("x", network).save, path=folder / "page.html"),
        "Section": bare(_section, title="x", text="y", figure=None, table=None, html=None),
        "view": bare(
            fbn.view,
            recording=stored,
            networks=network,
            maps=scores,
            units=None,
            title=None,
            run=None,
            max_units=20,
            megabytes=8.0,
        ),
        "Preset.sites": bare(fbn.presets.s1_cgvst.sites, model=model),
        # the demo
        "demo.battery": bare(fbn.demo.battery, n=2, seed=0),
        "demo.load_model": bare(fbn.demo.load_model, device="cpu"),
        # pictures
        "plot.amplification": bare(fbn.plot.amplification, table=dose.to_dataframe()),
        "plot.component_choice": bare(
            fbn.plot.component_choice,
            choice=fbn.choose_components(stored, [2, 3], seed=0, n_restarts=2, progress=False),
            title=None,
        ),
        "plot.concordance": bare(fbn.plot.concordance, compared=fbn.concordance(maps, seed=0, n_null=20), title=None),
        "plot.confusion_matrix": bare(fbn.plot.confusion_matrix, identification=made.results()[5], title=None),
        "plot.connectivity": bare(fbn.plot.connectivity, connectivity=made.results()[4], title=None),
        "plot.contrast": bare(fbn.plot.contrast, contrast=contrast, fdr=0.05, fwe=None, title=None),
        "plot.design_efficiency": bare(
            fbn.plot.design_efficiency, designs=list(fit.designs), contrasts="a - b", title=None
        ),
        "plot.design_matrix": bare(fbn.plot.design_matrix, design=fit, run=0, contrasts=(), title=None),
        "plot.dissociation": bare(fbn.plot.dissociation, study=made.study(), pairs=None, metric=None, control=None),
        "plot.dose_response": bare(fbn.plot.dose_response, dose=dose),
        "plot.fingerprint": bare(fbn.plot.fingerprint, found=made.results()[6], threshold=None),
        "plot.gain_calibration": bare(fbn.plot.gain_calibration, calibration=gain),
        "plot.layer_profile": bare(fbn.plot.layer_profile, networks=networks, share=True, title=None),
        "plot.lesion_controls": bare(
            fbn.plot.lesion_controls, study=made.study(), tasks=None, metric=None, control=None
        ),
        "plot.lesion_matrix": bare(fbn.plot.lesion_matrix, study=study, metrics=None),
        "plot.overlap_matrix": bare(fbn.plot.overlap_matrix, networks=networks, seed=None, n_null=20, title=None),
        "plot.prune": bare(
            fbn.plot.prune,
            report=pruned.report if hasattr(pruned, "report") else made.results()[7],
            before=None,
            after=None,
            seconds=None,
        ),
        "plot.recurrence": bare(fbn.plot.recurrence, recurrence=made.results()[3], title=None),
        "plot.retention_curve": bare(
            fbn.plot.retention_curve,
            retention=fbn.studies.retention_curve(model, atlas, battery, seed=0, n_controls=2, progress=False),
            mode=None,
        ),
        "plot.score_validation": bare(fbn.plot.score_validation, validation=made.results()[-1]),
        "plot.special_tokens": bare(
            fbn.plot.special_tokens,
            ablation=fbn.studies.token_ablation(
                demo,
                {"sort": CHATS, "reverse": fbn.chats("reverse", n=2)},
                worded,
                seed=0,
                tokens=("special",),
                variants=("row_l1",),
                n_controls=2,
                alpha=0.5,
                n_bootstrap=20,
                progress=False,
            ),
        ),
        "plot.stability": bare(fbn.plot.stability, atlas=atlas, title=None),
        "plot.time_courses": bare(
            fbn.plot.time_courses,
            recording=stored,
            networks=network,
            run=0,
            rows=None,
            standardize=False,
            signed=True,
            title=None,
        ),
        "plot.token_strip": bare(fbn.plot.token_strip, layout=layout, values=None, unit="value", wrap=90),
        "plot.unit_map": bare(fbn.plot.unit_map, maps=scores, title=None, networks=None, order="index"),
    }
    assert len(responses) if hasattr(responses, "__len__") else True
    return found


def _report(title: Any, result: Any, **options: Any) -> str:
    """A page of one result, as text."""
    return fbn.Report(title, result, **options).to_html()


def _section(**fields: Any) -> str:
    """A page of one section, as text."""
    from tl_fbn.reporting import Section

    return fbn.Report("x", Section(**fields)).to_html()
