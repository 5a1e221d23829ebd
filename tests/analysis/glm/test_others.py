"""One condition against the mean of all others: exact weights, which columns count, and what it is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.contrasts import recorded
from tests.helpers.recordings import blocks
from tl_fbn.analysis.glm.expressions import contrast_weights, read_contrast
from tl_fbn.analysis.glm.others import against_others, condition_columns, conditions_of, mean_of, others_of

COLUMNS = ["plural", "singular", "rest", "2 digits", "position", "drift_1"]
CONDITIONS = {name: name for name in COLUMNS[:4]}
THIRD = 1 / 3


@pytest.mark.parametrize(
    ("expression", "weights"),
    [
        ("plural - others", {"plural": 1, "singular": -THIRD, "rest": -THIRD, "2 digits": -THIRD}),
        ("others - plural", {"plural": -1, "singular": THIRD, "rest": THIRD, "2 digits": THIRD}),
        ("2 digits - others", {"2 digits": 1, "plural": -THIRD, "singular": -THIRD, "rest": -THIRD}),
        ("(plural + rest) / 2 - others", {"plural": 0.5, "rest": 0.5, "singular": -0.5, "2 digits": -0.5}),
        ("plural + singular + rest - 3*others", {"plural": 1, "singular": 1, "rest": 1, "2 digits": -3}),
        ("plural - others + 0 * rest", {"plural": 1, "singular": -0.5, "2 digits": -0.5}),
        ("plural + position - others/2", {"plural": 1, "position": 1} | dict.fromkeys(COLUMNS[1:4], -1 / 6)),
    ],
)
def test_weights_by_hand(expression: str, weights: dict[str, float]) -> None:
    assert contrast_weights(expression, COLUMNS, conditions=CONDITIONS) == weights  # to the last bit


def test_it_is_written_out_and_called_as_it_was_written() -> None:
    read = read_contrast("plural - others", COLUMNS, CONDITIONS)
    assert read.expression == "plural - (singular + rest + `2 digits`) / 3" and read.name == "plural - others"
    assert contrast_weights(read.expression, COLUMNS) == read.weights
    assert read_contrast("a - others", ["a", "b"], {"a": "a", "b": "b"}).expression == "a - b"
    assert mean_of(["a"]) == "a"


def test_what_is_called_others_is_that_column() -> None:
    columns = ["plural", "others", "rest"]
    conditions = {name: name for name in columns}
    read = read_contrast("plural - others", columns, conditions)
    assert read.weights == {"plural": 1, "others": -1} and read.expression == read.name == "plural - others"
    assert against_others(columns, conditions) == {
        "plural": ("plural - (others + rest) / 2", "plural - all others"),
        "others": ("others - (plural + rest) / 2", "others - all others"),
        "rest": ("rest - (plural + others) / 2", "rest - all others"),
    }
    # in backticks it is a name, and nothing else
    with pytest.raises(ValueError, match=r'names "others", which is no column of the design; columns: plural, sin'):
        contrast_weights("plural - `others`", COLUMNS, conditions=CONDITIONS)


def test_a_name_that_ends_in_others_has_two_readings() -> None:
    columns = ["plural", "plural-others", "rest"]
    with pytest.raises(ValueError, match=r"has 2 readings: '`plural-others`' or '`plural`-`others`'"):
        contrast_weights("plural-others", columns, conditions={name: name for name in columns})
    # "others" after a hyphen is the word, if no column has the whole name
    assert contrast_weights("plural-others", ["plural", "rest"], conditions={"plural": "plural", "rest": "rest"}) == {
        "plural": 1,
        "rest": -1,
    }


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("others", 'means by "others" all conditions that it does not name, and it names none; conditions have the'),
        ("position - others", "and it names none; conditions have the columns plural, singular, rest, 2 digits"),
        ("plural + singular + rest - `2 digits` - others", "and none is left"),
        ("plurl - others", 'names "plurl", which is no column of the design.*Did you mean "plural"'),
        ("plural * others", "is not linear in the columns"),
    ],
)
def test_others_that_cannot_be_are_refused(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        contrast_weights(expression, COLUMNS, conditions=CONDITIONS)


def test_long_expressions_that_mean_it_are_called_it() -> None:
    columns = [f"a_long_task_{number}" for number in range(4)]
    conditions = {name: name for name in columns}
    by_hand = f"{columns[1]} - ({columns[0]} + {columns[2]} + {columns[3]}) / 3"
    assert read_contrast(by_hand, columns, conditions)[:2] == (by_hand, "a_long_task_1 - others")
    assert read_contrast(by_hand, columns).name == by_hand  # conditions are not known
    half = f"{columns[1]} - ({columns[0]} + {columns[2]}) / 2"  # one is left out
    assert read_contrast(half, columns, conditions).name == half
    short = "a - (b + c) / 2"
    assert read_contrast(short, list("abc"), {name: name for name in "abc"}).name == short


# Which columns are conditions


def test_conditions_are_the_events_whatever_they_are_called() -> None:
    """A condition may be called rest or entropy; drift, confounds and columns of one's own are none."""
    rng = np.random.default_rng(0)
    recording = fbn.Recording.from_arrays(
        [[rng.normal(size=(120, 2))]], events=[blocks(["entropy", "rest", "a"] * 4, 10)]
    )
    extra = pd.DataFrame({"a_rating": rng.normal(size=120)})
    fit = fbn.fit_glm(recording, extra=extra, progress=False)
    assert fit.conditions == {"entropy": "entropy", "rest": "rest", "a": "a"}
    assert "a_rating" in fit.columns and any(name.startswith("drift") for name in fit.columns)
    assert fit.contrast("a - others").expression == "a - (entropy + rest) / 2"


def test_rows_without_a_condition_are_no_condition() -> None:
    rng = np.random.default_rng(0)
    events = blocks(["a", "off", "b", "off"] * 4, 10).query("trial_type != 'off'")
    fit = fbn.fit_glm(fbn.Recording.from_arrays([[rng.normal(size=(160, 2))]], events=[events]), progress=False)
    assert "intercept" in fit.columns and fit.conditions == {"a": "a", "b": "b"}
    assert fit.contrast("a - others").expression == "a - b"


def test_others_are_of_the_same_phase_and_lag() -> None:
    recording = recorded()
    rows = recording[0].n_rows

    def phases(table: pd.DataFrame) -> list[str]:
        return ["answer" if row % 10 >= 6 else "" for row in range(rows)]

    design = fbn.design_matrix(recording[0], phases=phases, kernel="fir", n_lags=2)
    known = condition_columns(design)
    assert known == {
        f"{name}{phase}{lag}": name for name in "abc" for phase in ("", "_answer") for lag in ("", "_lag1")
    }
    columns = list(design.columns)
    for end in ("", "_answer", "_lag1", "_answer_lag1"):
        assert others_of([f"b{end}"], columns, known) == [f"a{end}", f"c{end}"]
        assert contrast_weights(f"b{end} - others", columns, conditions=known) == {
            f"b{end}": 1,
            f"a{end}": -0.5,
            f"c{end}": -0.5,
        }
    with pytest.raises(ValueError, match=r"and it names columns of several phases or lags \(a, a_answer\)"):
        contrast_weights("a + a_answer - others", columns, conditions=known)
    assert len(against_others(columns, known)) == 12


def test_designs_of_ones_own_need_a_column_for_every_condition() -> None:
    recording = recorded()
    ours = fbn.design_matrix(recording[0])
    plain = pd.DataFrame(ours.to_numpy(), columns=list(ours.columns))  # which knows nothing
    for design in (ours, ours.assign(more=1.0), plain):
        assert conditions_of([design], recording) == {"a": "a", "b": "b", "c": "c"}
    for design in (ours.drop(columns="c"), ours.rename(columns={"c": "C"}), plain.rename(columns={"c": "C"})):
        assert conditions_of([design], recording) == {}
    fit = fbn.fit_glm(recording, design=[ours.rename(columns={"c": "C"})], progress=False)
    with pytest.raises(ValueError, match=r"this design does not tell which columns are conditions .*write them out"):
        fit.contrast("a - others")
    with pytest.raises(ValueError, match=r"no condition has others: this design does not tell"):
        fit.contrasts_against_others()
    assert fit.contrast("a - (b + C) / 2").name == "a - (b + C) / 2"


def test_a_single_condition_has_no_others() -> None:
    rng = np.random.default_rng(0)
    events = blocks(["a", "off"] * 6, 10).query("trial_type != 'off'")
    fit = fbn.fit_glm(fbn.Recording.from_arrays([[rng.normal(size=(120, 2))]], events=[events]), progress=False)
    with pytest.raises(ValueError, match="no condition has others: the conditions have the columns a; columns: a, in"):
        fit.contrasts_against_others()


# Fits


@pytest.mark.parametrize("level", ["block", "token", "run"])
def test_it_is_the_contrast_written_by_hand_to_the_last_bit(level: str) -> None:
    fit = fbn.fit_glm(recorded(n_runs=4), progress=False)
    every = fit.contrasts_against_others(level=level)  # type: ignore[arg-type]
    assert list(every) == list("abc")
    for name, rest in (("a", "b + c"), ("b", "a + c"), ("c", "a + b")):
        by_hand = fit.contrast(f"{name} - ({rest}) / 2", level=level)  # type: ignore[call-overload]
        short = fit.contrast(f"{name} - others", level=level)  # type: ignore[call-overload]
        for one in (short, every[name]):
            assert one.name == f"{name} - others" and one.expression == by_hand.expression
            assert one.dof == by_hand.dof and one.runs == by_hand.runs
            for field in ("estimate", "effect_variance", "variance_tested", "varies"):
                assert np.array_equal(getattr(one, field), getattr(by_hand, field))
    both = fit.contrast(["a - others", "b - others"], level=level)  # type: ignore[call-overload]
    by_hand = fit.contrast(["a - (b + c) / 2", "b - (a + c) / 2"], level=level)  # type: ignore[call-overload]
    assert np.array_equal(both.statistic, by_hand.statistic) and both.expressions == by_hand.expressions
    assert both.name == "a - others, b - others"


def test_efficiency_knows_others_too() -> None:
    fit = fbn.fit_glm(recorded(), progress=False)
    design = fit.designs[0]
    by_hand = fbn.glm.efficiency(design, "a - (b + c) / 2")
    assert fbn.glm.efficiency(design, "a - others") == by_hand
    figure = fbn.plot.design_matrix(fit, contrasts=["a - others"])
    assert f"efficiency of a - others {by_hand:.3g}" in str(figure.to_json())


def test_names_are_used_kept_and_default_to_expressions(tmp_path: Path) -> None:
    fit = fbn.fit_glm(recorded(), progress=False)
    named, short, plain = (
        fit.contrast("a - others", name="my task"),
        fit.contrast("a - others"),
        fit.contrast("a - b"),
    )
    assert [one.name for one in (named, short, plain)] == ["my task", "a - others", "a - b"]
    assert named.threshold(top=2).name == "my task" and short.t.top(2).name == "top 2 of a - others"
    assert repr(named).startswith('Contrast "my task" at block level')
    (section,) = short._report_sections_()
    assert section["title"] == "Contrast a - others" and "It is a - (b + c) / 2." in section["text"]
    assert "The contrast a - others (a - (b + c) / 2) was tested" in short._methods_()[0]
    assert "The contrast a - b was tested" in plain._methods_()[0]
    provenance = short.t.top(2).provenance
    assert (provenance["contrast"], provenance["contrast_name"]) == ("a - (b + c) / 2", "a - others")
    assert "contrast_name" not in plain.t.provenance
    tests = [
        named,
        fit.contrast(["a - others", "b - c"], name="any"),
        fbn.glm.max_t(fit, "a - others", n_permutations=19, seed=0, name="mine", progress=False),
    ]
    for test, name in zip(tests, ("my task", "any", "mine"), strict=True):
        path = tmp_path / "test.safetensors"
        test.save(path)
        again = fbn.load(path)
        assert again.name == test.name == name and repr(again) == repr(test)
        # files of earlier versions have no name
        arrays, about = test._pack_()
        del about["name"]
        older = type(test)._unpack_(arrays, about)
        assert older.name == (test.expression if hasattr(test, "expression") else ", ".join(test.expressions))
    assert fbn.glm.max_t(fit, "a - others", n_permutations=19, seed=0, progress=False).name == "a - others"


def test_a_saved_fit_keeps_its_conditions(tmp_path: Path) -> None:
    fit = fbn.fit_glm(recorded(), progress=False)
    fit.save(tmp_path / "fit.safetensors")
    again = fbn.glm.GLMFit.load(tmp_path / "fit.safetensors")
    assert again.conditions == fit.conditions == {"a": "a", "b": "b", "c": "c"}
    assert np.array_equal(again.contrast("a - others").estimate, fit.contrast("a - others").estimate)
    assert condition_columns(again.designs[0]) == fit.conditions
    arrays, about = fit._pack_()
    del about["conditions"]
    older = fbn.glm.GLMFit._unpack_(arrays, about)
    with pytest.raises(ValueError, match="or a fit of an earlier version"):
        older.contrast("a - others")
    assert np.array_equal(older.contrast("a - (b + c) / 2").estimate, fit.contrast("a - others").estimate)
