"""Block designs: who follows whom, which prompt when, and what is refused before a model is needed."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tl_fbn as fbn
from tl_fbn.acquisition.design.block_design import BlockDesign, prompt_digest, read_prompts, too_few_prompts

QUICK = settings(max_examples=40, deadline=None)
ORDERS = ("alternate", "off/on/off", "random")
Pools = dict[str, list[str]]


def pools(n_conditions: int, n_prompts: int = 200) -> Pools:
    return {name: [f"{name} {i}" for i in range(n_prompts)] for name in "abcdefg"[:n_conditions]}


# Orders


def test_alternation_known_answers() -> None:
    two = fbn.block_design(pools(2), n_runs=3, n_cycles=2, seed=0)
    assert two.schedule == (("a", "b", "a", "b"), ("b", "a", "b", "a"), ("a", "b", "a", "b"))
    four = fbn.block_design(pools(4), n_runs=4, n_cycles=1, seed=0)
    assert ["".join(run) for run in four.schedule] == ["abdc", "bcad", "cdba", "dacb"]


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_alternation_is_counterbalanced_over_a_williams_square(n: int) -> None:
    n_runs = n if n % 2 == 0 else 2 * n
    n_cycles = 2
    design = fbn.block_design(pools(n, 300), n_runs=n_runs, n_cycles=n_cycles, seed=3)
    leads = Counter(run[0] for run in design.schedule)
    assert set(leads.values()) == {n_runs // n}
    assert len(leads) == n
    cycles = [run[at : at + n] for run in design.schedule for at in range(0, len(run), n)]
    assert all(sorted(cycle) == sorted(design.conditions) for cycle in cycles)
    neighbours = Counter(pair for cycle in cycles for pair in pairwise(cycle))
    assert len(neighbours) == n * (n - 1)
    assert set(neighbours.values()) == {n_runs * n_cycles // n}
    places = Counter((place, name) for cycle in cycles for place, name in enumerate(cycle))
    assert set(places.values()) == {n_runs * n_cycles // n}


@pytest.mark.parametrize("n", [2, 3, 5])
def test_alternation_repeats_one_order_within_a_run(n: int) -> None:
    design = fbn.block_design(pools(n), n_runs=4, n_cycles=5, seed=0)
    for run in design.schedule:
        assert run == run[:n] * 5


def test_off_on_off_known_answers() -> None:
    conditions = {name: pools(7)[name] for name in "abc"} | {"rest": [f"r {i}" for i in range(99)]}
    design = fbn.block_design(conditions, order="off/on/off", n_runs=2, n_cycles=2, seed=0)
    off, a, b, c = "rest", "a", "b", "c"
    assert design.schedule[0] == (off, a, off, b, off, c, off, a, off, b, off, c, off)
    assert design.schedule[1] == (off, b, off, c, off, a, off, b, off, c, off, a, off)
    chosen = fbn.block_design(conditions, order="off/on/off", baseline="b", n_runs=1, n_cycles=1, seed=0)
    assert chosen.schedule == (("b", "a", "b", "c", "b", "rest", "b"),)
    last = fbn.block_design(pools(2), order="off/on/off", n_runs=1, n_cycles=2, seed=0)
    assert last.schedule == (("b", "a", "b", "a", "b"),)


@QUICK
@given(n=st.integers(2, 5), n_runs=st.integers(1, 4), n_cycles=st.integers(1, 6), seed=st.integers(0, 10**9))
def test_random_order_is_balanced_and_never_repeats(n: int, n_runs: int, n_cycles: int, seed: int) -> None:
    design = fbn.block_design(pools(n), order="random", n_runs=n_runs, n_cycles=n_cycles, seed=seed)
    assert len(design.schedule) == n_runs
    for run in design.schedule:
        assert all(before != after for before, after in pairwise(run))
        assert set(Counter(run).values()) == {n_cycles}
        assert all(len(set(run[at : at + n])) == n for at in range(0, len(run), n))


def test_random_order_uses_every_permutation() -> None:
    design = fbn.block_design(pools(3, 2000), order="random", n_runs=60, n_cycles=4, seed=1)
    cycles = Counter(run[at : at + 3] for run in design.schedule for at in range(0, 12, 3))
    assert len(cycles) == 6
    assert max(cycles.values()) < 3 * min(cycles.values())


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
        ({"a": "xyz", "b": ["y"]}, r"condition 'a' is one string; give a list of prompts"),
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


# Files of prompts


@pytest.mark.parametrize(("suffix", "comma"), [(".tsv", "\t"), (".csv", ","), (".CSV", ","), (".txt", "\t")])
def test_read_prompts(tmp_path: Path, suffix: str, comma: str) -> None:
    lines = [
        ("prompt", "note", "condition"),
        ("two words", "", "b"),
        (f'"a{comma}b ""quoted""\nsecond line"', "kept out", "a"),
        ("größe", "", "b"),
    ]
    path = tmp_path / f"design{suffix}"
    path.write_text("\n".join(comma.join(line) for line in lines) + "\n", encoding="utf-8")
    conditions = read_prompts(path)
    assert conditions == {"b": ["two words", "größe"], "a": [f'a{comma}b "quoted"\nsecond line']}
    assert list(conditions) == ["b", "a"]
    design = fbn.block_design(conditions, n_runs=1, n_cycles=1, seed=0)
    assert sorted(design.conditions) == ["a", "b"]


def test_read_prompts_of_a_spreadsheet(tmp_path: Path) -> None:
    """Spreadsheets write a byte order mark and carriage returns."""
    (tmp_path / "a.csv").write_bytes("\ufeffcondition,prompt\r\na,one\r\nb,two\r\n".encode())
    assert read_prompts(str(tmp_path / "a.csv")) == {"a": ["one"], "b": ["two"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns none; it needs condition and prompt"),
        ("condition\ttext\na\tb\n", "has the columns condition, text; it needs condition and prompt"),
        ("condition,prompt\na,b\n", "has the columns condition,prompt; it needs"),
        ("condition\tprompt\n", "has a header and no prompt; add lines"),
        ("condition\tprompt\na\tx\n\na\t\n", "line 4: condition or prompt is empty; fill it or delete the line"),
        ('condition\tprompt\na\t"x\ny"\n\tz\n', "line 4: condition or prompt is empty"),
        ("condition\tprompt\na\n", "line 2: condition or prompt is empty"),
    ],
)
def test_read_prompts_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"bad\.tsv.*{message}"):
        read_prompts(tmp_path / "bad.tsv")


def test_read_prompts_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file at .*; give a \.tsv or \.csv file with the columns"):
        read_prompts(tmp_path / "none.tsv")


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
