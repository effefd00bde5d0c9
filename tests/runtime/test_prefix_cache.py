from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from scripted_adapter import Prefix, TableAdapter  # noqa: E402

from dgemma_runtime.engine.prefix_cache import PrefixCache  # noqa: E402

pytestmark = pytest.mark.torch


def no_stop() -> None:
    pass


def cache_of(entries: int = 4) -> tuple[PrefixCache, TableAdapter]:
    adapter = TableAdapter(lambda canvas, rows: torch.zeros(len(rows), 4))
    return PrefixCache(adapter, entries, pass_tokens=40), adapter


def ids_of(state: object) -> tuple[int, ...]:
    assert isinstance(state, Prefix)
    return state.ids


def test_only_new_tokens_are_encoded() -> None:
    cache, adapter = cache_of()
    cache.encode(range(10), no_stop)
    state, cached = cache.encode([*range(8), 50, 51, 52], no_stop)
    assert cached == 8
    assert adapter.encoded[-1] == (50, 51, 52)
    assert ids_of(state) == (*range(8), 50, 51, 52)
    assert len(cache) == 1


def test_another_document_with_the_same_head_does_not_take_it_away() -> None:
    cache, adapter = cache_of()
    first = tuple(range(100))
    cache.encode(first, no_stop)
    cache.encode([*range(5), *range(200, 300)], no_stop)
    _, cached = cache.encode([*first, 7], no_stop)
    assert cached == 100
    assert adapter.encoded[-1] == (7,)


def test_the_least_recently_used_prefix_leaves() -> None:
    cache, _ = cache_of(entries=2)
    for start in (0, 100, 200):
        cache.encode(range(start, start + 10), no_stop)
    assert len(cache) == 2
    assert cache.encode(range(100, 110), no_stop)[1] == 10
    assert cache.encode(range(10), no_stop)[1] == 0


def test_clearing_forgets() -> None:
    cache, _ = cache_of()
    cache.encode(range(10), no_stop)
    cache.clear()
    assert cache.encode(range(10), no_stop)[1] == 0


def test_a_failed_pass_leaves_nothing_behind() -> None:
    cache, adapter = cache_of()
    cache.encode(range(10), no_stop)

    def fail(*_: object) -> None:
        raise RuntimeError

    original, adapter.encode = adapter.encode, fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        cache.encode([*range(9), 50], no_stop)
    adapter.encode = original  # type: ignore[method-assign]
    state, _ = cache.encode(range(10), no_stop)
    assert ids_of(state) == tuple(range(10))


def test_a_pass_is_bounded_and_what_was_read_before_leaving_is_kept() -> None:
    cache, adapter = cache_of()

    def leave() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.encode(range(100), leave)
    assert adapter.encoded == [tuple(range(40))]
    state, cached = cache.encode(range(100), no_stop)
    assert cached == 40
    assert ids_of(state) == tuple(range(100))
    assert max(map(len, adapter.encoded)) == 40


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=12),
    st.integers(1, 3),
)
def test_the_state_is_always_that_of_the_whole_prefix(
    prefixes: list[list[int]], entries: int
) -> None:
    cache, _ = cache_of(entries)
    for ids in prefixes:
        state, cached = cache.encode(ids, no_stop)
        assert ids_of(state) == tuple(ids)
        assert cached <= len(ids)
        assert len(cache) <= entries
