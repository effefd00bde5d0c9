"""Twenty holes that any programmer fills the same way, as they come up in an editor.

Each has exactly one right text. They say whether a model copies names, sees what comes after the
hole and stops in time; they say nothing of how it does on real code.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from dgemma_training.evaluation.asking import System
from dgemma_training.evaluation.items import Span
from dgemma_training.rows import Row


@dataclass(frozen=True, slots=True)
class Probe:
    """One hole and the only text for it."""

    name: str
    prefix: str
    expected: str
    suffix: str
    language: str = "python"


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a system did on the probes; ``answers`` has the text for each probe's name."""

    system: str
    solved: int
    asked: int
    missed: list[str]
    answers: dict[str, str]


PROBES: tuple[Probe, ...] = (
    Probe(
        "copy an argument into its attribute",
        "class Person:\n    def __init__(self, name, age):\n        self.name = name\n"
        "        self.age = ",
        "age",
        "\n\n    def greet(self):\n        return self.name\n",
    ),
    Probe(
        "close what was opened",
        "def read_all(path):\n    handle = open(path)\n    data = handle.read()\n    handle.",
        "close()",
        "\n    return data\n",
    ),
    Probe(
        "release what was acquired",
        "def bump(self):\n    self.lock.acquire()\n    self.count += 1\n    self.lock.",
        "release()",
        "\n",
    ),
    Probe(
        "loop variable",
        "def total_price(items):\n    total = 0\n    for item in items:\n        total += ",
        "item",
        ".price\n    return total\n",
    ),
    Probe(
        "name a loop's variable by its use",
        "def shout(words):\n    for ",
        "word",
        " in words:\n        print(word.upper())\n",
    ),
    Probe(
        "return what was computed",
        "def average(values):\n    result = sum(values) / len(values)\n    return ",
        "result",
        "\n\n\nprint(average([1, 2, 3]))\n",
    ),
    Probe(
        "the other coordinate",
        "def distance(a, b):\n    dx = a.x - b.x\n    dy = ",
        "a.y - b.y",
        "\n    return (dx * dx + dy * dy) ** 0.5\n",
    ),
    Probe(
        "pass a keyword argument through",
        "def fetch(url, timeout=10, retries=3):\n    return request(url, timeout=timeout, retries=",
        "retries",
        ")\n",
    ),
    Probe(
        "condition on the only flag",
        "def log(message, verbose):\n    if ",
        "verbose",
        ":\n        print(message)\n",
    ),
    Probe(
        "the limit of a loop",
        "def halve_until(value, limit):\n    while value > ",
        "limit",
        ":\n        value = value / 2\n    return value\n",
    ),
    Probe(
        "key of a dictionary",
        'def to_dict(user):\n    return {"name": user.name, "email": user.email, "phone": ',
        "user.phone",
        "}\n",
    ),
    Probe(
        "name in an f-string",
        'def greet(name):\n    return f"Hello, {',
        "name",
        '}!"\n',
    ),
    Probe(
        "import what is used below",
        "import os\nimport ",
        "json",
        "\n\n\ndef load(path):\n    with open(path) as file:\n        return json.load(file)\n\n\n"
        "def home():\n    return os.getcwd()\n",
    ),
    Probe(
        "name an import by its use",
        "from collections import ",
        "Counter",
        "\n\n\ndef most_common(words):\n    return Counter(words).most_common(1)\n",
    ),
    Probe(
        "the cause of an exception",
        "def parse(text):\n    try:\n        return int(text)\n    except ValueError as error:\n"
        '        raise ParseError("not a number") from ',
        "error",
        "\n",
    ),
    Probe(
        "copy an argument into its field",
        "class Point {\n  x: number;\n  y: number;\n\n  constructor(x: number, y: number) {\n"
        "    this.x = x;\n    this.y = ",
        "y",
        ";\n  }\n}\n",
        "typescript",
    ),
    Probe(
        "bound of a counting loop",
        "function sum(values: number[]): number {\n  let total = 0;\n  for (let i = 0; i < values.",
        "length",
        "; i++) {\n    total += values[i];\n  }\n  return total;\n}\n",
        "typescript",
    ),
    Probe(
        "return what was built",
        "export function double(values: number[]): number[] {\n  const doubled: number[] = [];\n"
        "  for (const value of values) {\n    doubled.push(value * 2);\n  }\n  return ",
        "doubled",
        ";\n}\n",
        "typescript",
    ),
    Probe(
        "argument of a callback",
        "export function names(users: User[]): string[] {\n  return users.map((user) => ",
        "user",
        ".name);\n}\n",
        "typescript",
    ),
    Probe(
        "name of an imported function",
        "import { ",
        "readFileSync",
        ' } from "fs";\n\nexport function load(path: string): string {\n'
        '  return readFileSync(path, "utf8");\n}\n',
        "typescript",
    ),
)


async def ask_probes(system: System, span: Span) -> list[ProbeResult]:
    """Ask every probe; returns a result per reading of the system's answers."""
    texts: dict[str, dict[str, str]] = {}
    for number, probe in enumerate(PROBES):
        answers = await system.answer(span.item(row_of(probe, number)))
        for reading, answer in answers.items():
            texts.setdefault(reading, {})[_key(probe)] = answer.text
    return [_result(reading, given) for reading, given in texts.items()]


def row_of(probe: Probe, number: int) -> Row:
    """Return a probe as a row."""
    return Row(
        id=f"probe/{number}",
        language=probe.language,
        kind="probe",
        package="",
        version="",
        licence="",
        path=str(number),
        prefix=probe.prefix,
        middle=probe.expected,
        suffix=probe.suffix,
        empty_parses=False,
    )


def _result(reading: str, texts: dict[str, str]) -> ProbeResult:
    missed = [
        _key(probe) for probe in PROBES if texts[_key(probe)].strip() != probe.expected.strip()
    ]
    return ProbeResult(
        system=reading,
        solved=len(PROBES) - len(missed),
        asked=len(PROBES),
        missed=missed,
        answers=texts,
    )


def _key(probe: Probe) -> str:
    return f"{probe.language}: {probe.name}"
