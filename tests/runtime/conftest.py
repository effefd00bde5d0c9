"""What the runtime's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def one_torch_thread(request: pytest.FixtureRequest) -> None:
    """Tiny models gain nothing from threads, and lose much when other tests use the cores."""
    if request.node.get_closest_marker("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def packed_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is packed of tiny models is not kept in the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DGEMMA_PACKED_DIR", str(tmp_path_factory.mktemp("packed")))
        yield
