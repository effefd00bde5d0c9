"""The work of one job on the device: its canvas, its candidates one after another, its drafts.

Keeps the deadline and leaves when the job is no longer wanted. Knows nothing of loading, of what is
kept between jobs and of other jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from dgemma_runtime.canvas import Canvas, lay_out
from dgemma_runtime.encoding import encode_request
from dgemma_runtime.engine.asked import Asked, candidate_seed
from dgemma_runtime.engine.base import Answer
from dgemma_runtime.engine.kept_drafts import DraftSpan, best_first
from dgemma_runtime.engine.shelf import AdapterShelf
from dgemma_runtime.engine.starts import draw_starts, have_starts
from dgemma_runtime.job import Job
from dgemma_runtime.models.base import ModelSpec, ReadsCausally
from dgemma_runtime.text import MAX_CHARS_PER_TOKEN, Codec, SpanText
from dgemma_wire.errors import DenoiseFailed, FailureCode
from dgemma_wire.messages import Candidate, Denoise, Draft, Renoise, Timings, Weigh

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dgemma_runtime.engine.passes import Asks
    from dgemma_runtime.engine.prefix_cache import PrefixCache
    from dgemma_runtime.engine.state import Lines, Problem, State
    from dgemma_runtime.models.base import ModelAdapter, PrefixState

Clock = Callable[[], float]
DraftSink = Callable[[Draft], None]
Found: TypeAlias = tuple[Candidate, tuple[DraftSpan, ...]]
"""A candidate, and what is to be kept of its spans."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is there between ``load`` and ``unload``."""

    shelf: AdapterShelf
    codec: Codec
    cache: PrefixCache
    device: torch.device
    breaks: Tensor | None = None
    """Line breaks in each token of the vocabulary (vocab,), for models that read them there."""

    def lines(self, spans: Sequence[SpanText]) -> Lines | None:
        """Return the lines that spans may take up as a device reads them, if any is bounded."""
        from dgemma_runtime.engine.state import Lines

        most = tuple(span.max_lines for span in spans)
        if self.breaks is None or all(lines is None for lines in most):
            return None
        return Lines(self.breaks, most)


@dataclass(frozen=True, slots=True)
class Laid:
    """A canvas, and how the tokens of its spans become their texts."""

    canvas: Canvas
    spans: tuple[SpanText, ...]


@dataclass(frozen=True, slots=True)
class Drafted:
    """A canvas that was denoised, and why that ended."""

    laid: Laid
    problem: Problem
    state: State
    stopped: str
    generator: torch.Generator


def lay_out_asked(
    spec: ModelSpec, codec: Codec, asked: Asked, seed: int
) -> tuple[tuple[int, ...], Laid]:
    """Return the tokens before a candidate's canvas, and the canvas."""
    segments, spans = draw_starts(asked.segments, asked.spans, codec=codec, spec=spec, seed=seed)
    prefix_ids, canvas = lay_out(asked.source.request.prefix_ids, segments, spec.layout)
    return prefix_ids, Laid(canvas, spans)


@dataclass(slots=True)
class Work:
    """The candidates of one job: what they share, and the draft clock that runs across them.

    ``width`` is how many canvases the device reads at once for little more than one: so many
    candidates are denoised in step with each other, and a deadline finds all of them half done. One
    by one the first is whole before the second begins.
    """

    spec: ModelSpec
    clock: Clock
    loaded: Loaded
    job: Job
    request: Denoise | Renoise
    asked: Asked
    laid: Laid
    prefix: PrefixState
    adapter: ModelAdapter
    on_draft: DraftSink
    width: int = 1
    step_ms: list[float] = field(default_factory=list)
    doubt_ms: float = 0.0
    drafted: float | None = None

    def candidates(self, count: int) -> Asks[list[Found]]:
        """Denoise the canvas to at most ``count`` different candidates, best first.

        Raises:
            JobCancelled: The job is no longer wanted.
            DenoiseFailed: No time was left for the first candidate's first step.
        """
        from dgemma_runtime.engine import searched
        from dgemma_runtime.engine.passes import side_by_side

        if searched.wanted(self):
            return (yield from searched.candidates(self, count))
        found: list[Found] = []
        for first in range(0, count, self.width):
            numbers = range(first, min(count, first + self.width))
            made = yield from side_by_side([self.candidate(number) for number in numbers])
            for each in made:
                if each is not None and all(each[0].texts != other.texts for other, _ in found):
                    found.append(each)
            if None in made:
                break
        return best_first(found)

    def candidate(self, number: int) -> Asks[Found | None]:
        """Denoise the canvas to candidate ``number``; ``None`` when no time is left for one."""
        laid = self.laid
        seed = candidate_seed(self.request.seed, number)
        if number and have_starts(self.asked.segments):
            _, laid = lay_out_asked(self.spec, self.loaded.codec, self.asked, seed)
        sample = number > 0 or not self.spec.sampler.greedy_first
        drafted = yield from self.draft(number, laid, sample=sample)
        return None if drafted is None else (yield from self.finished(drafted))

    def draft(
        self, number: int, laid: Laid, *, sample: bool, max_steps: int | None = None
    ) -> Asks[Drafted | None]:
        """Denoise a canvas of this job; ``None`` when no time is left for its first step.

        Args:
            number: Of the candidate; it has the random stream of that number.
            laid: The canvas.
            sample: Draw tokens instead of taking the likeliest.
            max_steps: In place of the request's and the model's.
        """
        import torch

        from dgemma_runtime.engine import loop

        spec, job = self.spec, self.job
        problem = self.problem(laid, sample=sample, max_steps=max_steps)
        generator = torch.Generator(device=self.loaded.device)
        generator.manual_seed(candidate_seed(self.request.seed, number))
        began = None

        def go_on(state: State) -> bool:
            nonlocal began
            if began is not None:
                self.show(number, laid, problem, state, began)
            job.check()
            began = self.clock()
            if job.deadline is None or began < job.deadline:
                return True
            if number == 0 and state.steps == 0:
                check_time(job, job.deadline)
            return False

        state = yield from loop.denoise(
            self.adapter, self.prefix, problem, spec.noise, spec.sampler, generator, go_on
        )
        if state.steps == 0:
            return None
        stopped = "deadline"
        if state.settled or state.steps == problem.max_steps:
            stopped = "settled" if state.settled else "steps"
            assert began is not None
            self.show(number, laid, problem, state, began)
        return Drafted(laid, problem, state, stopped, generator)

    def finished(self, drafted: Drafted) -> Asks[Found]:
        """Read a candidate out of a draft, with its doubts where they are wanted."""
        from dgemma_runtime.engine.drafts import make_candidate

        problem, state = drafted.problem, drafted.state
        doubts: Mapping[int, float] = {}
        if self.request.doubt:
            doubts = yield from self._doubts(problem, state, drafted.generator)
        return make_candidate(
            self.loaded.codec, problem, state, drafted.laid.spans, drafted.stopped, doubts
        )

    def has_time(self) -> bool:
        """Say whether the deadline is yet to come.

        Raises:
            JobCancelled: The job is no longer wanted.
        """
        self.job.check()
        return self.job.deadline is None or self.clock() < self.job.deadline

    def problem(self, laid: Laid, *, sample: bool, max_steps: int | None = None) -> Problem:
        """Put a canvas of this job onto the device; see ``draft``."""
        from dgemma_runtime.engine import loop
        from dgemma_runtime.engine.reading import needed_by_lines

        spec, loaded = self.spec, self.loaded
        return loop.make_problem(
            laid.canvas,
            loaded.device,
            max_steps=max_steps
            or self.request.max_steps
            or spec.sampler.max_steps
            or sum(laid.canvas.free),
            sample=sample,
            end_ids=spec.end_ids,
            needed=needed_by_lines(loaded.codec, laid.spans),
            lines=loaded.lines(laid.spans),
            first=self.first_tokens(laid),
        )

    def first_tokens(self, laid: Laid) -> list[int] | None:
        """Return what may stand at the first free position; ``None`` for anything.

        That position is the first of its span unless something was clamped there.
        """
        span = laid.spans[0]
        at = laid.canvas.spans[0][0]
        if not span.begins or not laid.canvas.free[at]:
            return None
        return self.loaded.codec.beginning_with(span.given)

    def causal(self) -> Found:
        """Have the causal pass fill the canvas; see ``Denoise.causal``.

        Raises:
            JobCancelled: The job is no longer wanted.
            DenoiseFailed: The model cannot, or the canvas has more than one free piece.
        """
        from dgemma_runtime.engine import causal
        from dgemma_runtime.engine.reading import needed_by_lines, read_candidate

        adapter = causal_of(self.adapter)
        canvas, spans = self.laid.canvas, self.laid.spans
        if sum(map(len, canvas.pieces)) != 1:
            raise DenoiseFailed(
                FailureCode.BAD_REQUEST, "The causal pass fills one free segment, and no more."
            )

        def between() -> None:
            self.job.check()
            check_time(self.job, self.clock())

        began = self.clock()
        codec = self.loaded.codec
        guess = self.request.guess if isinstance(self.request, Denoise) else ""
        made = causal.draft(
            adapter,
            self.prefix,
            canvas,
            self.spec.end_ids,
            needed_by_lines(codec, spans),
            between,
            codec.encode(spans[0].given + guess),
            self.first_tokens(self.laid),
        )
        self.step_ms.append((self.clock() - began) * 1000)
        return read_candidate(
            codec, made.filled, spans, steps=made.passes, stopped="settled", doubts={}
        )

    def _doubts(
        self, problem: Problem, state: State, generator: torch.Generator
    ) -> Asks[Mapping[int, float]]:
        """Measure the doubt of a finished draft, as far as there is time."""
        from dgemma_runtime.engine import doubt

        before = self.clock()
        found = yield from doubt.measure(
            self.prefix, problem, state, self.spec.noise, generator, self.has_time, self.width
        )
        self.doubt_ms += (self.clock() - before) * 1000
        return found

    def show(self, number: int, laid: Laid, problem: Problem, state: State, before: float) -> None:
        """Note the step's time and show the canvas when a draft is due."""
        now = self.clock()
        self.step_ms.append((now - before) * 1000)
        wait = self.request.draft_every_ms
        if wait is None or (self.drafted is not None and (now - self.drafted) * 1000 < wait):
            return
        from dgemma_runtime.engine.drafts import draft_spans

        self.drafted = now
        self.on_draft(
            Draft(
                id=self.request.id,
                candidate=number,
                step=state.steps,
                max_steps=problem.max_steps,
                spans=draft_spans(
                    self.loaded.codec, problem, state, laid.spans, self.spec.noise.kind
                ),
            )
        )


def causal_of(adapter: ModelAdapter) -> ReadsCausally:
    """Return a model as one whose causal pass drafts and weighs.

    Raises:
        DenoiseFailed: ``bad_request``: it has none that does.
    """
    if not isinstance(adapter, ReadsCausally):
        raise DenoiseFailed(
            FailureCode.BAD_REQUEST, "This model's causal pass neither drafts nor weighs."
        )
    return adapter


def weigh_texts(
    loaded: Loaded, job: Job, request: Weigh, spec: ModelSpec, clock: Clock
) -> Asks[Answer]:
    """Answer a ``Weigh``; the causal pass is asked directly, so nothing is yielded.

    Raises:
        JobCancelled: The job is no longer wanted.
        DenoiseFailed: The model cannot, no text came, or the deadline passed.
    """
    from dgemma_runtime.engine import causal

    yield from ()
    adapter = causal_of(loaded.shelf.get(""))
    if not request.texts:
        raise DenoiseFailed(FailureCode.BAD_REQUEST, "There are no texts to weigh.")

    def between() -> None:
        job.check()
        check_time(job, clock())

    began = clock()
    encoded = encode_request(
        loaded.codec,
        spec.prompt.lay_out(request.prefix, None, request.context, request.suffix),
        (),
        prefix_tokens=spec.limits.prefix_tokens,
        tail_tokens=0,
        start_ids=spec.start_ids,
    )
    ids = encoded.prefix_ids or (spec.layout.empty_head_id,)
    weights = causal.weigh(
        adapter,
        loaded.cache,
        loaded.codec,
        request.prefix,
        ids,
        request.texts,
        request.suffix[: causal.SUFFIX_TOKENS * MAX_CHARS_PER_TOKEN],
        between,
    )
    done = clock()
    return Answer(
        (),
        Timings(
            queue_ms=0.0 if job.started is None else (job.started - job.received) * 1000,
            layout_ms=0.0,
            prefill_ms=0.0,
            step_ms=((done - began) * 1000,),
            total_ms=(done - job.received) * 1000,
            prefix_tokens=len(ids),
            cached_tokens=0,
        ),
        weights,
    )


def check_time(job: Job, now: float) -> None:
    """Leave a job whose deadline has passed before its first step.

    Raises:
        DenoiseFailed: ``deadline``.
    """
    if job.deadline is not None and now >= job.deadline:
        raise DenoiseFailed(
            FailureCode.DEADLINE, "The deadline passed before the first denoise step."
        )
