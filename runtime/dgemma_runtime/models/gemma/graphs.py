"""Recording what a pass does on the device, to replay it without the host launching it again.

A step of a mixture of experts is some two thousand small kernels, and launching them takes longer
than running them. Owns the recordings and why there are none; knows nothing of what is recorded.
"""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol

import torch

log = logging.getLogger(__name__)

Run = Callable[[], None]

KEPT = 96
"""Recordings that are kept; each is a few megabytes of the driver's."""

_WARM_UPS = 2


class Recorder(Protocol):
    """Turns something that runs on memory that stays where it is into a quick repetition of it."""

    def record(self, run: Run) -> Run:
        """Return what does once more to the same memory what ``run`` does to it.

        ``run`` is called here any number of times. What it reads back from the device, and how many
        rows it found there, would be frozen: such a ``run`` fails here.

        Raises:
            Exception: It cannot be recorded.
        """
        ...


class CudaGraphs:
    """Records CUDA graphs, which share their scratch memory: only one of them runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, run: Run) -> Run:
        """See ``Recorder``."""
        with torch.cuda.device(self._device):
            stream, aside = torch.cuda.current_stream(), torch.cuda.Stream()
            # Libraries allocate and kernels are compiled when they first run, not while recording.
            aside.wait_stream(stream)
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UPS):
                    run()
            stream.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # Other threads of this process may use the device meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                run()
        return graph.replay


class Recordings:
    """The recordings of passes, by their shapes; without a recorder passes are only run.

    Args:
        recorder: Records; ``None`` for none.
        reason: Why there is none.
    """

    def __init__(self, recorder: Recorder | None, reason: str = "") -> None:
        self._recorder = recorder
        self._reason = reason
        self._kept: OrderedDict[Hashable, Run] = OrderedDict()

    @property
    def path(self) -> str:
        """How passes run, in words: ``CUDA graphs``, or ``eager:`` and why."""
        return "CUDA graphs" if self.records else f"eager: {self._reason}"

    @property
    def records(self) -> bool:
        """Whether passes are recorded."""
        return self._recorder is not None

    def __len__(self) -> int:
        return len(self._kept)

    def run(self, shape: Hashable, run: Run) -> bool:
        """Run a pass, recording it first when its shape is new.

        Returns:
            Whether it ran. ``False`` when recording failed, now and for good.

        Raises:
            torch.OutOfMemoryError: A smaller pass may still be recorded.
        """
        if self._recorder is None:
            return False
        replay = self._kept.get(shape)
        if replay is None:
            try:
                replay = self._recorder.record(run)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # CUDA's errors are of many classes
                self.give_up(error)
                return False
            self._kept[shape] = replay
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(shape)
        replay()
        return True

    def forget(self, of: Callable[[Hashable], bool] = lambda _: True) -> None:
        """Give up the recordings of some shapes, because memory they work on goes away."""
        for shape in [shape for shape in self._kept if of(shape)]:
            del self._kept[shape]

    def give_up(self, error: Exception) -> None:
        """Record nothing any more, because of an error."""
        text = str(error).strip().splitlines()
        self.stop(f"recording failed: {text[0] if text else type(error).__name__}")

    def stop(self, reason: str) -> None:
        """Record nothing any more."""
        self._reason = reason
        self._recorder = None
        self._kept.clear()
        gc.collect()  # graphs hold device memory
        log.warning("passes are not recorded as CUDA graphs: %s", self._reason)
