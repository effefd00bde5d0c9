"""The server, its runtime and its models."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from dgemma_lsp.methods.shapes import Shape
from dgemma_wire.messages import RewriteKind, Status


class StatusResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/status``."""

    release: str
    mode: str
    connected: bool
    runtime: Status | None
    problem: Annotated[str | None, Meta(description="What is wrong and what to do about it.")]
    declined: Annotated[dict[str, int], Meta(description="Why no request was made, counted.")]
    rejected: Annotated[dict[str, int], Meta(description="Why candidates were dropped, counted.")]
    silent: Annotated[
        dict[str, int], Meta(description="Why requests got no answer from the runtime, counted.")
    ]
    mended: Annotated[
        dict[str, int], Meta(description="How candidates that are shown became sound, counted.")
    ]
    shown: int
    accepted: int
    last_total_ms: float | None
    adapter: Annotated[
        str, Meta(description="Adapter of the last answer; empty for the model's own.")
    ] = ""
    adapter_problem: Annotated[
        str | None, Meta(description="Why the workspace's adapter is not used.")
    ] = None
    rewrites: Annotated[
        tuple[RewriteKind, ...], Meta(description="What the connected model can do to a selection.")
    ] = ()


class StopResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/stopRuntime``; ``message`` says why a runtime could not be ended."""

    stopped: Annotated[bool, Meta(description="Whether one ran and was ended.")]
    message: str | None = None


class KnownModel(Shape, frozen=True, kw_only=True):
    """One model that can be run."""

    name: Annotated[str, Meta(description="Value of the setting `dgemma.runtime.model`.")]
    description: str
    licence: str
    size_mb: Annotated[int | None, Meta(description="To fetch; null when unknown.")]
    installed: bool
    current: bool


class ModelsResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/models``."""

    models: tuple[KnownModel, ...]
    message: str | None = None


class PullModelParams(Shape, frozen=True, kw_only=True):
    """Parameters of ``dgemma/pullModel``."""

    name: str


class PullModelResult(Shape, frozen=True, kw_only=True):
    """Result of ``dgemma/pullModel``."""

    pulled: bool
    message: Annotated[str | None, Meta(description="What went wrong and what to do.")] = None
