"""Every message that crosses the socket, as frozen structs.

One request carries the whole product: ``Denoise`` holds a text before the canvas and the canvas
itself as segments, each either clamped (known text) or free (to be denoised). A fill at the
cursor is ``[Free, Clamped]``; several holes are ``[Free, Clamped, Free, Clamped]``. A rewrite is a
``[Free, Clamped]`` as well: the text it replaces and what to do with it stand before the canvas.
With lines of it pinned it is ``[Clamped, Free, Clamped, Free, Clamped]``, and those lines are part
of the original. Such a span is whole lines without the last line break: the text before it ends
with a break or is empty, the text after it begins with one; no text is an empty line. A
repair is a ``Renoise``: a canvas that was denoised before, with parts of its spans clamped too.

Texts are never tokens here: only the runtime knows a tokenizer. This module knows no bytes, no
sockets and no state; see ``connection``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from dgemma_wire.errors import FailureCode
from dgemma_wire.segments import (
    Clamped as Clamped,
)
from dgemma_wire.segments import (
    Free as Free,
)
from dgemma_wire.segments import (
    Kept as Kept,
)
from dgemma_wire.segments import (
    Piece as Piece,
)
from dgemma_wire.segments import (
    Rewrite as Rewrite,
)
from dgemma_wire.segments import (
    Segment as Segment,
)
from dgemma_wire.segments import (
    Tagged,
)

PROTOCOL_VERSION = 4
"""Raised whenever a message changes shape; both sides refuse to talk across versions."""


# -- from the server (the peer) to the runtime ------------------------------------------------


class Hello(Tagged, frozen=True, kw_only=True):
    """First message of a connection.

    ``token`` is the secret of the endpoint file; ``peer`` is a name for logs and status.
    """

    protocol: int
    release: str
    token: str
    peer: str = ""


class Denoise(Tagged, frozen=True, kw_only=True):
    """Denoise the free segments of a canvas, everything else clamped.

    Attributes:
        id: Chosen by the peer, larger than every earlier id of the connection; 0 is none yet.
        document: Opaque key; a newer request of the same peer and document supersedes this one.
        prefix: Text before the canvas; the causal pass reads it into the prefix cache.
        causal: Have the untouched causal pass fill the one free segment from the left instead, not
            seeing what follows; see ``Capabilities.weighs``.
        guess: What the causal pass may well write; it reads in one pass what it agrees with.
        context: Pieces of text from elsewhere, the most stable first, that are read before
            ``prefix`` as far as it leaves room for them; the last ones are dropped first.
        segments: The canvas, first to last; at least one is free.
        candidates: How many different answers are wanted.
        max_steps: Bound on denoise steps per candidate; ``None`` is the model's own.
        deadline_ms: Milliseconds from receipt after which no further step is started.
        seed: Seeds the request's own random stream.
        draft_every_ms: Least time between two drafts; ``None`` asks for no drafts.
        rewrite: What the canvas replaces; ``prefix`` then ends with a line break or is empty.
            ``None`` for a plain fill.
        adapter: Id of a canvas adapter to use in place of the model's own, see
            ``dgemma_wire.adapters``; empty for the model's own.
        doubt: Measure every token's ``SpanToken.doubt``; costs some canvas passes per candidate.
    """

    id: int = 0
    document: str
    prefix: str
    segments: tuple[Segment, ...]
    candidates: int = 1
    max_steps: int | None = None
    deadline_ms: int | None = None
    seed: int = 0
    draft_every_ms: int | None = None
    rewrite: Rewrite | None = None
    adapter: str = ""
    doubt: bool = False
    causal: bool = False
    guess: str = ""
    context: tuple[str, ...] = ()


class Renoise(Tagged, frozen=True, kw_only=True):
    """Denoise parts of an earlier answer's canvas again, the rest of it clamped.

    Prefix, suffix, rewrite, adapter and line limits are those of the request that made the draft.
    Where a free piece ends early nothing of it is left, and what follows it stays.

    Attributes:
        id: Chosen by the peer, larger than every earlier id of the connection; 0 is none yet.
        document: Opaque key; a newer request of the same peer and document supersedes this one.
        draft: ``Candidate.draft`` of an answer to the same connection, not long ago.
        spans: What each free segment of that canvas holds now, in order; at least one piece is
            free. ``Kept`` ones are in order and apart, ``Free`` ones name their ``tokens`` (and
            no ``max_lines``), and the text of ``Clamped`` ones counts as certain.
        candidates: How many different answers are wanted.
        max_steps: Bound on denoise steps per candidate; ``None`` is the model's own.
        deadline_ms: Milliseconds from receipt after which no further step is started.
        seed: Seeds the request's own random stream.
        draft_every_ms: Least time between two drafts; ``None`` asks for no drafts.
        doubt: As in ``Denoise``.
    """

    id: int = 0
    document: str
    draft: int
    spans: tuple[tuple[Piece, ...], ...]
    candidates: int = 1
    max_steps: int | None = None
    deadline_ms: int | None = None
    seed: int = 0
    draft_every_ms: int | None = None
    doubt: bool = False


class Weigh(Tagged, frozen=True, kw_only=True):
    """Ask how likely the model's causal pass finds several texts for one place.

    Answered by a ``Done`` with ``weights`` and no candidates.

    Attributes:
        id: Chosen by the peer, larger than every earlier id of the connection; 0 is none yet.
        document: Opaque key; a newer request of the same peer and document supersedes this one.
        prefix: Text before them, as in ``Denoise``.
        texts: What may stand there; at least one.
        suffix: Text that follows, of which the head counts for every text.
        deadline_ms: Milliseconds from receipt after which no further text is weighed.
        context: As in ``Denoise``.
    """

    id: int = 0
    document: str
    prefix: str
    texts: tuple[str, ...]
    suffix: str
    deadline_ms: int | None = None
    context: tuple[str, ...] = ()


class Cancel(Tagged, frozen=True, kw_only=True):
    """Give up request ``id``; it is answered by ``Failed(cancelled)``, or by what crossed it."""

    id: int


class GetStatus(Tagged, frozen=True, kw_only=True):
    """Ask for a ``Status`` now."""


class Stop(Tagged, frozen=True, kw_only=True):
    """End the runtime process; running requests fail with ``shutting_down``."""


# -- from the runtime to the peer -------------------------------------------------------------


class ModelLimits(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a peer must know to cut a context to size.

    Attributes:
        prefix_tokens: Tokens of prefix the runtime keeps; the head is dropped beyond them.
        canvas_tokens: Positions of one canvas, spans and clamped text together.
        span_tokens: Positions a free segment gets when it names none.
        max_span_tokens: Most positions a free segment may name.
        chars_per_token: Typical characters of source code per token.
    """

    prefix_tokens: int
    canvas_tokens: int
    span_tokens: int
    max_span_tokens: int
    chars_per_token: float


class RewriteKind(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One kind of rewrite a model was trained for.

    Attributes:
        kind: Its name, such as ``add_types``.
        instruction: The words it was trained with; ``{a}`` stands for an argument.
        languages: LSP language identifiers it was measured in; empty for all.
        success: Measured share of rewrites that were right, 0 to 1.
    """

    kind: str
    instruction: str
    success: Annotated[float, Meta(ge=0, le=1)]
    languages: tuple[str, ...] = ()


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a model can do beyond filling holes.

    Attributes:
        rewrites: The kinds of rewrite it was trained for.
        least_score: ``Candidate.score`` from which on an answer is worth showing to somebody who
            did not ask for it; ``None`` for all.
        instructions: Any instruction for a rewrite may be tried, not only those of ``rewrites``.
        context_tokens: Tokens of ``Denoise.context`` that are worth their room; 0 for none.
        spans: Free segments of one canvas that it fills as well together as one by one.
        weighs: It answers ``Weigh`` and ``Denoise.causal``, and that pays.
    """

    rewrites: tuple[RewriteKind, ...] = ()
    least_score: float | None = None
    instructions: bool = False
    context_tokens: int = 0
    spans: int = 1
    weighs: bool = False


class Welcome(Tagged, frozen=True, kw_only=True):
    """Answer to a ``Hello`` that the runtime accepts."""

    protocol: int
    release: str
    pid: int
    model: str
    limits: ModelLimits
    capabilities: Capabilities = Capabilities()


class RefusalCode(StrEnum):
    """Why a ``Hello`` is not accepted."""

    TOKEN = "token"  # noqa: S105 - a word, not a secret
    PROTOCOL = "protocol"


class Refused(Tagged, frozen=True, kw_only=True):
    """Answer to a ``Hello`` that it does not; the connection closes after it."""

    code: RefusalCode
    reason: str
    protocol: int
    release: str
    pid: int


class TokenState(StrEnum):
    """What one position of a draft holds."""

    NOISE = "noise"
    GUESS = "guess"
    SETTLED = "settled"


class DraftToken(msgspec.Struct, frozen=True, array_like=True):
    """One position of a draft: its text and whether it may still change."""

    text: str
    state: TokenState


class Draft(Tagged, frozen=True, kw_only=True):
    """The spans as they stand after ``step`` of at most ``max_steps`` denoise steps."""

    id: int
    candidate: int
    step: int
    max_steps: int
    spans: tuple[tuple[DraftToken, ...], ...]


class SpanToken(msgspec.Struct, frozen=True, array_like=True):
    """One token of a candidate's text.

    Attributes:
        chars: Characters of the span's text it makes; 0 for a part of a character, which counts
            for the token that completes it.
        probability: When it was accepted, 0 to 1; 1 for text that a ``Renoise`` clamped.
        doubt: Log-probability (nats) of the best other token here less that of this one, when the
            model sees the rest of the draft but not this token; above 0 it would rather have
            another. ``None`` when it was not measured.
    """

    chars: int
    probability: float
    doubt: float | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One answer.

    Attributes:
        texts: One text per span (free segment of the ``Denoise``), in order and whole.
        score: Mean log-probability (nats, at most 0) of the spans' tokens when they were accepted.
        lowest: Smallest probability of any token in the spans, 0 to 1.
        steps: Denoise steps taken, which is also the number of canvas passes.
        stopped: Why the loop ended: ``settled``, ``steps`` or ``deadline``.
        complete: Every text ended by itself; otherwise the positions of its span ran out.
        draft: Handle for a ``Renoise`` by the same connection; 0 when none is kept.
        tokens: The tokens of each text, whose ``chars`` add up to its length.
    """

    texts: tuple[str, ...]
    score: float
    lowest: float
    steps: int
    stopped: str
    complete: bool = True
    draft: int = 0
    tokens: tuple[tuple[SpanToken, ...], ...] = ()


class Timings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the runtime spent a request's time, in milliseconds.

    Attributes:
        queue_ms: Waiting for other requests.
        layout_ms: Texts to tokens to a canvas.
        prefill_ms: Reading what the prefix cache did not hold.
        step_ms: Each denoise step, of all candidates.
        total_ms: From receipt to answer.
        prefix_tokens: Tokens before the canvas.
        cached_tokens: Those of them that the prefix cache held.
        doubt_ms: Measuring doubts, when that was asked for.
    """

    queue_ms: float
    layout_ms: float
    prefill_ms: float
    step_ms: tuple[float, ...]
    total_ms: float
    prefix_tokens: int
    cached_tokens: int
    doubt_ms: float = 0.0


class Done(Tagged, frozen=True, kw_only=True):
    """The answer to a request; candidates come best first.

    ``weights`` are those of a ``Weigh``, in the order of its texts: the log-probability (nats) of
    each with the head of what follows. They can be compared with each other alone.
    """

    id: int
    candidates: tuple[Candidate, ...]
    timings: Timings
    weights: tuple[float, ...] = ()


class Failed(Tagged, frozen=True, kw_only=True):
    """The other answer to a request."""

    id: int
    code: FailureCode
    message: str


class RuntimeState(StrEnum):
    """What the model is doing."""

    UNLOADED = "unloaded"
    FETCHING = "fetching"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class Status(Tagged, frozen=True, kw_only=True):
    """Sent on every change of state, and in answer to ``GetStatus``.

    Attributes:
        progress: Share of the fetch or load that is done, 0 to 1; ``None`` when unknown.
        message: One line for a person: what is happening, or what went wrong and what to do.
        device: Where the model runs, such as ``cpu`` or ``cuda:0``.
        device_reason: Why it runs there.
        requests: Requests answered since the process started.
        resident_mb: Memory held by the process, in MiB; device memory where there is a GPU.
    """

    state: RuntimeState
    progress: float | None = None
    message: str = ""
    model: str = ""
    device: str = ""
    device_reason: str = ""
    dtype: str = ""
    pid: int = 0
    peers: int = 0
    queued: int = 0
    requests: int = 0
    resident_mb: int = 0


Request: TypeAlias = Denoise | Renoise | Weigh
PeerMessage: TypeAlias = Hello | Denoise | Renoise | Weigh | Cancel | GetStatus | Stop
RuntimeMessage: TypeAlias = Welcome | Refused | Draft | Done | Failed | Status
Message: TypeAlias = PeerMessage | RuntimeMessage
