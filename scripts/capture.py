"""Take docs/images/uses.gif: the three uses in real editors, with the real embedded model.

VS Code is photographed in Chromium, Neovim is drawn from its own screen cells, both as the tests
run them. No answer is scripted. Long waits are cut, with the time they took in the caption; the
code was chosen among what the model gets right. Needs what `make vscode` fetches.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from support import neovim_pictures, vscode  # noqa: E402
from support.neovim import INIT, OLD, Neovim, new  # noqa: E402

OUT = ROOT / "docs/images/uses.gif"
FONTS = Path("/usr/share/fonts/truetype/dejavu")
WIDTH, HEIGHT, BAR = 900, 400, 52
"""Pixels: of the editors' part, and of the caption above it."""
LEAST_S, KEY_S, CUT_S = 0.05, 0.09, 0.9
"""Seconds in the capture: the least, of a key, of a wait that is cut."""
WAIT_S = 120.0
EXACT = 48
"""Colours of the palette that are taken as they are."""
TITLES = (
    "Completion in VS Code",
    "Fill in the middle, in Neovim",
    "Rewrite of a selection, in VS Code",
)
BACK, HEAD, DIM = "#0d1117", "#f0f6fc", "#9aa4af"

SHAPES = """\
class Rectangle:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self):
        │

    def perimeter(self):
        return 2 * (self.width + self.height)
"""
BASKET = """\
class Line:
    def __init__(self, name, price, count):
        self.name = name
        self.price = price
        self.count = count


class Basket:
    def __init__(self):
        self.lines = []

    def add(self, name, price, count=1):
        self.lines.append(Line│())

    def total(self):
        return sum(line.price * line.count for line in self.lines)
"""
INVOICE = """\
def invoice(lines, rate):
    total = 0
    count = 0
    for line in lines:
        total = total + line.price
        print(line.name)
        count = count + 1
    tax = round(total * rate)
    return total + tax, count
"""
INSTRUCTION = "use an augmented assignment"
REWRITTEN = INVOICE.replace("total = total +", "total +=").replace("count = count +", "count +=")

LOOK = """
vim.o.number, vim.o.signcolumn, vim.o.laststatus = true, 'no', 3
vim.o.statusline = " %t %m%=%{v:lua.require'dgemma'.statusline()}  %l:%c "
vim.o.cursorline, vim.o.ruler, vim.o.fillchars = false, false, 'eob: '
vim.cmd.syntax('on')
vim.g.loaded_matchparen, vim.g.dgemma = 1, {}
vim.api.nvim_set_hl(0, 'DgemmaGhost', { fg = '#8b949e', italic = true })
"""
SETTINGS: dict[str, Any] = {
    "dgemma.deadlineMs": 20000,
    "breadcrumbs.enabled": False,
    "editor.cursorBlinking": "solid",
    "editor.fontFamily": "DejaVu Sans Mono",
    "editor.fontSize": 16,
    "editor.guides.indentation": False,
    "editor.inlineSuggest.showToolbar": "never",
    "editor.lightbulb.enabled": "off",
    "editor.occurrencesHighlight": "off",
    "editor.renderLineHighlight": "none",
    "editor.renderWhitespace": "none",
    "editor.scrollBeyondLastLine": False,
    "editor.stickyScroll.enabled": False,
    "window.commandCenter": False,
    "window.menuBarVisibility": "hidden",
    "window.title": "${activeEditorShort}",
    "workbench.activityBar.location": "hidden",
    "workbench.colorTheme": "Default Dark Modern",
    "workbench.layoutControl.enabled": False,
    "workbench.reduceMotion": "on",
}


@dataclass
class Film:
    """Pictures of editors with captions, in their order."""

    model: str
    title: str
    frames: list[tuple[Image.Image, float]] = field(default_factory=list)

    def add(self, picture: Image.Image, seconds: float, step: str, note: str = "") -> None:
        """Add a picture that stands for some seconds, with a step and a note in its caption."""
        frame = Image.new("RGB", (WIDTH, HEIGHT + BAR), BACK)
        frame.paste(picture, ((WIDTH - picture.width) // 2, BAR))
        draw = ImageDraw.Draw(frame)
        bold, plain = (
            ImageFont.truetype(str(FONTS / f"{name}.ttf"), size)
            for name, size in (("DejaVuSans-Bold", 16), ("DejaVuSans", 13))
        )
        draw.text((14, 6), f"{self.title}: {step}", HEAD, bold)
        where = f"{self.model}, on {os.cpu_count()} cores of a CPU"
        draw.text((14, 29), f"{where} · {note}" if note else where, DIM, plain)
        if self.frames and self.frames[-1][0].tobytes() == frame.tobytes():
            frame, seconds = self.frames[-1][0], seconds + self.frames.pop()[1]
        self.frames.append((frame, max(seconds, LEAST_S)))

    def waited(
        self, picture: Image.Image, step: str, wait: Callable[[], Any], began: float | None = None
    ) -> str:
        """Wait, and let the picture from before stand for a short while; returns what to note."""
        start = time.monotonic() if began is None else began
        wait()
        took = time.monotonic() - start
        note = f"waited {took:.1f} s"
        cut = took > CUT_S
        self.add(picture, min(took, CUT_S), step, f"{note}, cut to {CUT_S} s" if cut else note)
        return note

    def save(self, path: Path) -> None:
        """Write an animated GIF that plays over and over, with one palette for all its pictures."""
        counts: Counter[Any] = Counter()
        for frame, _ in self.frames:
            counts.update({colour: n for n, colour in frame.getcolors(WIDTH**2) or []})
        # Backgrounds as they are; of the rest every colour counts once, or the few letters of a
        # keyword would turn grey.
        exact = [colour for colour, _ in counts.most_common(EXACT)]
        sheet = Image.new("RGB", (len(counts), 1))
        sheet.putdata(sorted(counts))
        rest = sheet.quantize(256 - EXACT, Image.Quantize.MEDIANCUT).getpalette() or []
        palette = Image.new("P", (1, 1))
        palette.putpalette([value for colour in exact for value in colour] + rest)
        flat = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each, _ in self.frames]
        path.parent.mkdir(parents=True, exist_ok=True)
        flat[0].save(
            path,
            save_all=True,
            append_images=flat[1:],
            duration=[round(seconds * 100) * 10 for _, seconds in self.frames],
            loop=0,
            optimize=False,
        )


def photograph(code: vscode.Code) -> Image.Image:
    """Return what the window of VS Code shows."""
    return Image.open(io.BytesIO(code.page.screenshot())).convert("RGB")


def complete_in_vscode(code: vscode.Code, film: Film) -> str:
    """Type until ghost text is there and accept it; returns the text."""
    code.opened("shapes.py", SHAPES.replace("│", ""))
    code.go_to(7, 9)
    code.page.mouse.move(WIDTH - 40, HEIGHT // 2)
    shown = photograph(code)
    film.add(shown, 1.0, "the body of a method")
    for char in "return ":
        code.type(char, delay=0)
        shown = photograph(code)
        film.add(shown, KEY_S, "typing")
    note = film.waited(shown, "a short pause", lambda: code.until("ghost text", code.ghost, WAIT_S))
    text = code.ghost()
    film.add(photograph(code), 2.0, "ghost text, checked in its place by the parser", note)
    code.press("Tab")
    code.until("the text", lambda: f"return {text}" in code.text() and not code.ghost())
    film.add(photograph(code), 1.3, "Tab accepts")
    code.save()
    code.press("Control+w")
    return text


def fill_in_neovim(folder: Path, film: Film) -> str:
    """Fill a hole in the middle of a line; returns the text."""
    neovim_pictures.COLUMNS, neovim_pictures.ROWS = 86, 18
    folder.mkdir()
    nvim = Neovim(folder, {"deadlineMs": 20000}, new() or OLD, INIT + LOOK)
    try:
        # The smaller of two user interfaces decides how large the screen is.
        nvim.api.ui_try_resize(neovim_pictures.COLUMNS, neovim_pictures.ROWS)
        screen = neovim_pictures.Screen(str(folder / "nvim"))

        def picture() -> Image.Image:
            screen.take(0.25)
            return painted(screen, bar=nvim.api.api.get_mode()["mode"] == "i")

        nvim.open(BASKET, "basket.py")
        film.add(picture(), 1.2, "the cursor between brackets, code on both sides")
        nvim.type("a")
        began = time.monotonic()
        shown = picture()
        note = film.waited(
            shown, "insert mode", lambda: nvim.until(nvim.ghost, "ghost text", WAIT_S), began
        )
        text = nvim.ghost()
        film.add(picture(), 2.0, "ghost text that fits before and after", note)
        nvim.type("<Tab>")
        nvim.until(lambda: f"Line({text})" in nvim.text(), "the text")
        film.add(picture(), 1.3, "Tab accepts")
    finally:
        nvim.close()
    return text


def painted(screen: neovim_pictures.Screen, *, bar: bool) -> Image.Image:
    """Draw Neovim's screen as a terminal would, its cursor as a block or a bar."""
    wide, high, size = neovim_pictures.WIDTH, neovim_pictures.HEIGHT, neovim_pictures.SIZE
    back, front = neovim_pictures.BACK, neovim_pictures.TEXT
    image = Image.new("RGB", (WIDTH, HEIGHT), f"#{back:06x}")
    draw = ImageDraw.Draw(image)
    fonts = {
        look: ImageFont.truetype(str(FONTS / f"DejaVuSansMono{look}.ttf"), size)
        for look in ("", "-Bold", "-Oblique")
    }
    left, top = (WIDTH - len(screen.cells[0]) * wide) // 2, (HEIGHT - len(screen.cells) * high) // 2
    for row, cells in enumerate(screen.cells):
        for column, (text, number) in enumerate(cells):
            look = screen.attributes.get(number, {})
            ink, paper = look.get("foreground", front), look.get("background", back)
            here = (row, column) == screen.cursor
            if bool(look.get("reverse")) != (here and not bar):
                ink, paper = paper, ink
            x, y = left + column * wide, top + row * high
            draw.rectangle((x, y, x + wide - 1, y + high - 1), f"#{paper:06x}")
            kind = "-Bold" if look.get("bold") else "-Oblique" if look.get("italic") else ""
            draw.text((x, y + 1), text, f"#{ink:06x}", fonts[kind])
            if here and bar:
                draw.rectangle((x - 1, y, x, y + high - 1), f"#{front:06x}")
    return image


def rewrite_in_vscode(code: vscode.Code, film: Film) -> None:
    """Rewrite a selection, watch the canvas, take one hunk and then the other."""
    file = code.opened("invoice.py", INVOICE)
    code.select_lines(5, 7)
    film.add(photograph(code), 1.2, "three lines selected")
    code.command("dgemma: Rewrite Selection")
    row = code.page.locator(".quick-input-list .monaco-list-row", has_text=INSTRUCTION).first
    row.wait_for(timeout=WAIT_S * 1000)
    film.add(photograph(code), 1.4, "what this model can do, and how often it gets it right")
    code.until("its row", lambda: code.press("ArrowDown") or _focused(code) == INSTRUCTION, WAIT_S)
    film.add(photograph(code), 0.8, INSTRUCTION)
    began = time.monotonic()
    code.press("Enter")
    canvas: list[tuple[Image.Image, float]] = []
    while not code.lenses("Accept All"):
        if code.page.locator(".notification-list-item").count() and code.drawn():
            canvas.append((photograph(code), time.monotonic()))
        if time.monotonic() - began > WAIT_S:
            raise TimeoutError("nothing came of the rewrite")
    ended = time.monotonic()
    note = f"{ended - began:.1f} s from the choice to the hunks"
    ends = [taken for _, taken in canvas[1:]] + [ended]
    shown = ended - canvas[0][1] if canvas else 0.0
    for (picture, taken), end in zip(canvas, ends, strict=True):
        film.add(
            picture, end - taken, "its canvas is denoised", f"{note}, {shown:.1f} s of them shown"
        )
    time.sleep(0.5)  # the lenses find their places
    film.add(photograph(code), 2.2, "two hunks to decide on, nothing changed yet", note)
    code.lens("Accept")
    code.until("one hunk left", lambda: code.lenses("Reject") == 2)
    time.sleep(0.5)
    film.add(photograph(code), 1.6, "the first hunk accepted")
    code.click_editor()
    code.press("Control+Enter")
    code.no_lens()
    code.saved(file, REWRITTEN)
    film.add(photograph(code), 1.8, "and the second")


def _focused(code: vscode.Code) -> str:
    """Return the label of the row that Enter would choose."""
    row = code.page.locator(".quick-input-list .monaco-list-row.focused .label-name").first
    return (row.text_content() or "").strip()


def warmed(folder: Path) -> str:
    """Start the model and load both its adapters; returns the model's name."""
    program = str(Path(sys.executable).parent / "dgemma")
    file = folder / "warm.py"
    file.write_text(INVOICE)
    lines = ["--lines", "5-5", "--json", "--deadline-ms", "200000"]
    fill = [program, "fill", f"{file}:9:12", "--json", "--deadline-ms", "200000"]
    for command in ([program, "rewrite", str(file), *lines, INSTRUCTION], fill):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        model = json.loads(ran.stdout or "{}").get("model")
        if not model:
            sys.exit(f"The model does not answer: {ran.stdout}{ran.stderr}")
    return model


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    out = parser.parse_args().out
    why = vscode.installed.missing()
    if why is not None:
        sys.exit(why)
    folder = Path(tempfile.mkdtemp(prefix="dg-"))
    os.environ["DGEMMA_RUNTIME_DIR"] = str(folder / "run")
    (folder / "run").mkdir()
    try:
        model = warmed(folder)
        film, middle, last = (Film(model, f"{n}  {title}") for n, title in enumerate(TITLES, 1))
        # Neovim first: beside playwright's loop there is no place for its own.
        took = [fill_in_neovim(folder / "nvim", middle)]
        with vscode.start(folder / "code", SETTINGS) as code:
            code.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            code.open("shapes.py", SHAPES.replace("│", ""))
            code.command("View: Toggle Primary Side Bar Visibility")
            took.append(complete_in_vscode(code, film))
            rewrite_in_vscode(code, last)
        film.frames += middle.frames + last.frames
        film.save(out)
    finally:
        program = str(Path(sys.executable).parent / "dgemma")
        subprocess.run([program, "stop"], check=False, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)
    seconds = sum(seconds for _, seconds in film.frames)
    print(f"wrote {out}: {took}, {len(film.frames)} pictures, {seconds:.0f} s, ", end="")
    print(f"{out.stat().st_size / 1e6:.2f} MB, load {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
