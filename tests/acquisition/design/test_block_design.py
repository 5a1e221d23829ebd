"""Block designs: who follows whom, which prompt when, and what is refused before a model is needed."""

from __future__ import annotations

import hashlib
import random

import pytest

import tl_fbn as fbn
from tests.helpers.designs import pools
from tl_fbn.acquisition.design.block_design import BlockDesign, prompt_digest, too_few_prompts

ORDERS = ("alternate", "off/on/off", "random")


# Seeds


@pytest.mark.parametrize("order", ORDERS)
def test_equal_seeds_give_equal_designs_and_other_seeds_others(order: str) -> None:
    def plan(seed: int) -> BlockDesign:
        return fbn.block_design(pools(3), order=order, n_runs=2, n_cycles=5, seed=seed)

    random.seed(5)
    first = plan(7)
    random.seed(6)  # the global generator has no say
    assert plan(7) == first
    assert plan(8).conditions != first.conditions
    assert (plan(8).schedule != first.schedule) == (order == "random")
    assert {name: sorted(prompts) for name, prompts in plan(8).conditions.items()} == {
        name: sorted(prompts) for name, prompts in first.conditions.items()
    }


def test_shuffling_is_apart_for_every_condition() -> None:
    design = fbn.block_design({"a": list("abcdefgh"), "b": list("ABCDEFGH")}, n_runs=1, n_cycles=4, seed=0)
    shuffled = design.conditions["a"], tuple(prompt.lower() for prompt in design.conditions["b"])
    assert shuffled[0] != shuffled[1]


# Prompts


def test_repetitions_within_a_condition_count_once() -> None:
    design = fbn.block_design({"a": ["x", "y", "x"], "b": [[1, 2], [3], (1, 2)]}, n_runs=1, n_cycles=2, seed=0)
    assert sorted(design.conditions["a"]) == ["x", "y"]
    assert sorted(design.conditions["b"]) == [(1, 2), (3,)]
    with pytest.raises(ValueError, match=r"condition 'a' has 2 distinct prompts, but at least 3 are needed for 1 runs"):
        fbn.block_design({"a": ["x", "y", "x"], "b": list("123")}, n_runs=1, n_cycles=3, seed=0)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (
            {"a": ["x"], "b": ["y", "  \n"]},
            r"condition 'b' contains an empty prompt; every prompt needs at least one token",
        ),
        ({"a": [[1], []], "b": [[2]]}, r"condition 'a' contains an empty prompt"),
        ({"a": ["x"], "b": []}, r"condition 'b' has no prompts; give at least one a block"),
        ({"a": ["same one", "x"], "b": ["same one"]}, r"the prompt 'same one' is in the conditions 'a' and 'b'"),
        ({"a": [[1, 2]], "b": [(1, 2)]}, r"the prompt '\(1, 2\)' is in the conditions 'a' and 'b'"),
        ({"a": ["x"]}, r'compares at least two conditions; got a\. Add a baseline such as "rest"'),
        ({}, r"compares at least two conditions; got none"),
        ({"a": "xyz", "b": ["y"]}, r"conditions\['a'\] must be a list; got 'xyz'"),
    ],
)
def test_conditions_that_make_no_design(conditions: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fbn.block_design(conditions, n_runs=1, n_cycles=1, seed=0)


@pytest.mark.usefixtures("unchecked")  # the tests' type checker would refuse it first
def test_one_list_of_ids_is_no_condition() -> None:
    with pytest.raises(
        ValueError, match=r"condition 'a' contains 7; a prompt is a string, a list of token ids or a chat"
    ):
        fbn.block_design({"a": [7, 8, 9], "b": [[1]]}, n_runs=1, n_cycles=1, seed=0)


def test_a_prompt_in_two_conditions_is_refused_with_reuse_too() -> None:
    """Each condition deals its prompts to runs by itself, so a shared one could come in two runs."""
    with pytest.raises(ValueError, match="a prompt belongs to one condition"):
        fbn.block_design({"a": ["x", "y"], "b": ["y", "z"]}, n_runs=2, n_cycles=1, seed=0, reuse=True)


@pytest.mark.parametrize(
    ("order", "needed"),
    [("alternate", {"a": 6, "b": 6}), ("off/on/off", {"a": 6, "b": 8}), ("random", {"a": 6, "b": 6})],
)
def test_too_few_prompts_at_design_time(order: str, needed: dict[str, int]) -> None:
    for name, least in needed.items():
        enough = {other: [f"{other}{i}" for i in range(20)] for other in needed}
        short = enough | {name: enough[name][: least - 1]}
        with pytest.raises(
            ValueError,
            match=rf"condition '{name}' has {least - 1} distinct prompts, but at least {least} are needed for 2 runs; "
            "give more prompts, shorter blocks, fewer runs or cycles, or let prompts come back within a run",
        ):
            fbn.block_design(short, order=order, baseline="b" if "/" in order else None, n_runs=2, n_cycles=3, seed=0)
        exactly = enough | {name: enough[name][:least]}
        fbn.block_design(exactly, order=order, baseline="b" if "/" in order else None, n_runs=2, n_cycles=3, seed=0)


def test_with_reuse_every_run_needs_one_prompt() -> None:
    few = {"a": ["x", "y"], "b": list("1234")}
    fbn.block_design(few, n_runs=2, n_cycles=9, seed=0, reuse=True)
    with pytest.raises(ValueError, match=r"condition 'a' has 2 .* at least 3 are needed for 3 runs; .*cycles$"):
        fbn.block_design(few, n_runs=3, n_cycles=1, seed=0, reuse=True)
    assert "reuse" not in too_few_prompts("a", 2, "at least 3", 3, True)


# Options


@pytest.mark.parametrize("name", ["n_runs", "n_cycles", "tokens_per_block"])
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_are_at_least_one(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name}={value} plans no block; give an integer of at least 1"):
        fbn.block_design(pools(2), seed=0, **{name: value})


@pytest.mark.usefixtures("unchecked")
def test_unknown_order_and_baseline() -> None:
    with pytest.raises(ValueError, match=r"order must be 'alternate', 'off/on/off' or 'random'; got 'abba'"):
        fbn.block_design(pools(2), seed=0, order="abba")
    with pytest.raises(ValueError, match="baseline='rest' is no condition; conditions: a, b"):
        fbn.block_design(pools(2), seed=0, order="off/on/off", baseline="rest")
    with pytest.raises(
        ValueError, match=r"baseline='a' has a meaning only with order=\"off/on/off\"; got order='random'"
    ):
        fbn.block_design(pools(2), seed=0, order="random", baseline="a")


# Tables


def test_events_are_bids_shaped() -> None:
    design = fbn.block_design(pools(2), n_runs=2, n_cycles=2, tokens_per_block=10, seed=0)
    events = design.events(1)
    assert list(events) == ["onset", "duration", "trial_type"]
    assert events.to_numpy().tolist() == [[0, 10, "b"], [10, 10, "a"], [20, 10, "b"], [30, 10, "a"]]
    assert events[["onset", "duration"]].dtypes.astype(str).tolist() == ["int64", "int64"]
    assert (design.n_runs, design.n_blocks, design.n_rows) == (2, 8, 80)


def test_dataframe_of_all_runs() -> None:
    table = fbn.block_design(pools(2), n_runs=2, n_cycles=1, tokens_per_block=5, seed=0).to_dataframe()
    assert list(table) == ["run", "block", "onset", "duration", "trial_type"]
    assert table.to_numpy().tolist() == [[0, 0, 0, 5, "a"], [0, 1, 5, 5, "b"], [1, 0, 0, 5, "b"], [1, 1, 5, 5, "a"]]


def test_design_in_words() -> None:
    design = fbn.block_design({"a": ["x", "y"], "<b>": ["1", "2"]}, n_runs=1, n_cycles=2, tokens_per_block=500, seed=0)
    assert repr(design) == (
        "BlockDesign alternate: 1 runs, 4 blocks of 500 rows, 2,000 rows; a (2 prompts), <b> (2 prompts)"
    )
    assert "<td>a &lt;b&gt; a &lt;b&gt;</td>" in design._repr_html_()


# Digests


def test_digests_tell_prompts_apart_but_not_their_white_space() -> None:
    assert prompt_digest("a  b\n") == prompt_digest(" a b")
    assert prompt_digest("a b") != prompt_digest("ab")
    assert prompt_digest([1, 2]) == prompt_digest((1, 2))
    assert prompt_digest([1, 2]) != prompt_digest([12])
    assert prompt_digest([1, 2]) != prompt_digest("1 2")
    # networks saved today are compared with batteries of later versions
    assert prompt_digest("sort : b a") == hashlib.sha256(b"sort : b a").hexdigest()[:16] == "67a39278f7ede32e"


def test_a_design_comes_back_from_its_file(tmp_path):
    conditions = {
        "z": [f"word {i}" for i in range(60)],
        "a": [[1, 2, i] for i in range(60)],
        "chat": fbn.chats("sort", n=60),
    }
    design = fbn.block_design(conditions, n_runs=2, n_cycles=2, tokens_per_block=6, seed=1)
    design.save(tmp_path / "design.safetensors")
    again = fbn.BlockDesign.load(tmp_path / "design.safetensors")
    assert again == design and list(again.conditions) == ["z", "a", "chat"]
    assert fbn.load(tmp_path / "design.safetensors") == design


def test_conditions_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(ValueError, match="the conditions 'Sort' and 'sort' differ in upper and lower case only"):
        fbn.block_design({"Sort": ["a", "b"], "sort": ["c", "d"]}, n_runs=1, n_cycles=1, seed=0)
