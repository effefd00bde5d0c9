"""What the scripted engine says in the tests of VS Code, and the sources that it says it about."""

from __future__ import annotations

from typing import Any

SOURCE = "def add(a, b):\n    return \n\n\nprint(add(1, 2))\n"
REWRITTEN = (
    "# 漢🦜\ndef add(a, b):\n    c = a + b\n    print('sum')\n    # this stays\n    return c\n\n\n"
    "print(add(1, 2))\n"
)
PLAIN = REWRITTEN.replace("# 漢🦜", "# two numbers")
"""For pictures: not every machine has the letters."""
BODY = "    c = a + b\n    print('sum')\n    # this stays\n    return c"
"""The lines of ``REWRITTEN`` that are rewritten."""
HEAD = "total = w * h"
WHOLE = f"{HEAD}\n    return total * 2"
HOLES = "# sums\ndef add(a, b):\n    return ___\n\nprint(add(___, 2))\n"

REWRITES: list[dict[str, Any]] = [
    {"kind": "inline", "instruction": "inline the variable", "success": 0.8},
    {"kind": "rename", "instruction": "rename {a} to {b}", "success": 0.55},
    {"kind": "slow", "instruction": "take your time", "success": 0.1},
]
RULES: list[dict[str, Any]] = [
    # Lines on both sides of a pinned one, on two canvases or on one.
    {
        "when": "print('sum')",
        "instruction": "rename c to total",
        "text": "    return total",
    },
    {
        "when": "# pinned",
        "instruction": "rename c to total",
        "text": "    total = a + b\n    print('sum')",
        "spans": ["    total = a + b\n    print('sum')", "    return total"],
    },
    {
        "instruction": "rename c to total",
        "original": BODY,
        "text": "    total = a + b\n    print('sum')\n    # this stays\n    return total",
    },
    # Asked for again: bolder or closer, or one piece of it alone.
    {"instruction": "rename c to total", "text": "    amount = a + b", "steps": 3, "step_ms": 30},
    {
        "instruction": "take your time",
        "text": "    total = a + b\n    print('sum', total)\n    return total",
        "steps": 40,
        "step_ms": 50,
    },
    {"instruction": "in my own words", "text": "    return a + b"},
    {"when": "# block", "text": "n = 0\n    for value in values:\n        n += value"},
    {
        "when": "# extended",
        "text": f"{HEAD}\n    return total + / 2",
        "renoise": [WHOLE],
        "step_ms": 150,
        "tokens": "words",
    },
    {"when": "# slow", "text": "a + b", "spans": ["a + b", "40"], "steps": 40, "step_ms": 50},
    {
        "when": "# sums",
        "spans": ["a + b", "1"],
        "text": "a + b",
        "tokens": "words",
        "probabilities": {"a + b": [0.5, 0.9, 0.1]},
    },
    {"when": "# cursors", "spans": ["first", "second"]},
    {"when": "# weak\nx = a * b + c"},  # nothing more
    {
        "when": "# weak",
        "text": "a * b + c",
        "tokens": "words",
        "probabilities": {"a * b + c": [0.95, 0.5, 0.3, 0.95, 0.1]},
    },
    {"when": "def add", "text": "a + b", "others": ["b + a"]},
    {"when": "price", "text": "total * rate"},
]
