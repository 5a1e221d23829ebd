"""Words that units promote: what their outgoing weights add to the logits, by themselves.

A list of neurons says nothing until one sees what they write. Each unit's output weights, through the gain of the final
norm and the unembedding, give the words that become more probable where the unit is active. It is a reading of weights,
not of behaviour: what later layers make of the unit is left out, so that it says most about late layers and little
about early ones. Whether the model needs the unit is told by a lesion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tl_fbn.arguments import whole_number
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units.network import Network

if TYPE_CHECKING:
    import torch

_AT_ONCE = 256  # units whose logits are held at a time: 50 MB at a vocabulary of 49,152


@checked
def promoted_tokens(network: Network, model: Any, *, n_tokens: int = 5, n_units: int | None = None) -> pd.DataFrame:
    """Words that a network and each of its units promote and suppress, by their direct effect on the logits.

    >>> words = fbn.networks.promoted_tokens(network, model, n_tokens=3)
    >>> list(words.columns), len(words) == 1 + len(network)
    (['layer', 'unit', 'sign', 'promotes', 'suppresses'], True)

    Args:
        network: Units of MLP neurons, or coordinates of the residual stream.
        model: The model that the network is of, with a tokenizer.
        n_tokens: Number of words a cell.
        n_units: Number of units that are listed, the first of the network; None lists all. The network's own row is of
            all its units.

    Returns:
        First a row of the whole network (layer and unit are -1), of the sum over its units, each scaled to length 1 and
        multiplied by its sign; then a row of each unit: layer, unit, sign, and words by falling effect of a positive
        activation. Words are told apart without white space around them.

    Raises:
        InputError: Fewer than one word a cell, an empty network, a model of other shape or without a tokenizer, or a
            site whose units have no direction in the residual stream.

    Source: direct logit attribution, Elhage et al. (2021); of MLP neurons, Geva et al. (2022).
    """
    # here and nowhere else does an analysis need the model
    import torch

    from tl_fbn.acquisition.model import direct_logits, host
    from tl_fbn.acquisition.model.sites import fits, resolve_site

    whole_number(n_tokens, "n_tokens", least=1)
    if n_units is not None:
        whole_number(n_units, "n_units", least=0)
    host.require_model(model)
    tokenizer = host.tokenizer_of(model)
    if tokenizer is None:
        raise InputError("the model has no tokenizer, so its words have no text; give a model with one")
    if not len(network):
        raise InputError(f'network "{network.name}" has no units, so it promotes nothing')
    offered = resolve_site(model, network.space.site).space
    if not fits(offered, network.space):
        raise InputError(f"the network is of {network.space.describe()}, the model has {offered.describe()}")
    reading = direct_logits.DirectLogits(model)
    rows = []
    whole = torch.zeros(1, model.cfg.d_model)
    listed = 0
    for layer, members in enumerate(network.by_layer()):
        units = np.flatnonzero(members)
        for first in range(0, len(units), _AT_ONCE):
            some = units[first : first + _AT_ONCE]
            directions = direct_logits.outgoing(model, network.space.site, layer, some).cpu()
            signs = network.signs[network.space.layer_slice(layer)][some]
            lengths = torch.linalg.vector_norm(directions, dim=1, keepdim=True).clamp_min(1e-30)
            whole += (directions / lengths * torch.from_numpy(signs)[:, None]).sum(0, keepdim=True)
            wanted = len(some) if n_units is None else max(0, min(len(some), n_units - listed))
            if wanted:
                logits = reading.of(directions[:wanted])
                rows += [
                    (layer, int(unit), int(sign), *_words(effect, tokenizer, n_tokens))
                    for unit, sign, effect in zip(some, signs, logits, strict=False)
                ]
                listed += wanted
    own = (-1, -1, 0, *_words(reading.of(whole)[0], tokenizer, n_tokens))
    return pd.DataFrame([own, *rows], columns=pd.Index(["layer", "unit", "sign", "promotes", "suppresses"]))


def _words(effect: torch.Tensor, tokenizer: Any, n: int) -> tuple[str, str]:
    """The words of largest and of smallest effect, joined by commas; each once."""
    # several tokens may have one text: a few times as many as words are wanted, and all of them where that is too few
    for some in (min(len(effect), 8 * n), len(effect)):
        ordered = [effect.topk(some, largest=largest).indices.tolist() for largest in (True, False)]
        found = [_distinct(ids, tokenizer, n) for ids in ordered]
        if all(len(words) == n for words in found):
            break
    promotes, suppresses = (", ".join(words) for words in found)
    return promotes, suppresses


def _distinct(ids: list[int], tokenizer: Any, n: int) -> list[str]:
    """The texts of the first ids that differ once white space is off."""
    found: list[str] = []
    for token in ids:
        text = tokenizer.decode([token]).strip()
        # a line break inside a word, or half a character, would break the table
        text = text if text.isprintable() and text else repr(tokenizer.decode([token]))[1:-1]
        if text not in found:
            found.append(text)
        if len(found) == n:
            break
    return found
