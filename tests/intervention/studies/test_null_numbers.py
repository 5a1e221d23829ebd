"""Which numbers and maps a result claims."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.results import contrast, study
from tests.helpers.units import TOY
from tl_fbn.errors import InputTypeError
from tl_fbn.intervention.studies.null_numbers import agreement, maps_of, numbers_of


def test_numbers_of_every_kind_of_result() -> None:
    values = np.array([3.0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    network = fbn.Network.from_indices(TOY, [0, 3], name="x")
    assert numbers_of(2) == {"number": 2.0} == numbers_of(np.float32(2))
    assert numbers_of(fbn.UnitMap(TOY, values, "scores")) == {"squares in the top 1 %": 0.5}
    assert numbers_of(network) == {"units": 2.0}
    assert numbers_of(fbn.Atlas.from_networks({"x": network})) == {"x": 2.0}
    assert numbers_of({"a": 1, "b": {"c": 2}}) == {"a": 1.0, "b: c": 2.0}
    found = numbers_of(contrast())
    assert found["units at FDR .05"] == len(contrast().threshold(fdr=0.05))
    lesions = (of_lesions := study()).summary().set_index("network")
    assert numbers_of(of_lesions)["sort"] == pytest.approx(lesions["own"]["sort"] - lesions["other_worst"]["sort"])


def test_tables_name_their_numbers() -> None:
    table = pd.DataFrame({"task": ["a", "b"], "loss": [1.0, 2.0], "p": [0.1, 0.2], "good": [True, False]})
    assert numbers_of(table) == {"a: loss": 1.0, "a: p": 0.1, "b: loss": 2.0, "b: p": 0.2}
    assert numbers_of(table[["task", "loss"]]) == {"a": 1.0, "b": 2.0}
    assert numbers_of(pd.DataFrame({"loss": [1.0]}, index=["x"])) == {"x": 1.0}
    assert numbers_of(pd.Series({"a": 1, "b": 2})) == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("returned, said", [(None, "returned None"), ("text", "returned str"), ({}, "an empty result")])
def test_what_claims_nothing_is_refused(returned, said) -> None:
    with pytest.raises(InputTypeError, match=said):
        numbers_of(returned)


def test_maps_and_their_agreement() -> None:
    values = np.arange(10.0)
    one = fbn.UnitMap(TOY, values, "scores")
    network = fbn.Network.from_indices(TOY, [0, 3])
    assert set(maps_of({"a": one, "b": network, "c": 1.0})) == {"a", "b"}
    assert maps_of(network)["network"].sum() == 2 and not maps_of(3.0)
    assert agreement(values, 3 - 2 * values) == pytest.approx(-1)
    assert np.isnan(agreement(values, np.ones(10))) and np.isnan(agreement(values, values[:5]))
    assert agreement(values, np.where(values == 3, np.nan, values)) == pytest.approx(1)
