"""``tl-fbn cgvst``: scores are the library's, whatever form the chats come in."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.cli import answer, invoke, refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("chats")
    for task in ("sort", "add"):
        lines = [json.dumps({"messages": chat} if i % 2 else chat) for i, chat in enumerate(fbn.chats(task, n=6))]
        (path / f"{task}.jsonl").write_text("\n".join(lines))
    return path


def test_scores_are_the_librarys_and_lie_beside_the_chats(folder, demo_model):
    found = answer("cgvst", "demo", folder / "sort.jsonl", "--top", "30")
    (task,) = found["tasks"]
    expected = fbn.cgvst(demo_model, fbn.chats("sort", n=6), progress=False)
    words = fbn.networks.promoted_tokens(expected.top(30), demo_model, n_tokens=3).set_index(["layer", "unit"])
    units = task["unit_list"]
    assert [one["promotes"] for one in units] == [words.promotes[one["layer"], one["unit"]] for one in units]
    largest = sorted(expected.values[expected.top(30).indices], reverse=True)
    assert [one[expected.kind] for one in units] == pytest.approx(largest)
    assert np.allclose(fbn.UnitMap.load(task["map"]).values, expected.values)
    assert fbn.Network.load(task["network"]) == expected.top(30)
    assert task["network"] == str(folder / "results" / "network-cgvst-sort.safetensors")
    assert task["per_layer"] == expected.top(30).per_layer().tolist()
    assert (task["items"], task["members"], task["variant"], found["units"]) == (6, 30, "row_sum", 1152)


def test_several_tasks_against_each_other(folder, demo_model, tmp_path):
    options = (
        "--tokens",
        "answer",
        "--variant",
        "grad_x_act",
        "--items",
        "4",
        "--specific",
        "--name",
        "s",
        "--name",
        "a",
    )
    asked = ("cgvst", "demo", folder / "sort.jsonl", folder / "add.jsonl", *options, "-o", tmp_path)
    found = answer(*asked)
    settings = {"tokens": "answer", "variant": "grad_x_act", "progress": False}
    maps = {n: fbn.cgvst(demo_model, fbn.chats(t, n=4), **settings) for n, t in (("s", "sort"), ("a", "add"))}
    expected = fbn.specific_scores(maps)
    for line in found["tasks"]:
        saved = fbn.Network.load(line["network"])
        assert saved == expected[line["task"]].top(0.05)
        assert saved.name == line["task"]
        assert line["items"] == 4
    text = invoke(*asked).stdout
    assert "by rank, less the largest on any other task: chosen by size, not tested" in text
    assert "layer  units  by chance" in text


def test_texts_with_literal_spans(tmp_path, demo_model):
    file = tmp_path / "texts.jsonl"
    prompts = fbn.prompts("sort", n=3)
    file.write_text("\n".join([json.dumps({"text": prompts[0]}), *map(json.dumps, prompts[1:])]))
    options = ("--span", "[INST]", "--span", "[/INST]", "--groups", "none", "--no-bos-eos")
    (task,) = answer("cgvst", "demo", file, *options)["tasks"]
    spans = ["[INST]", "[/INST]"]
    expected = fbn.cgvst(demo_model, prompts, spans=spans, groups=None, bos_eos=False, progress=False)
    assert np.allclose(fbn.UnitMap.load(task["map"]).values, expected.values)


@pytest.mark.usefixtures("unchecked")  # the type checker of tests knows the words a user may get wrong
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--variant", "magic"],
            "variant must be 'row_sum', 'row_l1', 'row_l2', 'grad_x_act' or 'grad' or None; got 'magic'",
        ),
        (["--tokens", "magic"], "tokens must be 'special', 'all', 'answer', 'content' or 'random'; got 'magic'"),
        (["--top", "2000"], "asks for 2000 units"),
        (["--top", "x"], "--top x is neither"),
        (["--groups", "x"], "--groups must be turns, none or a number of positions; got x"),
        (["--specific"], "--specific compares tasks; give the chats of at least two"),
        (["--name", "a", "--name", "b"], "2 names for 1 files of chats"),
        (["--at", "mlp.neurons", "--variant", "row_sum"], "variant='row_sum' is made of"),
        (["--max-tokens", "2"], "all 6 items are longer than max_tokens=2"),
        (["--aggregate", "magic"], "magic"),
    ],
)
def test_what_cannot_be_is_refused(options, words, folder, tmp_path):
    assert words in refused("cgvst", "demo", folder / "sort.jsonl", *options, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
