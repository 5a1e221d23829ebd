"""What runs say of their variance: shares over runs, words, provenance, warnings; what is damaged says nothing."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.acquisition.recording import massive_units as stated
from tl_fbn.acquisition.recording.massive_units import MassiveUnit

SPACE = fbn.UnitSpace("mlp.out", (1000, 1000))


def described(**changed: Any) -> dict[str, Any]:
    """A run of 100 rows, 5 of them first tokens, which hold 90 of a variance of 100."""
    sums = {"rows": 100, "total": 100.0, "first_rows": 5, "first": 90.0, "units": [[1, 7, 80.0], [0, 3, 2.0]]}
    return {"key": "k", stated.VARIANCE: {"mlp.out": {**sums, **changed}}}


def test_shares_are_over_all_runs() -> None:
    runs = [described(), described(rows=300, total=300.0, first_rows=7, first=110.0, units=[[1, 7, 20.0]])]
    assert stated.first_token_shares(runs, "mlp.out") == pytest.approx((200 / 400, 12 / 400))
    assert stated.stated_units(runs, SPACE) == [MassiveUnit(1, 7, 100 / 400)]  # (0, 3) holds 2 of 400
    assert stated.stated_units([described(units=[])], SPACE) == []


@pytest.mark.parametrize(
    "about",
    [
        {"key": "k"},
        {"key": "k", "variance": None},
        {"key": "k", "variance": {"resid.post": {}}},
        described(total="much"),
        described(total=float("nan")),
        described(rows=True),
        described(first=-1.0),
        described(units=None),
        described(units=[[1, 7]]),
        described(units=[["1", 7, 3.0]]),
    ],
)
def test_what_is_not_there_or_damaged_says_nothing(about: dict[str, Any]) -> None:
    assert stated.first_token_shares([described(), about], "mlp.out") is None
    assert stated.stated_units([about], SPACE) is None


def test_nothing_is_said_without_first_tokens_or_variance() -> None:
    assert stated.first_token_shares([described(first_rows=0, first=0.0)], "mlp.out") is None
    assert stated.first_token_shares([described(total=0.0)], "mlp.out") is None
    assert stated.stated_units([described(total=0.0)], SPACE) is None


def test_a_unit_is_massive_by_its_share_and_beside_the_average() -> None:
    shares = np.array([0.049, 0.05, 0.5])
    assert stated.is_massive(shares, 40_000).tolist() == [False, True, True]
    assert stated.is_massive(shares, 400).tolist() == [False, False, True]  # 100 times 1 / 400 is .25
    assert not stated.is_massive(np.array([0.999]), 50).any()


def test_words() -> None:
    assert stated.first_tokens_in_words((0.934, 0.0167)) == (
        "93 % of the variance lies in first tokens (1.7 % of rows)"
    )
    assert stated.first_tokens_in_words((0.5, 0.0167)) == ""
    assert stated.first_tokens_in_words((0.95, 0.6)) == ""


def test_a_provenance_is_read_at_any_depth() -> None:
    entry = stated.as_provenance([MassiveUnit(1, 7, 0.70001)])
    assert entry == {"massive": [[1, 7, 0.7]]} and stated.as_provenance([]) == stated.as_provenance(None) == {}
    union = {"of": {"a": {"prompts": ["x"], **entry}, "b": {"massive": [[0, 3, 0.1], [1, 7, 0.9]]}}}
    assert set(stated.units_of_provenance(union)) == {MassiveUnit(1, 7, 0.9), MassiveUnit(0, 3, 0.1)}
    assert stated.units_of_provenance([{"massive": "much"}, {"massive": [[1], "x"]}, None]) == []


def test_one_sentence_names_units_shares_and_networks() -> None:
    holds = fbn.Network.from_indices(SPACE, [5, 1007])
    free = fbn.Network.from_indices(SPACE, [5, 6])
    units = [MassiveUnit(1, 7, 0.7), MassiveUnit(0, 9, 0.2), MassiveUnit(5, 0, 0.9)]  # no such layer in this space
    with pytest.warns(UserWarning) as caught:
        stated.warn_of_massive_units({"a": holds, "b": free}, {"a": [*units, *units], "b": units}, stacklevel=1)
    (message,) = (str(one.message) for one in caught)
    assert message.startswith("a network holds massive activations")
    assert "unit 7 of layer 1 (70 % of the variance alone; in a)" in message and "layer 0" not in message
    assert "network - recording.massive().network leaves them out" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stated.warn_of_massive_units({"b": free}, {"b": units}, stacklevel=1)
        stated.warn_of_massive_units({"a": holds}, {}, stacklevel=1)


def test_a_run_of_other_rows_does_not_keep_them() -> None:
    assert stated.without_variance(described()) == {"key": "k"}
