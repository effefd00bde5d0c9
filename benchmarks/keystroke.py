"""From a keystroke to ghost text on the screen: real VS Code, real Neovim, the embedded model.

Types into both editors, set as they are by default, and takes the time from the key to the ghost
text: in VS Code from ``keydown`` until the page has it, in Neovim from the input until its mark is
set. Milliseconds of one keystroke:

    before     from the key until the server begins: the editor's own pause, and the way there
    debounce   what the server waits, so that a key that follows is not answered twice
    engine     the runtime's answer, with what mending asked of it
    server     the rest of the server's time, which is its own work
    after      from the server's answer until the screen has it
    total      all of it

``asked`` is answered by the model, ``cached`` by the server (a space taken back and typed again),
and ``typed through`` is a key that the suggestion begins with; Neovim sends no request for those.
Needs what `make vscode` fetches. The answers themselves are of no interest here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from measuring import hardware, spread
from timed_server import TIMES

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from support import vscode  # noqa: E402
from support.neovim import INIT, OLD, Neovim, new  # noqa: E402

from dgemma_lsp.cli.lsp import release  # noqa: E402

SERVER = str(Path(__file__).parent / "timed_server.py")
PROGRAM = str(Path(sys.executable).parent / "dgemma")
HOLES = """
add(first, second); subtract(left, right); area(width, height);
volume(width, height, depth); mean(values); is_even(number); is_empty(items);
full_name(first_name, last_name); square(x); cube(x); largest(numbers); smallest(numbers);
total(prices); average(total, count); first(items); last(items); reverse(text);
upper(text); lower(text); strip(text); contains(items, item); clamp(value, low, high);
distance(x, y); speed(distance, time); multiply(left, right); divide(left, right);
percent(part, whole); join(words, separator); split(text, separator); count(items, item);
is_odd(number); negate(value); length(text); double(number); half(number);
power(base, exponent)
"""
"""Functions whose bodies are asked for, one after the other in one file."""
LINES_EACH = 4
PATIENCE_S = 15.0
"""Nothing is shown when it took longer; a model that is not sure says nothing."""
TYPED_AFTER_S = 0.12
"""Between two keys that type a suggestion; about what a fast typist needs."""

NEOVIM_PROBE = """
local set, space = vim.api.nvim_buf_set_extmark, vim.api.nvim_create_namespace('dgemma.ghost')
_G.probe = {}
vim.api.nvim_buf_set_extmark = function(buf, namespace, ...)
  local id = set(buf, namespace, ...)
  if namespace == space then
    table.insert(_G.probe, { vim.uv.hrtime() / 1e9, (...) })
  end
  return id
end
"""
PAGE_PROBE = """() => {
    const probe = window.probe = { key: 0, text: '', seen: [] };
    addEventListener('keydown', () => { probe.key = performance.now(); probe.seen = []; }, true);
    new MutationObserver(() => {
        const text = [...document.querySelectorAll('[class*="ghost-text"]')]
            .map(part => part.textContent).join('').replaceAll('\\u00a0', ' ');
        if (text !== probe.text) {
            probe.text = text;
            probe.seen.push([performance.now(), text]);
        }
    }).observe(document.body, {
        subtree: true, childList: true, characterData: true,
        attributes: true, attributeFilter: ['class'],
    });
}"""


class Editor(Protocol):
    """What is measured; points in time are seconds of the machine's monotonic clock."""

    def go(self, line: int) -> None:
        """Put the cursor behind the end of a line, counted from 1, ready to type."""

    def key(self, key: str) -> float:
        """Press one key; returns when."""
        ...

    def drawn(self, text: str | None) -> float | None:
        """When a ghost text was drawn after the last key; ``None`` stands for any."""
        ...

    def ghost(self) -> str:
        """Return what is to be seen."""
        ...

    def take(self) -> None:
        """Accept what is shown, or forget what is under way."""


class InNeovim:
    """A Neovim that writes down when it draws."""

    def __init__(self, nvim: Neovim, text: str) -> None:
        self.nvim = nvim
        nvim.lua(NEOVIM_PROBE)
        nvim.open(text, "holes.py")

    def go(self, line: int) -> None:
        """Put the cursor behind the end of a line."""
        self.nvim.type("<Esc>")
        self.nvim.settle()
        # A pause here would bring a suggestion already, which the next key would only type into.
        self.nvim.type(f"{line}GA")

    def key(self, key: str) -> float:
        """Press one key; returns when."""
        self.nvim.lua("_G.probe = {}")
        now = time.monotonic()
        self.nvim.type({" ": "<Space>", "Backspace": "<BS>", "<": "<lt>"}.get(key, key))
        return now

    def drawn(self, text: str | None) -> float | None:
        """When it was drawn, if it was."""
        seen = self.nvim.lua("return _G.probe")
        shown = self.nvim.ghost()
        return seen[0][0] if seen and shown and text in (None, shown) else None

    def ghost(self) -> str:
        """Return what is to be seen."""
        return self.nvim.ghost()

    def take(self) -> None:
        """Accept what is shown."""
        self.nvim.type("<Tab>" if self.nvim.ghost() else "")


class InCode:
    """A page that writes down keys and ghost texts."""

    def __init__(self, code: vscode.Code, text: str) -> None:
        self.code = code
        code.opened("holes.py", text)
        code.page.evaluate(PAGE_PROBE)
        self.ahead = self._ahead()

    def _ahead(self) -> float:
        """By how many seconds the page's clock is ahead, from the quickest of some readings."""
        readings: list[tuple[float, float]] = []
        for _ in range(40):
            before = time.monotonic()
            page = self.code.page.evaluate("performance.now()") / 1000
            after = time.monotonic()
            readings.append((after - before, page - (before + after) / 2))
        return min(readings)[1]

    def go(self, line: int) -> None:
        """Put the cursor behind the end of a line."""
        self.code.press("Escape")
        self.code.go_to(line, 1)
        self.code.press("End")

    def key(self, key: str) -> float:
        """Press one key; returns when."""
        self.code.press(key)
        return self.code.page.evaluate("probe.key") / 1000 - self.ahead

    def drawn(self, text: str | None) -> float | None:
        """When it was drawn, if it was."""
        for at, shown in self.code.page.evaluate("probe.seen"):
            if shown and text in (None, shown):
                return at / 1000 - self.ahead
        return None

    def ghost(self) -> str:
        """Return what is to be seen."""
        return self.code.ghost()

    def take(self) -> None:
        """Accept what is shown."""
        self.code.press("Tab" if self.code.ghost() else "Escape")


@dataclass
class Times:
    """What the timed server wrote so far."""

    file: Path

    def since(self, moment: float) -> list[dict[str, Any]]:
        """Return the answers to requests that began after a moment."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        found = [json.loads(line) for line in lines]
        return [each for each in found if each["began"] > moment]


@dataclass
class Measured:
    """Milliseconds by case and phase."""

    cases: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    silent: int = 0

    def add(self, case: str, **phases: float | None) -> None:
        """Take in the phases of one keystroke."""
        kept = self.cases.setdefault(case, {})
        for name, value in phases.items():
            if value is not None:
                kept.setdefault(name, []).append(value)

    def count(self, case: str) -> int:
        """How many keystrokes of a case there are."""
        return len(self.cases.get(case, {}).get("total", []))

    def summary(self) -> dict[str, Any]:
        """Return p50, p95 and number of everything."""
        cases = {
            case: {name: spread(values) for name, values in phases.items()}
            for case, phases in self.cases.items()
        }
        return {**cases, "nothing shown": self.silent}


def signatures() -> list[str]:
    """Return what stands between ``def`` and the colon of every function."""
    return [each.strip() for each in HOLES.split(";")]


def source() -> str:
    """Return the file of all functions, each without what it returns."""
    return "\n\n".join(f"def {each}:\n    return\n" for each in signatures())


def until(look: Callable[[], float | None], seconds: float) -> float | None:
    """Look again and again; ``None`` when nothing came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found is not None:
            return found
        time.sleep(0.004)
    return None


def split(key: float, drawn: float, answer: dict[str, Any] | None) -> dict[str, float | None]:
    """Return the phases of one keystroke, in milliseconds; no answer was needed without one."""
    total = (drawn - key) * 1000
    if answer is None:
        return {"total": total}
    span = (answer["ended"] - answer["began"]) * 1000
    phases = {
        "before": (answer["began"] - key) * 1000,
        "after": (drawn - answer["ended"]) * 1000,
        "total": total,
    }
    if "runtime_ms" not in answer:
        return {**phases, "server": span}
    debounce = (answer["filling"] - answer["began"]) * 1000
    asked = answer["phases"]
    engine = answer["runtime_ms"] + asked["mend_ms"] + asked["second_ms"]
    return {**phases, "debounce": debounce, "engine": engine, "server": span - debounce - engine}


def one_hole(editor: Editor, times: Times, line: int, into: Measured, again: int) -> None:
    """Ask at the end of a line, ask again some times, type the suggestion, accept the rest."""
    editor.go(line)
    key = editor.key(" ")
    drawn = until(lambda: editor.drawn(None), PATIENCE_S)
    if drawn is None:
        into.silent += 1
        editor.take()
        return
    answers = [each for each in times.since(key) if each["items"] and "runtime_ms" in each]
    if answers:
        into.add("asked", **split(key, drawn, answers[0]))
    for _ in range(again):
        time.sleep(TYPED_AFTER_S)
        editor.key("Backspace")
        time.sleep(TYPED_AFTER_S)
        key = editor.key(" ")
        drawn = until(lambda: editor.drawn(None), PATIENCE_S)
        answers = [each for each in times.since(key) if each["items"]]
        if drawn is not None and answers and "filling" not in answers[0]:
            into.add("cached", **split(key, drawn, answers[0]))
    text = editor.ghost()
    for at, char in enumerate(text[:-1]):
        time.sleep(TYPED_AFTER_S)
        rest = text[at + 1 :]
        key = editor.key(char)
        drawn = until(lambda rest=rest: editor.drawn(rest), 2.0)
        if drawn is None:
            break
        time.sleep(TYPED_AFTER_S)  # what VS Code asks meanwhile is answered by then
        answers = [each for each in times.since(key) if each["items"]]
        phases = split(key, drawn, answers[0] if answers else None)
        if answers and "filling" not in answers[0]:
            into.add("typed through", total=phases["total"], server=phases["server"])
        elif not answers:
            into.add("typed through", total=phases["total"])
    editor.take()
    time.sleep(0.3)


def measure(editor: Editor, times: Times, asked: int, rest: int) -> Measured:
    """Go through the holes until there is enough of everything."""
    made = Measured()
    for number, name in enumerate(signatures()):
        if min(made.count("asked") / asked, made.count("cached") / rest) >= 1:
            break
        one_hole(editor, times, 2 + number * LINES_EACH, made, 3)
        counts = {case: made.count(case) for case in ("asked", "cached", "typed through")}
        print(f"{type(editor).__name__} {name}: {counts}", file=sys.stderr)
    return made


def warm(folder: Path) -> dict[str, Any]:
    """Load the model; returns what a fill says of itself."""
    file = folder / "warm.py"
    file.write_text("def add(a, b):\n    return \n")
    command = [PROGRAM, "fill", f"{file}:2:12", "--json", "--deadline-ms", "200000"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = json.loads(ran.stdout or "{}")
    if not answer.get("model"):
        sys.exit(f"The model does not answer: {ran.stdout}{ran.stderr}")
    return answer


def in_neovim(folder: Path, asked: int, rest: int) -> dict[str, Any]:
    """Measure Neovim."""
    folder.mkdir()
    times = Times(folder / "times")
    init = INIT.replace("'-m', 'dgemma_lsp'", "vim.env.DGEMMA_SERVER") + "vim.g.dgemma = {}\n"
    environment = {TIMES: str(times.file), "DGEMMA_SERVER": SERVER}
    nvim = Neovim(folder, {}, new() or OLD, init, **environment)
    try:
        version = nvim.api.command_output("version").strip().splitlines()[0]
        made = measure(InNeovim(nvim, source()), times, asked, rest)
    finally:
        nvim.close()
    return {"editor": version, "load": os.getloadavg()[0], **made.summary()}


def in_code(folder: Path, asked: int, rest: int) -> dict[str, Any]:
    """Measure VS Code."""
    times = Times(folder / "times")
    server = shlex.join([sys.executable, SERVER, "--log-file", str(folder / "lsp.log")])
    shell = f"tee -a {shlex.quote(str(folder / 'sent.log'))} | {server}"
    settings = {"dgemma.server.command": ["sh", "-c", shell]}
    with vscode.start(folder, settings, DGEMMA_TIMES=str(times.file)) as code:
        made = measure(InCode(code, source()), times, asked, rest)
    name = f"VS Code in code-server {vscode.installed.CODE_SERVER}, Chromium"
    return {"editor": name, "load": os.getloadavg()[0], **made.summary()}


def show(results: dict[str, Any]) -> None:
    """Print the results as tables of Markdown."""
    names = ("before", "debounce", "server", "engine", "after", "total")
    for name in ("neovim", "vscode"):
        one = results[name]
        print(f"\n{one['editor']}, load {one['load']:.1f}; {one['nothing shown']} without a text\n")
        print("| p50 / p95 ms | n | " + " | ".join(names) + " |\n" + "| --- " * 8 + "|")
        for case in ("asked", "cached", "typed through"):
            phases = one.get(case, {})
            cells = [
                f"{phases[each]['p50']:.1f} / {phases[each]['p95']:.1f}" if each in phases else ""
                for each in names
            ]
            print(f"| {case} | {phases.get('total', {}).get('n', 0)} | " + " | ".join(cells) + " |")


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--asked", type=int, default=24, help="Answers of the model, per editor.")
    parser.add_argument("--rest", type=int, default=60, help="Answers of the server, per editor.")
    parser.add_argument("--out", type=Path, help="Write the results here as JSON.")
    arguments = parser.parse_args()
    if (why := vscode.installed.missing()) is not None:
        sys.exit(why)
    folder = Path(tempfile.mkdtemp(prefix="dg-"))
    os.environ["DGEMMA_RUNTIME_DIR"] = str(folder / "run")
    (folder / "run").mkdir()
    try:
        model = warm(folder)["model"]
        # Neovim first: beside playwright's loop there is no place for its own.
        results = {
            "date": datetime.now(UTC).date().isoformat(),
            "release": release(),
            "python": platform.python_version(),
            "hardware": hardware(),
            "model": model,
            "neovim": in_neovim(folder / "nvim", arguments.asked, arguments.rest),
            "vscode": in_code(folder / "code", arguments.asked, arguments.rest),
        }
    finally:
        subprocess.run([PROGRAM, "stop"], check=False, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)
    show(results)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
