"""Drafts that were answered a moment ago, so that a repair can go on from them.

Owns how many there are, for how long, and whose they are. What is kept is tokens, a few kilobytes
a draft: keys and values are the prefix cache's business. No torch here.
"""

from __future__ import annotations

import itertools
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from dgemma_runtime.encoding import EncodedRequest
from dgemma_wire.errors import DenoiseFailed, FailureCode
from dgemma_wire.messages import Candidate

ROOM = 64
SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Source:
    """What all drafts of a request have in common, and those that go on from them.

    Attributes:
        request: Its tokens as they were laid out first.
        adapter: Id of the canvas adapter; empty for the model's own.
        rewrites: It was a rewrite, for which a model may have an adapter of its own.
    """

    request: EncodedRequest
    adapter: str
    rewrites: bool = False


@dataclass(frozen=True, slots=True)
class DraftSpan:
    """The tokens of one span's text.

    Attributes:
        ids: Nothing that is not in the text: no end token, no newline it was cut at.
        log_probability: Nats of each when it was accepted.
        complete: The text ended by itself.
    """

    ids: tuple[int, ...]
    log_probability: tuple[float, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class KeptDraft:
    """A finished draft: what it was asked by, and what it holds."""

    source: Source
    spans: tuple[DraftSpan, ...]


def best_first(
    found: Sequence[tuple[Candidate, tuple[DraftSpan, ...]]],
) -> list[tuple[Candidate, tuple[DraftSpan, ...]]]:
    """Return candidates by their scores."""
    return sorted(found, key=lambda each: each[0].score, reverse=True)


@dataclass(slots=True)
class _Entry:
    peer: int
    draft: KeptDraft
    used: float


class KeptDrafts:
    """The last drafts of all peers, least recently used first.

    Args:
        clock: Seconds, monotonic.
        room: How many are kept.
        seconds: How long one is kept after it was made or gone on from.
    """

    def __init__(
        self, clock: Callable[[], float], room: int = ROOM, seconds: float = SECONDS
    ) -> None:
        self._clock = clock
        self._room = room
        self._seconds = seconds
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._handles = itertools.count(1)  # never used twice: an old handle is gone, not another's

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget all of them."""
        self._entries.clear()

    def keep(self, peer: int, draft: KeptDraft) -> int:
        """Keep a peer's draft and return its handle, which is above 0."""
        self._drop_old()
        while len(self._entries) >= self._room:
            self._entries.popitem(last=False)
        handle = next(self._handles)
        self._entries[handle] = _Entry(peer, draft, self._clock())
        return handle

    def keep_all(
        self, peer: int, source: Source, found: Sequence[tuple[Candidate, tuple[DraftSpan, ...]]]
    ) -> tuple[Candidate, ...]:
        """Keep the drafts of an answer; return its candidates with their handles."""
        return tuple(
            msgspec.structs.replace(candidate, draft=self.keep(peer, KeptDraft(source, spans)))
            for candidate, spans in found
        )

    def get(self, peer: int, handle: int) -> KeptDraft:
        """Return a draft of this peer.

        Raises:
            DenoiseFailed: ``draft_gone`` when there is none. Whether it is another peer's is not
                said: that would tell what others do.
        """
        self._drop_old()
        entry = self._entries.get(handle)
        if entry is None or entry.peer != peer:
            raise DenoiseFailed(
                FailureCode.DRAFT_GONE,
                f"The draft {handle} is not kept here; drafts are kept for {self._seconds:.0f} s "
                "and for the connection they were made for. Ask for the whole span again.",
            )
        self._entries.move_to_end(handle)
        entry.used = self._clock()
        return entry.draft

    def _drop_old(self) -> None:
        oldest = self._clock() - self._seconds
        while self._entries:
            handle, entry = next(iter(self._entries.items()))
            if entry.used >= oldest:
                return
            del self._entries[handle]


def make_source(request: EncodedRequest, adapter: str, *, rewrites: bool = False) -> Source:
    """Return what drafts of a request share, its prefix in as little memory as possible."""
    return Source(replace(request, prefix_ids=array("i", request.prefix_ids)), adapter, rewrites)
