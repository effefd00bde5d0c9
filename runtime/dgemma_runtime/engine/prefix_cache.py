"""Prefixes the model has read before, so that a keystroke costs the new tokens only.

An optimisation and nothing else: clearing it changes timings, never an answer. Matches by token
ids alone and knows nothing of documents, so two files with the same head share it. Holds no
torch and no model; what a prefix's state is, is the adapter's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dgemma_runtime.models.base import ModelAdapter, PrefixState


@dataclass(slots=True)
class _Entry:
    ids: tuple[int, ...]
    state: PrefixState


class PrefixCache:
    """States of the last few prefixes, least recently used first.

    Args:
        adapter: Encodes prefixes.
        entries: How many are kept.
        pass_tokens: Most tokens of one causal pass, which cannot be interrupted.
    """

    def __init__(self, adapter: ModelAdapter, entries: int = 4, pass_tokens: int = 128) -> None:
        self._adapter = adapter
        self._bound = entries
        self._pass_tokens = pass_tokens
        self._entries: list[_Entry] = []
        self._held: Counter[int] = Counter()  # by identity of the state

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget every prefix."""
        self._entries.clear()

    @contextmanager
    def held(
        self, ids: Sequence[int], between: Callable[[], None]
    ) -> Iterator[tuple[PrefixState, int]]:
        """Like ``encode``, with a state that stays good inside the context, whoever else calls.

        Those who hold the same prefix share one state, which none of them may change.
        """
        state, cached = self.encode(ids, between)
        self._held[id(state)] += 1
        try:
            yield state, cached
        finally:
            self._held[id(state)] -= 1
            if not self._held[id(state)]:
                del self._held[id(state)]

    def encode(self, ids: Sequence[int], between: Callable[[], None]) -> tuple[PrefixState, int]:
        """Return the state of the prefix ``ids``, and how many of its tokens were cached.

        The state is only good until the next call; see ``held``. What was encoded before
        ``between`` raised is kept: the request that supersedes a cancelled one mostly has the same
        prefix.

        Args:
            ids: The whole prefix.
            between: Called after every pass of at most ``pass_tokens``; may raise to leave.
        """
        wanted = tuple(ids)
        entry, shared = self._longest_match(wanted)
        held = entry is not None and id(entry.state) in self._held
        if entry is not None and held and entry.ids == wanted:
            self._entries.remove(entry)  # and enter it again below, as the last one used
            state = entry.state
        elif entry is not None and not held and shared >= len(entry.ids) / 2:
            # The same document, a little further or a little back: reuse in place.
            self._entries.remove(entry)
            entry.state.crop(shared)
            state = entry.state
        elif entry is not None and shared:
            # Another document with the same head, or one that is being read; it stays whole.
            state = entry.state.fork(shared)
        else:
            state, shared = self._adapter.new_prefix(), 0
        for start in range(shared, len(wanted), self._pass_tokens):
            end = min(start + self._pass_tokens, len(wanted))
            # Entered only after each pass: one that fails half-way leaves nothing behind.
            self._adapter.encode(wanted[start:end], state)
            if end < len(wanted):
                try:
                    between()
                except BaseException:
                    self._enter(_Entry(wanted[:end], state))
                    raise
        self._enter(_Entry(wanted, state))
        return state, shared

    def _enter(self, entry: _Entry) -> None:
        self._entries.append(entry)
        del self._entries[: -self._bound]

    def _longest_match(self, ids: tuple[int, ...]) -> tuple[_Entry | None, int]:
        best, best_shared = None, 0
        for entry in self._entries:
            shared = _common(entry.ids, ids)
            if shared > best_shared:
                best, best_shared = entry, shared
        return best, best_shared


def _common(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """Return how many leading items agree."""
    bound = min(len(first), len(second))
    if first[:bound] == second[:bound]:
        return bound
    return next(i for i in range(bound) if first[i] != second[i])
