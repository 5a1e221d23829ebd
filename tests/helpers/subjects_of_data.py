"""Functions that need no model, and arguments with which they return: units, recordings, analyses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

import tl_fbn as fbn
from tests.helpers.materials import CHATS, Subject
from tests.helpers.recordings import blocks


def of_data(m: SimpleNamespace) -> dict[str, Subject]:
    """Name to subject.

    Args:
        m: What :func:`tests.helpers.materials.materials` made.
    """
    return {
        # units
        "UnitSpace": Subject.of(fbn.UnitSpace, site="mlp.neurons", widths=(3, 4), model="m"),
        "UnitSpace.locate": Subject.of(m.space.locate, index=3),
        "UnitSpace.index": Subject.of(m.space.index, layer=1, unit=3),
        "UnitSpace.layer_slice": Subject.of(m.space.layer_slice, layer=1),
        "UnitSpace.from_about": Subject.of(fbn.UnitSpace.from_about, about=m.space.about()),
        "UnitSpace.require_same": Subject.of(m.space.require_same, other=m.space, what="combine"),
        "UnitMap": Subject.of(fbn.UnitMap, space=m.space, values=np.arange(48.0), kind="t", provenance={}),
        "UnitMap.top": Subject.of(m.scores.top, amount=3, two_sided=False, per_layer=False, name="x"),
        "UnitMap.tied": Subject.of(m.scores.tied, amount=3, two_sided=False, per_layer=False),
        "UnitMap.from_dataframe": Subject.of(
            fbn.UnitMap.from_dataframe,
            table=m.scores.to_dataframe(),
            space=m.space,
            kind="attribution",
            value="value",
            site="mlp.neurons",
        ),
        "Network": Subject.of(
            fbn.Network,
            space=m.space,
            members=np.arange(48) < 4,
            signs=np.ones(48, np.int8),
            name="x",
            provenance={},
        ),
        "Network.from_indices": Subject.of(
            fbn.Network.from_indices, space=m.space, indices=[1, 2], name="x", provenance=None
        ),
        "Network.restrict": Subject.of(m.network.restrict, layers=[0]),
        "Network.rename": Subject.of(m.network.rename, name="x"),
        "Network.to_json": Subject.of(m.network.to_json, path=m.folder / "network.json"),
        "Network.from_json": Subject.of(fbn.Network.from_json, source=m.network.to_json(), space=m.space, name="x"),
        "Network |": Subject.of(m.network.__or__, other=m.second),
        "Network.save": Subject.of(m.network.save, path=m.folder / "saved.safetensors"),
        "Network.load": Subject.of(fbn.Network.load, path=m.folder / "network.safetensors"),
        "Atlas": Subject.of(
            fbn.Atlas,
            space=m.space,
            networks=m.networks,
            maps=np.zeros((2, 48)),
            stability=np.ones(2),
            provenance={},
        ),
        "Atlas.from_networks": Subject.of(fbn.Atlas.from_networks, networks=m.networks),
        "Atlas.rename": Subject.of(m.atlas.rename, names={next(iter(m.atlas)): "x"}),
        "Atlas.union": Subject.of(m.atlas.union, names=list(m.atlas)[:2], name="x"),
        "Atlas[]": Subject.of(m.atlas.__getitem__, name=next(iter(m.atlas))),
        "Atlas.to_json": Subject.of(m.atlas.to_json, path=m.folder / "atlas.json"),
        "Atlas.from_json": Subject.of(fbn.Atlas.from_json, source=m.atlas.to_json(), space=m.space, names=None),
        "load": Subject.of(fbn.load, path=m.folder / "network.safetensors"),
        "load_results": Subject.of(fbn.load_results, folder=m.folder),
        # acquisition
        "block_design": Subject.of(
            fbn.block_design,
            conditions=m.prompts,
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
        "BlockDesign.events": Subject.of(m.design.events, run=0),
        "Scanner": Subject.of(
            fbn.Scanner,
            model=m.model,
            site="mlp.neurons",
            layers=None,
            dtype="float32",
            pool="token",
            batch_size=8,
            surprisal=True,
            entropy=False,
        ),
        "Scanner.plan": Subject.of(m.scanner.plan, design=m.design, path=m.folder / "plan"),
        "Scanner.scan": Subject.of(
            m.scanner.scan, design=m.design, path=m.folder / "scan", hooks_id=None, progress=False, share=(0, 1)
        ),
        "Scanner.stream": Subject.of(m.scanner.stream, design=m.design, hooks_id=None, progress=False),
        "Stream[]": Subject.of(m.scanner.stream(m.design, progress=False).__getitem__, index=0),
        "Recording.open": Subject.of(fbn.Recording.open, path=m.folder / "recording"),
        "Recording.load": Subject.of(fbn.Recording.load, path=m.folder / "recording"),
        "Recording.save": Subject.of(m.stored.save, path=m.folder / "copy"),
        "Recording.from_arrays": Subject.of(
            fbn.Recording.from_arrays,
            activations=[[np.zeros((20, 3))]],
            events=[blocks(["a", "b"], 10)],
            rows=None,
            path=None,
            model="external",
            site="mlp.neurons",
        ),
        "Recording.site": Subject.of(m.stored.site, name="mlp.neurons"),
        "Recording.pool": Subject.of(m.stored.pool, how="mean"),
        "Recording.massive": Subject.of(
            m.stored.massive, share=0.5, top=5, model=m.model, texts=[[1, 2, 3]], progress=False
        ),
        "Recording[]": Subject.of(m.stored.__getitem__, index=0),
        "Run.layer": Subject.of(m.run.layer, layer=0),
        "Run.read": Subject.of(m.run.read, units=m.network, rows=slice(0, 3)),
        "activation_cache": Subject.of(fbn.activation_cache, recording=m.stored, run=0, prompt=None, model=None),
        "chats": Subject.of(fbn.chats, name="sort", n=3, seed=0),
        "prompts": Subject.of(fbn.prompts, name="sort", n=3, seed=0),
        "read_prompts": Subject.of(fbn.read_prompts, path=m.at["prompts"]),
        "read_events": Subject.of(fbn.read_events, path=m.at["events"], row_seconds=None),
        "write_events": Subject.of(
            fbn.write_events, source=m.design, folder=m.folder / "bids", task="x", row_seconds=1.0
        ),
        "token_layout": Subject.of(
            fbn.token_layout,
            model=m.demo,
            item=CHATS[0],
            tokens="special",
            groups="turns",
            spans=None,
            bos_eos=True,
            reply=False,
            seed=0,
        ),
        "TokenLayout.positions": Subject.of(m.layout.positions, tokens="special", seed=0),
        "TokenLayout.grouped": Subject.of(m.layout.grouped, tokens="special", groups="turns", seed=0),
        # the general linear model
        "design_matrix": Subject.of(
            fbn.design_matrix,
            run=m.run,
            drift="cosine",
            cutoff=None,
            position=True,
            first_token=True,
            phases=None,
            confounds=(),
            kernel="none",
            leak=None,
            n_lags=4,
            degree=None,
        ),
        "fit_glm": Subject.of(
            fbn.fit_glm,
            recording=m.stored,
            noise="ar1",
            maxlags=None,
            replicates="blocks",
            design=None,
            extra=None,
            progress=False,
            drift="cosine",
            confounds=(),
        ),
        "fit_glm leak": Subject.of(fbn.fit_glm, recording=m.stored, progress=False, kernel="leak", leak=0.5),
        "fit_glm lags": Subject.of(fbn.fit_glm, recording=m.stored, progress=False, kernel="fir", n_lags=2),
        "GLMFit.contrast": Subject.of(m.fit.contrast, expression="a - b", level="block"),
        "GLMFit.contrasts_against_others": Subject.of(m.fit.contrasts_against_others, level="block"),
        "GLMFit.in_columns": Subject.of(m.fit.in_columns, expressions=["a - b"]),
        "GLMFit.estimable": Subject.of(m.fit.estimable, expressions=["a - b"]),
        "Contrast.interval": Subject.of(m.contrast.interval, confidence=0.9, standardized=False),
        "Contrast.threshold": Subject.of(
            m.contrast.threshold, fdr=None, fwe=None, top=0.1, two_sided=True, min_effect=0.0, name="x"
        ),
        "Contrast.threshold fdr": Subject.of(m.contrast.threshold, fdr=0.5, method=None),
        "Contrast.threshold fwe": Subject.of(m.contrast.threshold, fwe=0.5, method=None),
        "FContrast.threshold": Subject.of(m.f_contrast.threshold, fdr=None, fwe=None, top=0.1, name="x"),
        "PermutationTest.threshold": Subject.of(m.test.threshold, fwe=0.5, two_sided=True, min_effect=None, name="x"),
        "max_t": Subject.of(
            fbn.max_t,
            recording=m.stored,
            expression="a - b",
            n_permutations=20,
            seed=0,
            null="labels",
            over=None,
            progress=False,
        ),
        "activation_difference": Subject.of(
            fbn.glm.activation_difference, recording=m.stored, condition="a", other="b"
        ),
        "efficiency": Subject.of(fbn.glm.efficiency, design=m.fit.designs[0], expression="a - b"),
        "vif": Subject.of(fbn.glm.vif, design=m.fit.designs[0]),
        "estimate_leak": Subject.of(fbn.glm.estimate_leak, recording=m.stored, grid=(0.0, 0.5)),
        "from_token": Subject.of(fbn.glm.from_token, token="w", label="x"),
        "lape": Subject.of(fbn.glm.lape, recording=m.stored, conditions=["a", "b"], minimum=0.5, condition=None),
        "optimize_order": Subject.of(
            fbn.glm.optimize_order, make=lambda seed: m.design, expression="a - b", n=2, seed=0
        ),
        "welch_t": Subject.of(
            fbn.glm.welch_t, recording=m.stored, condition="a", other="b", pool="last", absolute=True
        ),
        # independent components and networks
        "find_networks": Subject.of(
            fbn.find_networks,
            recording=m.stored,
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
        "choose_components": Subject.of(
            fbn.choose_components,
            recording=m.stored,
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
        "rotated_basis": Subject.of(fbn.ica.rotated_basis, recording=m.stored, seed=0),
        "overlap": Subject.of(fbn.overlap, a=m.network, b=m.second, seed=0, n_null=20),
        "concordance": Subject.of(fbn.concordance, maps=m.maps, seed=0, top=0.1, n_null=20),
        "conjunction": Subject.of(fbn.conjunction, maps=[m.contrast.t, m.contrast.t]),
        "connectivity": Subject.of(
            fbn.networks.connectivity,
            recording=m.stored,
            atlas=m.atlas,
            seed=0,
            kind="pearson",
            how="mean",
            n_bootstrap=20,
            stretch=None,
        ),
        "sliding_connectivity": Subject.of(
            fbn.networks.sliding_connectivity,
            recording=m.stored,
            atlas=m.atlas,
            window=20,
            step=10,
            kind="pearson",
            how="mean",
        ),
        "dual_regression": Subject.of(fbn.networks.dual_regression, recording=m.stored, atlas=m.atlas, samples="run"),
        "SampleMaps[]": Subject.of(fbn.networks.dual_regression(m.stored, m.atlas).__getitem__, sample=0),
        "calibrate_fingerprint": Subject.of(
            fbn.networks.calibrate_fingerprint, related=[0.9, 0.8], unrelated=[0.1, 0.2]
        ),
        "fingerprint": Subject.of(
            fbn.networks.fingerprint, first=m.stored, second=m.stored, seed=0, n_components=3, atlases=None, n_null=19
        ),
        "identify_task": Subject.of(
            fbn.identify_task,
            recordings={"x": m.stored, "y": m.other},
            seed=0,
            networks=None,
            contrasts={"x": "a - b", "y": "a - b"},
            method="correlation",
            top=0.1,
            n_permutations=20,
            progress=False,
        ),
        "match_networks": Subject.of(fbn.networks.match_networks, a=m.atlas, b=m.atlas, seed=0, n_null=20),
        "multiplicity": Subject.of(fbn.networks.multiplicity, networks=m.networks),
        "recurrence": Subject.of(
            fbn.recurrence,
            recording=m.stored,
            atlas=m.atlas,
            seed=0,
            threshold=0.2,
            method="dual",
            samples=None,
            n_components=None,
            n_null=9,
            progress=False,
        ),
        "reliability": Subject.of(
            fbn.networks.reliability,
            recordings={"x": m.stored, "y": m.other},
            contrasts={"x": "a - b", "y": "a - b"},
            top=0.1,
        ),
        "followed_conditions": Subject.of(
            fbn.networks.followed_conditions,
            recording=m.stored,
            networks=m.networks,
            seed=0,
            n_permutations=9,
            drop_first=1,
        ),
        "shared_core": Subject.of(fbn.networks.shared_core, networks=m.networks, at_least=None),
        "specific_scores": Subject.of(fbn.specific_scores, scores=m.maps, how="difference", scale="mean"),
        "task_unique": Subject.of(fbn.networks.task_unique, networks=m.networks),
        "time_courses": Subject.of(
            fbn.networks.time_courses, recording=m.stored, networks=m.networks, how="mean", signed=True
        ),
    }
