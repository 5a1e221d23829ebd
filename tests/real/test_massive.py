"""Massive activations of a real model: one coordinate of the MLP output, first tokens, and what zeroing costs."""

from __future__ import annotations

import pytest

import tl_fbn as fbn

pytestmark = pytest.mark.real
NAMES = ("topic/rest", "topic/food")


@pytest.fixture(scope="module")
def outputs(real_model, tmp_path_factory):
    """MLP outputs over the package's own stories of two topics, one run."""
    topics = {name: fbn.prompts(name) for name in NAMES}
    design = fbn.block_design(topics, n_runs=1, n_cycles=4, tokens_per_block=128, seed=0)
    folder = tmp_path_factory.mktemp("massive") / "out"
    return fbn.Scanner(real_model, site="mlp.out").scan(design, folder, progress=False)


def test_one_coordinate_of_the_first_token_holds_most_and_breaks_the_model(real_model, outputs):
    found = outputs.massive(model=real_model, progress=False)
    assert found.units[["layer", "unit"]].values.tolist()[0] == [11, 507]
    assert 0.6 < found.units["share"].iloc[0] < 0.8 and found.units["cost"].iloc[0] > 5
    assert found.first is not None and found.first[0] > 0.9 and found.first[1] < 0.1
    assert "of the variance lies in first tokens" in repr(outputs)
    assert [11, 507] in [entry[:2] for entry in outputs.provenance["massive"]]
