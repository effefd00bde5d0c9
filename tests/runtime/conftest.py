"""What the runtime's tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def one_torch_thread(request: pytest.FixtureRequest) -> None:
    """Tiny models gain nothing from threads, and lose much when other tests use the cores."""
    if request.node.get_closest_marker("torch"):
        import torch

        torch.set_num_threads(1)
