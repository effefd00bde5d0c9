"""The engine whose denoise steps a vLLM server takes: from jobs to their answers, over HTTP.

The texts become a canvas as for a model here, and a filled canvas is read as one denoised here; in
between it travels. Keeps time, deadlines and cancellation. All calls come from one thread, on which
an event loop of its own runs while a call lasts; jobs that are under way together are its tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dgemma_runtime.canvas import Canvas, lay_out
from dgemma_runtime.engine.asked import Asked, candidate_seed, check_request, read_request
from dgemma_runtime.engine.base import (
    Answer,
    Device,
    JobDraftSink,
    LoadProgress,
    MoreJobs,
    Outcome,
    denoise_in_turn,
)
from dgemma_runtime.engine.kept_drafts import DraftSpan, KeptDrafts, best_first
from dgemma_runtime.engine.reading import Filled, needed_by_lines, read_candidate
from dgemma_runtime.engine.starts import draw_starts
from dgemma_runtime.job import Job
from dgemma_runtime.models import read_diffusion_gemma_spec
from dgemma_runtime.models.base import ModelSpec
from dgemma_runtime.remote import contract
from dgemma_runtime.remote.servers import find_key, read_servers
from dgemma_runtime.text import Codec, SpanText, load_codec
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import (
    Candidate,
    Denoise,
    Draft,
    Renoise,
    RuntimeState,
    Timings,
    Weigh,
)
from dgemma_wire.settings import RuntimeSettings

if TYPE_CHECKING:
    from dgemma_runtime.remote.pool import Pool

log = logging.getLogger(__name__)

FILES = ("config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja")
"""What is needed of the checkpoint here; its weights are the server's business."""
NEEDED = ("config.json", "tokenizer.json")
HOW = (
    "hf download google/diffusiongemma-26B-A4B-it config.json generation_config.json "
    "tokenizer.json tokenizer_config.json chat_template.jinja --local-dir FOLDER"
)
INSTALL = "pip install 'dgemma[remote]'"

LOOK_S = 0.02
"""How often a job is asked, while it waits, whether it is still wanted; and whether others came."""
TOGETHER = 8
"""Most jobs that are sent at once. The server batches them itself, with those of other people."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What is there between ``load`` and ``unload``."""

    runner: asyncio.Runner
    pool: Pool
    codec: Codec
    spec: ModelSpec
    model: str
    salt: str


@dataclass(frozen=True, slots=True)
class _Sent:
    """One candidate's canvas on its way."""

    canvas: Canvas
    spans: tuple[SpanText, ...]
    body: dict[str, object]


class RemoteEngine:
    """Implements ``Engine`` over servers that a person named."""

    def __init__(self, settings: RuntimeSettings, *, clock: Callable[[], float]) -> None:
        """Take servers that nothing has been asked of yet.

        Args:
            settings: Addresses, files, certificates, times.
            clock: Seconds, monotonic; the one job times are measured by.

        Raises:
            ModelError: An address cannot be used, or the model's small files are not here.
        """
        self._servers = read_servers(settings.model, allow_http=settings.vllm_allow_http)
        self._settings = settings
        self._clock = clock
        self._folder = Path(settings.vllm_files).expanduser()
        if not settings.vllm_files:
            raise ModelError(
                f"A model on a server needs its tokenizer here: fetch it with `{HOW}` and set "
                f"vllmFiles to that folder."
            )
        self._spec = read_diffusion_gemma_spec(self._folder)
        self.model = settings.model
        self.limits = self._spec.limits
        self.capabilities = self._spec.capabilities
        self._loaded: _Loaded | None = None
        self._kept = KeptDrafts(clock)

    @property
    def together(self) -> int:
        """How many jobs are sent at once; see ``Engine``."""
        return TOGETHER

    def files(self) -> dict[str, str]:
        """Return which of the checkpoint's small files are here; see ``Engine``."""
        return {
            name: str(self._folder / name) if (self._folder / name).is_file() else "missing"
            for name in FILES
        }

    def fetch(self, report: Callable[[LoadProgress], None]) -> None:
        """Check that the checkpoint's small files are here; nothing is fetched."""
        missing = [name for name in NEEDED if not (self._folder / name).is_file()]
        if missing:
            raise ModelError(f"{self._folder} lacks {' and '.join(missing)}. Fetch them: `{HOW}`")
        report(LoadProgress(RuntimeState.FETCHING, "Nothing is to be fetched.", 1.0))

    def load(self, report: Callable[[LoadProgress], None]) -> Device:
        """Ask the servers whether they fit; see ``Engine``."""
        for package in ("httpx2", "tokenizers"):
            if importlib.util.find_spec(package) is None:
                raise ModelError(f"A model on a server needs {package}. Install it with: {INSTALL}")
        from dgemma_runtime.remote.greeting import greet
        from dgemma_runtime.remote.pool import Pool, open_client

        self.unload()
        report(LoadProgress(RuntimeState.LOADING, f"Asking {self._servers.hosts}."))
        codec = load_codec(self._folder / "tokenizer.json", self._spec.prompt.controls)
        client = open_client(find_key(self._servers), self._settings.vllm_ca_file)
        pool = Pool(self._servers, client, float(self._settings.vllm_timeout_s))
        runner = asyncio.Runner()
        try:
            greeting = runner.run(greet(pool, codec, self._spec))
        except BaseException:
            runner.run(client.aclose())
            runner.close()
            raise
        spec = _fitted(self._spec, greeting.canvas_tokens, greeting.max_tokens)
        self.limits = spec.limits
        # Of this process alone: what one user's requests left in the prefix cache, or how fast it
        # answers, tells other users of the server nothing.
        salt = secrets.token_urlsafe(32)
        self._loaded = _Loaded(runner, pool, codec, spec, greeting.model, salt)
        log.info("asking %s of %s, %s", greeting.model, self._servers.hosts, greeting.versions)
        report(LoadProgress(RuntimeState.READY, f"{greeting.model} is ready.", 1.0))
        return Device(
            "vllm",
            f"source text is sent to {self._servers.hosts} ({greeting.model}, {greeting.versions})",
            "as served",
        )

    def unload(self) -> None:
        """Hang up."""
        loaded, self._loaded = self._loaded, None
        self._kept.clear()
        if loaded is not None:
            with contextlib.suppress(Exception):  # a connection that is broken already
                loaded.runner.run(loaded.pool.client.aclose())
            loaded.runner.close()

    def denoise(self, job: Job, on_draft: Callable[[Draft], None]) -> Answer:
        """Have the free positions of the job's canvas denoised; see ``Engine``.

        No drafts come: the server tells of a canvas when it is done.
        """
        loaded = self._loaded
        if loaded is None:
            raise DenoiseFailed(FailureCode.MODEL_UNAVAILABLE, "The model is not loaded.")
        return loaded.runner.run(self._answer(loaded, job))

    def denoise_together(
        self, jobs: Sequence[Job], on_draft: JobDraftSink, more: MoreJobs
    ) -> Iterator[tuple[Job, Outcome]]:
        """Have the canvases of several jobs denoised at once; see ``Engine``."""
        loaded = self._loaded
        if loaded is None:
            yield from denoise_in_turn(self.denoise, jobs, on_draft)
            return
        under_way: dict[asyncio.Task[Outcome], Job] = {}
        coming = jobs
        try:
            while coming or under_way:
                for job in coming:
                    task = loaded.runner.get_loop().create_task(self._outcome(loaded, job))
                    under_way[task] = job
                for task in loaded.runner.run(_first_done(under_way)):
                    yield under_way.pop(task), task.result()
                coming = more(TOGETHER - len(under_way))
        finally:
            if under_way:
                loaded.runner.run(_end(under_way))

    async def _outcome(self, loaded: _Loaded, job: Job) -> Outcome:
        try:
            return await self._answer(loaded, job)
        except Exception as error:
            return error

    async def _answer(self, loaded: _Loaded, job: Job) -> Answer:
        """Take a job from its texts to its answer; raises as ``denoise``."""
        began = self._clock()
        job.check()
        request = job.request
        check_request(request)
        if isinstance(request, Weigh):
            raise DenoiseFailed(FailureCode.BAD_REQUEST, "A vLLM server weighs no texts.")
        asked = read_request(job, loaded.codec, loaded.spec, self._kept)
        if asked.source.adapter:
            raise DenoiseFailed(
                FailureCode.ADAPTER_UNAVAILABLE,
                "A model on a server takes no adapter of this machine; set `adapter` to off.",
            )
        sent = [
            self._lay_out(loaded, request, asked, number) for number in range(request.candidates)
        ]
        laid_out = self._clock()
        bodies = await self._ask(loaded, job, sent)
        found: list[tuple[Candidate, tuple[DraftSpan, ...]]] = []
        cached = 0
        for one, body in zip(sent, bodies, strict=True):
            if body is None:
                continue
            made, cached_here = self._read(loaded, one, body)
            cached = max(cached, cached_here)
            if all(made[0].texts != other.texts for other, _ in found):
                found.append(made)
        candidates = self._kept.keep_all(job.peer, asked.source, best_first(found))
        done = self._clock()
        return Answer(
            candidates,
            Timings(
                queue_ms=0.0 if job.started is None else (job.started - job.received) * 1000,
                layout_ms=(laid_out - began) * 1000,
                prefill_ms=0.0,
                step_ms=(),
                total_ms=(done - job.received) * 1000,
                prefix_tokens=len(asked.source.request.prefix_ids),
                cached_tokens=cached,
            ),
        )

    def _lay_out(
        self, loaded: _Loaded, request: Denoise | Renoise, asked: Asked, number: int
    ) -> _Sent:
        """Lay out a candidate's canvas, noise included, which is drawn by the request's seed."""
        spec = loaded.spec
        seed = candidate_seed(request.seed, number)
        segments, spans = draw_starts(
            asked.segments, asked.spans, codec=loaded.codec, spec=spec, seed=seed
        )
        prefix, canvas = lay_out(asked.source.request.prefix_ids, segments, spec.layout)
        body = contract.completion(
            loaded.model,
            prefix,
            contract.seed_canvas(canvas, spec.noise.vocab_size, seed),
            [i for i, free in enumerate(canvas.free) if not free],
            max_steps=request.max_steps or spec.sampler.max_steps or sum(canvas.free),
            salt=loaded.salt,
        )
        return _Sent(canvas, spans, body)

    async def _ask(self, loaded: _Loaded, job: Job, sent: list[_Sent]) -> list[bytes | None]:
        """Ask for all candidates at once; leave when the job is cancelled or out of time.

        Leaving closes the connections, on which the server gives its work up.

        Returns:
            The body of each answer, ``None`` where none came in time.

        Raises:
            JobCancelled: The job is no longer wanted.
            DenoiseFailed: Not one candidate came.
        """
        tasks = [asyncio.create_task(loaded.pool.complete(one.body)) for one in sent]
        try:
            waiting: set[asyncio.Task[bytes]] = set(tasks)
            while waiting:
                job.check()
                if job.deadline is not None and self._clock() >= job.deadline:
                    break
                _, waiting = await asyncio.wait(waiting, timeout=LOOK_S)
        finally:
            await _end(tasks)
        job.check()
        bodies = [
            task.result() if not task.cancelled() and task.exception() is None else None
            for task in tasks
        ]
        if any(body is not None for body in bodies):
            return bodies
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        raise DenoiseFailed(
            FailureCode.DEADLINE,
            f"The deadline passed before {loaded.pool.servers.hosts} answered.",
        )

    def _read(
        self, loaded: _Loaded, sent: _Sent, body: bytes
    ) -> tuple[tuple[Candidate, tuple[DraftSpan, ...]], int]:
        """Read a candidate out of an answer; returns what its server had cached as well."""
        canvas = sent.canvas
        back = contract.read_completion(body, len(canvas.ids))
        # Clamped positions are ours to know, whatever the server made of them.
        pairs = zip(canvas.free, back.ids, canvas.ids, strict=True)
        nats = zip(canvas.free, back.log_probability, canvas.log_probability, strict=True)
        filled = Filled(
            canvas,
            [there if free else here for free, there, here in pairs],
            [there if free else here for free, there, here in nats],
            loaded.spec.end_ids,
            needed_by_lines(loaded.codec, sent.spans),
        )
        read = read_candidate(
            # How many steps it took, and why it stopped, no server says.
            loaded.codec,
            filled,
            sent.spans,
            steps=0,
            stopped="settled",
            doubts={},
        )
        return read, back.cached_tokens


async def _first_done(tasks: Iterable[asyncio.Task[Outcome]]) -> set[asyncio.Task[Outcome]]:
    """Wait for the first of some tasks, for ``LOOK_S`` at most; return those that are done."""
    done, _ = await asyncio.wait(tasks, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what is not done, and wait until it is."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _fitted(spec: ModelSpec, canvas_tokens: int, max_tokens: int | None) -> ModelSpec:
    """Return a spec whose canvas and prefix the servers can take."""
    canvas = min(spec.layout.canvas_tokens, canvas_tokens)
    prefix = spec.limits.prefix_tokens
    if max_tokens is not None:
        prefix = min(prefix, max_tokens - canvas - spec.prompt.after_tokens)
    if prefix < 1:
        raise ModelError(
            f"The servers read {max_tokens} tokens, which leaves none for a file beside a canvas "
            f"of {canvas}. Serve with a larger --max-model-len."
        )
    limits = msgspec.structs.replace(
        spec.limits,
        canvas_tokens=canvas,
        prefix_tokens=prefix,
        span_tokens=min(spec.limits.span_tokens, canvas),
        max_span_tokens=min(spec.limits.max_span_tokens, canvas),
    )
    layout = replace(
        spec.layout,
        canvas_tokens=canvas,
        tail_tokens=min(spec.layout.tail_tokens, canvas),
        span_tokens=min(spec.layout.span_tokens, canvas),
    )
    return replace(spec, limits=limits, layout=layout)
