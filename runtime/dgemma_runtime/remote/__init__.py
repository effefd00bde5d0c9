"""A model that a server of the team's own runs: vLLM, over HTTP, behind the ``Engine`` interface.

With it source text leaves this machine, so it is chosen by an address that a person writes and by
nothing else: docs/vllm.md. No torch anywhere in this package.
"""

from __future__ import annotations

PREFIX = "vllm:"
"""What the setting ``model`` begins with when it names servers instead of a model here."""


def is_remote(model: str) -> bool:
    """Return whether the setting ``model`` names servers."""
    return model.startswith(PREFIX)
