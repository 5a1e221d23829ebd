"""Functions that take a model, and arguments with which they return: scores, behaviour, hooks, studies, pruning."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

import tl_fbn as fbn
from tests.helpers import results as made
from tests.helpers.materials import CHATS, EXAMPLES, Subject
from tests.helpers.random_lesions import lesion_map_of, random_lesions
from tl_fbn.attribution import Example, ItemScores

WORDS = [
    ("cat", "cats"),
    ("dog", "dogs"),
    ("car", "cars"),
    ("hat", "hats"),
    ("key", "keys"),
    ("map", "maps"),
    ("jar", "jars"),
]


def size(model, prompts=None) -> float:
    """An analysis that tells nothing of what it is given."""
    return float(sum(one.numel() for one in model.parameters()))


def of_models(m: SimpleNamespace) -> dict[str, Subject]:
    """Name to subject.

    Args:
        m: What :func:`tests.helpers.materials.materials` made.
    """
    rows = fbn.demo.tasks(n=4)
    return {
        # attribution
        "cgvst": Subject.of(
            fbn.cgvst,
            model=m.demo,
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
            batch_tokens=8192,
            seed=0,
            progress=False,
        ),
        "cgvst positions": Subject.of(
            fbn.cgvst, model=m.demo, items=[[1, 5, 6, 7], [1, 8, 9, 10]], positions=[[1, 2], [2]], progress=False
        ),
        "item_scores": Subject.of(
            fbn.attribution.item_scores, model=m.demo, items=CHATS, positions=None, batch_tokens=8192, progress=False
        ),
        "ItemScores": Subject.of(ItemScores, space=m.space, values=np.zeros((2, 48)), provenance={}),
        "ItemScores.map": Subject.of(m.item_scores.map, aggregate="sum_abs"),
        "ItemScores.split_half": Subject.of(
            m.item_scores.split_half, amount=0.1, seed=0, n_splits=3, aggregate="sum_abs"
        ),
        "attribution_patching": Subject.of(
            fbn.attribution.attribution_patching,
            model=m.model,
            clean=[[1, 2, 3]],
            corrupted=[[1, 2, 4]],
            answers=[(5, 6)],
            positions="last",
            batch_tokens=8192,
            progress=False,
        ),
        "gradient_x_activation": Subject.of(
            fbn.attribution.gradient_x_activation,
            model=m.demo,
            items=CHATS,
            positions=None,
            tokens=None,
            aggregate="mean",
            progress=False,
        ),
        "integrated_gradients": Subject.of(
            fbn.attribution.integrated_gradients,
            model=m.demo,
            items=CHATS,
            positions=None,
            tokens=None,
            n_steps=2,
            aggregate="mean",
            spans=None,
            bos_eos=True,
            max_tokens=None,
            batch_tokens=8192,
            seed=0,
            progress=False,
        ),
        "random_scores": Subject.of(fbn.attribution.random_scores, model=m.model, seed=0),
        "taylor": Subject.of(
            fbn.attribution.taylor,
            model=m.demo,
            items=CHATS,
            positions=None,
            tokens=None,
            aggregate="sum_abs",
            progress=False,
        ),
        "few_shot_chats": Subject.of(
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
        "few_shot_chats tokens": Subject.of(
            fbn.few_shot_chats, examples=EXAMPLES, seed=0, n_shots=2, n=2, tokenizer=m.demo.tokenizer, max_tokens=100
        ),
        "read_examples": Subject.of(fbn.read_examples, path=m.at["examples"], instruction=None, n=None),
        "Tasks": Subject.of(
            fbn.Tasks,
            tasks={"a": WORDS},
            evaluation=None,
            shots=1,
            head="drawn",
            template="{input} ->",
            instruction=None,
            max_words=None,
            seed=0,
        ),
        "Tasks.rows": Subject.of(rows.rows, task="sort", half="discovery"),
        "Tasks.select": Subject.of(rows.select, names=["sort"]),
        "Tasks.prompts": Subject.of(rows.prompts, half="discovery", n=None, answers=True),
        "Tasks.chats": Subject.of(rows.chats, half="discovery", n=None),
        "Tasks.items": Subject.of(rows.items, model=m.demo, half="discovery", n=None),
        "Tasks.battery": Subject.of(rows.battery, model=None, half="evaluation", n=None),
        "Tasks.describe": Subject.of(rows.describe, model=m.demo, half="discovery", n=2, batch_tokens=512),
        "Example": Subject.of(Example, instruction="sort", input="b a", output="a b"),
        # behaviour
        "Battery": Subject.of(fbn.Battery, tasks=m.battery.tasks),
        "Battery.from_pairs": Subject.of(fbn.Battery.from_pairs, tasks={"a": [("one", "two")]}),
        "Battery.from_texts": Subject.of(fbn.Battery.from_texts, tasks={"a": ["one two"]}),
        "Battery.from_chats": Subject.of(fbn.Battery.from_chats, tasks={"a": CHATS}, model=m.demo, bos_eos=True),
        "Battery.from_qa": Subject.of(
            fbn.Battery.from_qa,
            tasks={"a": [("q", "x"), {"question": "r", "answers": ["y", "z"]}]},
            template="Q: {question}\nA:",
            delimiter=None,
            prepend_bos=None,
        ),
        "Battery.from_choices": Subject.of(
            fbn.Battery.from_choices,
            tasks={"a": [{"question": "q", "choices": ["x", "y"], "answer": 0}]},
            template=None,
            scored="text",
        ),
        "Battery.from_jsonl": Subject.of(
            fbn.Battery.from_jsonl, path=m.at["items"], format="auto", name=None, n=None, template=None, scored="text"
        ),
        "Battery.limit": Subject.of(m.worded.limit, n=1),
        "Battery.select": Subject.of(m.worded.select, names=["sort"]),
        "Battery.scored_tokens": Subject.of(m.worded.scored_tokens, model=m.demo),
        "Battery.sizes": Subject.of(m.worded.sizes, model=m.demo, batch_tokens=512, share_prefixes=True),
        "Battery.digests": Subject.of(m.worded.digests, tokenizer=m.demo.tokenizer),
        "Battery.score": Subject.of(m.worded.score, model=m.demo, batch_tokens=512, share_prefixes=True),
        "Battery.score ids": Subject.of(m.battery.score, model=m.model, batch_tokens=512, share_prefixes=True),
        "Battery.evaluate": Subject.of(
            m.worded.evaluate, model=m.demo, batch_tokens=512, share_prefixes=True, columns="all"
        ),
        "Battery.respond": Subject.of(
            m.worded.respond, model=m.demo, max_new_tokens=2, stop=(), parser=None, batch_tokens=512, progress=False
        ),
        "judge": Subject.of(
            fbn.behaviour.judge,
            tasks={"sort": m.task},
            texts={"sort": ["a", "b"]},
            parser=None,
            loop=None,
        ),
        "monitor": Subject.of(fbn.behaviour.monitor, task=m.task, scores=m.scored),
        "evaluate_harness": Subject.of(
            fbn.behaviour.evaluate_harness,
            model=m.demo,
            tasks="arc",
            interventions=None,
            batch_size=8,
            model_options=None,
        ),
        # hooks
        "inhibit": Subject.of(
            m.under(fbn.inhibit), **m.pairs, method="zero", reference=None, positions="all", layers=None, seed=0
        ),
        "inhibit resample": Subject.of(m.under(fbn.inhibit), **m.pairs, method="resample", reference=m.stored, seed=0),
        "amplify gain": Subject.of(m.under(fbn.amplify), **m.pairs, gain=2.0, positions="all", layers=None),
        "amplify add": Subject.of(m.under(fbn.amplify), **m.pairs, add=2.0),
        "amplify add_sd": Subject.of(m.under(fbn.amplify), **m.pairs, add_sd=2.0, reference=m.stored),
        "clamp at": Subject.of(m.under(fbn.clamp), **m.pairs, at=1.0, positions="all", layers=None),
        "clamp at_sd": Subject.of(m.under(fbn.clamp), **m.pairs, at_sd=1.0, reference=m.stored),
        "clamp bounds": Subject.of(m.under(fbn.clamp), **m.pairs, low=-1.0, high=1.0),
        "retain": Subject.of(
            m.under(fbn.retain), **m.pairs, method="zero", reference=None, positions="all", layers=None, seed=0
        ),
        "Intervention.fwd_hooks": Subject.of(fbn.inhibit(m.model, m.network).fwd_hooks, model=m.model),
        # studies
        "lesion_study": Subject.of(
            fbn.lesion_study,
            stop=None,
            **m.studied,
            networks={"a": m.network},
            controls=("random",),
            rivals=None,
            exclude=None,
            method="zero",
            reference=None,
            positions="all",
            metric=None,
            batch_tokens=512,
            path=None,
        ),
        "plan_lesions": Subject.of(
            fbn.plan_lesions,
            stop=None,
            model=m.model,
            networks={"a": m.network},
            battery=m.battery,
            n_controls=2,
            controls=("random",),
            rivals=None,
            exclude=None,
            batch_tokens=512,
        ),
        "causal_check": Subject.of(fbn.causal_check, **m.studied, maps=m.maps, top=0.1, two_sided=None),
        "dose_response": Subject.of(
            fbn.dose_response,
            **m.studied,
            network=m.network,
            gains=(0, 1),
            adds=None,
            adds_sd=None,
            sizes=None,
            method="zero",
            reference=None,
            positions="all",
            metric=None,
            batch_tokens=512,
        ),
        "dose_response adds": Subject.of(fbn.dose_response, **m.studied, network=m.network, adds=(0.0, 1.0)),
        "dose_response adds_sd": Subject.of(
            fbn.dose_response, **m.studied, network=m.network, adds_sd=(0.0, 1.0), reference=m.stored
        ),
        "dose_response sizes": Subject.of(fbn.dose_response, **m.studied, network=m.scores, sizes=(0.1, 0.5)),
        "calibrate_gain": Subject.of(
            fbn.calibrate_gain,
            **m.studied,
            network=m.network,
            task=None,
            gains=(1, 2),
            share=0.5,
            tolerance=None,
            controls="calibrated",
            metric="log_likelihood",
            reference=None,
            positions="all",
            batch_tokens=512,
        ),
        "retention_curve": Subject.of(
            fbn.studies.retention_curve,
            model=m.model,
            atlas=m.atlas,
            battery=m.battery,
            seed=0,
            mode="retain",
            sizes=None,
            n_controls=2,
            method="zero",
            reference=None,
            batch_tokens=512,
            progress=False,
        ),
        "shapley": Subject.of(
            fbn.shapley,
            model=m.model,
            atlas=m.atlas,
            battery=m.battery,
            seed=0,
            n_permutations=4,
            method="zero",
            reference=None,
            positions="all",
            metric=None,
            n_bootstrap=20,
            batch_tokens=512,
            progress=False,
        ),
        "collapse_neurons": Subject.of(
            fbn.collapse_neurons,
            model=m.model,
            texts=[[first, *range(2, 12)] for first in range(20, 26)],
            seed=0,
            n=6,
            max_tokens=12,
            least=0.1,
            n_candidates=4,
            n_pairs=2,
            n_null=19,
            largest=3,
            n_bootstrap=20,
            batch_tokens=512,
            progress=False,
        ),
        "zeroing_costs": Subject.of(
            fbn.studies.zeroing_costs,
            model=m.model,
            massive=m.stored.massive(top=2),
            texts=[[1, 2, 3]],
            batch_tokens=8192,
            progress=False,
        ),
        "token_ablation": Subject.of(
            fbn.studies.token_ablation,
            model=m.demo,
            chats={"sort": CHATS, "reverse": fbn.chats("reverse", n=2)},
            battery=m.worded,
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
            batch_tokens=8192,
            progress=False,
            site="mlp.up",
        ),
        "validate_scores": Subject.of(
            fbn.validate_scores,
            model=m.model,
            scores=m.maps,
            battery=m.battery,
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
            batch_tokens=512,
            progress=False,
        ),
        "matched_controls": Subject.of(
            fbn.matched_controls, network=m.network, n=2, seed=0, features=None, exclude=None
        ),
        "lowest_ranked": Subject.of(fbn.studies.lowest_ranked, scores=m.scores, network=m.network),
        "unit_features": Subject.of(fbn.studies.unit_features, model=m.model, recording=m.stored),
        "promoted_tokens": Subject.of(
            fbn.networks.promoted_tokens,
            network=fbn.Network.from_indices(fbn.Scanner(m.demo).space, [1], name="one"),
            model=m.demo,
            n_tokens=2,
            n_units=1,
        ),
        "null_check": Subject.of(
            fbn.null_check,
            analysis=size,
            model=m.model,
            prompts={"a": [1, 2], "b": [3]},
            seed=0,
            number=None,
            nulls=["shuffled"],
            n=1,
            progress=False,
        ),
        "plan_null_check": Subject.of(
            fbn.studies.plan_null_check, analysis=size, model=m.model, prompts=None, nulls=["rotated"], n=1
        ),
        "rotated": Subject.of(fbn.studies.rotated, model=m.model, seed=0),
        "second_level": Subject.of(fbn.second_level, studies={"A": m.study, "B": m.study}, metric=None),
        "untrained": Subject.of(fbn.studies.untrained, model=m.demo, seed=0),
        "LesionStudy.metric_index": Subject.of(m.study.metric_index, metric=None),
        "LesionStudy.control_kind": Subject.of(m.study.control_kind, control=None),
        "LesionStudy.rate": Subject.of(m.study.rate, name="chance", task="a"),
        "LesionStudy.rivals_table": Subject.of(m.study.rivals_table, metric=None),
        "LesionStudy.dissociations": Subject.of(made.study().dissociations, metric=None, control=None),
        "LesionStudy.drops": Subject.of(m.study.drops, metric=None),
        "LesionStudy.control_drops": Subject.of(m.study.control_drops, metric=None, control=None),
        "LesionStudy.to_dataframe": Subject.of(m.study.to_dataframe, metric=None, control=None, columns="all"),
        "LesionStudy.summary": Subject.of(m.study.summary, metric=None, control=None, columns="all"),
        "LesionStudy.verdict": Subject.of(m.study.verdict, metric=None, control=None),
        "LesionStudy.dissociation": Subject.of(
            made.study().dissociation, first="sort", second="add", metric=None, control=None
        ),
        "LesionStudy.equivalence": Subject.of(m.study.equivalence, margin=0.1, metric=None, control=None),
        "LesionStudy.lesion_map": Subject.of(
            random_lesions().lesion_map,
            seed=0,
            metric=None,
            control=None,
            n_permutations=19,
            min_lesions=2,
            progress=False,
        ),
        "LesionMap.map": Subject.of(lesion_map_of().map, task="a", kind="t"),
        "LesionMap.threshold": Subject.of(lesion_map_of().threshold, task="a", fwe=0.1, name="x"),
        "GainCalibration.held_out": Subject.of(m.gain.held_out, metric=None, control=None),
        "GainCalibration.intervention": Subject.of(m.gain.intervention, model=m.model, positions=None),
        "Validation.best": Subject.of(made.results()[-1].best, by="spearman"),
        # pruning
        "prune": Subject.of(
            fbn.prune,
            model=m.model,
            keep=m.network,
            remove=None,
            heads=None,
            compensate=None,
            protect_first=0,
            protect_last=0,
            probe=None,
            batch_tokens=8192,
            progress=False,
        ),
        "prune compensate": Subject.of(
            fbn.prune, model=m.model, keep=m.network, compensate=[[1, 2, 3]], batch_tokens=8192, progress=False
        ),
        "keep_for_ratio": Subject.of(
            fbn.pruning.keep_for_ratio, model=m.model, scores=m.scores, ratio=0.1, protect_first=0, protect_last=0
        ),
        "load_pruned": Subject.of(fbn.load_pruned, folder=m.folder / "pruned", device="cpu"),
        "only_network": Subject.of(fbn.only_network, model=m.demo, network=m.demo_network),
        "save_pretrained": Subject.of(m.pruned.save_pretrained, folder=m.folder / "again"),
    }
