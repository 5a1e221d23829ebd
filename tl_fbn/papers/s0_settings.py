"""What Liu et al. (2025) and their two later papers state, where they state it, and what is our choice."""

from __future__ import annotations

from types import MappingProxyType

from tl_fbn.papers.preset import Preset

# a choice that every preset with an ICA makes
_MIXED_PAIRS = "two sources that FastICA leaves mixed half and half are taken apart; the code keeps them"
# and what their code does to activations: every token takes part, and nothing is clipped
_Z_SCORED = {"standardize": True, "drop_first": 0, "clip": None}

settings = Preset(
    name="s0_v1",
    source="Liu et al. 2025, arXiv 2502.20408 v1 and its released code",
    stated=MappingProxyType(
        {
            "signal": "output of the last linear layer of each MLP, every prompt token, raw values (paper, code)",
            "ICA": "temporal FastICA, logcosh, tolerance 1e-4, 200 iterations, seed 666, one run (code)",
            "networks": "10, 64, 128, 256 or 512 (paper); 10 in the tables of recurrence and lesions",
            "members": "z of the loading at least 3.6, one-sided, sign left to chance (code, every ChatGLM3 "
            "experiment; default 1.96)",
            "recurrence": "intersection over union above 0.2 (paper)",
            "lesion": "masked coordinates set to 0 at every position, all layers at once (code)",
            "amplification": "1 added to masked coordinates at every position (code's default)",
        }
    ),
    unknown=MappingProxyType(
        {
            "threshold of GPT-2 and Qwen": "3.6, as for ChatGLM3",
            "start of the rotation": "drawn from the seed by numpy's current generator, not the RandomState of the "
            "code; a few steps of kurtosis come first",
            "mixed pairs": _MIXED_PAIRS,
            "whitening": "singular vectors by a sketch, the same to float32",
            "non-convergence": "said in the result; the notebooks go on in silence",
            "calibration of the amplification": "fbn.calibrate_gain; the later version's 'carefully calibrated' is not "
            "described where we can read it",
        }
    ),
    site_names=("mlp.out",),
    networks=MappingProxyType(
        {
            "n_components": 10,
            "method": "temporal",
            "n_restarts": 1,
            **dict(_Z_SCORED, standardize=False),
            "threshold": 3.6,
            "one_sided": True,
            "align": False,
            "fun": "logcosh",
            "tol": 1e-4,
            "max_iter": 200,
            "seed": 666,
        }
    ),
    inhibit=MappingProxyType({"method": "zero", "positions": "all"}),
    amplify=MappingProxyType({"add": 1.0, "positions": "all"}),
)
"""Liu et al. 2025, first version: temporal ICA of MLP outputs, and lesions of the networks found."""

canica = Preset(
    name="s0_canica",
    source="Liu et al. 2025, the released code's later ICA (called CanICA there; it has no canonical correlation)",
    stated=MappingProxyType(
        {
            "signal": "up projection and activation output of each MLP, z-scored over all tokens (code; here the two "
            "are one site, mlp.neurons, their product)",
            "ICA": "spatial: leading singular vectors, FastICA, cube, tolerance 1e-4, 300 iterations, 10 seeds, the "
            "one whose worst map is sparsest (code)",
            "networks": "128, each layer by itself (code)",
            "members": "percentile 100 - 100 / K of |map| (code, CPU); |z| above 3.6, or tuned to a share, for pruning",
        }
    ),
    unknown=MappingProxyType(
        {
            "mixed pairs": _MIXED_PAIRS,
            "ten seeds": "ten restarts, resampled, whose typical networks begin the final rotation, not the sparsest "
            "of ten plain ones",
            "site": "mlp.neurons, so that networks can be lesioned; the code looks at both factors",
        }
    ),
    site_names=("mlp.neurons",),
    networks=MappingProxyType(
        {
            "n_components": 128,
            "method": "spatial",
            "across_layers": False,
            "n_restarts": 10,
            **_Z_SCORED,
            "threshold": "percentile",
            "fun": "cube",
            "tol": 1e-4,
            "max_iter": 300,
            "seed": 666,
        }
    ),
)
"""Liu et al. 2025, later code: spatial ICA of every layer by itself."""

pruning = Preset(
    name="s0_fnp",
    source="functional network pruning, arXiv 2508.05239, from its released code (the paper was not read)",
    stated=MappingProxyType(
        {
            "ICA": "each layer by itself, 128 networks, cube, tolerance 1e-4, 300 iterations; 1 or 80 runs of 40 texts "
            "(code)",
            "kept": "units whose |z| is above tau in any network and run; tau is tuned to the share of parameters to "
            "remove (code)",
            "protected": "layers 0 to 2 and the last two are never pruned (code)",
            "surgery": "rows of gate and up, columns of down (code)",
            "compensation": "b = W_down mean(removed inputs), the model going on with the kept part; "
            "prune(compensate=texts)",
        }
    ),
    unknown=MappingProxyType(
        {
            "signal": "mlp.neurons, the product, where the code looks at up projection and activation side by side",
            "mixed pairs": _MIXED_PAIRS,
            "several runs": "one atlas; put more texts into its recording",
            "means": "over tokens, not over texts of different lengths",
            "share": "a fifth of all parameters (the code's experiments: 19 to 20 %)",
        }
    ),
    site_names=("mlp.neurons",),
    networks=MappingProxyType({**canica.networks, "threshold": 3.6, "seed": 327}),
    ratio=MappingProxyType({"ratio": 0.2, "protect_first": 3, "protect_last": 2}),
)
"""Functional network pruning: keep the units that are in any network of their layer."""

fingerprint = Preset(
    name="s0_fnf",
    source="the notebook of S0's sibling on fingerprints, arXiv 2601.22692",
    stated=MappingProxyType(
        {
            "signal": "output of every decoder layer, z-scored over all tokens, ten texts (notebook)",
            "ICA": "spatial, 64 networks, cube, tolerance 1e-4, 300 iterations (code)",
            "members": "|z| above 3.6 (code)",
            "score": "Spearman correlation of network-mean courses, averaged over texts; a pair matches above .5 "
            "(notebook)",
        }
    ),
    unknown=MappingProxyType(
        {
            "mixed pairs": _MIXED_PAIRS,
            "tokenizers that differ": "courses are aligned by characters; the notebook cuts the longer text",
            "decision": "fbn.networks.calibrate_fingerprint on pairs that are known; the paper's .9642 and the "
            "notebook's .596 for one pair do not agree",
        }
    ),
    site_names=("resid.post",),
    networks=MappingProxyType(
        {
            "n_components": 64,
            "method": "spatial",
            "n_restarts": 1,
            **_Z_SCORED,
            "threshold": 3.6,
            "fun": "cube",
            "tol": 1e-4,
            "max_iter": 300,
            "seed": 666,
        }
    ),
)
"""Functional network fingerprints: networks of the residual stream that tell whether two models are related."""
