"""The page: one self-contained file, in order, escaped, readable without scripts and without plotly."""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.figures import HOSTILE
from tests.helpers.pages import Outline
from tests.helpers.results import Study, lesions
from tests.helpers.units import TOY
from tl_fbn.analysis.glm.contrast import Contrast
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.page.report import Report, Section
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

plotly = pytest.importorskip("plotly")


def plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def bare(title: str, *results: Any) -> Report:
    """A report of the results alone: no methods, no provenance."""
    return Report(title, *results, methods=False, provenance=False)


def outline(report: Report) -> Outline:
    """The outline of a page; plotly.js is checked to be there once and taken out."""
    html = report.to_html()
    pictures = len(re.findall('class="plot"', html))
    assert html.count(plotly_js()) == (1 if pictures else 0)
    return Outline(html.replace(plotly_js(), "PLOTLY"))


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return Atlas.from_networks({"a": Network.from_indices(TOY, [0, 4]), "b": Network.from_indices(TOY, [4, 5])})


def test_sections_come_in_the_order_given(scores: UnitMap, atlas: Atlas) -> None:
    report = Report("R", Section("First", "text"), atlas, scores, atlas["a"], Study(lesions()), {"x": scores})
    titles = ["First", "Atlas of 2 networks", "Overlap of 2 networks", "Map of t", "Network a", "Study", "Maps of x"]
    assert [section.title for section in report.sections()] == titles
    html = report.to_html()
    places = [html.index(f">{title}</a>") for title in titles]
    assert places == sorted(places)


def test_every_figure_is_followed_by_its_table(scores: UnitMap, atlas: Atlas) -> None:
    found = outline(bare("R", scores, atlas, atlas["a"], Study(lesions())))
    order = [tag for tag, _ in found.tags if tag in ("figure", "details", "table")]
    assert order == ["figure", "details", "table"] * 5


def test_headings_contents_tables_and_ids_are_in_order(scores: UnitMap, atlas: Atlas) -> None:
    found = outline(bare("R", scores, atlas, Section("Words", "only"), lesions()))
    assert [tag for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)] == ["h1"] + ["h2"] * 5
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [str(link["href"]).removeprefix("#") for link in found.all("a")]
    assert len(targets) == 6 and set(targets) <= set(ids)
    assert len(found.all("caption")) == len(found.all("table")) == 4
    assert {cell.get("scope") for cell in found.all("th")} == {"row", "col"}
    labels = [attributes["aria-labelledby"] for _, attributes in found.tags if "aria-labelledby" in attributes]
    assert set(labels) <= set(ids)


def test_the_page_loads_nothing(scores: UnitMap) -> None:
    found = outline(Report("R", scores))
    assert not found.all("link") and not found.all("img") and not found.all("iframe")
    assert not any("src" in script for script in found.all("script"))
    policy = next(str(meta["content"]) for meta in found.all("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy and "'unsafe-inline'" not in policy.split("style-src")[0]
    nonces = {script["nonce"] for script in found.all("script") if "nonce" in script}
    assert len(nonces) == 1 and f"'nonce-{nonces.pop()}'" in policy
    assert "showSendToCloud: false" in found.scripts[-1]  # plotly's own default offers to upload the data


def test_hostile_names_stay_text() -> None:
    space = UnitSpace("mlp.neurons", (3, 3), model=HOSTILE)
    scores = UnitMap(space, np.arange(6.0), HOSTILE, {HOSTILE: HOSTILE})
    atlas = Atlas.from_networks({HOSTILE: scores.top(2), "b": scores.top(3)})
    study = Study(lesions(network=[HOSTILE, HOSTILE, "add", "add"], task=["a", "b", HOSTILE, "b"], metric=HOSTILE))
    table = pd.DataFrame({HOSTILE: [HOSTILE]})
    report = Report(HOSTILE, Section(HOSTILE, HOSTILE), scores, atlas, atlas[HOSTILE], study, table, intro=HOSTILE)
    found = outline(report)
    # a mark that scripts run, five pictures, plotly.js, the script that draws: the same number as for harmless names
    assert [script.get("type") for script in found.all("script")] == [None] + ["application/json"] * 5 + [
        "text/plain",
        None,
    ]
    assert not found.all("b")
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert HOSTILE in "".join(found.text)
    for script in found.scripts[1:6]:
        assert "<" not in script
        assert set(json.loads(script)) == {"data", "layout"}
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in json.dumps(json.loads(s)) for s in found.scripts[1:6])


def test_titles_of_figures_become_captions(scores: UnitMap) -> None:
    found = outline(Report("R", Section("S", "", figure=lambda: figures.unit_map(scores, title="a < b & c"))))
    assert "a < b & c." in found.text
    layout = json.loads(found.scripts[1])["layout"]
    assert "title" not in layout and layout["height"] > 0


def test_scripts_inside_a_foreign_repr_have_no_nonce() -> None:
    class Card:
        def _repr_html_(self) -> str:
            return "<em>card</em><script>alert(1)</script>"

    found = outline(bare("R", Card()))
    assert found.all("em") and found.all("script") == [{}]  # the policy lets no such script run


def test_without_pictures_there_is_no_plotly_and_without_tables_no_script() -> None:
    found = outline(bare("R", Section("S", "one\n\ntwo"), pd.DataFrame({"x": [1]})))
    assert len(found.scripts) == 1 and "Plotly" not in found.scripts[0]  # what copies the table
    assert {"one", "two"} <= set(found.text)
    assert not outline(bare("R", Section("S", "one"))).scripts


def test_every_table_has_a_button_that_is_hidden_without_scripts(scores: UnitMap) -> None:
    found = outline(Report("R", scores, lesions()))
    tables, buttons = found.all("table"), found.all("button")
    assert [button["data-of"] for button in buttons if "table" in str(button["data-of"])] == [t["id"] for t in tables]
    assert "methods-text" in {button["data-of"] for button in buttons}
    assert all("hidden" in button and button["aria-label"] for button in buttons)


def test_without_plotly_the_tables_are_saved_and_the_page_says_so(
    scores: UnitMap, atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = bare("R", scores, atlas, Section("S", "", figure=lambda: figures.unit_map(scores)))
    for module in [name for name in sys.modules if name.split(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "plotly", None)
    report.save(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text("utf-8")
    found = Outline(html)
    assert "Plotly" not in "".join(found.scripts) and not found.all("figure")
    assert len(found.all("table")) == 3
    assert "4 pictures left out" in html and "tl-fbn[plot]" in html
    assert "details" not in {tag for tag, _ in found.tags}  # tables stand open where they stand alone


def test_a_result_speaks_for_itself_first(scores: UnitMap) -> None:
    class Fit:
        def __init__(self, *parts: object) -> None:
            self.parts = parts

        def _report_sections_(self) -> list[object]:
            return list(self.parts)

        def to_dataframe(self) -> pd.DataFrame:
            raise AssertionError("not asked")

    fields = {"title": "From fields", "figure": scores, "table": lesions()}
    sections = Report("R", Fit(Section("Own", "text"), fields, scores)).sections()
    assert [section.title for section in sections] == ["Own", "From fields", "Map of t"]
    assert sections[1].draw().data[0].type == "heatmap"
    with pytest.raises(TypeError, match=r"result 2 of Fit._report_sections_\(\) is of type int"):
        Report("R", Fit(scores, 3)).to_html()


def test_tables_show_the_right_numbers(scores: UnitMap) -> None:
    html = Report("R", scores).to_html()
    cells = re.findall(
        r"<tr><th scope=\"row\" class=\"n\">(.*?)</th><td class=\"n\">(.*?)</td><td class=\"n\">(.*?)</td>", html
    )
    assert len(cells) == 10  # a map of ten units has no top twenty
    assert cells[0] == ("2", "5", "5")  # largest magnitude first
    assert cells[1] == ("0", "0", "-4")
    assert "Origin: method glm, level block." in html


def test_a_contrast_names_its_level_and_what_chance_gives() -> None:
    space = UnitSpace("mlp.neurons", (100,))
    contrast = Contrast(space, "sort - rest", "block", np.linspace(-4, 3, 100), np.ones(100), 1e6, (0,))
    (section,) = Report("R", contrast).sections()
    assert section.title == "Contrast sort - rest"
    assert "prompts of this kind" in section.text
    beyond = int((np.abs(np.linspace(-4, 3, 100)) > 1.96).sum())
    assert f"Of 100 units {beyond} have p < .05, uncorrected, where chance alone gives about 5." in section.text
    assert section.table is not None
    assert section.table["unit"].tolist()[:3] == [0, 1, 2] and len(section.table) == 20


def test_a_fit_its_contrasts_and_its_permutations(noise_recording: fbn.Recording) -> None:
    """Every result of an analysis is shown with its picture, and no table of all units."""
    fit = fbn.fit_glm(noise_recording)
    first, second = fit.columns[:2]
    several = fit.contrast([f"{first} - {second}"])
    relabelled = fbn.max_t(fit, f"{first} - {second}", n_permutations=99, seed=0)
    sections = Report("R", fit, several, relabelled, fbn.papers.s2.settings).sections()
    assert [section.title for section in sections] == [
        "GLM fit",
        "Design",
        f"Contrast {first} - {second}",
        f"Permutations of {first} - {second}",
        "Settings of s2_block_glm",
    ]
    tables = [section.table for section in sections if section.table is not None]
    assert [len(table) for table in tables[:2]] == [len(noise_recording), len(fit.designs[0].columns)]
    assert all(len(table) <= 20 for table in tables[2:])
    assert "our choice" in tables[4]["source"].tolist()
    html = Report("R", fit, several, relabelled, fbn.papers.s2.settings).to_html()
    assert "greedy; end of text is never chosen" in html


def test_long_tables_are_cut_and_say_so() -> None:
    html = bare("R", pd.DataFrame({"x": range(1000)})).to_html()
    assert html.count('<th scope="row"') == 200
    assert "the first 200 of 1000 lines" in html


def test_results_name_their_picture_and_tables_have_none() -> None:
    gains = pd.DataFrame({"network": ["n"], "gain": [1.0], "task": ["t"], "value": [1.0], "metric": ["exact_match"]})
    drawn = Section("Gains", figure=partial(figures.amplification, gains), table=gains)
    lesion, gain, other = Report("R", Study(lesions()), drawn, lesions()).sections()
    assert [trace.type for trace in lesion.draw().data] == ["heatmap", "heatmap"]
    assert gain.draw().data[0].type == "scatter"
    assert other.figure is None and other.table is not None


def test_a_plotly_figure_is_a_result(scores: UnitMap) -> None:
    assert len(outline(Report("R", figures.unit_map(scores))).all("figure")) == 1


def test_the_title_comes_first(scores: UnitMap) -> None:
    fit: Any = scores
    with pytest.raises(TypeError, match="title"):
        Report(fit)
    with pytest.raises(ValueError, match="no results"):
        Report("R")
    wrong: Any = 3
    with pytest.raises(TypeError, match='section "S" has a int as its figure'):
        Report("R", Section("S", "", figure=wrong)).to_html()


def test_repr_is_small(atlas: Atlas) -> None:
    report = Report("What <sorts>?", atlas)
    assert repr(report) == 'Report "What <sorts>?": 1 result'
    assert "What &lt;sorts&gt;?" in report._repr_html_() and len(report._repr_html_()) < 1000


def test_the_footer_says_what_made_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    html = Report("R", Section("S", "")).to_html()
    assert f"numpy {np.__version__}" in html and f"plotly {plotly.__version__}" in html

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert "tl-fbn unknown" in Report("R", Section("S", "")).to_html()


def test_saving_replaces_the_page_whole(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "page.html"
    Report("Old", Section("S", "")).save(path)
    Report("New é", Section("S", "")).save(path)
    assert "<h1>New é</h1>" in path.read_text("utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_methods_and_provenance_end_the_page_and_can_be_left_out(scores: UnitMap) -> None:
    report = Report("R", scores)
    ends = [section.title for section in report.appendix()]
    assert ends == ["Methods", "Settings and where they come from", "Provenance", "Software"]
    assert "Contrast" not in report.sections()[0].title  # sections() are the results' own
    assert [one.title for one in Report("R", scores, methods=False).appendix()] == ends[2:]
    assert [one.title for one in Report("R", scores, provenance=False).appendix()] == ends[:2]
    assert not bare("R", scores).appendix()
    words = Report("R", Section("S", "own words"), sources=[scores]).appendix()[0].text
    assert words == Report("R", scores).appendix()[0].text  # sections of one's own can name what they were made of


@pytest.mark.slow
def test_settings_are_never_cut() -> None:
    many = {f"n{i}": UnitMap(TOY, np.arange(10.0), "t", {"method": "x", f"option {i}": i}) for i in range(150)}
    html = Report("R", many).to_html()
    assert all(f"option {i}<" in html for i in range(150))


def test_half_of_a_surrogate_pair_is_spelled_out(tmp_path: Path) -> None:
    Report("a\ud800b", Section("S", "\udfff")).save(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "a\\ud800b" in page and "\\udfff" in page
