"""The engine: from a job to its answer, on the device, one job at a time.

Ties codec, canvas, prefix cache, loop and adapter together, and keeps time, deadlines and
cancellation. Knows nothing of sockets and queues. Torch is imported by ``load``, not before, so
that a runtime without torch can still say what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dgemma_runtime import environment
from dgemma_runtime.catalog.packed import packed_directory
from dgemma_runtime.engine.asked import Asked, check_request, read_request
from dgemma_runtime.engine.base import (
    Answer,
    Device,
    LoadProgress,
    MoreJobs,
    Outcome,
)
from dgemma_runtime.engine.files import describe_files, locate_weights
from dgemma_runtime.engine.kept_drafts import KeptDrafts
from dgemma_runtime.engine.shelf import AdapterShelf
from dgemma_runtime.engine.work import (
    Clock,
    DraftSink,
    Loaded,
    Work,
    check_time,
    lay_out_asked,
    weigh_texts,
)
from dgemma_runtime.job import Job
from dgemma_runtime.models import adapter_loader
from dgemma_runtime.models.base import ModelSpec, NoiseKind, WarmsUp
from dgemma_runtime.models.loading import Loading, LoadReport
from dgemma_runtime.text import load_codec
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import Denoise, Draft, Renoise, RuntimeState, Timings, Weigh
from dgemma_wire.settings import RuntimeSettings

if TYPE_CHECKING:
    import torch

    from dgemma_runtime.engine.passes import Asks
    from dgemma_runtime.engine.together import Begun
    from dgemma_runtime.models.base import ModelAdapter

log = logging.getLogger(__name__)


_GPU_WIDTH = 4
"""Candidates a GPU denoises at once: their rows read the same weights."""

_GPU_TOGETHER = 8

_CPU_TOGETHER = 2
"""A CPU gains nothing by it, but a fill need not wait for a long rewrite to end."""


class DiffusionEngine:
    """Implements ``Engine`` over one model."""

    def __init__(
        self,
        spec: ModelSpec,
        settings: RuntimeSettings,
        *,
        cache_dir: Path | None,
        clock: Clock,
        adapters_dir: Path | None = None,
    ) -> None:
        """Take a model that is not loaded yet.

        Args:
            spec: The model.
            settings: Device, number format and threads.
            cache_dir: Where fetched models are kept; ``None`` is the user's cache folder.
            clock: Seconds, monotonic; the one job times are measured by.
            adapters_dir: Where workspaces' adapters lie; ``None`` is the user's directory.
        """
        self.model = spec.name
        self.limits = spec.limits
        self.capabilities = spec.capabilities
        self._spec = spec
        self._settings = settings
        self._cache_dir = cache_dir
        self._adapters_dir = adapters_dir
        self._clock = clock
        self._loaded: Loaded | None = None
        self._kept = KeptDrafts(clock)
        self._together = 1
        self._width = 1

    @property
    def together(self) -> int:
        """How many jobs it takes at once; see ``Engine``."""
        return self._together

    def files(self) -> dict[str, str]:
        """Return the model's files and what is known of each; see ``Engine``."""
        return describe_files(self._spec, self._cache_dir)

    def fetch(self, report: Callable[[LoadProgress], None]) -> None:
        """Bring the model's files onto this machine and check them; see ``Engine``."""
        self._locate(report)

    def _locate(self, report: Callable[[LoadProgress], None]) -> Path:
        return locate_weights(
            self._spec, report, offline=self._settings.offline, cache_dir=self._cache_dir
        )

    def load(self, report: Callable[[LoadProgress], None]) -> Device:
        """Bring the weights onto the device; see ``Engine``."""
        environment.prepare()
        try:
            import torch

            from dgemma_runtime.engine import device as devices
            from dgemma_runtime.engine.prefix_cache import PrefixCache
            from dgemma_runtime.engine.room import room_for_prefixes, with_weight_form
            from dgemma_runtime.engine.state import line_breaks
        except ImportError as error:
            raise ModelError(
                f"The model's libraries cannot be imported ({error}). Install them with "
                "`pip install 'dgemma[runtime]'`."
            ) from error
        self.unload()
        place, dtype, chosen = devices.choose_device(self._settings.device, self._settings.dtype)
        threads = devices.set_threads(self._settings.threads)
        path = self._locate(report)
        report(LoadProgress(RuntimeState.LOADING, f"Loading {self.model} onto {chosen.name}."))
        started = self._clock()
        spec, chosen = with_weight_form(self._spec, self._settings.dtype, place, chosen)
        loading = Loading(_tell(report), packed_directory(self._cache_dir))
        try:
            with torch.inference_mode():
                adapter = adapter_loader(spec.architecture)(spec, path, place, dtype, loading)
                controls = self._spec.prompt.controls
                codec = load_codec(self._spec.folder / "tokenizer.json", controls)
                # Before room is given to prefixes: what is prepared takes memory too.
                path_of_steps = self._warm_up(adapter, place, dtype, report)
        except Exception as error:
            if devices.is_out_of_memory(error):
                devices.free_memory()
                raise ModelError(
                    f"{self.model} does not fit into the memory of {chosen.name}. Close other "
                    "programs that use it, or choose another `device` or `model`."
                ) from error
            raise
        if path_of_steps and place.type != "cpu":
            told = f"{chosen.reason}; denoise steps run as {path_of_steps}"
            chosen = Device(chosen.name, told, chosen.dtype)
        # A CPU is held for long by few tokens; a GPU wants many at once.
        pass_tokens = 128 if place.type == "cpu" else 1024
        room = room_for_prefixes(self._spec, place, dtype)
        cache = PrefixCache(adapter, room, pass_tokens)
        rewrites = self._spec.rewrite_adapter
        shelf = AdapterShelf(
            adapter,
            self._spec.base_sha256,
            self._adapters_dir,
            rewrites=self._spec.folder / rewrites if rewrites else None,
        )
        on_cpu = place.type == "cpu"
        self._width = 1 if on_cpu else _GPU_WIDTH
        self._together = _CPU_TOGETHER if on_cpu else _GPU_TOGETHER
        breaks = None
        if self._spec.noise.kind is NoiseKind.UNIFORM:
            breaks = line_breaks(codec, self._spec.noise.vocab_size).to(place)
        self._loaded = Loaded(shelf, codec, cache, place, breaks)
        log.info(
            "loaded %s onto %s (%s), %d threads, in %.1f s",
            self.model,
            chosen.name,
            chosen.reason,
            threads,
            self._clock() - started,
        )
        report(LoadProgress(RuntimeState.READY, f"{self.model} is ready.", 1.0))
        return chosen

    def _warm_up(
        self,
        adapter: ModelAdapter,
        place: torch.device,
        dtype: torch.dtype,
        report: Callable[[LoadProgress], None],
    ) -> str:
        """Prepare a model's steps; return how they run, empty where that is nothing to tell."""
        if not isinstance(adapter, WarmsUp):
            return ""
        from dgemma_runtime.engine.room import room_for_recordings

        adapter.warm_up(_tell(report), room_for_recordings(self._spec, place, dtype))
        return adapter.step_path

    def unload(self) -> None:
        """Free the device's memory."""
        if self._loaded is None:
            return
        self._loaded = None
        self._kept.clear()
        from dgemma_runtime.engine.device import free_memory

        free_memory()

    def denoise(self, job: Job, on_draft: DraftSink) -> Answer:
        """Denoise the free positions of the job's canvas; see ``Engine``."""
        ((_, outcome),) = self.denoise_together([job], lambda _, draft: on_draft(draft), _none)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def denoise_together(
        self,
        jobs: Sequence[Job],
        on_draft: Callable[[Job, Draft], None],
        more: MoreJobs,
    ) -> Iterator[tuple[Job, Outcome]]:
        """Denoise the canvases of several jobs in step with each other; see ``Engine``."""
        loaded = self._loaded
        if loaded is None:
            for job in jobs:
                text = "The model is not loaded."
                yield job, DenoiseFailed(FailureCode.MODEL_UNAVAILABLE, text)
            return
        from dgemma_runtime.engine.together import OutOfMemory, Together

        def give_up() -> None:
            from dgemma_runtime.engine import device

            log.warning("%s ran out of memory on a request", loaded.device)
            loaded.cache.clear()
            self._kept.clear()
            loaded.shelf.clear()
            own = loaded.shelf.get("")
            if isinstance(own, WarmsUp):
                own.release()
            device.free_memory()

        under_way = Together(lambda job: self._begin(loaded, job, on_draft), give_up)
        try:
            ended = under_way.add(jobs)
            while ended or under_way:
                for job, outcome in ended:
                    if isinstance(outcome, OutOfMemory):
                        outcome = _out_of_memory(loaded)
                    yield job, outcome
                ended = []
                room = self._together - len(under_way)
                if room > 0:
                    ended += under_way.add(more(room))
                if under_way:
                    ended += under_way.round()
        finally:
            under_way.close()

    def _begin(self, loaded: Loaded, job: Job, on_draft: Callable[[Job, Draft], None]) -> Begun:
        """Read a job, up to what it asks of the model."""
        from dgemma_runtime.engine.together import Begun

        request, spec = job.request, self._spec
        began = self._clock()
        job.check()
        check_request(request)
        check_time(job, self._clock())
        if isinstance(request, Weigh):
            return Begun(loaded.shelf.get(""), weigh_texts(loaded, job, request, spec, self._clock))
        asked = read_request(job, loaded.codec, spec, self._kept)
        shelf = loaded.shelf
        find = shelf.for_rewrites if asked.source.rewrites else shelf.get
        adapter = find(asked.source.adapter)

        def show(draft: Draft) -> None:
            on_draft(job, draft)

        return Begun(adapter, self._answer(loaded, job, request, asked, adapter, began, show))

    def _answer(
        self,
        loaded: Loaded,
        job: Job,
        request: Denoise | Renoise,
        asked: Asked,
        adapter: ModelAdapter,
        began: float,
        on_draft: DraftSink,
    ) -> Asks[Answer]:
        spec = self._spec
        prefix_ids, laid = lay_out_asked(spec, loaded.codec, asked, request.seed)
        laid_out = self._clock()

        def still_wanted() -> None:
            job.check()
            check_time(job, self._clock())

        still_wanted()
        with loaded.cache.held(prefix_ids, still_wanted) as (prefix, cached):
            prefilled = self._clock()
            job.check()
            work = Work(
                spec,
                self._clock,
                loaded,
                job,
                request,
                asked,
                laid,
                prefix,
                adapter,
                on_draft,
                self._width,
            )
            if isinstance(request, Denoise) and request.causal:
                found = [work.causal()]
            else:
                found = yield from work.candidates(request.candidates)
        candidates = self._kept.keep_all(job.peer, asked.source, found)
        done = self._clock()
        return Answer(
            candidates,
            Timings(
                queue_ms=0.0 if job.started is None else (job.started - job.received) * 1000,
                layout_ms=(laid_out - began) * 1000,
                prefill_ms=(prefilled - laid_out) * 1000,
                step_ms=tuple(work.step_ms),
                total_ms=(done - job.received) * 1000,
                prefix_tokens=len(prefix_ids),
                cached_tokens=cached,
                doubt_ms=work.doubt_ms,
            ),
        )


def _tell(report: Callable[[LoadProgress], None]) -> LoadReport:
    """Return what tells how far a part of the load is."""

    def tell(share: float, text: str) -> None:
        report(LoadProgress(RuntimeState.LOADING, text, share))

    return tell


def _none(_: int) -> Sequence[Job]:
    return ()


def _out_of_memory(loaded: Loaded) -> DenoiseFailed:
    return DenoiseFailed(
        FailureCode.OUT_OF_MEMORY,
        f"{loaded.device} ran out of memory on this request. What can be made again was given "
        "up; if it happens again, close other programs that use the device or ask for fewer "
        "tokens.",
    )
