"""Pictures: the numbers in them are right, chance stands beside claims, and names stay text."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.glm.efficiency import efficiency
from tl_fbn.analysis.glm.fit import fit_glm
from tl_fbn.analysis.ica.model_order import ComponentChoice
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _design_matrix as designs
from tl_fbn.reporting.plot import _overlap_matrix as networks
from tl_fbn.reporting.plot import _theme as paint
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

pytest.importorskip("plotly")

TOY = UnitSpace("mlp.neurons", (4, 0, 6), model="toy")
HOSTILE = "</script><script>alert(1)</script> <b>bold</b>"


def lesions(**columns: object) -> pd.DataFrame:
    """A lesion study of two networks and two tasks: own drops .5 and .25, others .01."""
    table = pd.DataFrame(
        [
            ("sort", "sort", 0.5, 0.009),
            ("sort", "add", 0.01, 0.6),
            ("add", "sort", 0.01, 0.05),
            ("add", "add", 0.25, 0.049),
        ],
        columns=["network", "task", "drop", "p"],
    )
    table = table.assign(metric="exact_match", baseline=0.9, control_median=0.02, control_p95=0.08)
    return table.assign(lesioned=table["baseline"] - table["drop"], **columns)


class Study:
    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    def to_dataframe(self) -> pd.DataFrame:
        return self.table


# Glass brain


def test_unit_map_pads_short_layers_with_nan() -> None:
    figure = figures.unit_map(UnitMap(TOY, np.arange(10.0), "t"))
    z = np.asarray(figure.data[0].z)
    assert z.shape == (3, 6)
    np.testing.assert_array_equal(z[0], [0, 1, 2, 3, np.nan, np.nan])
    assert np.isnan(z[1]).all()
    np.testing.assert_array_equal(z[2], [4, 5, 6, 7, 8, 9])
    assert "grey: none" in figure.layout.xaxis.title.text


def test_unit_map_range_is_symmetric_and_clipped() -> None:
    values = np.random.default_rng(0).standard_normal(2000) + 1.0
    values[7] = -500.0
    figure = figures.unit_map(UnitMap(UnitSpace("mlp.neurons", (1000, 1000)), values, "z"))
    heat = figure.data[0]
    assert heat.zmin == -heat.zmax
    assert heat.zmax == pytest.approx(np.percentile(np.abs(values), 99.5))
    assert np.asarray(heat.z).min() == -500.0  # clipped is the colour, not the number
    assert "bin" not in figure.layout.xaxis.title.text


@pytest.mark.parametrize(("values", "limit"), [(np.zeros(1000), 1.0), (np.r_[3.0, np.zeros(999)], 3.0)])
def test_unit_map_of_a_sparse_or_empty_map_has_a_range(values: np.ndarray, limit: float) -> None:
    heat = figures.unit_map(UnitMap(UnitSpace("mlp.neurons", (1000,)), values, "loading")).data[0]
    assert (heat.zmin, heat.zmax) == (-limit, limit)


def test_wide_layers_are_binned_by_largest_magnitude_and_say_so() -> None:
    space = UnitSpace("mlp.neurons", (3072, 1501))
    values = np.full(space.n_units, 0.5)
    values[space.index(0, 1001)] = -9.0
    values[space.index(1, 1500)] = 7.0
    figure = figures.unit_map(UnitMap(space, values, "t"))
    heat, z, units = figure.data[0], np.asarray(figure.data[0].z), np.asarray(figure.data[0].customdata)
    assert "bins of 4" in figure.layout.xaxis.title.text
    assert z.shape == (2, 768)
    assert (z[0, 250], units[0, 250]) == (-9.0, 1001)  # a negative peak survives, and is called by its own number
    assert (z[1, 375], units[1, 375]) == (7.0, 1500)
    assert np.isnan(z[1, 376:]).all()
    assert (heat.x0, heat.dx) == (1.5, 4)  # the axis still counts units


def test_maps_of_one_kind_share_a_scale_and_other_kinds_have_their_own() -> None:
    maps = {
        name: UnitMap(TOY, size * np.ones(10), kind)
        for name, size, kind in [("a", 1, "t"), ("b", 4, "t"), ("c", 9, "z")]
    }
    figure = figures.unit_map(maps)
    assert [heat.zmax for heat in figure.data] == [4, 4, 9]
    assert [heat.colorbar.title.text for heat in figure.data if heat.showscale] == ["t", "t", "z"]
    assert [note.text for note in figure.layout.annotations] == ["a", "b", "c"]
    assert sum(heat.showscale for heat in figures.unit_map({"a": maps["a"], "b": maps["b"]}).data) == 1


def test_members_are_marked_at_their_place() -> None:
    scores = UnitMap(TOY, np.arange(10.0), "t")
    dots = figures.unit_map(scores, networks=scores.top(2, name="best")).data[1]
    assert list(zip(dots.x, dots.y, strict=True)) == [(4, 2), (5, 2)]
    assert dots.name == "in best"
    both = figures.unit_map({"a": scores, "b": scores}, networks={"a": scores.top(1), "b": scores.top(3)})
    assert [len(trace.x) for trace in both.data if trace.type == "scatter"] == [1, 3]


def test_unit_map_refuses_what_does_not_belong_together() -> None:
    scores, other = UnitMap(TOY, np.zeros(10), "t"), UnitMap(UnitSpace("attn.out", (10,)), np.zeros(10), "t")
    with pytest.raises(ValueError, match=r"mlp\.neurons .* attn\.out"):
        figures.unit_map({"a": scores, "b": other})
    with pytest.raises(ValueError, match=r"'c'.*'a'"):
        figures.unit_map({"a": scores}, networks={"c": scores.top(1)})
    with pytest.raises(ValueError, match="mark"):
        figures.unit_map(scores, networks=other.top(1))
    with pytest.raises(TypeError, match="got ndarray"):
        paint.named(np.zeros(3), UnitMap, "unit_map")
    with pytest.raises(ValueError, match="no UnitMap"):
        figures.unit_map({})


# Profile and overlap


def test_layer_profile_is_percent_of_the_layer() -> None:
    network = Network.from_indices(TOY, [0, 4, 5, 6], name="n")
    np.testing.assert_array_equal(figures.layer_profile(network).data[0].y, [25.0, np.nan, 50.0])
    np.testing.assert_array_equal(figures.layer_profile(network, share=False).data[0].y, [1, 0, 3])
    figure = figures.layer_profile(network)
    assert figure.layout.shapes[0].y0 == pytest.approx(40.0)  # 4 of 10, if spread evenly
    assert "40 %" in figure.layout.annotations[0].text


def test_more_networks_than_colours_become_a_matrix() -> None:
    sets = {f"N{i:02d}": Network.from_indices(TOY, [i % 10, (i + 1) % 10]) for i in range(9)}
    (heat,) = figures.layer_profile(sets).data
    assert (heat.type, heat.zmin, heat.zmax) == ("heatmap", 0, 50)
    np.testing.assert_allclose(heat.z[:4], [[50, np.nan, 0]] * 3 + [[25, np.nan, 100 / 6]])
    assert "layer 2: 1 of 6 units" in heat.customdata[3][2]
    bars = figures.layer_profile(dict(list(sets.items())[:8])).data
    assert {bar.type for bar in bars} == {"bar"} and len({bar.marker.color for bar in bars}) == 8


def test_dice_and_chance_match_hand_computation() -> None:
    a, b = Network.from_indices(TOY, [0, 1, 4, 5]), Network.from_indices(TOY, [1, 4, 6, 7, 8, 9])
    line = networks.dice_table({"a": a, "b": b}).iloc[0]
    assert (line["shared"], line["dice"]) == (2, pytest.approx(2 * 2 / 10))
    assert line["chance"] == pytest.approx(2 * (2 * 1 / 4 + 2 * 5 / 6) / 10)
    figure = figures.overlap_matrix({"a": a, "b": b})
    z = np.asarray(figure.data[0].z)
    assert z[0, 1] == z[1, 0] == pytest.approx(0.4)
    assert "0.433" in figure.layout.title.text
    assert "by chance 0.433" in figure.data[0].customdata[0][1]
    assert figure.data[0].text[0][1] == "0.40"


def test_chance_is_the_mean_over_layer_matched_random_sets() -> None:
    rng, space = np.random.default_rng(1), UnitSpace("mlp.neurons", (20, 10))
    sizes = {"a": (6, 5), "b": (10, 2)}

    def draw(counts: tuple[int, ...]) -> Network:
        parts = [rng.permutation(width) < n for width, n in zip(space.widths, counts, strict=True)]
        return Network(space, np.concatenate(parts))

    tables = [networks.dice_table({name: draw(counts) for name, counts in sizes.items()}) for _ in range(300)]
    dice = np.array([table["dice"].iloc[0] for table in tables])
    assert tables[0]["chance"].iloc[0] == pytest.approx(dice.mean(), abs=4 * dice.std() / np.sqrt(300))


def test_overlap_needs_two_networks_of_one_space() -> None:
    network = Network.from_indices(TOY, [0])
    with pytest.raises(ValueError, match="two networks or more; got 'a'"):
        figures.overlap_matrix({"a": network})
    with pytest.raises(ValueError, match=r"attn\.out"):
        figures.overlap_matrix({"a": network, "b": Network.from_indices(UnitSpace("attn.out", (10,)), [0])})


def test_empty_networks_have_no_dice() -> None:
    empty = Network.from_indices(TOY, [])
    figure = figures.overlap_matrix(Atlas.from_networks({"a": empty, "b": empty}))
    assert np.isnan(np.asarray(figure.data[0].z)).all()
    assert figure.data[0].text[0][1] == ""


# Lesions and gains


def design() -> pd.DataFrame:
    a = np.repeat([1.0, 0.0, 1.0, 0.0], 300)
    return pd.DataFrame({"a": a, "b": 1 - a, HOSTILE: np.linspace(-2, 2, 1200), "flat": 3.0})


def test_design_matrix_shows_columns_over_their_largest_and_what_is_confounded() -> None:
    figure = figures.design_matrix(design(), contrasts=["a - b"])
    between = figure.layout.xaxis2.domain[0] - figure.layout.xaxis.domain[1]
    longest = max(map(len, figure.layout.yaxis2.ticktext))  # names stand between the panels, not over the left one
    assert between * (figure.layout.meta["min_width"] - 110) > 7 * longest
    assert (
        figure.layout.title.text
        == f"Design of 1,200 rows, 4 columns; efficiency of a - b {efficiency(design(), 'a - b'):.3g}"
    )
    *columns, correlations = figure.data
    matrix = np.column_stack([column.z for column in columns])
    assert matrix.shape == (600, 4)  # means of two rows
    np.testing.assert_allclose(matrix[[0, -1]], [[1, 0, -1, 1], [0, 1, 1, 1]], atol=2e-3)
    assert (columns[1].x0, columns[1].y0, columns[1].dy) == (1, 0.5, 2)
    np.testing.assert_allclose(correlations.z[0][1], -1)
    assert np.isnan(np.array(correlations.z)[3]).all()  # what never varies has no correlation
    assert [text.rsplit("(")[-1] for text in figure.layout.yaxis2.ticktext][:2] == ["implied)", "implied)"]
    assert figure.layout.yaxis2.ticktext[3] == "flat (constant)"


def test_the_design_of_a_fit_and_its_table(noise_recording: Recording) -> None:
    fit = fit_glm(noise_recording)
    figure = figures.design_matrix(fit, run=1)
    np.testing.assert_allclose(np.array(figure.data[0].z)[:, 0], fit.designs[1].iloc[:, 0])
    table = designs.design_table(design())
    assert table["with"].tolist()[:2] == ["b", "a"] and table["with"][3] == ""
    assert table["largest |r|"][0] == pytest.approx(1) and np.isnan(table["vif"][3])
    with pytest.raises(IndexError, match="run 9 of a fit of"):
        figures.design_matrix(fit, run=9)
    with pytest.raises(ValueError, match="0 rows and 4 columns"):
        figures.design_matrix(design().iloc[:0])


def choice() -> ComponentChoice:
    table = pd.DataFrame(
        {
            "n_components": [2, 4, 8],
            "mean_iq": [0.9, 0.95, 0.5],
            "share_stable": [1.0, 1.0, 0.3],
            "noise_iq": 0.4,
            "explained": [0.3, 0.5, 0.6],
        }
    )
    return ComponentChoice(table, np.array([0.4, 0.3, 0.1, 0.05, 0.01]), np.full((2, 5), 0.02))


def test_component_choice_shows_both_arguments() -> None:
    figure = figures.component_choice(choice())
    assert figure.layout.title.text == "4 networks proposed; 4 directions exceed chance"
    data, chance, iq, noise, share = figure.data
    np.testing.assert_allclose(data.y, [40, 30, 10, 5, 1])
    np.testing.assert_allclose(chance.y, 2)
    assert list(iq.x) == [2, 4, 8] and list(iq.y) == [0.9, 0.95, 0.5]
    assert list(noise.y) == [0.4] * 3 and list(share.y) == [1.0, 1.0, 0.3]
    assert {shape.x0 for shape in figure.layout.shapes} == {4.5, 4}


def test_stability_marks_what_is_no_better_than_noise() -> None:
    networks = {"a": Network.from_indices(TOY, [0]), HOSTILE: Network.from_indices(TOY, [1])}
    atlas = Atlas(TOY, networks, None, np.array([0.9, 0.3]), {"iq_of_noise_95": [0.4]}, np.array([0.01, 0.5]))
    figure = figures.stability(atlas)
    assert figure.layout.title.text == "Stability of 2 networks; 1 (orange) no more stable than noise"
    assert list(figure.data[0].y) == [0.9, 0.3]
    assert list(figure.data[0].marker.color) == [paint.OKABE_ITO[0], paint.OKABE_ITO[1]]
    with pytest.raises(ValueError, match="n_restarts of 2 or more"):
        figures.stability(Atlas(TOY, networks))


def test_lesion_matrix_shows_points_stars_and_controls_on_one_scale() -> None:
    own, control = figures.lesion_matrix(Study(lesions())).data
    np.testing.assert_allclose(own.z, [[50, 1], [1, 25]])
    assert [list(line) for line in own.text] == [["50*", "1"], ["1", "25*"]]  # .05 itself is no star
    np.testing.assert_allclose(control.z, 2.0)
    assert (own.zmin, own.zmax) == (control.zmin, control.zmax) == (-50, 50)
    assert control.colorbar.title.text == "points"
    assert "95th percentile 8" in own.customdata[0][0]


def test_lesion_matrix_in_nats_is_not_scaled_and_metrics_get_their_own_panels() -> None:
    nats = lesions(metric="log_likelihood", drop=[1.5, 0.1, -0.001, 1.0])
    own = figures.lesion_matrix(Study(nats)).data[0]
    np.testing.assert_allclose(own.z, [[1.5, 0.1], [-0.001, 1.0]])
    assert [list(line) for line in own.text] == [["1.50*", "0.10"], ["0.00", "1.00*"]]  # no "-0.00"
    both = figures.lesion_matrix(Study(pd.concat([lesions(), nats])))
    assert [heat.zmax for heat in both.data] == [50, 50, 1.5, 1.5]
    assert "points and nats" in both.layout.title.text


def test_a_study_without_controls_says_so() -> None:
    figure = figures.lesion_matrix(Study(lesions(control_median=np.nan, control_p95=np.nan, p=np.nan)))
    assert "no matched random lesions" in figure.layout.annotations[1].text
    assert not any("*" in cell for line in figure.data[0].text for cell in line)
    assert "nan" not in figure.data[0].customdata[0][0]


def test_lesion_matrix_keeps_order_and_leaves_gaps() -> None:
    own = figures.lesion_matrix(Study(lesions().iloc[[3, 0]])).data[0]
    np.testing.assert_array_equal(own.z, [[25, np.nan], [np.nan, 50]])


def test_lesion_matrix_refuses_wrong_tables() -> None:
    with pytest.raises(ValueError, match="lacks control_p95, p"):
        figures.lesion_matrix(Study(lesions().drop(columns=["p", "control_p95"])))
    with pytest.raises(ValueError, match=r"network 'sort', task 'sort', metric 'exact_match' occurs again"):
        figures.lesion_matrix(Study(pd.concat([lesions(), lesions()])))
    with pytest.raises(ValueError, match="without lines"):
        figures.lesion_matrix(Study(lesions().iloc[:0]))


def test_amplification_draws_gains_in_order() -> None:
    table = pd.DataFrame(
        [(n, g, t, g + len(t), "exact_match") for n in ("a", "b") for t in ("sort", "add") for g in (2.0, -1.0, 1.0)],
        columns=["network", "gain", "task", "value", "metric"],
    )
    figure = figures.amplification(table)
    assert [list(line.x) for line in figure.data] == [[-1, 1, 2]] * 4
    assert list(figure.data[0].y) == [3, 5, 6]
    assert [line.name for line in figure.data if line.showlegend] == ["a", "b"]
    assert [note.text for note in figure.layout.annotations] == ["sort", "add"]
    with pytest.raises(ValueError, match="lacks gain"):
        figures.amplification(table.drop(columns="gain"))


# What holds for every picture


SCORES, NETWORK = UnitMap(TOY, np.arange(10.0), HOSTILE), Network.from_indices(TOY, [0, 5], name=HOSTILE)
LESIONS = lesions(network=[HOSTILE, HOSTILE, "add", "add"], task=[HOSTILE, "b", HOSTILE, "b"], metric=HOSTILE)
GAINS = pd.DataFrame({"network": [HOSTILE], "gain": [1.0], "task": [HOSTILE], "value": [1.0], "metric": [HOSTILE]})


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.unit_map({HOSTILE: SCORES, "b": SCORES}, networks=NETWORK, title=HOSTILE),
        lambda: figures.layer_profile(NETWORK),
        lambda: figures.overlap_matrix({HOSTILE: NETWORK, "b": NETWORK}),
        lambda: figures.lesion_matrix(Study(LESIONS)),
        lambda: figures.amplification(GAINS),
        lambda: figures.design_matrix(design().iloc[::40]),
        lambda: figures.stability(Atlas(TOY, {HOSTILE: NETWORK}, None, np.array([0.5]))),
    ],
)
def test_names_stay_text_and_figures_stay_light(draw: Callable[[], Any]) -> None:
    figure = draw()
    strings = list(texts(figure.to_plotly_json()))
    assert any("&lt;" in string for string in strings)
    for string in strings:  # the only markup plotly may read is our own
        assert not set(re.findall("<[^>]*>", string)) - {"<br>", "<extra>", "</extra>"}
    assert len(figure.to_json()) < 20_000


def texts(value: Any) -> Iterator[str]:
    """Every string in a figure."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
        for part in value:
            yield from texts(part)


def test_names_that_look_like_numbers_or_dates_keep_their_order() -> None:
    names = ["2024-01-02", "7", "2024-01-01"]
    figure = figures.overlap_matrix({name: Network.from_indices(TOY, [i]) for i, name in enumerate(names)})
    assert list(figure.layout.xaxis.ticktext) == names
    assert figure.data[0].x is None  # positions, not names


def test_plotly_is_left_as_it_was() -> None:
    import plotly.io

    before = plotly.io.templates.default
    figure = figures.layer_profile(Network.from_indices(TOY, [0]))
    assert plotly.io.templates.default == before
    assert "sendChartToCloud" in figure.layout.modebar.remove


def test_without_plotly_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ImportError, match=r'pip install "tl-fbn\[plot\]"'):
        figures.layer_profile(Network.from_indices(TOY, [0]))


def test_importing_the_room_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformer_lens', 'plotly'}"
    code = f"import sys, tl_fbn.reporting.page.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
