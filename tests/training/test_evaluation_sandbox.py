"""Programs that a model had a hand in get little and leave nothing."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from dgemma_training.evaluation.items import Item, PassTest
from dgemma_training.evaluation.judging import Judge
from dgemma_training.evaluation.sandbox import Limits, Sandbox
from dgemma_training.rows import Row

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")

LIMITS = Limits(cpu_s=1, wall_s=8.0, memory_bytes=256 << 20)


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return Sandbox(LIMITS)


def folders() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir()).glob("dgemma-run-*")}


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import math, re, typing\nassert math.sqrt(4) == 2", "passed"),
        ("assert 1 == 2", "failed"),
        ("def f(:", "failed"),
        ("while True:\n    pass", "failed"),
        ("data = bytearray(1 << 30)", "failed"),
        ("rows = []\nwhile True:\n    rows.append(bytes(1 << 20))", "failed"),
        ("open('big', 'wb').write(bytes(1 << 20))", "failed"),
        ("files = [open('x', 'w') for _ in range(1000)]", "failed"),
        # Leaving early is no success, however it is done.
        ("import sys\nsys.exit(0)", "failed"),
        ("import os\nos._exit(0)", "failed"),
        ("open('reached', 'w').write('1')\nimport os\nos._exit(0)", "failed"),
        # Nothing of the caller's is there to be read.
        ("import os\nassert not set(os.environ) - {'LC_CTYPE'}, os.environ", "passed"),
        ("import os\nassert os.listdir() == ['program.py']", "passed"),
        ("import sys\nassert sys.stdin.read() == ''", "passed"),
        ("import numpy", "failed"),
        ("import dgemma_wire", "failed"),
    ],
)
def test_what_programs_get(sandbox: Sandbox, program: str, why: str) -> None:
    before = folders()
    verdict = sandbox.run(program)
    assert verdict.why == why
    assert verdict.passed == (why == "passed")
    assert folders() <= before


def test_waiting_ends_too() -> None:
    began = time.monotonic()
    verdict = Sandbox(Limits(wall_s=1.0)).run("import time\ntime.sleep(60)")
    assert verdict.why == "timeout"
    assert time.monotonic() - began < 10


def test_there_is_no_network(sandbox: Sandbox) -> None:
    if not sandbox.isolated:
        pytest.skip("this system gives nobody a network of their own")
    program = "import socket\nassert [n for _, n in socket.if_nameindex()] == ['lo']\n"
    assert sandbox.run(program).passed
    connect = "import socket\nsocket.create_connection(('127.0.0.1', 22), 1)"
    assert not sandbox.run(connect).passed


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_no_child_outlives_its_program() -> None:
    word = uuid.uuid4().hex
    program = (
        "import os, sys, time\n"
        "if not os.fork():\n"
        "    sleep = 'import time; time.sleep(60)'\n"
        f"    os.execv(sys.executable, [sys.executable, '-c', sleep, {word!r}])\n"
        "time.sleep(0.5)\n"
    )
    verdict = Sandbox(Limits(processes=4096)).run(program)
    assert verdict.passed  # the child was there
    time.sleep(0.3)
    alive = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and word.encode() in _read(path)
    ]
    assert alive == []


@pytest.mark.skipif(os.name == "posix" and os.getuid() == 0, reason="root is exempt from it")
def test_programs_start_no_others(sandbox: Sandbox) -> None:
    assert sandbox.run("import os\nif not os.fork():\n    os._exit(0)").why == "failed"


def test_a_fill_passes_when_its_test_does(sandbox: Sandbox) -> None:
    row = Row(
        id="1",
        language="python",
        kind="humaneval",
        package="p",
        version="",
        licence="",
        path="",
        prefix="def add(a, b):\n    return ",
        middle="a + b",
        suffix="\n",
        empty_parses=False,
    )
    test = "\ndef check(candidate):\n    assert candidate(1, 2) == 3\n\ncheck(add)\n"
    judge = Judge(sandbox)
    item = Item(row, 3, True, PassTest(test))
    assert [judge.judge(item, text).passed for text in ("b + a", "a - b", "")] == [
        True,
        False,
        False,
    ]
    assert Judge(sandbox).judge(Item(row, 3, True), "b + a").passed is None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def test_the_interpreter_is_this_one(sandbox: Sandbox) -> None:
    assert sandbox.run(f"import sys\nassert sys.version == {sys.version!r}").passed
