"""Writing answers: the host's own greedy decoding token by token, in every mode, and where an answer ends."""

from __future__ import annotations

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_gpt2, tiny_model
from tl_fbn.acquisition.model.sampling import decoding_mode
from tl_fbn.intervention.behaviour import greedy_decoding as writing
from tl_fbn.intervention.behaviour.greedy_decoding import cut, end_of_answer, write


class Letters:
    """Token i is the i-th letter from "A" on; tokens 0 and 1 are special, 1 the unknown one."""

    bos_token_id = None
    eos_token_id = None
    unk_token_id = 1
    all_special_ids = (0, 1)

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) - ord("A") for letter in text]}

    def decode(self, ids) -> str:
        return "".join(chr(ord("A") + int(i)) for i in ids)


def greedy(model, ids: tuple[int, ...], n: int, ends: set[int]) -> list[int]:
    written: list[int] = []
    for _ in range(n):
        with torch.no_grad():
            token = int(model(torch.tensor([[*ids, *written]]))[0, -1].argmax())
        if token in ends:
            break
        written.append(token)
    return written


PROMPTS = [(3, 4, 5, 6), (7, 8), (9, 10, 11, 12), (2, 3), (44,), (20, 21, 22)]
OPTIONS = {"stop": (), "progress": False}


@pytest.mark.parametrize("host", ["cached", "native"])
@pytest.mark.parametrize("batch_tokens", [1, 30, 1000])
def test_as_stepping_by_hand(host, batch_tokens):
    model = bridged(tiny_gpt2()) if host == "cached" else tiny_model()
    model.tokenizer = Letters()
    assert (decoding_mode(model) == "reread") == (host == "native")
    free = write(model, PROMPTS, max_new_tokens=8, batch_tokens=batch_tokens, **OPTIONS)
    assert free == [greedy(model, ids, 8, end_of_answer(model)) for ids in PROMPTS]
    model.tokenizer.all_special_ids = (0, 1, free[0][2])
    ended = write(model, PROMPTS, max_new_tokens=8, batch_tokens=batch_tokens, **OPTIONS)
    assert ended == [greedy(model, ids, 8, {*end_of_answer(model)}) for ids in PROMPTS] != free


def test_contexts_of_equal_length_share_a_batch_where_they_must():
    assert writing._batches_by_length(PROMPTS, "equal", 640, 6) == [[4], [1, 3], [5], [0, 2]]
    assert writing._batches_by_length(PROMPTS, "padded", 36, 6) == [[4, 1, 3, 5], [0, 2]]


def test_a_string_ends_an_answer():
    model = tiny_model()
    model.tokenizer = Letters()
    (free,) = write(model, PROMPTS[:1], max_new_tokens=8, batch_tokens=64, **OPTIONS)
    stop = model.tokenizer.decode(free[1:3])
    (stopped,) = write(model, PROMPTS[:1], max_new_tokens=8, batch_tokens=64, stop=[stop], progress=False)
    whole = model.tokenizer.decode(free)
    assert stopped == free[: whole.find(stop) + 2]
    assert cut(model.tokenizer.decode(stopped), [stop, "?"]) == whole[: whole.find(stop)]


def test_ends_are_special_tokens_but_the_unknown_one(demo_model):
    named = {demo_model.tokenizer.convert_ids_to_tokens(i) for i in end_of_answer(demo_model)}
    assert named == {"<bos>", "<eos>", "<pad>", "[INST]", "[/INST]"}
    model = tiny_model()
    model.tokenizer = Letters()
    assert end_of_answer(model) == {0}


def test_an_intervention_is_in_force(demo_model):
    prompts = [tuple(demo_model.tokenizer("<bos> [INST] sort : c b a [/INST]", add_special_tokens=False)["input_ids"])]
    space = fbn.Scanner(demo_model).space
    network = fbn.Network.from_indices(space, [(layer, unit) for layer in range(3) for unit in range(384)], name="all")
    with fbn.inhibit(demo_model, network):
        lesioned = write(demo_model, prompts, max_new_tokens=6, batch_tokens=64, **OPTIONS)
        assert lesioned == [greedy(demo_model, prompts[0], 6, end_of_answer(demo_model))]
    assert lesioned != write(demo_model, prompts, max_new_tokens=6, batch_tokens=64, **OPTIONS)
