"""Names of models: the last part that says something, whatever they were loaded by."""

from __future__ import annotations

import pytest

from tests.helpers.models import bridged, tiny_llama
from tl_fbn.acquisition.model.host import model_label
from tl_fbn.acquisition.model.model_names import name_of_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("gpt2", "gpt2"),
        ("openai-community/gpt2", "gpt2"),
        ("/data/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("/data/SmolLM2-135M-Instruct/hf", "SmolLM2-135M-Instruct-hf"),
        ("/data/SmolLM2-135M-Instruct/hf/", "SmolLM2-135M-Instruct-hf"),
        ("/data/llama/checkpoints/final", "llama-checkpoints-final"),
        ("/data/llama/checkpoint-500", "llama-checkpoint-500"),
        ("/data/llama/step_2000", "llama-step_2000"),
        (r"C:\models\llama\hf", "llama-hf"),
        (r"C:\hf", "hf"),
        ("/hf", "hf"),
        ("../hf", None),
        ("/data/SmolLM2.Q4_1.gguf", "SmolLM2.Q4_1"),
        ("/data/SmolLM2/model.GGUF", "SmolLM2-model"),
        (f"/cache/hub/models--HuggingFaceTB--SmolLM2-135M/snapshots/{COMMIT}", "SmolLM2-135M"),
        (f"/cache/hub/models--gpt2/snapshots/{COMMIT}/", "gpt2"),
        (f"/cache/hub/models--a--b-GGUF/snapshots/{COMMIT}/b.Q8_0.gguf", "b.Q8_0"),
        ("/", "/"),
        (".gguf", ".gguf"),
    ],
)
def test_names(source: str, name: str | None, tmp_path, monkeypatch) -> None:
    (tmp_path / "mine" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine" / "below")
    assert name_of_source(source) == (name or "mine-hf")


def test_a_bridge_made_by_hand_from_a_folder_is_not_called_hf() -> None:
    model = bridged(tiny_llama())
    model.cfg.model_name = "/some/folder/hf"
    assert model_label(model) == "folder-hf"
