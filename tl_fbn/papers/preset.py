"""Settings of one paper, as options of this package's functions and in words; :mod:`tl_fbn.papers` has them.

A paper's settings were made for its own model. Where they cannot work on another, :meth:`Preset.on` changes them to
what does, and says so among the choices that are not the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_template import Layouts
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import html_table
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance


@dataclass(frozen=True, repr=False)
class Preset(Result, step="settings"):
    """Settings that follow one paper, as options of this package's functions, and in words.

    >>> preset = fbn.papers.s1.settings
    >>> preset.top, dict(preset.inhibit)
    (0.05, {'method': 'zero', 'positions': 'all'})
    >>> preset.sites(model)
    ['mlp.neurons']

    Args:
        name: Name of the preset.
        source: The paper, and the version of it or of its code that the settings are from.
        stated: Name of a setting to what the paper or its code states about it, in words.
        unknown: Name of a setting that the paper does not state, to the choice that the preset makes, in words.
        site_names: Sites that the paper records; :meth:`sites` gives those that a model has.
        design: Options to pass to :func:`tl_fbn.block_design`.
        glm: Options to pass to :func:`tl_fbn.fit_glm`.
        networks: Options to pass to :func:`tl_fbn.find_networks`.
        chats: Options to pass to :func:`tl_fbn.few_shot_chats`.
        cgvst: Options to pass to :func:`tl_fbn.cgvst`.
        top: Share of all units, of all layers together, that the paper selects; None where it selects otherwise.
        inhibit: Options to pass to :func:`tl_fbn.inhibit`.
        amplify: Options to pass to :func:`tl_fbn.amplify`.
        respond: Options to pass to :meth:`tl_fbn.Battery.respond`.
        ratio: Options to pass to :func:`tl_fbn.pruning.keep_for_ratio`.
        contrast: Options to pass to :meth:`tl_fbn.glm.GLMFit.contrast`.
    """

    name: str
    source: str
    stated: Mapping[str, str]
    unknown: Mapping[str, str]
    site_names: tuple[str, ...]
    design: Mapping[str, Any] = field(default_factory=dict)
    glm: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Any] = field(default_factory=dict)
    chats: Mapping[str, Any] = field(default_factory=dict)
    cgvst: Mapping[str, Any] = field(default_factory=dict)
    top: float | None = None
    inhibit: Mapping[str, Any] = field(default_factory=dict)
    amplify: Mapping[str, Any] = field(default_factory=dict)
    respond: Mapping[str, Any] = field(default_factory=dict)
    ratio: Mapping[str, Any] = field(default_factory=dict)
    contrast: Mapping[str, Any] = field(default_factory=dict)

    @property
    def provenance(self) -> Provenance:
        """The paper the settings are from."""
        return {"source": self.source}

    @checked
    def sites(self, model: HookedModel) -> list[str]:
        """The sites of the paper that a model has, in the order of ``site_names``.

        Args:
            model: A TransformerLens model.

        Raises:
            InputTypeError: The model is none that this package can hook.
            InputError: The model has none of the sites.
        """
        host.require_model(model)
        found = []
        for site in self.site_names:
            try:
                resolve_site(model, site)
            except ValueError:  # an MLP without a gate has no mlp.up; parallel attention and MLP have no resid.mid
                continue
            found.append(site)
        if not found:
            raise InputError(f"this model has none of the sites of {self.name}: {', '.join(self.site_names)}")
        return found

    @checked
    def on(self, model: HookedModel) -> Preset:
        """The preset with what a model's chat template and context need instead of what the paper states.

        What applies to the model stays as it is. What does not is changed in ``chats``, ``cgvst`` and ``respond``, and
        said in ``unknown``; a preset without chats comes back as it is. No pass runs.

        >>> preset = fbn.papers.s1.settings.on(model)
        >>> preset.cgvst["spans"], preset.cgvst["groups"]  # [INST] is one token here, so that 28 would cut nothing
        (('[INST]', '[/INST]'), 'turns')
        >>> print(preset.unknown["on tl_fbn-demo"])  # doctest: +ELLIPSIS
        groups='turns', as 6 turns have 12 special tokens and the paper's 28 would cut none off; max_tokens=128, ...

        Args:
            model: A TransformerLens model whose tokenizer has a chat template.

        Raises:
            InputTypeError: The model is none that this package can hook.
            InputError: The model's tokenizer has no chat template, or one whose markers cannot be told from the text.
        """
        host.require_model(model)
        if not self.cgvst:
            return self
        chats, cgvst, respond = dict(self.chats), dict(self.cgvst), dict(self.respond)
        said = []
        n_turns = chats["n_shots"] + 1
        chat = [{"role": role, "content": "one"} for _ in range(n_turns) for role in ("user", "assistant")]
        spans, groups = cgvst.get("spans"), cgvst.get("groups")
        layouts = Layouts(host.tokenizer_of(model), spans=spans, bos_eos=cgvst["bos_eos"])
        n_special = layouts.of(chat).kinds.count("special")
        if spans and not n_special:
            opening = Layouts(layouts.tokenizer, bos_eos=cgvst["bos_eos"]).opening()
            cgvst |= {"spans": None, "groups": "turns"}
            respond["stop"] = (opening,)
            said.append(
                f"spans=None and groups='turns', as the chat template does not write {' and '.join(spans)}: its own "
                f"special tokens, by turns; answers stop at {opening!r}"
            )
        elif isinstance(groups, int) and n_special < groups + 2:
            cgvst["groups"] = "turns"
            said.append(
                f"groups='turns', as {n_turns} turns have {n_special} special tokens and the paper's {groups} would "
                "cut none off"
            )
        n_ctx = host.context_length(model)
        if n_ctx is not None and n_ctx < chats["max_tokens"]:
            chats["max_tokens"] = cgvst["max_tokens"] = n_ctx
            said.append(f"max_tokens={n_ctx}, the model's context")
        if not said:
            return self
        unknown = {**self.unknown, f"on {host.model_label(model)}": "; ".join(said)}
        return replace(self, chats=chats, cgvst=cgvst, respond=respond, unknown=unknown)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a setting: setting, value (in words), source (``stated`` or ``our choice``)."""
        lines = [(what, value, "stated") for what, value in self.stated.items()]
        lines += [(what, value, "our choice") for what, value in self.unknown.items()]
        return pd.DataFrame(lines, columns=["setting", "value", "source"])

    def _methods_(self) -> list[str]:
        return [
            f"Settings follow {self.source} where it states them ({len(self.stated)}); where it does not "
            f"({len(self.unknown)}), they are our choice, marked below. This is not a reproduction."
        ]

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
