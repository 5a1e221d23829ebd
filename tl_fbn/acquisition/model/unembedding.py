"""Logits of some positions only: the unembedding is handed what is asked for, and nothing else.

Logits are the largest array of a forward pass: one number for each word of the vocabulary at each position. Where a
few positions are scored, a hook at the unembedding's input hands it those alone, as one text of that many tokens;
what the model does to logits behind it (a soft cap, a scale) is done to each position by itself, so the numbers are
those of the whole pass, up to the rounding of a matrix product of another shape.

Where many positions are scored, the pass hands over a first piece of them. The others come after it, a piece at a time,
each in a pass over a single token in which the hook puts the piece in the place of that token's input
(:func:`unembedding_in_pieces`). So logits are never more than :data:`PIECE_BYTES`, whatever the batch and vocabulary.

Where hooks of the user's read or change logits or the unembedding's input, they see every position, as without this;
and where any hook of the user's is on the model, it sees no pass that it would not see without this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.foreign_hooks import muted, placed_hooks
from tl_fbn.acquisition.model.forward_context import Reader
from tl_fbn.acquisition.model.host import HookedModel, inner_model

# TransformerBridge has a hook point at the unembedding's input. HookedTransformer has the one in the final norm, what
# follows which (scale and offset) is done position by position
INPUT_POINTS = ("unembed.hook_in", "ln_final.hook_normalized")
PIECE_BYTES = 128 << 20  # of logits in float32 that are made at a time: 128 MiB
RunsPass = Callable[[], torch.Tensor | None]  # runs a pass and returns its logits


@runtime_checkable
class LogitsAt(Protocol):
    """Gives logits (place, vocab) at some places of a batch of token ids (batch, pos)."""

    def __call__(
        self,
        ids: Int[torch.Tensor, "batch pos"],
        rows: Int[torch.Tensor, " place"],
        positions: Int[torch.Tensor, " place"],
        run: RunsPass | None = None,
    ) -> Float[torch.Tensor, "place vocab"]: ...


LogitsInPieces = Callable[[RunsPass, torch.Tensor, torch.Tensor], Iterator[torch.Tensor]]


@contextmanager
def unembedding_of_places(model: HookedModel) -> Iterator[LogitsAt]:
    """Inside the body, a function gives the logits at some places of a batch, and no others are computed.

    The function takes token ids (batch, pos), and for each place its row and its position; it returns logits (place,
    vocab) on the device where the model leaves them. What runs the pass may be given to it as a fourth argument.

    Args:
        model: The model.
    """
    with _handed_over(model) as places:

        def logits_at(
            ids: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor, run: RunsPass | None = None
        ) -> torch.Tensor:
            logits, inputs = places.read(run or (lambda: model(ids)), rows, positions, len(rows))
            return logits if inputs is not None else logits[rows.to(logits.device), positions.to(logits.device)]

        yield logits_at


@contextmanager
def unembedding_in_pieces(model: HookedModel, most_bytes: int | None = None) -> Iterator[LogitsInPieces]:
    """Inside the body, a function runs a pass and gives the logits at its places, a piece at a time.

    The function takes what runs the pass and returns its logits (batch, pos, vocab), and for each place its row and its
    position, at least one. It yields logits (place, vocab) of consecutive places, the first ones from the pass itself.
    The caller lets go of a piece before it asks for the next. Hooks that read activations have to look away from then
    on: what is run for the other pieces reads one token, which is none of the batch's.

    Args:
        model: The model.
        most_bytes: Largest size of the logits of a piece, in float32, of which one place is the least; None takes
            :data:`PIECE_BYTES`.
    """
    n_words = host.vocabulary_size(model)
    size = max((most_bytes or PIECE_BYTES) // (4 * n_words), 1) if n_words else None
    # a hook of the user's, wherever it is, would see the passes behind the first: then all places are handed over
    is_seen = any(one.is_foreign for one in placed_hooks(model))
    with _handed_over(model) as places:

        def in_pieces(run: RunsPass, rows: torch.Tensor, positions: torch.Tensor) -> Iterator[torch.Tensor]:
            n_first = len(rows) if is_seen or size is None else size
            logits, inputs = places.read(run, rows, positions, n_first)
            if inputs is None:  # logits of all positions, of which a few are copied at a time
                for some in torch.arange(len(rows)).split(size or len(rows)):
                    yield logits[rows[some].to(logits.device), positions[some].to(logits.device)]
                return
            yield logits
            del logits
            for piece in inputs[n_first:].split(n_first) if len(rows) > n_first else ():
                yield places.again(piece)

        yield in_pieces


@contextmanager
def _handed_over(model: HookedModel) -> Iterator[_Places]:
    """Inside the body, the unembedding can be handed some places only; the hook for it is on where it has to be."""
    names = [] if _logits_are_watched(model) else [name for name in INPUT_POINTS if name in model.hook_dict]
    places = _Places(model)
    if not names:
        yield places
        return
    with hooked(model, [(names[0], places.hand_over)], "scoring"):
        yield places


class _Places:
    """What the unembedding is handed in the next pass: some places of its input, or of an earlier pass's.

    Args:
        model: The model.
    """

    def __init__(self, model: HookedModel) -> None:
        self._model = model
        # of the pass that is about to run: picks from the unembedding's input (batch, pos, width) what is handed over
        self._asked: list[Callable[[torch.Tensor], torch.Tensor]] = []

    def hand_over(self, tensor: torch.Tensor, hook: Any) -> torch.Tensor | None:
        """The hook at the unembedding's input; the places are one text of that many tokens."""
        return self._asked.pop()(tensor)[None] if self._asked else None  # else it is a pass of somebody else's

    def read(
        self, run: RunsPass, rows: torch.Tensor, positions: torch.Tensor, n_first: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Run a pass, with the first of its places handed to the unembedding.

        Args:
            run: Runs the pass, and returns its logits.
            rows: (place,) row of each place in the batch.
            positions: (place,) position of each place in its text.
            n_first: Number of places that are handed over.

        Returns:
            Logits (place, vocab) of the first places, and what the unembedding was given at all places (place, width);
            or logits (batch, pos, vocab) of the whole pass and None, where the hook is not on or was passed by.
        """
        inputs: list[torch.Tensor] = []

        def pick(tensor: torch.Tensor) -> torch.Tensor:
            inputs.append(tensor[rows.to(tensor.device), positions.to(tensor.device)])
            return inputs[0][:n_first]

        logits = self._run(pick, run)
        return (logits[0], inputs[0]) if inputs else (logits, None)

    def again(self, inputs: Float[torch.Tensor, "place width"]) -> Float[torch.Tensor, "place vocab"]:
        """Logits of places of an earlier pass, from what the unembedding was given there."""
        ids = torch.zeros(1, 1, dtype=torch.long, device=host.model_device(self._model))
        # what this package's interventions do was done in the pass before, and some draw numbers in every pass
        with muted(self._model, foreign=False):
            return self._run(lambda _: inputs, lambda: self._model(ids))[0]

    def _run(self, pick: Callable[[torch.Tensor], torch.Tensor], run: RunsPass) -> torch.Tensor:
        self._asked[:] = [pick]
        try:
            logits = run()
        finally:
            self._asked.clear()
        assert logits is not None
        return logits


def _logits_are_watched(model: HookedModel) -> bool:
    """Whether a hook stands where logits are made: one of the user's on a module, or any at a hook point."""
    points = ("unembed.", "ln_final.")
    if any(name.startswith(points) for name, _ in host.fwd_hook_functions(model)):
        return True
    inner = inner_model(model)
    unembed = getattr(model, "unembed", None)
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    modules = (model, inner, unembed, getattr(unembed, "original_component", None), head)
    hooks = [
        hook
        for module in modules
        for kind in ("_forward_hooks", "_forward_pre_hooks")
        for hook in (getattr(module, kind, None) or {}).values()
    ]
    # the package's own reader of passes looks at no logits
    return any(not isinstance(getattr(hook, "__self__", None), Reader) for hook in hooks)
