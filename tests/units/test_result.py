"""Results: what a class says once is saved, loaded and known by name, whatever its fields hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.helpers.units import TOY
from tl_fbn import files
from tl_fbn.units import UnitSpace
from tl_fbn.units.result import RESULT_CLASSES, Result


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    """Classes of these tests are known while they run."""
    before = dict(RESULT_CLASSES)
    yield
    RESULT_CLASSES.clear()
    RESULT_CLASSES.update(before)


def classes() -> tuple[type, type]:
    """A result of every kind of field, and one that holds another."""

    @dataclass(frozen=True, eq=False)
    class Inner(Result, step="contrast"):
        values: np.ndarray
        label: str

        def to_dataframe(self) -> pd.DataFrame:
            return pd.DataFrame({"value": self.values, "label": self.label})

        def __repr__(self) -> str:
            return f"Inner <{self.label}>"

    @dataclass(frozen=True, eq=False)
    class Outer(Result, step="comparison", picture="overlap_matrix", renamed={"about": "provenance"}):
        space: UnitSpace
        counts: np.ndarray
        names: tuple[str, ...]
        pairs: tuple[tuple[str, int], ...]
        table: pd.DataFrame
        inner: Inner
        by_name: Mapping[str, np.ndarray]
        skipped: Mapping[int, str]
        level: float
        extra: np.ndarray | None = None
        provenance: Mapping[str, Any] = field(default_factory=dict)

    return Inner, Outer


def made() -> tuple[type, Any]:
    inner, outer = classes()
    return outer, outer(
        space=TOY,
        counts=np.arange(6, dtype=np.int16).reshape(2, 3),
        names=("b", "a"),
        pairs=(("x", 1), ("y", 2)),
        table=pd.DataFrame({"z": [0.5, np.nan], "a": ["p", "q"]}),
        inner=inner(np.array([1.0, np.nan]), "<é>"),
        by_name={"second": np.ones(2), "first": np.zeros((1, 2), dtype=np.float32)},
        skipped={3: "no blocks", 1: "too short"},
        level=0.05,
        provenance={"seed": 1, "prompts": ["p"]},
    )


def test_every_kind_of_field_comes_back_from_its_file(tmp_path: Path) -> None:
    outer, result = made()
    result.save(tmp_path / "deep" / "r.safetensors")
    back = outer.load(tmp_path / "deep" / "r.safetensors")
    assert back.space == TOY and back.space.model == "toy"
    np.testing.assert_array_equal(back.counts, result.counts)
    assert back.counts.dtype == np.int16
    assert (back.names, back.pairs, back.level) == (("b", "a"), (("x", 1), ("y", 2)), 0.05)
    pd.testing.assert_frame_equal(back.table, result.table)
    np.testing.assert_array_equal(back.inner.values, [1.0, np.nan])
    assert back.inner.label == "<é>" and type(back.inner).__name__ == "Inner"
    assert list(back.by_name) == ["second", "first"] and back.by_name["first"].dtype == np.float32
    assert dict(back.skipped) == {3: "no blocks", 1: "too short"}
    assert back.extra is None and dict(back.provenance) == {"seed": 1, "prompts": ["p"]}


def test_a_class_is_known_by_its_name_its_step_and_its_picture(unchecked: None) -> None:
    inner, outer = classes()
    assert RESULT_CLASSES["Inner"] is inner and RESULT_CLASSES["Outer"] is outer
    assert (outer._step_, outer._picture_) == ("comparison", "overlap_matrix")
    assert (inner._step_, inner._picture_, inner._methods_(inner)) == ("contrast", None, [])
    with pytest.raises(ValueError, match=r"step must be .*'contrast'.*; got 'contrasts'"):

        class Wrong(Result, step="contrasts"):  # type: ignore[arg-type]
            pass

    assert "Wrong" not in RESULT_CLASSES


def test_fields_that_were_called_otherwise_are_read(tmp_path: Path) -> None:
    outer, result = made()
    arrays, about = result._pack_()
    about["about"] = {"seed": 7}
    del about["provenance"]
    files.write_result(tmp_path / "old", "Outer", arrays, about)
    assert dict(outer.load(tmp_path / "old").provenance) == {"seed": 7}


def test_a_description_that_lacks_a_field_is_damage_and_another_kind_is_named(tmp_path: Path) -> None:
    outer, result = made()
    arrays, about = result._pack_()
    del about["names"]
    files.write_result(tmp_path / "broken", "Outer", arrays, about)
    with pytest.raises(ValueError, match=r"broken is damaged, or not what tl_fbn wrote .*names.*; load another copy"):
        outer.load(tmp_path / "broken")
    result.inner.save(tmp_path / "inner")
    with pytest.raises(ValueError, match=r"holds a Inner, not a Outer; load it with Inner\.load"):
        outer.load(tmp_path / "inner")


def test_a_notebook_shows_the_head_and_escapes_it() -> None:
    inner, _ = classes()
    page = inner(np.arange(50.0), "<b>")._repr_html_()
    assert "Inner &lt;&lt;b&gt;&gt;" in page and "<b>" not in page
    assert page.count("<tr>") == 21
