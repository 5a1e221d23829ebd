"""What a shell hands on as a backslash and a letter."""

from __future__ import annotations

import json

import pytest

import tl_fbn as fbn
from tests.helpers.cli import invoke, refused
from tl_fbn.cli.escapes import EXPLAINED, unescaped


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (r"Q: {question}\nA:", "Q: {question}\nA:"),
        (r"a\tb", "a\tb"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"\d \x1b {x}", r"\d \x1b {x}"),
        ("a\nb", "a\nb"),
        ("\\", "\\"),
        ("", ""),
    ],
)
def test_three_pairs_of_characters_are_one(given, read):
    assert unescaped(given) == read


def test_template_and_delimiter_of_a_battery(monkeypatch, tmp_path, demo_model):
    seen = {}

    def study(model, networks, battery, **options):
        seen["items"] = [item for task in battery.tasks.values() for item in task.items]
        raise fbn.errors.InputError("seen enough")

    monkeypatch.setattr("tl_fbn.intervention.studies.lesion_plan.plan_lesions", study)
    network = fbn.attribution.random_scores(demo_model, seed=0).top(5)
    network.save(tmp_path / "network.safetensors")
    (tmp_path / "items.jsonl").write_text(json.dumps({"question": "sort : b a", "answer": "a b"}) + "\n")
    asked = ("lesion", "demo", tmp_path / "network.safetensors", "--battery", tmp_path / "items.jsonl", "--plan")
    assert refused(*asked, "--template", r"Q: {question}\nA:", "--delimiter", r"\t") == "seen enough"
    (item,) = seen["items"]
    assert (item.prompt, item.delimiter, item.whole("a b")) == ("Q: sort : b a\nA:", "\t", "Q: sort : b a\nA:\ta b")
    shown = " ".join(invoke("lesion", "--help").stdout.split())
    assert shown.count(EXPLAINED) == 2 and r'"Q: {question}\nA:"' in shown
