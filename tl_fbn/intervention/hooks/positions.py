"""Which tokens an intervention touches.

================ ===========================================================================================
``"all"``        every position
``"prompt"``     what the model was given; in a plain forward pass, everything
``"generated"``  what it wrote; in a plain forward pass, nothing. In a battery, the answer that is scored
``"last"``       the prompt's last token and every one after it: where a steering vector is usually added
``"special"``    the tokenizer's special tokens, wherever they stand
a mask           (column,) or (batch, column) booleans over the whole text; False behind the mask's end
numbers          columns counted from 0
================ ===========================================================================================

The same tokens are touched with a key-value cache and without one, padded on either side under an attention mask; columns count padding. For the spans of a
chat template, which no token id marks, take the mask from :func:`tl_fbn.token_layout`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Shaped

from tl_fbn.acquisition.model.forward_context import Reading
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.errors import InputError, either

NamedPositions = Literal["all", "prompt", "generated", "last", "special"]
Positions = str | Sequence[int] | Shaped[np.ndarray, "..."] | Shaped[torch.Tensor, "..."]


@dataclass(frozen=True, eq=False)
class Where:
    """Positions of an intervention, checked.

    Args:
        name: One of :data:`Named`, or ``"mask"``.
        marked: (batch, column) or (1, column) of a mask.
        ids: Special token ids.
        digest: What these positions are.
    """

    name: str
    marked: torch.Tensor | None = None
    ids: torch.Tensor | None = None
    digest: str = ""

    def select(self, reading: Reading, n: int, device: torch.device) -> Bool[torch.Tensor, "batch pos"]:
        """Which of the ``n`` tokens of a pass are touched; one line where all texts agree."""
        key = (self.digest, n, device)
        if key not in reading.memo:
            reading.memo[key] = self._select(reading, n, device)
        return reading.memo[key]

    def _select(self, reading: Reading, n: int, device: torch.device) -> torch.Tensor:
        columns = reading.columns(n, device)[None]
        if self.marked is not None:
            if len(self.marked) > 1 and reading.sorted:
                raise InputError(
                    f"a mask of {len(self.marked)} texts cannot be used where texts are sorted by length (batteries, scans); give one line for all"
                )
            marked = self.marked.to(device)
            inside = columns[0] < marked.shape[1]
            return marked[:, columns[0].clamp(max=marked.shape[1] - 1)] & inside
        if self.ids is not None:
            if reading.ids is None:
                raise InputError('positions="special" needs token ids, and the model was given embeddings; give a mask')
            return torch.isin(reading.ids.to(device), self.ids.to(device))
        if self.name == "last" and reading.unmasked_padding(n):
            raise InputError(
                f'positions="last": some texts of this batch end in the padding token {reading.pad} and no attention mask came with them; '
                "pass attention_mask=, or pad on the left"
            )
        ends = reading.prompt_ends(n, device)[:, None]
        if self.name == "prompt":
            return columns < ends
        if self.name == "generated":
            return columns >= ends
        # "last": in a plain pass what stands behind the last real token is padding
        return columns >= ends - 1


EVERYWHERE = Where("all", digest="all")


def where(positions: Positions, model: HookedModel) -> Where:
    """Check the positions an intervention was asked for.

    Args:
        positions: A name, a mask or column numbers, as in the table above.
        model: Whose tokenizer says which tokens are special.

    Raises:
        InputError: An unknown name, negative columns, an empty mask, or special tokens without a tokenizer.
    """
    if isinstance(positions, str):
        if positions not in get_args(NamedPositions):
            raise InputError(
                f"positions must be {either(get_args(NamedPositions))}, a mask or column numbers; got {positions!r}"
            )
        if positions != "special":
            return Where(positions, digest=positions)
        special = sorted(getattr(tokenizer_of(model), "all_special_ids", None) or ())
        if not special:
            raise InputError(
                'positions="special" needs a tokenizer with special tokens, and this model has none; give a mask'
            )
        return Where("special", ids=torch.tensor(special), digest=f"special {special}")
    marked = _mask(positions)
    content = hashlib.sha256(marked.numpy().tobytes() + str(tuple(marked.shape)).encode()).hexdigest()[:16]
    return Where("mask", marked=marked, digest=f"mask {content}")


def _mask(positions: Any) -> Bool[torch.Tensor, "batch column"]:
    given = torch.as_tensor(positions if isinstance(positions, torch.Tensor) else np.asarray(positions)).cpu().clone()
    if given.dtype == torch.bool:
        if given.ndim not in (1, 2) or not given.numel():
            raise InputError(
                f"a mask of positions has shape (column,) or (batch, column) and at least one entry; got {tuple(given.shape)}"
            )
        return given[None] if given.ndim == 1 else given
    repeated = given.numel() > given.unique().numel()  # an attention mask, most likely
    if given.ndim != 1 or not given.numel() or given.is_floating_point() or bool((given < 0).any()) or repeated:
        raise InputError(
            f"positions={positions!r} are no column numbers; give different integers from 0 on, a boolean mask, or one of "
            f'{", ".join(map(repr, get_args(NamedPositions)))} ("last" counts from the end)'
        )
    marked = torch.zeros(1, int(given.max()) + 1, dtype=torch.bool)
    marked[0, given] = True
    return marked
