"""The viewer's data: known answers for packing, courses, text and overlaps; what fits is kept; and a page that is safe."""

from __future__ import annotations

import inspect
import json
import re

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.conftest import blocks
from tests.reporting.page.test_report import Outline
from tests.reporting.plot.test_plot import HOSTILE
from tl_fbn.acquisition.recording.recording import Run
from tl_fbn.reporting.plot._overlap_matrix import dice_table
from tl_fbn.reporting.viewer.data import gaps, indices_of, overlaps, packed, unpacked, viewer_data
from tl_fbn.reporting.viewer.viewer import Viewer, view
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

WIDTHS, ROWS = (5, 7), 12
SPACE = UnitSpace("mlp.neurons", WIDTHS)


def planted() -> fbn.Recording:
    """Two runs in which unit u is ``u + row / 10`` in run 0 and ten times that in run 1; prompts of 3 rows."""
    runs, tables = [], []
    for number in range(2):
        values = (10**number) * (np.arange(12.0) + np.arange(ROWS)[:, None] / 10)
        runs.append([values[:, :5], values[:, 5:]])
        table = {"prompt": np.arange(ROWS) // 3, "position": np.arange(ROWS) % 3}
        words = [f"\u0120w{row % 4}" for row in range(ROWS)]
        flags = ["bos" if row % 3 == 0 else "" for row in range(ROWS)]
        tables.append(pd.DataFrame({**table, "token": words, "surprisal": np.arange(ROWS) / 4, "flags": flags}))
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"], 6)] * 2, rows=tables)


def signed() -> Network:
    """Units 1 and 11 counted positively, 4 negatively."""
    members = np.isin(np.arange(12), [1, 4, 11])
    return Network(SPACE, members, np.where(np.arange(12) == 4, -1, members).astype(np.int8), "signed")


def kept(data: dict) -> list[int]:
    return [unit["index"] for unit in data["units"]]


def words(listed: dict) -> list[str]:
    import base64

    places = np.frombuffer(base64.b64decode(listed["data"]), f"<u{listed['bits'] // 8}")
    return [listed["words"][place] for place in places]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("centred", [False, True])
def test_packing_rounds_by_at_most_half_a_scale(bits: int, centred: bool) -> None:
    values = np.random.default_rng(0).normal(3, 2, 500)
    pack = packed(values, bits, centred=centred)
    top = {8: 127, 16: 32767}[bits]
    largest = np.ptp(values) / 2 if centred else np.abs(values).max()
    assert pack["scale"] == pytest.approx(largest / top)
    assert np.abs(unpacked(pack) - values).max() <= pack["scale"] / 2 * (1 + 1e-9)


def test_packing_keeps_nan_and_takes_infinity_for_the_largest() -> None:
    found = unpacked(packed(np.array([np.nan, np.inf, -np.inf, 0.0, -4.0, 2.0]), 16))
    np.testing.assert_allclose(found, [np.nan, 4, -4, 0, -4, 2], atol=1e-4)
    assert np.isnan(unpacked(packed(np.array([np.nan, np.nan]), 8))).all()
    np.testing.assert_array_equal(unpacked(packed(np.full(3, 7.5), 8, centred=True)), [7.5] * 3)


@pytest.mark.parametrize("indices", [[], [0], [254], [255], [510, 511], [0, 255, 256, 511, 40_000], range(600)])
def test_sets_of_units_survive_their_packing(indices) -> None:
    assert indices_of(gaps(np.array(indices, dtype=np.int64))).tolist() == list(indices)


def test_a_networks_course_is_the_signed_mean_of_its_members_over_all_runs() -> None:
    network = viewer_data(planted(), signed())["networks"][0]
    time = np.arange(ROWS) / 10
    expected = (1 + 11 - 4 + time) / 3
    expected = np.concatenate([expected, 10 * expected])
    np.testing.assert_allclose(unpacked(network["course"]), expected, atol=network["course"]["scale"])
    assert network["course"]["middle"] == pytest.approx(np.median(expected))
    assert network["course"]["far"] == pytest.approx(np.percentile(np.abs(expected - np.median(expected)), 99))
    assert [indices_of(part).tolist() for part in network["members"]] == [[], [1, 11], [4]]


def test_units_asked_for_are_kept_first_and_the_others_by_strength_in_turn() -> None:
    maps = {
        "m": UnitMap(SPACE, np.array([0, 9, 0, 8, 0, 0, 0, 0, 0, 0, 0, -7.0]), "t"),
        "n": UnitMap(SPACE, np.array([np.nan, 0, 6, 0, 0, 5, 0, 0, 0, 0, 0, 0]), "t"),
    }
    assert kept(viewer_data(planted(), maps=maps, units=[(1, 4)], max_units=5)) == [1, 2, 3, 5, 9]
    data = viewer_data(planted(), signed(), units=np.array([[0, 2], [1, 6]]), max_units=2)
    assert kept(data) == [2, 11]
    course = data["units"][1]["course"]
    expected = np.concatenate([11 + np.arange(ROWS) / 10, 110 + np.arange(ROWS)])
    np.testing.assert_allclose(unpacked(course), expected, atol=course["scale"] / 2 * 1.001)


def test_members_are_ranked_by_their_own_map() -> None:
    values = np.array([0, 1, 0, 0, -3, 0, 0, 0, 0, 0, 0, 2.0])
    own = viewer_data(planted(), {"signed": signed()}, maps={"signed": UnitMap(SPACE, values, "z")}, max_units=1)
    assert own["networks"][0]["map"] == 0 and kept(own) == [4]
    from_atlas = Atlas(SPACE, {"a": signed(), "b": signed()}, np.array([values, -values]))
    data = viewer_data(planted(), from_atlas, maps={"b": UnitMap(SPACE, values, "z")})
    assert [one["map"] for one in data["networks"]] == [0, 1]
    assert [(one["name"], one["kind"]) for one in data["maps"]] == [("a", "loading"), ("b", "loading"), ("b", "z")]
    np.testing.assert_allclose(unpacked(data["maps"][1]), -values, atol=1e-4)


def test_rows_of_all_runs_stand_one_behind_the_other() -> None:
    text = viewer_data(planted(), signed())["text"]
    assert text["rows"] == 24 and text["runs"] == [[0, 0], [12, 1]] and text["conditions"] == ["a", "b"]
    assert text["blocks"] == [[0, 6, 0], [6, 12, 1], [12, 18, 0], [18, 24, 1]]
    assert text["contexts"] == list(range(0, 24, 3)) and text["prompts"] == ["0", "1", "2", "3"] * 2
    assert words(text["token"]) == [f"\u0120w{row % 4}" for row in range(12)] * 2
    assert words(text["flags"])[:4] == ["bos", "", "", "bos"]
    np.testing.assert_allclose(unpacked(text["surprisal"])[:12], np.arange(12) / 4, atol=0.01)
    one = viewer_data(planted(), signed(), run=1)
    assert one["text"]["runs"] == [[0, 1]] and one["text"]["rows"] == 12
    assert unpacked(one["networks"][0]["course"])[0] == pytest.approx(80 / 3, abs=1e-3)


def test_recordings_without_a_row_table_fall_back_to_row_numbers(noise_recording: fbn.Recording) -> None:
    text = viewer_data(noise_recording, maps=UnitMap(noise_recording.space, np.arange(12.0), "t"))["text"]
    assert text["token"] is text["flags"] is text["position"] is text["prompts"] is text["surprisal"] is None
    assert text["contexts"] == [0, 80]


def test_tokens_that_are_missing_are_empty_words() -> None:
    rows = pd.DataFrame({"token": ["a", None, float("nan"), 3], "position": [0.0, np.nan, 1.0, 2.0]}, dtype=object)
    rows["position"] = rows["position"].astype(float)
    recording = fbn.Recording.from_arrays([[np.ones((4, 3))]], events=[blocks(["x"], 4)], rows=[rows])
    data = viewer_data(recording, maps=UnitMap(recording.space, np.ones(3), "t"))
    assert words(data["text"]["token"]) == ["a", "", "", "3"] and data["text"]["position"] is None
    assert data["units"][0]["course"]["far"] == 1.0  # a course that never moves still has a scale


def test_overlaps_agree_with_the_table_of_the_report() -> None:
    rng = np.random.default_rng(0)
    sets = {
        name: Network(SPACE, rng.random(12) < share, name=name)
        for name, share in zip("abc", (0.2, 0.5, 0.8), strict=True)
    }
    sets["none"] = Network(SPACE, np.zeros(12, bool))
    sets["void"] = Network(SPACE, np.zeros(12, bool))
    found, names = overlaps(sets), list(sets)
    for line in dice_table(sets).to_dict("records"):
        i, j = names.index(line["a"]), names.index(line["b"])
        for what in ("dice", "chance"):
            value = found[what][i][j]
            assert value == found[what][j][i]
            assert (np.nan if value is None else value) == pytest.approx(line[what], abs=1e-4, nan_ok=True)


def test_an_empty_network_is_listed_without_a_course() -> None:
    data = viewer_data(planted(), {"none": Network(SPACE, np.zeros(12, bool)), "some": signed()})
    assert [one["course"] is None for one in data["networks"]] == [True, False]
    page = Viewer("t", data).to_html()
    assert "none, it has no units" in page


def test_reading_is_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, read = [], Run.read

    def watched(self, *, units=None, rows=None):
        asked.append((list(units), rows.stop - rows.start))
        return read(self, units=units, rows=rows)

    monkeypatch.setattr(Run, "read", watched)
    recording = fbn.Recording.from_arrays([[np.ones((2500, 4))]], events=[blocks(["x"], 2500)])
    viewer_data(recording, Network.from_indices(recording.space, [1]), units=[3], max_units=2)
    assert asked == [([1, 3], 1024)] * 3


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


def test_rows_that_do_not_fit_are_left_out_by_whole_contexts_and_said_so() -> None:
    runs = [[np.random.default_rng(0).normal(size=(30_000, 3))]] * 2
    rows = pd.DataFrame({"prompt": np.arange(30_000) // 7})
    recording = fbn.Recording.from_arrays(runs, events=[blocks(["x"], 30_000)] * 2, rows=[rows, rows])
    data = viewer_data(recording, Network.from_indices(recording.space, [0]), megabytes=0.5)
    n_rows = data["text"]["rows"]
    assert 10_000 < n_rows < 30_000 and n_rows % 7 == 0
    assert data["text"]["runs"] == [[0, 0]] and data["text"]["blocks"] == [[0, n_rows, 0]]
    assert len(unpacked(data["networks"][0]["course"])) == n_rows
    assert f"Of 60,000 rows the first {n_rows:,} are kept" in " ".join(data["notes"])
    assert len(json.dumps(data)) < 0.5e6


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
    for units in ("abc", [(0, 0, 0)], [(0, 1.5)], [None]):
        with pytest.raises(TypeError, match=r"units=.* must be \(layer, unit\) pairs"):
            view(recording, signed(), units=units)
    for sizes in ({"max_units": -1}, {"megabytes": float("nan")}):
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


def test_a_run_may_be_a_number_of_numpy() -> None:
    run = inspect.unwrap(viewer_data)
    assert run(planted(), signed(), run=np.int64(1))["text"]["runs"] == [[0, 1]]
