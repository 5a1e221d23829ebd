"""Numbers that look like others: masks as indices, floats and texts as token ids, through every door that takes them.

Python and numpy read ``True`` as 1, ``3.7`` as 3 and ``"5"`` as 5 where an integer is asked for. Each door here either
refuses what is no integer, in one sentence that names the place, or takes it for what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.external_arrays import all_events, arrays, record
from tl_fbn.acquisition.model.contexts import encode
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError
from tl_fbn.units import Network, UnitMap, UnitSpace

pytestmark = pytest.mark.usefixtures("unchecked")

SPACE = UnitSpace("mlp.neurons", (384, 384, 384))
NETWORK = Network.from_indices(SPACE, [1, 2, 400, 900])

NO_LAYERS = {
    "mask": [True, False, True],
    "array mask": np.array([True, False, True]),
    "tensor mask": torch.tensor([True, False, True]),
    "mask of 0 and 1": [1, 0, 1],
    "float": [1.0],
    "text": "01",
    "one layer": 1,
}
LAYER_DOORS: dict[str, Callable[[Any, Any], Any]] = {
    "restrict": lambda model, layers: NETWORK.restrict(layers=layers),
    "Scanner": lambda model, layers: fbn.Scanner(model, layers=layers),
    "inhibit": lambda model, layers: fbn.inhibit(model, NETWORK, layers=layers),
    "amplify": lambda model, layers: fbn.amplify(model, NETWORK, gain=2.0, layers=layers),
    "clamp": lambda model, layers: fbn.clamp(model, NETWORK, at=0.0, layers=layers),
    "retain": lambda model, layers: fbn.retain(model, NETWORK, layers=layers),
}


@pytest.mark.parametrize("given", NO_LAYERS.values(), ids=NO_LAYERS)
@pytest.mark.parametrize("door", LAYER_DOORS.values(), ids=LAYER_DOORS)
def test_layers_are_numbers_and_no_mask(demo_model: Any, door: Callable[[Any, Any], Any], given: Any) -> None:
    with pytest.raises(InputError, match="layers"):
        door(demo_model, given)


@pytest.mark.parametrize("given", [(0, 2), [0, 2], np.array([0, 2]), torch.tensor([0, 2])])
def test_numbers_of_layers_come_from_any_list(demo_model: Any, given: Any) -> None:
    assert NETWORK.restrict(layers=given).per_layer().tolist() == [2, 0, 1]
    assert fbn.Scanner(demo_model, layers=given).space.widths == (384, 0, 384)
    assert len(fbn.inhibit(demo_model, NETWORK, layers=given).fwd_hooks(demo_model)) == 2


NO_IDS = {
    "float": [5, 3.7, 8],
    "whole float": [5.0, 6.0],
    "mask": [True, False, True],
    "array mask": np.array([True, False, True]),
    "float tensor": torch.tensor([5.0, 6.5]),
    "texts": ["5", "6"],
    "None": [None, 5],
    "negative": [5, -1],
    "dict": {5: 1, 6: 2},
    "bytes": b"\x05\x06",
    "set": {5, 6},
    "nested": [[5, 6]],
    "masked": np.ma.array([5, 6], mask=[False, True]),
}
OTHER = [[9, 9, 9], [10, 9, 9]]
TWO = {"n_runs": 1, "n_cycles": 1, "tokens_per_block": 2, "seed": 0}
ID_DOORS: dict[str, Callable[[Any, Any], Any]] = {
    "block_design": lambda model, ids: fbn.block_design({"a": [ids], "b": OTHER}, **TWO),
    "encode": lambda model, ids: encode(None, ids),
    "token_layout": lambda model, ids: fbn.token_layout(model.tokenizer, ids),
    "cgvst": lambda model, ids: fbn.cgvst(model, [ids], positions=[[1]], progress=False),
    "prompt of a choice": lambda model, ids: fbn.Battery.from_choices({"t": [(ids, [[3], [4]], 0)]}).evaluate(model),
    "choice": lambda model, ids: fbn.Battery.from_choices({"t": [([5], [ids, [4]], 0)]}).evaluate(model),
    "compensate": lambda model, ids: fbn.prune(model, ~NETWORK, compensate=[ids], progress=False),
}


@pytest.mark.parametrize("given", NO_IDS.values(), ids=NO_IDS)
@pytest.mark.parametrize("door", ID_DOORS.values(), ids=ID_DOORS)
def test_token_ids_are_integers_and_never_rounded(demo_model: Any, door: Callable[[Any, Any], Any], given: Any) -> None:
    """3.7 was read as token 3, and a mask as tokens 0 and 1."""
    with pytest.raises(InputError):
        door(demo_model, given)


@pytest.mark.parametrize("given", [[5, 6, 7], (5, 6, 7), np.array([5, 6, 7], np.uint8), torch.tensor([5, 6, 7])])
def test_token_ids_come_from_any_list_of_integers(demo_model: Any, given: Any) -> None:
    assert fbn.block_design({"a": [given], "b": OTHER}, **TWO).conditions["a"] == ((5, 6, 7),)
    assert encode(None, given) == fbn.token_layout(demo_model.tokenizer, given).ids == (5, 6, 7)
    task = fbn.Battery.from_choices({"t": [(given, [[3], given], 0)]}).tasks["t"]
    assert (task.items[0].prompt, task.items[0].alternatives) == ((5, 6, 7), ((3,), (5, 6, 7)))


@pytest.mark.parametrize(
    "positions",
    [
        [True, False, True, True],
        [[True, False, True, True]],
        np.array([False, True, True, True]),
        torch.tensor([False, True, True, True]),
        [0, 1, 1, 0],
        [2.7],
        ["1"],
        [None],
        [[1], 2],
        "12",
        2,
    ],
    ids=repr,
)
def test_scored_positions_are_numbers_and_no_mask(demo_model: Any, positions: Any) -> None:
    """[True, False, True, True] scored position 1 three times."""
    with pytest.raises(InputError, match=r"positions of item 0"):
        fbn.cgvst(demo_model, [[5, 6, 7, 8]], positions=[positions], progress=False)


MASK = np.arange(SPACE.n_units) < 3
UNIT_DOORS: dict[str, Callable[[Any], Any]] = {
    "from_indices": lambda units: Network.from_indices(SPACE, units),
    "read": lambda units: Recording.from_arrays([arrays()[0]], events=all_events()[:1])[0].read(units=units),
    "from_layers": lambda units: Network.from_json([units[:384], [], []], space=SPACE),
}


@pytest.mark.parametrize("door", list(UNIT_DOORS))
@pytest.mark.parametrize(
    "given", [MASK.tolist(), MASK, MASK.astype(int), MASK.astype(int).tolist(), MASK.astype(float)]
)
def test_a_mask_of_units_is_never_read_as_units_0_and_1(door: str, given: Any) -> None:
    if door == "from_layers" and np.asarray(given).dtype == bool:  # booleans by layer are documented there
        assert UNIT_DOORS[door](given).members.tolist() == MASK.tolist()
    else:
        with pytest.raises(InputError):
            UNIT_DOORS[door](given)


def test_rows_are_numbers_or_a_mask_of_all_rows() -> None:
    run = record()[0]
    mask = np.arange(run.n_rows) % 3 == 0
    for given in (mask, mask.tolist()):
        np.testing.assert_array_equal(run.read(rows=given), run.read()[mask])
    for given in ([True, False], [1.0, 2.0], ["1"], [run.n_rows]):
        with pytest.raises(InputError):
            run.read(rows=given)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])),
        pd.Series(pd.to_timedelta([1, 2], unit="s")),
        pd.Series([True, False]),
        pd.Series([1 + 1j, 2]),
        pd.Series([True, 2], dtype=object),
    ],
)
def test_columns_of_dates_booleans_and_complex_numbers_are_no_numbers(column: pd.Series) -> None:
    """A date was read as its nanoseconds since 1970."""
    units = pd.DataFrame({"layer": [0, 0], "unit": [0, 1], "value": [1.0, 2.0]})
    with pytest.raises(InputError, match="no whole number"):
        UnitMap.from_dataframe(units.assign(unit=column), kind="effect")
    events = pd.DataFrame({"onset": [0, 2], "duration": [2, 2], "trial_type": ["a", "b"]})
    with pytest.raises(InputError, match="whole numbers of rows"):
        Recording.from_arrays([[np.ones((4, 2))]], events=[events.assign(onset=column)])


def test_what_was_no_error_of_the_package(demo_model: Any) -> None:
    with pytest.raises(InputError, match=r"n_components must be a whole number; got 4\.0"):
        fbn.find_networks(record(), n_components=4.0, seed=0)
    with pytest.raises(InputError, match=r"scores must be a UnitMap or an Atlas; got Network"):
        fbn.pruning.keep_for_ratio(demo_model, NETWORK, ratio=0.1)
    design = pd.DataFrame({"a": np.ones(12, complex)})
    with pytest.raises(InputError, match="columns that are no numbers: a"):
        fbn.fit_glm(Recording.from_arrays([arrays()[0]], events=all_events()[:1]), design=design)
