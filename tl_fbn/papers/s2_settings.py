"""What Nencka et al. (2023) state, where they state it, and what is our choice."""

from __future__ import annotations

from types import MappingProxyType

from tl_fbn.acquisition.design.stimuli import fields
from tl_fbn.papers.preset import Preset

settings = Preset(
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
