"""The README: its example runs and prints what it shows, its links lead somewhere, and it stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tl_fbn as fbn
from tests.helpers.manual_pages import python_blocks, run_page
from tests.helpers.paths import ROOT

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_its_example_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert any(block.output for block in python_blocks(TEXT))
    run_page(README)
    assert (tmp_path / "sort.html").stat().st_size > 100_000


def test_its_example_has_twelve_lines() -> None:
    (block,) = python_blocks(TEXT)
    assert len([line for line in block.code.splitlines() if line.strip() and not line.startswith("import")]) <= 12


def test_links_lead_somewhere() -> None:
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", TEXT) if not target.startswith("http")]
    assert len(targets) > 10
    missing = [target for target in targets if not (ROOT / target.partition("#")[0]).exists()]
    assert not missing


def test_verbs_in_its_tables_exist() -> None:
    rows = "\n".join(line for line in TEXT.splitlines() if line.startswith("| "))
    names = set(re.findall(r"`(?:fbn\.)?([a-zA-Z][\w.]*)(?:\([^`]*\))?`", rows)) - {"torchrun", "joblib"}
    assert len(names) >= 20
    for name in names:
        found = fbn
        for part in name.split("."):
            found = getattr(found, part)


def test_it_is_short() -> None:
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert len(prose.split()) <= 650
