"""Spaces of units, and what hypothesis draws on them."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from tl_fbn.units import UnitSpace

TOY = UnitSpace("mlp.neurons", (4, 0, 6), model="toy")
QUICK = settings(max_examples=60, deadline=None)
# what strategies draw is plain; nouns are made of it in the tests, because the type checker may not run while drawing
widths = st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any)


def each_unit(values: st.SearchStrategy, n: int = 1) -> st.SearchStrategy:
    """Widths, and n lists of one value a unit."""

    def lists(some: list[int]) -> st.SearchStrategy:
        one = st.lists(values, min_size=sum(some), max_size=sum(some))
        return st.tuples(st.just(some), st.tuples(*[one] * n))

    return widths.flatmap(lists)


def space_of(some: list[int]) -> UnitSpace:
    return UnitSpace("mlp.neurons", tuple(some), model="toy")
