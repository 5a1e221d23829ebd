"""Fixed shots on a real model: read once for all items, they give the numbers of whole passes, lesioned or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn

pytestmark = pytest.mark.real


def test_items_behind_fixed_shots_score_as_in_whole_passes(word_tasks, real_model):
    files = [word_tasks / f"{name}.json" for name in ("capitalize", "present-past")]
    battery = fbn.Tasks(files, shots=5, head="fixed").battery(n=12)
    assert sum(battery.sizes(real_model)) < 0.35 * sum(battery.sizes(real_model, share_prefixes=False))
    space = fbn.Scanner(real_model).space
    network = fbn.Network.from_indices(space, np.flatnonzero(np.random.default_rng(0).random(space.n_units) < 0.02))
    exact = next(real_model.parameters()).dtype == torch.float32
    for positions in ("all", "generated", "last"):
        with fbn.inhibit(real_model, network, positions=positions):
            shared, whole = (battery.score(real_model, share_prefixes=share) for share in (True, False))
            again = battery.score(real_model, share_prefixes=False, batch_tokens=150)  # passes of one item
        for name, scores in shared.items():
            if exact:
                np.testing.assert_allclose(scores.log_likelihood, whole[name].log_likelihood, atol=1e-4)
                assert np.array_equal(scores.exact_match, whole[name].exact_match)
        if not exact:  # 16 bits round otherwise where sums are taken in another order, as in passes of another size
            of_all = [np.concatenate([one.log_likelihood for one in each.values()]) for each in (shared, whole, again)]
            ours, theirs = (np.sqrt(np.mean((one - of_all[1]) ** 2)) for one in (of_all[0], of_all[2]))
            assert ours < 2 * theirs < 0.3, (ours, theirs)
