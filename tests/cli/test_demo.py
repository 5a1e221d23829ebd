"""``tl-fbn demo``: what it asks of the pipeline, and what an interrupt leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli import invoke
from tl_fbn.demo import pipeline, task_study


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Path, dict[str, Any]]]:
    """What the pipeline was asked for, and was interrupted at."""
    calls: list[tuple[Any, Path, dict[str, Any]]] = []

    def run_demo(experiment: Any, folder: Path, **options: Any) -> None:
        calls.append((experiment, folder, options))
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run_demo", run_demo)
    return calls


def test_options_reach_the_pipeline_and_an_interrupt_says_what_is_kept(asked: list, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = invoke("demo", "-o", out, "--controls", "7", "--items", "5", "--seed", "3", "--no-progress")
    assert ended.exit_code == 130 and ended.stdout == ""
    kept = f"what is finished is kept in {out}, and the same command goes on from there"
    loaded = "tl_fbn-demo: GPTNeoXForCausalLM, 3 layers x 384 neurons, 0.35 M parameters, float32, 1 MB on cpu"
    assert ended.stderr == f"{loaded}\ntl-fbn: stopped; {kept}\n"
    ((experiment, folder, options),) = asked
    assert folder == out
    assert (options["n_controls"], options["seed"], options["progress"]) == (7, 3, False)
    assert {len(task.items) for task in experiment.battery.tasks.values()} == {5}
    assert experiment.model.cfg.model_name == "tl_fbn-demo"


def test_another_model_is_shown_topics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tl_fbn import demo

    calls: list[Any] = []

    def run_study(subject: Any, model: Any, folder: Path, **options: Any) -> None:
        calls.append((subject, model, folder, options))
        raise KeyboardInterrupt

    monkeypatch.setattr(task_study, "run_study", run_study)
    folder = demo.weights_folder()  # the embedded model under its folder's name is any model
    assert invoke("demo", "--model", folder, "-o", tmp_path, "--dtype", "bfloat16").exit_code == 130
    ((subject, model, _, options),) = calls
    assert "animals" in subject.prompts and subject.noun == "topic"
    assert (options["n_controls"], options["share"]) == (19, 0.002)
    assert str(model.blocks[0].mlp.W_in.dtype) == "torch.bfloat16"
