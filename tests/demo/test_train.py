"""The script that trained the embedded model."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch

from tl_fbn.acquisition.design.stimuli import formal
from tl_fbn.demo import train


def test_shipped_tokenizer_is_the_one_the_script_builds(demo_model):
    built = train.build_tokenizer()
    assert built.get_vocab() == demo_model.tokenizer.get_vocab()
    assert built.chat_template == demo_model.tokenizer.chat_template


def test_training_learns_and_writes_a_folder_that_loads(tmp_path, capsys):
    train.main(
        [
            "--out",
            str(tmp_path / "m"),
            "--steps",
            "3",
            "--rows",
            "2",
            "--d-model",
            "24",
            "--layers",
            "1",
            "--d-mlp",
            "16",
        ]
    )
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(tmp_path / "m"), device="cpu")
    assert model.cfg.n_layers == 1
    assert "held-out exact match" in capsys.readouterr().out


def test_help_says_what_the_limit_of_minutes_does(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    about = " ".join(capsys.readouterr().out.split())
    assert "--minutes MINUTES give up after so many: the finished model is not written" in about
    small = ["--steps", "3", "--rows", "2", "--d-model", "24", "--layers", "1", "--d-mlp", "16"]
    with pytest.raises(SystemExit, match=r"stopped at step 1: over 0\.0 minutes; use fewer --steps"):
        train.main(["--out", str(tmp_path / "m"), *small, "--minutes", "0"])
    assert not (tmp_path / "m").exists()


@pytest.fixture(scope="module")
def ids():
    return train.build_tokenizer().get_vocab()


def test_practice_is_never_an_item_that_is_served_or_scored() -> None:
    rng = random.Random(0)
    for task in formal.TASKS:
        practised = [train._train_item(task, rng) for _ in range(50)]
        assert {formal.split_of(item.question) for item in practised} == {"train"}
        assert {item.task for item in practised} == {task}
    lengths = {len(train._train_item("add", rng).question.split()) for _ in range(40)}
    assert lengths == {7, 9}  # "add :", and sums of two digits beside those of three


def test_answers_weigh_most_and_a_document_ends(ids) -> None:
    rng, words = random.Random(1), {number: word for word, number in ids.items()}
    seen = set()
    for _ in range(60):
        tokens, weights = train._document(rng, ids)
        assert len(tokens) == len(weights)
        assert (words[tokens[0]], words[tokens[-1]]) == (train.BOS, train.EOS)
        asked = False
        for token, weight in zip(tokens[1:-1], weights[1:-1], strict=True):
            word = words[token]
            asked = word == formal.USER_OPEN or (asked and word != formal.USER_CLOSE)
            if formal.USER_OPEN in [words[one] for one in tokens]:
                assert weight == (0.1 if asked or word == formal.USER_CLOSE else 1.0), word
            else:
                assert weight in (0.3, 0.05)
        seen.add(formal.USER_OPEN in [words[one] for one in tokens])
    assert seen == {True, False}  # chats, and text without a question


def test_rows_of_a_batch_are_full_and_begin_with_a_document(ids) -> None:
    tokens, weights = train._batch(random.Random(2), ids, 5)
    assert tokens.shape == weights.shape == (5, train.ROW_LENGTH + 1)
    assert (tokens[:, 0] == ids[train.BOS]).all() and (weights[:, 0] <= 0.3).all()
    again = train._batch(random.Random(2), ids, 5)
    assert torch.equal(tokens, again[0]) and torch.equal(weights, again[1])


@pytest.mark.parametrize(("wrong", "share"), [(None, 1.0), ("answer", 0.0), ("question", 1.0)])
def test_exact_match_is_of_whole_answers(ids, wrong: str | None, share: float) -> None:
    """A model that knows what comes next, but for the last token of the answer, or the first of the question."""

    class Knows(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> SimpleNamespace:
            following = torch.roll(batch, -1, dims=1)
            if wrong is not None:
                at = batch.shape[1] - 2 if wrong == "answer" else 0
                following[:, at] = (following[:, at] + 1) % len(ids)
            return SimpleNamespace(logits=torch.nn.functional.one_hot(following, len(ids)).float())

    assert train.exact_match(Knows(), ids, "sort", n=30, seed=0) == share


def test_a_seed_decides_the_untrained_weights() -> None:
    shape = {"d_model": 24, "n_layers": 1, "d_mlp": 16}
    one, same, other = (train.build_model(94, **shape, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.gpt_neox.embed_in.weight, other.gpt_neox.embed_in.weight)
    assert one.config.num_attention_heads == 1 and one.config.max_position_embeddings == train.N_CTX
