"""Places of buffers on chip."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from celosia.sw.compiler.buffers import Allocator

SIZE, GRANULE = 64, 4
PIECES = SIZE // GRANULE
NEVER = 1000


def best(since: np.ndarray, size: int) -> int:
    """The lowest time since which some run of `size` words is free, by looking at all runs."""
    return min(since[start : start + size].max() for start in range(0, SIZE - size + 1, GRANULE))


@given(st.permutations(range(PIECES)), st.integers(0, PIECES), st.lists(st.integers(1, 16), max_size=4))
def test_a_place_is_the_one_that_has_been_free_for_longest(order, kept, sizes):
    """A memory full of small buffers, of which all but `kept` are given back one by one; then larger ones come."""
    memory = Allocator(SIZE, GRANULE)
    assert [memory.place(GRANULE) for _ in order] == list(range(0, SIZE, GRANULE))
    since = np.full(SIZE, NEVER)
    for time, one in enumerate(order[kept:]):
        memory.release(one * GRANULE, GRANULE)
        since[one * GRANULE : (one + 1) * GRANULE] = time
    for size in sizes:
        padded = -(-size // GRANULE) * GRANULE
        wanted, place = best(since, padded), memory.place(size)
        assert (place is None) == (wanted == NEVER)
        if place is not None:
            assert since[place : place + padded].max() == wanted
            since[place : place + padded] = NEVER


@given(st.permutations(range(PIECES)), st.integers(0, PIECES), st.lists(st.integers(1, 16), max_size=4))
def test_a_packed_place_is_the_first_one(order, kept, sizes):
    memory = Allocator(SIZE, GRANULE)
    assert [memory.place(GRANULE) for _ in order] == list(range(0, SIZE, GRANULE))
    free = np.zeros(SIZE, bool)
    for one in order[kept:]:
        memory.release(one * GRANULE, GRANULE)
        free[one * GRANULE : (one + 1) * GRANULE] = True
    for size in sizes:
        padded = -(-size // GRANULE) * GRANULE
        runs = [start for start in range(0, SIZE - padded + 1, GRANULE) if free[start : start + padded].all()]
        place = memory.place(size, packed=True)
        assert place == (runs[0] if runs else None)
        if place is not None:
            free[place : place + padded] = False


@given(st.lists(st.integers(-5, 16), min_size=1, max_size=80))
def test_places_never_overlap(requests):
    """A positive number asks for words, others give the oldest or the newest buffer back."""
    memory = Allocator(SIZE, GRANULE)
    live: list[tuple[int, int]] = []
    for request in requests:
        if request > 0:
            place = memory.place(request)
            if place is not None:
                assert all(place + request <= other or other + size <= place for other, size in live)
                live.append((place, request))
        elif live:
            memory.release(*live.pop(0 if request % 2 else -1))
    for one in live:
        memory.release(*one)
    assert memory.place(SIZE) == 0


def test_what_is_too_large_has_no_place():
    assert Allocator(10, 4).place(9) is None
    assert Allocator(10, 4).place(8) == 0
