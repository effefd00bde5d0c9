"""Several jobs on the device at once, in step with each other.

Each is a piece of work that asks for passes; every round runs what all of them ask for next, one
forward pass for those that share an adapter, and a job leaves the round it ends in. What goes wrong
in one is the end of that one. Knows no request and no model; takes no decisions about who may come.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from dgemma_runtime.engine.base import Answer
from dgemma_runtime.engine.device import is_out_of_memory
from dgemma_runtime.engine.passes import Asks, predict
from dgemma_runtime.job import Job
from dgemma_runtime.models.base import CanvasPass, ModelAdapter

log = logging.getLogger(__name__)


class OutOfMemory(Exception):
    """The device had too little memory for this job, alone."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A job that has been read: what it asks for, and of which model."""

    adapter: ModelAdapter
    asks: Asks[Answer]


Begin = Callable[[Job], Begun]
Ended: TypeAlias = tuple[Job, Answer | Exception]


@dataclass(slots=True)
class _Member:
    job: Job
    adapter: ModelAdapter
    asks: Asks[Answer]
    passes: list[CanvasPass] = field(default_factory=list[CanvasPass])


@dataclass(slots=True)
class Together:
    """The jobs that are under way.

    Attributes:
        begin: Reads a job.
        give_up: Frees what can be made again, when memory ran out.
    """

    begin: Begin
    give_up: Callable[[], None]
    _members: list[_Member] = field(default_factory=list[_Member])
    _apart: bool = False
    """Memory was too short for them together: each has passes of its own until all are gone."""

    def __len__(self) -> int:
        return len(self._members)

    def add(self, jobs: Sequence[Job]) -> list[Ended]:
        """Take jobs in up to their first pass; return those that end before it."""
        ended: list[Ended] = []
        with torch.inference_mode():
            for job in jobs:
                try:
                    begun = self.begin(job)
                except Exception as error:
                    ended.append((job, self._outcome(error)))
                    continue
                member = _Member(job, begun.adapter, begun.asks)
                self._members.append(member)
                ended += self._go_on(member, None)
        return ended

    def round(self) -> list[Ended]:
        """Run what all jobs ask for next; return those that end."""
        ended: list[Ended] = []
        with torch.inference_mode():
            now = list(self._members)
            adapters = {id(each.adapter): each.adapter for each in now}
            for key, adapter in adapters.items():
                members = [each for each in now if id(each.adapter) == key]
                groups = [[each] for each in members] if self._apart else [members]
                for group in groups:
                    ended += self._pass(adapter, group)
        self._apart = self._apart and bool(self._members)
        return ended

    def close(self) -> None:
        """Leave every job where it is."""
        for member in self._members:
            member.asks.close()
        self._members.clear()

    def _pass(self, adapter: ModelAdapter, members: Sequence[_Member]) -> list[Ended]:
        failed: Exception | None = None
        try:
            every = predict(adapter, [each for member in members for each in member.passes])
        except Exception as error:
            failed = error
            every = []
        if failed is None:
            logits = iter(every)
            ended: list[Ended] = []
            for member in members:
                ended += self._go_on(member, [next(logits) for _ in member.passes])
            return ended
        # Behind the handler: until it is left, the error's traceback holds the pass's tensors.
        short = is_out_of_memory(failed)
        failed = failed.with_traceback(None)
        if short:
            self.give_up()
        if len(members) > 1:
            log.warning("a pass of %d requests failed; each is tried alone", len(members))
            self._apart = short
            return [end for member in members for end in self._pass(adapter, [member])]
        (member,) = members
        if short and len(member.passes) > 1:
            log.warning("a pass of %d canvases ran out of memory", len(member.passes))
            return self._one_by_one(member)
        return self._end(member, failed)

    def _one_by_one(self, member: _Member) -> list[Ended]:
        failed: Exception | None = None
        logits: list[Tensor] = []
        try:
            logits = [predict(member.adapter, [each])[0] for each in member.passes]
        except Exception as error:
            failed = error.with_traceback(None)
        return self._go_on(member, logits) if failed is None else self._end(member, failed)

    def _go_on(self, member: _Member, logits: list[Tensor] | None) -> list[Ended]:
        failed: Exception
        try:
            member.passes = next(member.asks) if logits is None else member.asks.send(logits)
            return []
        except StopIteration as end:
            self._members.remove(member)
            return [(member.job, end.value)]
        except Exception as error:
            failed = error
        return self._end(member, failed)

    def _end(self, member: _Member, error: Exception) -> list[Ended]:
        self._members.remove(member)
        member.passes = []
        member.asks.close()
        return [(member.job, self._outcome(error))]

    def _outcome(self, error: Exception) -> Exception:
        if not is_out_of_memory(error):
            return error
        error.with_traceback(None)  # it holds the tensors of what failed
        self.give_up()
        return OutOfMemory(str(error))
