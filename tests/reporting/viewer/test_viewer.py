"""Viewers: what fits is kept, errors say what to do, and the page is one safe file."""

from __future__ import annotations

import inspect
import json
import re

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.figures import HOSTILE
from tests.helpers.pages import Outline
from tests.helpers.recordings import blocks
from tests.helpers.viewers import SPACE, planted, signed
from tl_fbn.reporting.viewer.data import viewer_data
from tl_fbn.reporting.viewer.packing import indices_of, unpacked
from tl_fbn.reporting.viewer.viewer import Viewer, view
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace


def test_an_empty_network_is_listed_without_a_course() -> None:
    data = viewer_data(planted(), {"none": Network(SPACE, np.zeros(12, bool)), "some": signed()})
    assert [one["course"] is None for one in data["networks"]] == [True, False]
    page = Viewer("t", data).to_html()
    assert "none, it has no units" in page


def large(n_units: int = 60_000, n_maps: int = 6) -> tuple[fbn.Recording, Atlas]:
    rng = np.random.default_rng(1)
    space = UnitSpace("mlp.neurons", (n_units // 2,) * 2)
    maps = rng.standard_t(4, (n_maps, n_units))
    networks = {f"n{k}": UnitMap(space, one, "z").top(0.01) for k, one in enumerate(maps)}
    runs = [[rng.normal(size=(8, n_units // 2)) for _ in range(2)]]
    return fbn.Recording.from_arrays(runs, events=[blocks(["x"], 8)]), Atlas(space, networks, maps)


def test_maps_take_the_bits_that_fit_and_else_the_largest_magnitudes() -> None:
    recording, atlas = large()
    for megabytes, bits, whole in ((8.0, 16, True), (0.8, 8, True), (0.5, 8, False)):
        viewer = view(recording, atlas, megabytes=megabytes)
        first = viewer.data["maps"][0]
        assert (first["bits"], first["kept"] is None) == (bits, whole)
        assert len(viewer.to_html()) < megabytes * 1e6
        values, top = atlas.maps[0], np.abs(atlas.maps[0]).max()
        chosen = np.arange(60_000) if whole else indices_of(first["kept"])
        assert len(chosen) == first["n"]
        assert np.abs(unpacked(first) - values[chosen]).max() <= top / {8: 254, 16: 65534}[bits] * 1.001
        assert whole == (first["cut"] == 0)
        if not whole:
            assert 1000 < len(chosen) < 60_000 and first["cut"] == np.abs(values[chosen]).min()
            assert np.abs(np.delete(values, chosen)).max() <= first["cut"]
            assert f"each map holds its {len(chosen):,} units" in " ".join(viewer.data["notes"])


def test_errors_say_what_to_do() -> None:
    recording, other = planted(), UnitSpace("mlp.out", (12,))
    with pytest.raises(ValueError, match=r"cannot view units of .*mlp\.out"):
        view(recording, Network.from_indices(other, [1]))
    with pytest.raises(ValueError, match=r"cannot view units of .*mlp\.out"):
        view(recording, maps={"m": UnitMap(other, np.zeros(12), "t")})
    with pytest.raises(ValueError, match="neither networks nor maps"):
        view(recording)
    with pytest.raises(ValueError, match="no Network; give at least one"):
        view(recording, {})
    with pytest.raises(TypeError, match="units must be a Network, a list or None; got 'abc'"):
        view(recording, signed(), units="abc")
    for units in ([(0, 0, 0)], [(0, 1.5)], [None]):
        with pytest.raises(TypeError, match=r"units=.* must be \(layer, unit\) pairs"):
            view(recording, signed(), units=units)
    with pytest.raises(ValueError, match="megabytes must be a number; got nan"):
        view(recording, signed(), megabytes=float("nan"))
    for sizes in ({"max_units": -1}, {"megabytes": -1.0}):
        with pytest.raises(ValueError, match="must be at least 0 and megabytes"):
            view(recording, signed(), **sizes)
    with pytest.raises(ValueError, match="max_units=1; raise max_units"):
        view(recording, signed(), units=[1, 2], max_units=1)
    with pytest.raises(IndexError, match="layer 2 is not in"):
        view(recording, signed(), units=[(2, 0)])
    with pytest.raises(IndexError, match="run 2 of a recording of 2 runs; give 0 to 1"):
        view(recording, signed(), run=2)
    with pytest.raises(ValueError, match="leaves nothing to show"):
        view(recording, signed(), run=[])
    with pytest.raises(ValueError, match=r"at least 0\.5"):
        view(recording, signed(), megabytes=0.1)
    bare = inspect.unwrap(view)
    with pytest.raises(TypeError, match="got Network as the recording"):
        bare(signed(), recording)


def test_the_page_is_one_safe_file(tmp_path) -> None:
    recording = planted()
    for run in recording:
        run.rows["token"] = HOSTILE
        run.events["trial_type"] = HOSTILE
    viewer = view(
        recording, {HOSTILE: signed()}, maps={HOSTILE: UnitMap(SPACE, np.arange(12.0), HOSTILE)}, title=HOSTILE
    )
    path = tmp_path / "deep" / "page.html"
    viewer.save(path)
    html = path.read_text("utf-8")
    page = Outline(html)
    assert [one.get("type") for one in page.all("script")] == ["application/json", None]
    assert "<" not in page.scripts[0] and json.loads(page.scripts[0])["networks"][0]["name"] == HOSTILE
    assert not page.all("link") and not page.all("img") and not any("src" in one for one in page.all("script"))
    policy = next(str(meta["content"]) for meta in page.all("meta") if "http-equiv" in meta)
    nonce = page.all("script")[1]["nonce"]
    assert "default-src 'none'" in policy and f"script-src 'nonce-{nonce}';" in policy and "unsafe-eval" not in policy
    assert "innerHTML" not in html and "http" not in html.replace("http-equiv", "")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert HOSTILE in "".join(page.text)  # title and the table for readers without scripts


def test_it_says_what_it_is(tmp_path) -> None:
    viewer = view(planted(), {"a": signed(), "b": signed()})
    assert re.fullmatch(
        r'Viewer "Networks of external": 2 networks, 12 units of external mlp.neurons \(2 layers of 5, 7\), 24 rows in 2 runs, 0.0 MB; '
        r"\.save\(path\) writes the page",
        repr(viewer),
    )
    shown = viewer._repr_html_()
    assert shown.startswith("<iframe") and 'sandbox="allow-scripts allow-forms"' in shown and shown.count("<") == 2
    page = Outline(str(Outline(shown).all("iframe")[0]["srcdoc"]))
    assert len(page.all("canvas")) == 4
    heavy = Viewer("t", {**viewer.data, "more": "x" * 2_000_001})
    assert "viewer.save(&quot;networks.html&quot;)" in heavy._repr_html_()


def test_half_of_a_surrogate_pair_is_spelled_out(tmp_path) -> None:
    view(planted(), signed(), title="a\ud800b").save(tmp_path / "a.html")
    assert "a\\ud800b" in (tmp_path / "a.html").read_text(encoding="utf-8")
