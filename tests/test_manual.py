"""The pages of the manual: every Python block runs as a reader would paste it, prints what the page shows, and links
lead somewhere.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.manual_pages import python_blocks, run_page
from tests.helpers.paths import ROOT

PAGES = sorted(path for path in (ROOT / "examples").glob("*.md") if path.name != "README.md")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if python_blocks(page.read_text(encoding="utf-8"))], ids=lambda path: path.stem
)
def test_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    run_page(page)


@by_page
def test_its_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert not [one for one in targets if not one.startswith("http") and not (page.parent / one).exists()]


@by_page
def test_it_is_in_the_index(page: Path) -> None:
    assert f"]({page.name})" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
