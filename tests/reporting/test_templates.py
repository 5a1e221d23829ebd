"""Pages from templates: what is put in is escaped, what is missing is an error, and every page has a nonce of
its own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import DictLoader, UndefinedError
from markupsafe import Markup

from tests.helpers.figures import HOSTILE
from tl_fbn.reporting import templates


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Templates of one's own, by name."""
    texts: dict[str, str] = {}
    monkeypatch.setattr(templates, "PackageLoader", lambda *_: DictLoader(texts))
    return texts


def test_values_are_escaped_unless_they_say_they_are_markup(written: dict[str, str]) -> None:
    written["page"] = "<p>{{ name }}</p>"
    page = templates.render("page", name=HOSTILE)
    assert page.startswith("<p>&lt;/script&gt;&lt;script&gt;") and page.count("<") == 2
    assert templates.render("page", name=Markup("<b>bold</b>")) == "<p><b>bold</b></p>"


def test_a_name_that_is_missing_is_an_error(written: dict[str, str]) -> None:
    written["page"] = "{{ there }}{{ nowhere }}"
    with pytest.raises(UndefinedError, match="nowhere"):
        templates.render("page", there=1)


def test_every_page_has_a_nonce_and_a_date_of_its_own(written: dict[str, str]) -> None:
    written["page"] = "{{ nonce }} {{ nonce }} {{ made }}"
    pages = [templates.render("page").split(" ", 2) for _ in range(3)]
    assert all(first == second and len(first) >= 16 for first, second, _ in pages)
    assert len({first for first, *_ in pages}) == 3
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \S+", made) for *_, made in pages)


def test_filters_are_the_pages_own(written: dict[str, str]) -> None:
    written["page"] = "{{ 'a' | twice }}"
    assert templates.render("page", {"twice": lambda text: 2 * text}) == "aa"


def test_a_page_is_written_whole_with_surrogates_spelled_out(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "page.html"
    templates.write(file, "old" * 1000)
    templates.write(file, "é \ud800")
    assert file.read_bytes() == b"\xc3\xa9 \\ud800"
    assert [one.name for one in file.parent.iterdir()] == ["page.html"]
