"""The papers' own settings: what each states, where it states it, and what it leaves open, for which the choice is ours.

::

    s2 = fbn.presets.s2_block_glm
    prompts = {name: fbn.prompts(f"s2/{name}") for name in ("archeology", "rest")}
    design = fbn.block_design(prompts, seed=0, tokens_per_block=64, **s2.design)
    recording = fbn.Scanner(model, site=s2.sites(model)).scan(design, "recordings/s2")
    fit = fbn.fit_glm(recording.site("resid.post"), **s2.glm)
    print(s2)                                # every setting, every unknown

A preset is not a reproduction: read its ``unknown`` before you compare numbers with the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pandas as pd

from tl_fbn.acquisition.sites import resolve_site
from tl_fbn.acquisition.stimuli import fields
from tl_fbn.units import html_table


@dataclass(frozen=True, repr=False)
class Preset:
    """Settings of one paper.

    Args:
        name: Short name.
        source: The paper.
        stated: What the paper states, in words.
        unknown: What it does not state, and our choice.
        site_names: Sites it records, of those a model has.
        design: Options of :func:`tl_fbn.block_design`.
        glm: Options of :func:`tl_fbn.fit_glm`.
    """

    name: str
    source: str
    stated: Mapping[str, str]
    unknown: Mapping[str, str]
    site_names: tuple[str, ...]
    design: Mapping[str, Any] = field(default_factory=dict)
    glm: Mapping[str, Any] = field(default_factory=dict)

    def sites(self, model: Any) -> list[str]:
        """Those of the preset's sites that a model has.

        Raises:
            TypeError: The model cannot be hooked.
            ValueError: It has none of them.
        """
        found = []
        for site in self.site_names:
            try:
                resolve_site(model, site)
            except ValueError:  # no gate, or attention and MLP side by side
                continue
            found.append(site)
        if not found:
            raise ValueError(f"this model has none of the sites of {self.name}: {', '.join(self.site_names)}")
        return found

    def to_dataframe(self) -> pd.DataFrame:
        """One line a setting: setting, value, and whether the paper states it."""
        lines = [(what, value, "stated") for what, value in self.stated.items()]
        lines += [(what, value, "our choice") for what, value in self.unknown.items()]
        return pd.DataFrame(lines, columns=["setting", "value", "source"])

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = f"After {self.source}. What the paper does not state is our choice, so this is not a reproduction."
        return [{"title": f"Settings of {self.name}", "text": text, "table": self.to_dataframe()}]

    def __repr__(self) -> str:
        return f"Preset {self.name}: {len(self.stated)} settings stated by {self.source}, {len(self.unknown)} ours"

    def _repr_html_(self) -> str:
        rows = [tuple(row) for row in self.to_dataframe().itertuples(index=False)]
        return html_table(repr(self), ("setting", "value", "source"), rows)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.source}", "stated:"]
        lines += [f"  {what}: {value}" for what, value in self.stated.items()]
        lines += ["not stated, our choice:", *(f"  {what}: {value}" for what, value in self.unknown.items())]
        return "\n".join(lines)


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
            "regressors": "boxcars, one a condition; no kernel",
            "noise": "ordinary least squares (which our default, noise='ar1', is not: adjacent tokens are not independent)",
            "threshold": "none is set here; contrast.threshold(fdr=0.05) corrects, which the abstract does not mention",
        }
    ),
    site_names=("mlp.pre", "mlp.up", "mlp.neurons", "mlp.out", "attn.out", "resid.post"),
    design=MappingProxyType({"order": "off/on/off", "generate": True}),
    glm=MappingProxyType({"noise": "ols"}),
)
"""S2: every sublayer's output for every generated token of an off/on/off design."""
