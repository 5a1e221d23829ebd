"""Pruning by networks: the models that are compared, and what they have left."""

from __future__ import annotations


def test_models_are_pruned_to_what_is_asked(s0_study):
    table = s0_study[0].table("pruned").set_index("model")
    assert table.loc["intact", "parameters"] == 1
    rest = table.drop(index="intact")
    assert rest["parameters"].between(0.79, 0.81).all()
    assert (rest["perplexity"] > table.loc["intact", "perplexity"]).all()
    assert [name for name in rest.index if name.startswith("random")] == [
        f"random {number}{words}" for number in range(3) for words in ("", ", compensated")
    ]
