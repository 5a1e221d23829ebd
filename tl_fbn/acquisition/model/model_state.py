"""Everything of a model that decides what it computes, at one moment, to be compared with another moment.

A key is made when work begins, and results are kept under it long after. :class:`ModelState` holds what the key says
of the model: the digest of its weights, the interventions of this package in force, and the fingerprint of a pass.
Before anything is kept, :meth:`ModelState.require_unchanged` compares all of it again.

Cost of a comparison: hooks and settings are listed, the weights are read once where they are. The probe text is read
again only behind work that took :data:`PROBE_SHARE` times as long as that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.fingerprint import Fingerprint, apart, fingerprint
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.settings import settings_of
from tl_fbn.acquisition.model.sites import Tap
from tl_fbn.acquisition.model.weights import is_on_cpu, weights_checksum, weights_digest
from tl_fbn.errors import InputError

PROBE_SHARE = 50.0  # a comparison takes no more than a fiftieth of the work behind it


@dataclass(frozen=True, eq=False)
class ModelState:
    """A model as it is at one moment.

    Args:
        model: The model.
        taps: The hook points that the fingerprint looks at.
        weights: Digest of the weights (:func:`.weights.weights_digest`).
        edits: The interventions in force (:func:`.host.active_edits`).
        fingerprint: Settings and numbers of a pass.
        checksum: What shows within this process whether weights changed.
        seconds: Time that the fingerprint took, in seconds.
    """

    model: HookedModel
    taps: Sequence[Tap]
    weights: str
    edits: list[str]
    fingerprint: Fingerprint
    checksum: str
    seconds: float

    @classmethod
    def of(cls, model: HookedModel, taps: Sequence[Tap]) -> ModelState:
        """The state of a model now.

        Args:
            model: The model.
            taps: The hook points that the fingerprint looks at, beside the logits.
        """
        started = time.perf_counter()
        seen = fingerprint(model, taps)
        seconds = time.perf_counter() - started
        weights = weights_digest(model)
        checksum = weights if is_on_cpu(model) else weights_checksum(model)
        return cls(model, taps, weights, host.active_edits(model), seen, checksum, seconds)

    def require_unchanged(self, seconds: float = 0.0) -> None:
        """Raise an error if the model is not what it was.

        Args:
            seconds: Time that the work behind this comparison took, in seconds; the probe text is read again where it
                was long.

        Raises:
            InputError: Interventions, weights, settings or numbers changed; the message says which.
        """
        changed = self._changes(seconds > PROBE_SHARE * self.seconds)
        if changed:
            raise InputError(
                f"the model changed while it was read ({'; '.join(changed)}), so that what was read since belongs to "
                "no one model and is not kept. Change a model before or after, and call again"
            )

    def _changes(self, reads_probe: bool) -> list[str]:
        """What is different now, in words."""
        found = []
        edits = host.active_edits(self.model)
        if edits != self.edits:
            found.append(f"{len(self.edits)} edits of interventions were in force, {len(edits)} are now")
        if weights_checksum(self.model) != self.checksum:
            found.append("weights are others")
        then, now = self.fingerprint.settings, settings_of(self.model)
        names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        found += [f"{name}: {then.get(name)} then, {now.get(name)} now" for name in names[:5]]
        if reads_probe and not found:
            numbers = fingerprint(self.model, self.taps).numbers
            distances = apart(self.fingerprint.numbers, numbers)
            worst = max(distances, key=lambda name: distances[name])
            if distances[worst] > self.fingerprint.tolerance:
                found.append(f"a short text gives other activations at {worst}")
        return found
