"""One Neovim and one scripted runtime for all tests; each test opens a file of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.neovim import NEW_VARIABLE, OLD, Neovim, new
from support.runtimes import COMMAND, Scripted

SETTINGS: dict[str, Any] = {
    "runtimeCommand": list(COMMAND),
    "runtime": {"model": "scripted"},
    "debounceMs": 0,
}

TIDY = "def add(one, two):\n    '''漢字🦜'''\n    c = one + two\n    return c"
AREA = "def area(w, h):\n    a = w * h\n    log(w)\n    log(h)\n    return a"
SLOWLY = AREA.replace("a = w * h", "first = w\n    second = h").replace("n a", "n first * second")
DOUBT: dict[str, Any] = {
    "tokens": "words",
    "probabilities": {
        "alpha + beta * gamma": [0.99, 0.9, 0.7, 0.95, 0.2],
        "width": [0.99],
        "height": [0.5],
    },
}
RULES: list[dict[str, Any]] = [
    {"when": "def loop", "text": "total += each\n        count += 1"},
    {"when": "def price", "text": "total * rate"},
    {"when": "def middle", "text": "total, rate"},
    {"when": "def many", "text": "first", "others": ["second"]},
    {"when": "def one", "text": "single"},
    {"when": "def slow", "text": "late", "steps": 20, "step_ms": 30},
    {"when": "價格", "text": "價格 * '🦜' + x"},
    {"when": "def tabs", "text": "a = 1\n\t\tb = 2"},
    {"instruction": "tidy up", "text": TIDY},
    {"instruction": "take long", "text": "    x = 2", "steps": 20, "step_ms": 50},
    {"instruction": "rename c to total", "text": "    total = a + b\n    return total"},
    {
        "instruction": "speak up",
        "original": AREA,
        "text": AREA.replace("a =", "area =")[:-1] + "area",
    },
    {"instruction": "speak up", "original": "    return a", "text": "    return w * h"},
    {"instruction": "speak up", "original": "    a = w * h", "text": "    surface = w * h"},
    {"instruction": "go slowly", "original": AREA, "text": SLOWLY, "steps": 30, "step_ms": 40},
    {"instruction": "go slowly", "original": "    return a", "text": "    return 1"},
    {"instruction": "go slowly", "text": "    return 2", "steps": 300, "step_ms": 40},
    {"instruction": "take all day", "original": "    return a", "text": "    return 1"},
    {"instruction": "take all day", "text": "    return 2", "steps": 3000, "step_ms": 40},
    {"instruction": "pinned", "spans": ["one = 1", "two = 2"], "text": "one = 1"},
    {"when": "def holes", "spans": ["width", "height", "1"], "text": "alone", **DOUBT},
    {
        "when": "# slow holes",
        "spans": ["width", "height"],
        "text": "alone",
        "steps": 300,
        "step_ms": 40,
    },
    {"when": "def doubt", "text": "alpha + beta * gamma", **DOUBT},
]
REWRITES: list[dict[str, Any]] = [
    {"kind": "tidy", "instruction": "tidy up", "success": 0.8, "languages": ["python"]},
    {"kind": "rename", "instruction": "rename {a} to {b}", "success": 0.5, "languages": ["python"]},
    {"kind": "slow", "instruction": "take long", "success": 0.1, "languages": ["python"]},
]


def start(program: Path) -> Iterator[Neovim]:
    """Start a Neovim and a runtime that plays the script."""
    folder = Path(tempfile.mkdtemp(prefix="dg-"))
    before = os.environ.get("DGEMMA_TEST_SCRIPT")
    scripted = Scripted(folder, rules=RULES, rewrites=REWRITES, instructions=True)
    editor = Neovim(folder, SETTINGS, program, DGEMMA_RUNTIME_DIR=str(folder))
    yield editor
    editor.close()
    scripted.kill()
    if before is None:
        del os.environ["DGEMMA_TEST_SCRIPT"]
    else:
        os.environ["DGEMMA_TEST_SCRIPT"] = before
    shutil.rmtree(folder, ignore_errors=True)


def newer() -> Path:
    """Return a Neovim of 0.12 or later; the test is skipped without one."""
    found = new()
    if found is None:
        pytest.skip(f"no Neovim 0.12: `scripts/get_nvim .venv/nvim12`, or set {NEW_VARIABLE}")
    return found


@pytest.fixture(scope="session")
def nvim() -> Iterator[Neovim]:
    if not OLD.exists():
        # As the mark `neovim` does, which comes too late for a fixture of the session.
        why = "Neovim is missing: pip install -e '.[dev]' brings it"
        (pytest.fail if os.environ.get("DGEMMA_REQUIRE_ALL") == "1" else pytest.skip)(why)
    yield from start(OLD)


@pytest.fixture(scope="session")
def nvim12() -> Iterator[Neovim]:
    yield from start(newer())


@pytest.fixture(scope="session", params=["0.11", "0.12"])
def either(request: pytest.FixtureRequest) -> Neovim:
    return request.getfixturevalue("nvim" if request.param == "0.11" else "nvim12")
