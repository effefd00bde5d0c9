"""Take docs/images/neovim-*.png: a real Neovim, its screen cell by cell, with scripted texts.

Run as ``DGEMMA_NEOVIM_12=/path/to/nvim python tests/support/neovim_pictures.py``; needs Pillow, the
extra ``dev`` and the font DejaVu Sans Mono.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pynvim

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from support.neovim import INIT, OLD, Neovim, new  # noqa: E402
from support.runtimes import COMMAND, Scripted  # noqa: E402

OUT = ROOT / "docs/images"
FONTS = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono"
COLUMNS, ROWS, WIDTH, HEIGHT, SIZE = 80, 16, 10, 21, 16
BACK, TEXT = 0x14161B, 0xE0E2EA

BODY = """\
def invoice(lines, rate):
    total = 0
    for line in lines:
        total += line.price * line.count
    # rounded as the tax office asks
    tax = round(total * rate, 2)
    if tax < 0:
        raise ValueError(tax)
    return total + tax
"""
FIRST = "total = sum(line.price * line.count for line in lines)"
REWRITTEN = BODY.replace(
    "total = 0\n    for line in lines:\n        total += line.price * line.count", FIRST
).replace("return total + tax", "return Invoice(total, tax)")
PINNED = BODY.splitlines()[4]
HOLES = """\
def describe(points):
    widest = max(___, key=lambda p: p.x)
    # TODO: the mean of the heights
    def mean():
        ...
    print(f"{widest.x:.1f} wide, {mean():.1f} high; this is ___ text")
    return ___
"""
UNSURE = "sorted(scores, key=score_of, reverse=True)[:limit]"
RULES: list[dict[str, Any]] = [
    {
        "instruction": "sum with a generator",
        "original": BODY.rstrip("\n"),
        "text": REWRITTEN.rstrip("\n"),
        "tokens": "words",
        "steps": 24,
        "step_ms": 120,
    },
    {
        "instruction": "simplify the loop",
        "original": "    return total + tax",
        "text": "    return Total(net=total, tax=tax)",
    },
    {
        "instruction": "simplify the loop",
        "spans": [part.strip("\n") for part in REWRITTEN.split(PINNED)],
    },
    {
        "when": "def describe",
        "spans": ["points", "return sum(p.y for p in points) / len(points)", "widest"],
        "text": "widest",
    },
    {
        "when": "def best",
        "text": UNSURE,
        "tokens": "words",
        "probabilities": {
            UNSURE: [
                0.98,
                0.97,
                0.95,
                0.9,
                0.8,
                0.97,
                0.5,
                0.9,
                0.7,
                0.95,
                0.96,
                0.9,
                0.9,
                0.9,
                0.22,
            ]
        },
    },
]
LOOK = """
vim.o.number, vim.o.signcolumn, vim.o.laststatus = true, 'yes', 3
vim.o.statusline = " %f %m%=%{v:lua.require'dgemma'.statusline()}  %l:%c "
vim.o.cursorline, vim.o.showmode, vim.o.ruler, vim.o.cmdheight = false, false, false, 0
vim.cmd.syntax('on')
"""


class Screen:
    """A second user interface of a Neovim: what a terminal would show."""

    def __init__(self, socket: str) -> None:
        self.nvim = pynvim.attach("socket", path=socket)
        self.cells: list[list[tuple[str, int]]] = []
        self.attributes: dict[int, dict[str, Any]] = {0: {}}
        self.cursor = (0, 0)
        self.nvim.ui_attach(COLUMNS, ROWS, rgb=True, ext_linegrid=True)

    def take(self, seconds: float = 0.6) -> None:
        """Read what is drawn for a while."""
        threading.Timer(seconds, lambda: self.nvim.async_call(self.nvim.stop_loop)).start()
        self.nvim.run_loop(None, self._notified)

    def _notified(self, name: str, batches: list[list[Any]]) -> None:
        if name == "redraw":
            for event, *calls in batches:
                handler: Any = getattr(self, f"_{event}", lambda *_: None)
                for call in calls:
                    handler(*call)

    def _grid_resize(self, _: int, width: int, height: int) -> None:
        self.cells = [[(" ", 0)] * width for _ in range(height)]

    def _grid_clear(self, _: int) -> None:
        self.cells = [[(" ", 0)] * len(row) for row in self.cells]

    def _grid_cursor_goto(self, _: int, row: int, column: int) -> None:
        self.cursor = (row, column)

    def _hl_attr_define(self, number: int, rgb: dict[str, Any], *_: Any) -> None:
        self.attributes[number] = rgb

    def _grid_line(self, _: int, row: int, column: int, cells: list[list[Any]], *__: Any) -> None:
        attribute = 0
        for text, *more in cells:
            attribute = more[0] if more else attribute
            for _ in range(more[1] if len(more) > 1 else 1):
                self.cells[row][column] = (text, attribute)
                column += 1

    def _grid_scroll(
        self, _: int, top: int, bottom: int, left: int, right: int, rows: int, __: int
    ) -> None:
        order = range(top, bottom - rows) if rows > 0 else range(bottom - 1, top - rows - 1, -1)
        for row in order:
            self.cells[row][left:right] = self.cells[row + rows][left:right]

    def save(self, name: str) -> None:
        """Draw the screen as a picture."""
        painting, drawing, lettering = (
            import_module(f"PIL.{each}") for each in ("Image", "ImageDraw", "ImageFont")
        )
        image = painting.new("RGB", ((COLUMNS + 2) * WIDTH, (ROWS + 1) * HEIGHT), _colour(BACK))
        draw = drawing.Draw(image)
        fonts = {
            bold: lettering.truetype(f"{FONTS}{'-Bold' if bold else ''}.ttf", SIZE)
            for bold in (False, True)
        }
        for row, cells in enumerate(self.cells):
            for column, (text, number) in enumerate(cells):
                look = self.attributes.get(number, {})
                front, back = look.get("foreground", TEXT), look.get("background", BACK)
                if look.get("reverse"):
                    front, back = back, front
                x, y = (column + 1) * WIDTH, row * HEIGHT + HEIGHT // 2
                draw.rectangle((x, y, x + WIDTH - 1, y + HEIGHT - 1), _colour(back))
                if (row, column) == self.cursor:
                    draw.rectangle((x, y, x + WIDTH - 1, y + HEIGHT - 1), outline=_colour(TEXT))
                draw.text((x, y + 1), text, _colour(front), fonts[bool(look.get("bold"))])
                if look.get("underline") or look.get("undercurl"):
                    line = _colour(look.get("special", front))
                    draw.line((x, y + HEIGHT - 2, x + WIDTH - 1, y + HEIGHT - 2), line, 2)
        image.save(OUT / f"neovim-{name}.png", optimize=True)
        print(f"wrote {name}")


def _colour(value: int) -> tuple[int, int, int]:
    return value >> 16 & 255, value >> 8 & 255, value & 255


def pictures(nvim: Neovim, screen: Screen) -> None:
    """Take one after the other."""

    def drawn() -> Any:
        return nvim.marks("dgemma.diff")

    nvim.open(BODY, "invoice.py")
    nvim.type(":%Dgemma rewrite sum with a generator<CR>")
    nvim.until(lambda: any(" 13/24" in row for row in nvim.screen()), "the canvas")
    screen.take(0.3)
    screen.save("preview")
    nvim.type(":Dgemma cancel<CR>")
    nvim.type(":5Dgemma pin<CR>:%Dgemma rewrite simplify the loop<CR>")
    nvim.until(drawn, "the hunks")
    nvim.type("G:Dgemma redo<CR>")
    nvim.until(lambda: any("net=" in row for row in nvim.screen()), "the other text")
    screen.take()
    screen.save("rewrite")
    nvim.type(":Dgemma reject all<CR>")
    nvim.open(HOLES, "describe.py")
    nvim.type(":Dgemma holes<CR>")
    nvim.until(drawn, "the texts")
    screen.take()
    screen.save("holes")
    nvim.type(":Dgemma reject all<CR>")
    nvim.open("def best(scores, score_of, limit):\n    return │\n", "best.py")
    nvim.type("A")
    nvim.until(nvim.ghost, "a suggestion")
    nvim.type("<Tab><Esc>:Dgemma confidence<CR>")
    nvim.until(lambda: nvim.marks("dgemma.confidence"), "the underlines")
    nvim.lua("require('dgemma').weakest()")
    screen.take()
    screen.save("confidence")


def main() -> None:
    """Take all pictures."""
    folder = Path(tempfile.mkdtemp(prefix="dg-"))
    rewrites = [{"kind": "loop", "instruction": "simplify the loop", "success": 0.8}]
    scripted = Scripted(folder, rules=RULES, rewrites=rewrites, instructions=True)
    settings = {
        "runtimeCommand": list(COMMAND),
        "runtime": {"model": "scripted"},
        "debounceMs": 0,
        "deadlineMs": 20000,
    }
    nvim = Neovim(folder, settings, new() or OLD, INIT + LOOK, DGEMMA_RUNTIME_DIR=str(folder))
    try:
        pictures(nvim, Screen(str(folder / "nvim")))
    finally:
        nvim.close()
        scripted.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
