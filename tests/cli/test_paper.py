"""``tl-fbn paper``: a plan, a trial on the embedded model, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.cli import invoke


def test_a_plan_says_what_it_costs_and_writes_nothing(tmp_path: Path) -> None:
    ended = invoke("paper", "s1", "demo", "--tasks", "demo", "-o", tmp_path / "s1", "--quick", "--plan")
    assert ended.exit_code == 0 and "PaperPlan of s1" in ended.stdout and "random networks" in ended.stdout
    assert not list(tmp_path.glob("s1/*"))


def test_a_trial_prints_claims_and_writes_the_page(tmp_path: Path) -> None:
    ended = invoke("paper", "s2", "demo", "-o", tmp_path / "s2", "--quick", "--json", "--no-progress")
    found = json.loads(ended.stdout)
    assert found["paper"] == "s2" and len(found["claims"]) == 3
    assert Path(found["page"]).exists() and "Networks identify the task" in found["claims"][-1]["claim"]


def test_what_is_refused(tmp_path: Path) -> None:
    for arguments, words in (
        (("s3", "demo"), "PAPER"),
        (("s0", "demo"), "s0 needs --tasks FILES"),
        (("s2", "demo", "--tasks", "demo"), "s2 brings its own topics"),
    ):
        ended = invoke("paper", *arguments, "-o", tmp_path / "x")
        assert ended.exit_code == 2 and words in ended.stderr
