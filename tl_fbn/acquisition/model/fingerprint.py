"""The fingerprint of a forward pass: what the model alone says of one short fixed text, and the settings it has.

Weights do not say everything that decides what a model computes. A replaced ``forward``, another kernel, an adapter
that is switched off, a patched library: all show in the numbers of a pass. One text of :data:`N_TOKENS` fixed token ids
is therefore read, with this package's interventions and the user's hooks muted (keys know those by other means), and
what the taps and the logits say is kept twice:

*As numbers for comparison* (:attr:`Fingerprint.numbers`): of every tap three, the mean over positions of log rms(x_t),
and two projections of the rows x_t / rms(x_t). Each row is scaled by itself, because a language model's first token
would drown all others. They are compared with a tolerance of many roundings of the activations' own type
(:func:`tolerance`), which other devices, threads and batches stay far below.

*Rounded, as part of a key* (:attr:`Fingerprint.says`): :data:`N_SAID` weighted sums of the rows' log rms and
projections over all taps, in steps of a hundredth (larger for half precision). Whatever is rounded may fall on another
side of a boundary on another device, once in some hundred models; a folder's own key is kept wherever the numbers for
comparison agree, so that this never makes a recording another one.

All weights are cosines of incommensurable frequencies: no generator of random numbers, whose stream may change.

Cost: a pass over 16 tokens, and (position x unit) products with ten vectors for each tap. A change of less than the
tolerance that is no setting of :mod:`tl_fbn.acquisition.model.settings` is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.foreign_hooks import muted, watching
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.settings import settings_of
from tl_fbn.acquisition.model.sites import Tap

N_TOKENS = 16
N_SAID = 8
_STEP = 0.01  # of what is said, in units of a row's own scale
_ROUNDINGS = 1000  # tolerance of the comparison, in roundings of float32; of half precision 16, which are as many bits
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Fingerprint:
    """What a model computes, beside its weights.

    Args:
        settings: Name of a setting to its value (:func:`.settings.settings_of`).
        types: Names of the types of the activations and logits, in the order of taps.
        says: What the pass says, rounded: part of a key.
        numbers: Name of a hook point, or ``"logits"``, to three numbers of it, for comparison within a tolerance.
    """

    settings: Mapping[str, str]
    types: tuple[str, ...]
    says: tuple[int | None, ...]
    numbers: Mapping[str, Sequence[float | None]]

    @property
    def fields(self) -> dict[str, Any]:
        """What a key holds of it, as JSON has it."""
        return {"settings": dict(self.settings), "types": sorted(set(self.types)), "says": list(self.says)}

    @property
    def tolerance(self) -> float:
        """How far numbers of equal models may be apart, in units of a row's own scale."""
        return max(map(tolerance, self.types))


def tolerance(dtype: str) -> float:
    """How far numbers may be apart that were computed in a type, in units of a row's own scale.

    Args:
        dtype: Name of the type, such as ``"float32"``.
    """
    eps = torch.finfo(getattr(torch, dtype)).eps if hasattr(torch, dtype) else torch.finfo(torch.float32).eps
    # float64 is often computed in parts that are not
    return max(_ROUNDINGS * eps if eps < 1e-6 else 16 * eps, 1e-6)


def fingerprint(model: HookedModel, taps: Sequence[Tap]) -> Fingerprint:
    """Read the probe text, and say what the model computes.

    Args:
        model: The model; interventions and hooks that are on it do not matter.
        taps: The hook points whose activations are looked at, beside the logits.

    Raises:
        InputError: Another thread entered or left an intervention meanwhile.
    """
    ids = torch.tensor([probe_ids(model)], device=host.model_device(model))
    caught: dict[str, torch.Tensor] = {}

    def catch(tensor: torch.Tensor, hook: Any, *, tap: Tap) -> None:
        caught[tap.hook_name] = tap.read(tensor)[0].detach().clone()

    hooks = [(tap.hook_name, partial(catch, tap=tap)) for tap in taps]
    with muted(model, foreign=True), watching(model, allowed=True) as watch:
        with hooked(model, hooks, "a fingerprint"), torch.no_grad():
            logits = model(ids, return_type="logits")
        watch.check()  # an intervention that another thread entered meanwhile is not muted
    caught["logits"] = getattr(logits, "logits", logits)[0].detach()
    rows = {name: values.double().cpu().numpy() for name, values in caught.items()}
    types = tuple(str(values.dtype).removeprefix("torch.") for values in caught.values())
    step = max(_STEP, max(map(tolerance, types)))
    said = np.zeros(N_SAID)
    numbers = {}
    for number, (name, values) in enumerate(rows.items()):
        with np.errstate(all="ignore"):  # a model of NaN says NaN
            scale = np.sqrt(np.square(values).mean(1))
            # U = rows by their own scale, L = its logarithm; a row of zeros has neither
            scaled = values / np.where(scale > 0, scale, 1)[:, None]
            logs = np.log(np.where(scale > 0, scale, 1))
            projected = _projections(scaled, 2 + N_SAID, number)
            numbers[name] = [_plain(one) for one in (logs.mean(), *projected[:2])]
            weights = _waves(len(logs), N_SAID, number + 0.5)
            said += projected[2:] + weights @ logs / np.sqrt(len(logs))
    says = tuple(None if _plain(one) is None else round(float(one) / step) for one in said)
    return Fingerprint(settings_of(model), types, says, numbers)


def _plain(value: float) -> float | None:
    """A number for a file; None in the place of NaN and infinity, which JSON does not have."""
    return round(float(value), 7) if np.isfinite(value) else None


def probe_ids(model: HookedModel) -> list[int]:
    """The token ids of the probe text: as many as the model's context holds, spread over its vocabulary.

    Args:
        model: The model.
    """
    n = min(N_TOKENS, host.context_length(model) or N_TOKENS)
    size = host.vocabulary_size(model) or 8  # a vocabulary of unknown size has that many
    return [int((i + 1) * _GOLDEN * size) % size for i in range(n)]


def apart(one: Mapping[str, Sequence[float | None]], other: Mapping[str, Sequence[float | None]]) -> dict[str, float]:
    """How far the numbers of two fingerprints are apart, by hook point; infinitely where one lacks it.

    Args:
        one: Numbers of a fingerprint.
        other: Numbers of another.
    """
    return {name: _distance(one.get(name), other.get(name)) for name in {**one, **other}}


def _distance(one: Sequence[float | None] | None, other: Sequence[float | None] | None) -> float:
    if one is None or other is None or len(one) != len(other):
        return np.inf
    a, b = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf
    return float(np.abs(np.nan_to_num(a - b)).max(initial=0.0))


def _projections(rows: Float[np.ndarray, "pos unit"], n: int, which: int) -> Float[np.ndarray, " projection"]:
    """Weighted sums over positions and units, (a_k x b_k) . rows / sqrt(pos unit), one for each of ``n`` pairs."""
    along_positions = _waves(rows.shape[0], n, float(which))
    along_units = _waves(rows.shape[1], n, which + 0.25)
    return np.einsum("kp,pk->k", along_positions, rows @ along_units.T) / np.sqrt(rows.size)


def _waves(length: int, n: int, which: float) -> Float[np.ndarray, "wave place"]:
    """Weights sqrt(2) cos(w_k i + p_k): of mean square 1, and different for every ``which``."""
    k = np.arange(1, n + 1)[:, None]
    # square roots of different primes would do too; what matters is that no frequency is a fraction of another
    return np.sqrt(2) * np.cos(np.arange(length) * np.sqrt(k + _GOLDEN + which) + k * 2.4 + which * 1.7)
