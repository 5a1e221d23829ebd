"""Which tokens an intervention touches.

================ ===========================================================================================
``"all"``        every position
``"prompt"``     the tokens that the model was given. A plain forward pass is all prompt
``"generated"``  the tokens that the model wrote. In a plain forward pass there are none; while a battery is
                 scored, it is the answer
``"last"``       the prompt's last token and every token after it, where a steering vector is usually added
``"special"``    the tokenizer's special tokens, wherever they stand
a mask           booleans of shape (column,), or (batch, column) with one line for each text, over the whole
                 text; columns beyond the mask are not touched
numbers          columns, counted from 0
================ ===========================================================================================

A column is a place in the padded batch: columns of padding on the left count. The named positions do not depend on
padding (on either side, as long as there is an attention mask) nor on whether the model uses a key-value cache.

The spans of a chat template (such as "[INST]" in Llama 2) are ordinary tokens that ``"special"`` does not know; take
a mask of them from :func:`tl_fbn.token_layout`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Shaped

from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.pass_tokens import Reading
from tl_fbn.errors import InputError, InputTypeError, either
from tl_fbn.kinds import shown

NamedPositions = Literal["all", "prompt", "generated", "last", "special"]
Positions = str | Sequence[int] | Shaped[np.ndarray, "..."] | Shaped[torch.Tensor, "..."]


@dataclass(frozen=True, eq=False)
class Where:
    """Positions of an intervention, checked; made by :func:`where`.

    Args:
        name: One of :data:`NamedPositions`, or ``"mask"`` for a mask or column numbers.
        marked: (batch, column) or (1, column) booleans of a mask; None for named positions.
        ids: Ids of the special tokens; None unless the name is ``"special"``.
        digest: A string that is the same for the same positions; it enters the digest of an intervention.
    """

    name: str
    marked: torch.Tensor | None = None
    ids: torch.Tensor | None = None
    digest: str = ""

    def select(self, reading: Reading, n: int, device: torch.device) -> Bool[torch.Tensor, "batch pos"]:
        """The tokens of a forward pass that are touched.

        Args:
            reading: Where the tokens of the running pass stand in their texts.
            n: Number of tokens of each text in the pass; one behind a key-value cache.
            device: Device of the activations, on which the mask is made.

        Returns:
            (batch, pos) booleans, or (1, pos) where they are the same for all texts.

        Raises:
            InputError: A mask with one line for each text while texts are sorted by length; ``"special"`` where the
                model was given embeddings; ``"last"`` where padding on the right comes without an attention mask.
        """
        # layers share the selection, so the first layer of a pass works it out for all
        key = (self.digest, n, device)
        if key not in reading.memo:
            reading.memo[key] = self._touched_tokens(reading, n, device)
        return reading.memo[key]

    def _touched_tokens(self, reading: Reading, n: int, device: torch.device) -> torch.Tensor:
        # (1, pos) columns in the whole text, those behind a key-value cache counted
        columns = reading.columns(n, device)[None]
        if self.marked is not None:
            if len(self.marked) > 1 and reading.sorted:
                raise InputError(
                    f"a mask of {len(self.marked)} texts cannot be used where texts are sorted by length "
                    "(batteries, scans); give one line for all"
                )
            marked = self.marked.to(device)
            # columns beyond the mask read its last one (an index must exist) and are then switched off
            inside = columns[0] < marked.shape[1]
            return marked[:, columns[0].clamp(max=marked.shape[1] - 1)] & inside
        if self.ids is not None:
            if reading.ids is None:
                raise InputError('positions="special" needs token ids, and the model was given embeddings; give a mask')
            return torch.isin(reading.ids.to(device), self.ids.to(device))
        if self.name == "last" and reading.unmasked_padding(n):
            raise InputError(
                f'positions="last": some texts of this batch end in the padding token {reading.pad} and no attention '
                "mask came with them; pass attention_mask=, or pad on the left"
            )
        # (batch, 1) the column behind each text's prompt
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
        positions: A name, a mask or column numbers, as in the table at the top of this file.
        model: The model that is changed; its tokenizer says which tokens are special.

    Raises:
        InputError: An unknown name, negative or repeated columns, an empty mask, or ``"special"`` where the model has
            no tokenizer with special tokens.
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
    # the shape is hashed too: the bytes of (1, 4) and (2, 2) can be the same
    content = hashlib.sha256(marked.numpy().tobytes() + str(tuple(marked.shape)).encode()).hexdigest()[:16]
    return Where("mask", marked=marked, digest=f"mask {content}")


_LAST_COLUMN = 2**24  # no text has as many tokens; a mask up to it is made in memory
_NO_COLUMNS = (
    "positions={} are no column numbers; give different integers from 0 on, a boolean mask, "
    f'or one of {", ".join(map(repr, get_args(NamedPositions)))} ("last" counts from the end)'
)


def _mask(positions: Any) -> Bool[torch.Tensor, "batch column"]:
    """A mask or column numbers as a mask of two axes; (1, column) where it is one line for all texts."""
    # a copy: the caller may change the array later, and the digest must stay true
    try:
        tensor = positions if isinstance(positions, torch.Tensor) else torch.as_tensor(np.asarray(positions))
    except (TypeError, ValueError, RuntimeError):  # text, objects, lists of unequal lengths
        raise InputTypeError(_NO_COLUMNS.format(shown(positions))) from None
    given = tensor.detach().cpu().clone()
    if given.dtype == torch.bool:
        if given.ndim not in (1, 2) or not given.numel():
            raise InputError(
                "a mask of positions has shape (column,) or (batch, column) and at least one entry; "
                f"got {tuple(given.shape)}"
            )
        return given[None] if given.ndim == 1 else given
    # column numbers twice are most likely an attention mask of zeros and ones, which would touch columns 0 and 1 only
    whole_line = given.ndim == 1 and given.numel() > 0 and not (given.is_floating_point() or given.is_complex())
    if (
        not whole_line
        or bool((given < 0).any())
        or given.numel() > given.unique().numel()
        or given.max() > _LAST_COLUMN
    ):
        raise InputError(_NO_COLUMNS.format(shown(positions)))
    marked = torch.zeros(1, int(given.max()) + 1, dtype=torch.bool)
    marked[0, given] = True
    return marked
