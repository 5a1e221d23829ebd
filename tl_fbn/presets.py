"""Settings of published papers: what each paper states, where it states it, and what it leaves open.

>>> fbn.presets.s2_block_glm
Preset s2_block_glm: 6 settings stated by Nencka et al. 2023 (abstract), 9 ours

A preset keeps the options of this package's functions that follow a paper, ready to be passed on, and the words in
which the paper (or its released code) states them. Where a paper is silent, the preset makes a choice of its own and
lists it under ``unknown``. A preset is no reproduction: read its ``unknown`` before you compare numbers.

================ ==================================================================================================
preset           paper
================ ==================================================================================================
``s2_block_glm`` Nencka et al. 2023: block design and general linear model over every sublayer's output
``s0_v1``        Liu et al. 2025, first version: temporal ICA of MLP outputs
``s0_canica``    Liu et al. 2025, later code: spatial ICA of every layer
``s0_fnp``       functional network pruning, arXiv 2508.05239
``s0_fnf``       functional network fingerprints, arXiv 2601.22692
``s1_cgvst``     Song et al. 2024: neurons by the gradient at special tokens
================ ==================================================================================================

The two ways they are used, with a model and a table ``rows`` of questions and answers::

    s2 = fbn.presets.s2_block_glm
    prompts = {name: fbn.prompts(f"s2/{name}") for name in ("archeology", "rest")}
    design = fbn.block_design(prompts, seed=0, tokens_per_block=64, **s2.design)
    recording = fbn.Scanner(model, site=s2.sites(model)).scan(design, "recordings/s2")
    fit = fbn.fit_glm(recording.site("resid.post"), **s2.glm)
    contrast = fit.contrast("archeology - rest", **s2.contrast)
    print(s2)                                # every setting and every choice of ours

    s1 = fbn.presets.s1_cgvst.on(model)      # what the paper states, or what this model's chat template needs instead
    chats = fbn.few_shot_chats(rows, seed=0, tokenizer=model.tokenizer, **s1.chats)
    neurons = fbn.cgvst(model, chats, **s1.cgvst).top(s1.top)
"""

from __future__ import annotations

from types import MappingProxyType

from tl_fbn.acquisition.design.stimuli import fields
from tl_fbn.preset import Preset as Preset

s2_block_glm = Preset(
    name="s2_block_glm",
    source="Nencka et al. 2023 (abstract)",
    stated=MappingProxyType(
        {
            "conditions": ", ".join(name for name in fields() if name != "rest"),
            "blocks": "off, on, off, with prompts about other random topics in the off periods",
            "rows": "one for each generated token",
            "signal": "all layer outputs",
            "analysis": "a general linear model for each output value; what is significant is the task's network",
            "model": "facebook/galactica-125m",
        }
    ),
    unknown=MappingProxyType(
        {
            "prompts": "ours: 40 sentence openings a condition, 90 about everyday life for off; fbn.prompts('s2/NAME')",
            "tokens a block, runs": "arguments of block_design; nothing is known",
            "layer outputs": "what every sublayer of a block gives out: "
            + "mlp.pre, mlp.up, mlp.neurons, mlp.out, attn.out, resid.post",
            "decoding": "greedy; end of text is never chosen, so that blocks are of equal length",
            "context": "fresh for every prompt; one prompt a block",
            "regressors": "boxcars, one a condition; no kernel, no column for first tokens (as our default has), and "
            "no column of position, which would take the one degree of freedom that three block means leave; drift as "
            "in our default, none in three blocks",
            "noise": "ordinary least squares (which our default, noise='ar1', is not: adjacent tokens are not "
            "independent)",
            "level": "tokens, as in a model of every output value; it speaks about these prompts only. Blocks, our "
            "default elsewhere, leave 1 degree of freedom in a run of off, on, off: with four runs or more, or more "
            "cycles, take level='block'",
            "threshold": "none is set here; contrast.threshold(fdr=0.05) corrects, which the abstract does not mention",
        }
    ),
    site_names=("mlp.pre", "mlp.up", "mlp.neurons", "mlp.out", "attn.out", "resid.post"),
    design=MappingProxyType({"order": "off/on/off", "generate": True}),
    glm=MappingProxyType({"noise": "ols", "position": False, "first_token": False}),
    contrast=MappingProxyType({"level": "token"}),
)
"""Nencka et al. 2023: every sublayer's output for every generated token of an off/on/off design, least squares."""

# a choice that every preset with an ICA makes
_MIXED_PAIRS = "two sources that FastICA leaves mixed half and half are taken apart; the code keeps them"
# and what their code does to activations: every token takes part, and nothing is clipped
_Z_SCORED = {"standardize": True, "drop_first": 0, "clip": None}

s0_v1 = Preset(
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

s0_canica = Preset(
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

s0_fnp = Preset(
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
    networks=MappingProxyType({**s0_canica.networks, "threshold": 3.6, "seed": 327}),
    ratio=MappingProxyType({"ratio": 0.2, "protect_first": 3, "protect_last": 2}),
)
"""Functional network pruning: keep the units that are in any network of their layer."""

s0_fnf = Preset(
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

s1_cgvst = Preset(
    name="s1_cgvst",
    source="Song et al. 2024, EMNLP, pp. 7101-7113, and its released code",
    stated=MappingProxyType(
        {
            "model, data": "Llama-2-7b-chat in bfloat16; tasks of Natural Instructions, first half of a task's rows to "
            "find neurons, second half to test (code)",
            "chats": "5 shots, the chat template with beginning and end of text empty, at most 1300 tokens, longer "
            "ones left out (code)",
            "special tokens": "every occurrence of [INST] and [/INST]; the <<SYS>> spans are defined and not used "
            "(code)",
            "loss": "mean cross-entropy of the special tokens P[1:28] plus that of P[29:], P their sorted positions; "
            "answers are not scored (code)",
            "score": "sum over items of abs(sum over inputs of the up projection's gradient) (code)",
            "selection": "the top 5 % of all layers together, int(.05 x units) (code)",
            "inhibition": "0 after the gate's nonlinearity, at every position: the same as 0 at mlp.neurons (code)",
            "evaluation": "greedy, at most 20 new tokens, stop at [INST], exact match after strip and lower case "
            "(code)",
        }
    ),
    unknown=MappingProxyType(
        {
            "amplification": "a gain of 2, as for knowledge neurons; the factor is not in the released code",
            "turns": "five shots and the question, six turns; the cut at 28 fits four turns before it",
            "other chat templates": "s1_cgvst.on(model) takes the template's own special tokens where [INST] is none "
            "of them, cuts by turns where 28 cuts nothing, and stops at what opens a turn; it says which",
            "instruction": "in the first turn",
            "evaluation": "battery.respond(model, **s1.respond) is the code's; Battery.score's exact match, with the "
            "true prefix, counts letter case and white space",
            "tasks": "three different sets of eight are in the released files; none is ours",
            "paper's formula and tables": "not known to us; the formula is the code's",
        }
    ),
    site_names=("mlp.neurons",),
    chats=MappingProxyType({"n_shots": 5, "max_tokens": 1300, "bos_eos": False}),
    cgvst=MappingProxyType(
        {
            "tokens": "special",
            "spans": ("[INST]", "[/INST]"),
            "variant": "row_sum",
            "site": "mlp.up",
            "groups": 28,
            "weight": 1.0,
            "aggregate": "sum_abs",
            "bos_eos": False,
            "max_tokens": 1300,
        }
    ),
    top=0.05,
    inhibit=MappingProxyType({"method": "zero", "positions": "all"}),
    amplify=MappingProxyType({"gain": 2.0, "positions": "all"}),
    respond=MappingProxyType({"max_new_tokens": 20, "stop": ("[INST]",)}),
)
"""Song et al. 2024: row sums of the up projection's gradient at the tokens of [INST] and [/INST]."""
