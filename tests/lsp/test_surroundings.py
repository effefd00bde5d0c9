"""Context over real files: what is read, what never is, and what stays the same while typing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgemma_lsp.documents import Change, DocumentStore, Position
from dgemma_lsp.infill import capture
from dgemma_lsp.languages import by_extension
from dgemma_lsp.settings import IGNORED_BY_DEFAULT
from dgemma_lsp.surroundings import OFF, OPEN, WORKSPACE, Around, Surroundings
from dgemma_lsp.workspace_files import MAX_BYTES
from dgemma_wire.messages import Capabilities, ModelLimits, Welcome

LIMITS = ModelLimits(
    prefix_tokens=1024, canvas_tokens=256, span_tokens=64, max_span_tokens=96, chars_per_token=3.5
)


def welcome(tokens: int = 400) -> Welcome:
    return Welcome(
        protocol=4,
        release="",
        pid=1,
        model="",
        limits=LIMITS,
        capabilities=Capabilities(context_tokens=tokens),
    )


class Window:
    """Open documents of a workspace on the disk, and what is gathered for them."""

    def __init__(self, root: Path, mode: str = WORKSPACE) -> None:
        self.root = root
        self.documents = DocumentStore()
        self.surroundings = Surroundings(lambda: self.documents)
        self.surroundings.configure(mode, IGNORED_BY_DEFAULT)
        self.surroundings.open_folder(root.as_uri())

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return path

    def open(self, name: str, text: str) -> str:
        uri = (self.root / name).as_uri()
        language = by_extension(name).ids
        self.documents.open(uri, language[0] if language else "plaintext", 1, text)
        return uri

    def type(self, uri: str, offset: int, text: str) -> None:
        before = self.documents.get(uri)
        assert before is not None
        line, column = before.parsed.position_at(offset)
        at = Position(line, column)
        after = self.documents.change(uri, before.version + 1, [Change(text, at, at)], "utf-32")
        assert after is not None
        self.surroundings.edited(uri, before.parsed, after.parsed)

    async def around(self, uri: str, offset: int | None = None, tokens: int = 400) -> Around:
        snapshot = self.documents.snapshot(uri)
        assert snapshot is not None
        at = len(snapshot.text) if offset is None else offset
        return await self.surroundings.around(snapshot, at, at, welcome(tokens), patient=True)

    async def pieces(self, uri: str, offset: int | None = None, tokens: int = 400) -> str:
        return "".join((await self.around(uri, offset, tokens)).pieces)


@pytest.fixture
def window(tmp_path: Path) -> Window:
    root = tmp_path / "work space"
    root.mkdir()
    return Window(root)


MODELS = '''class User:
    """Somebody."""

    name: str

    def greet(self, other: str) -> str:
        return "in the body"


def load_user(path: str) -> User:
    """Load a user."""
    return User()


def unrelated() -> None: ...
'''


async def test_definitions_of_imported_names(window: Window) -> None:
    window.write("app/models.py", MODELS)
    uri = window.open("app/main.py", "from app.models import load_user\n\nuser = load_user(")
    assert await window.pieces(uri) == (
        '# app/models.py\ndef load_user(path: str) -> User:\n    """Load a user."""\n'
    )


async def test_relative_imports_names_handed_on_and_modules(window: Window) -> None:
    window.write("app/models.py", MODELS)
    window.write("app/__init__.py", "from .models import User as Person\n")
    text = "from . import Person\nfrom . import models as m\n\nPerson.greet(x)\nm."
    found = await window.pieces(window.open("app/main.py", text))
    assert 'class User:\n    """Somebody."""\n    name: str\n    def greet(' in found
    assert "def load_user" in found  # reached through the module's name
    assert "in the body" not in found


async def test_typescript_imports_and_paths_of_tsconfig(window: Window) -> None:
    window.write("src/models.ts", "export interface User {\n  name: string;\n}\n")
    window.write("src/index.ts", "export * from './models.js';\n")
    window.write(
        "packages/ui/button.tsx", "export const Button = (a: Props): Element => { x() };\n"
    )
    window.write(
        "tsconfig.json",
        '{ // paths\n "compilerOptions": {"paths": {"#ui/*": ["./packages/ui/*"]},}, }',
    )
    text = "import { User } from '..';\nimport { Button } from '#ui/button';\n\nconst user: User = "
    found = await window.pieces(window.open("src/pages/page.ts", text))
    assert "// src/models.ts\ninterface User {\n  name: string;\n}\n" in found
    assert "// packages/ui/button.tsx\nconst Button = (a: Props): Element;\n" in found


async def test_go_packages(window: Window) -> None:
    window.write("go.mod", "module example.com/shop\n\ngo 1.22\n")
    window.write(
        "price/price.go", "package price\n\n// New makes one.\nfunc New(c int) Price { x() }\n"
    )
    window.write("cart/item.go", "package cart\n\ntype Item struct {\n\tName string\n}\n")
    window.write("cart/item_test.go", "package cart\n\ntype Fake struct{}\n")
    text = 'package cart\n\nimport "example.com/shop/price"\n\nfunc f(i Item, k Fake) {\n\tprice.'
    found = await window.pieces(window.open("cart/cart.go", text))
    assert "// cart/item.go\ntype Item struct {\n\tName string\n}\n" in found
    assert "// price/price.go\n// New makes one.\nfunc New(c int) Price\n" in found
    assert "Fake" not in found


async def test_what_the_document_defines_out_of_sight(window: Window) -> None:
    text = "def far_away(a: int) -> str: ...\n" + "x = 1\n" * 2000 + "y = far_away("
    uri = window.open("long.py", text)
    assert await window.pieces(uri) == "# long.py\ndef far_away(a: int) -> str: ...\n"
    short = window.open("short.py", "def near(a: int) -> str: ...\ny = near(")
    assert await window.pieces(short) == ""


async def test_open_documents_are_read_as_they_are_in_the_editor(window: Window) -> None:
    window.write("models.py", "def load(old): ...\n")
    window.open("models.py", "def load(new): ...\n")
    uri = window.open("main.py", "from models import load\nload(")
    assert await window.pieces(uri) == "# models.py\ndef load(new): ...\n"
    stranger = window.open("other.ts", "export function load(script: string) {}\n")
    assert stranger.endswith("ts")
    assert "script" not in await window.pieces(window.open("b.py", "\nload("))


async def test_recent_edits_of_other_documents(window: Window) -> None:
    other = window.open("models.py", "name = 1\nage = 2\n")
    uri = window.open("main.py", "x = ")
    assert await window.pieces(uri) == ""
    window.type(other, len("name"), "s")
    assert await window.pieces(uri) == "# changed in models.py\n# -name = 1\n# +names = 1\n"
    window.type(uri, len("x = "), "1")  # an edit in sight is no news
    assert "x = " not in await window.pieces(uri)
    window.surroundings.closed(other)
    window.documents.close(other)
    assert await window.pieces(uri) == ""


async def test_the_modes(window: Window) -> None:
    window.write("disk.py", "def on_disk(a): ...\n")
    window.open("opened.py", "def opened(a): ...\n")
    uri = window.open("main.py", "from disk import on_disk\non_disk(opened(")
    both = await window.pieces(uri)
    assert "on_disk" in both
    assert "opened" in both
    window.surroundings.configure(OPEN, IGNORED_BY_DEFAULT)
    only = await window.pieces(uri)
    assert "def opened" in only
    assert "def on_disk" not in only
    window.surroundings.configure(OFF, IGNORED_BY_DEFAULT)
    assert await window.around(uri) == Around(capture.budget_for(LIMITS))
    window.surroundings.configure(WORKSPACE, IGNORED_BY_DEFAULT)
    assert await window.around(uri, tokens=0) == Around(capture.budget_for(LIMITS))


async def test_ignored_files_are_never_shown(window: Window) -> None:
    window.write("secrets/keys.py", "KEY = 'hidden in a file'\n")
    open_one = window.open("secrets/open.py", "TOKEN = 'hidden in a buffer'\n")
    (window.root / "link.py").symlink_to(window.root / "secrets" / "keys.py")
    uri = window.open(
        "main.py", "from secrets.keys import KEY\nfrom secrets.open import TOKEN\n"
        "from link import KEY as K\nprint(KEY, TOKEN, K, ",
    )  # fmt: skip
    window.type(open_one, 0, "PASSWORD = 'hidden in an edit'\n")
    assert await window.pieces(uri) == ""
    window.surroundings.configure(WORKSPACE, ("**/main.py",))
    assert await window.pieces(uri) == ""  # nothing is gathered for one either


async def test_nothing_outside_the_workspace_is_read(window: Window, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "far.py").write_text("def far(secret): ...\n")
    (window.root / "linked").symlink_to(outside)
    (window.root / "single.py").symlink_to(outside / "far.py")
    text = "from ..outside.far import far\nfrom linked.far import far as b\n"
    text += "from single import far as c\n"
    uri = window.open("main.py", text + "far(b(c(")
    assert await window.pieces(uri) == ""
    alien = tmp_path / "outside" / "open.py"
    window.documents.open(alien.as_uri(), "python", 1, "def far(buffer): ...\n")
    assert await window.pieces(uri) == ""
    alone = Window(window.root)
    alone.surroundings.close_folder(window.root.as_uri())
    alone.write("near.py", "def near(a): ...\n")
    assert await alone.pieces(alone.open("main.py", "from near import near\nnear(")) == ""


async def test_links_inside_the_workspace_lead_somewhere(window: Window) -> None:
    window.write("real/near.py", "def near(a): ...\n")
    (window.root / "linked").symlink_to(window.root / "real")
    uri = window.open("main.py", "from linked.near import near\nnear(")
    assert "def near(a): ..." in await window.pieces(uri)


async def test_files_that_cannot_be_used(window: Window) -> None:
    window.write("huge.py", "def huge(a): ...\n" + "# x\n" * (MAX_BYTES // 4))
    window.write("binary.py", "def binary(a): ...\0\n")
    (window.root / "latin.py").write_bytes(b"def latin(a): ... # \xe9\n")
    (window.root / "folder.py").mkdir()
    (window.root / "loop.py").symlink_to(window.root / "loop.py")
    os.mkfifo(window.root / "pipe.py")
    window.write("broken.py", "def broken(a:\n  ((( '''\nclass\r\n")
    window.write("fine.py", "def fine(a): ...\n")
    names = ["huge", "binary", "latin", "folder", "loop", "pipe", "gone", "broken", "fine"]
    text = "".join(f"from {name} import {name}\n" for name in names)
    uri = window.open("main.py", text + "(".join(names))
    found = await window.pieces(uri)
    assert "def fine(a): ...\n" in found
    for name in ("huge", "binary", "latin", "folder", "loop", "pipe", "gone"):
        assert f"def {name}" not in found


async def test_circles_of_imports(window: Window) -> None:
    window.write("a.py", "from b import *\nfrom a import *\n")
    window.write("b.py", "from a import *\nfrom c import thing as thing\n")
    window.write("c.py", "from b import thing\nfrom d import thing\n")
    window.write("d.py", "def thing(x): ...\n")
    uri = window.open("main.py", "from a import thing, nothing\nthing(nothing(")
    assert await window.pieces(uri) == "# d.py\ndef thing(x): ...\n"


async def test_line_ends_and_wide_characters(window: Window) -> None:
    window.write(
        "größe.py", "# 漢字 😀\r\nLÄNGE = '😀'\r\n\r\ndef maß(\r\n    a: str,\r\n) -> str: ...\r\n"
    )
    uri = window.open("main.py", "from größe import LÄNGE, maß\r\n# 😀\r\nmaß(LÄNGE, ")
    found = await window.pieces(uri)
    assert "LÄNGE = '😀'\n" in found
    assert "def maß(a: str) -> str: ...\n" in found
    assert "\r" not in found


async def test_a_file_that_changes_is_read_again(window: Window) -> None:
    path = window.write("models.py", "def load(old): ...\n")
    uri = window.open("main.py", "from models import load\nload(")
    assert "old" in await window.pieces(uri)
    path.write_text("def load(newer): ...\n")
    window.type(uri, len("from models import load\n"), "\n")
    assert "newer" in await window.pieces(uri)


async def test_pieces_stay_the_same_while_typing(window: Window) -> None:
    window.write("app/models.py", MODELS)
    head = "from app.models import load_user, unrelated\n\n"
    uri = window.open("main.py", head)
    at, seen = len(head), set[tuple[str, ...]]()
    for key in "user = load_user(unrelated())":
        window.type(uri, at, key)
        at += 1
        seen.add((await window.around(uri, at)).pieces)
    assert len(seen) == 1
    window.type(uri, at, "\n")
    assert {(await window.around(uri, at + 1)).pieces} == seen  # all of it is shown anyway


async def test_pieces_take_their_room_from_the_prefix(window: Window) -> None:
    window.write("app/models.py", MODELS)
    uri = window.open("main.py", "from app.models import load_user\nload_user(")
    around = await window.around(uri)
    used = sum(map(len, around.pieces))
    assert used > 0
    assert around.budget.prefix_chars == capture.budget_for(LIMITS).prefix_chars - used
    assert around.budget.suffix_chars == capture.budget_for(LIMITS).suffix_chars


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, 600),
    st.lists(
        st.sampled_from(
            [
                "load_user(",
                "User",
                ".greet(",
                "\n",
                "x = ",
                "😀",
                "unrelated",
                "from .secrets",
                "\t",
            ]
        ),
        max_size=12,
    ),
    st.data(),
)
async def test_never_beyond_the_budget_and_never_what_is_ignored(
    tmp_path: Path, tokens: int, parts: list[str], data: st.DataObject
) -> None:
    window = Window(tmp_path)
    window.write("app/models.py", MODELS * 8)
    window.write("secrets/keys.py", "def load_user(hidden): ...\nclass User:\n    hidden: int\n")
    window.open("secrets/open.py", "def unrelated(hidden): ...\n" * 3)
    other = window.open("other.py", "def helper(a):\n    return load_user(User, unrelated)\n" * 9)
    head = "from app.models import *\nfrom secrets.keys import load_user, User\n"
    uri = window.open("main.py", head + "".join(parts))
    window.type(other, data.draw(st.integers(0, 40)), "😀new\n")
    snapshot = window.documents.snapshot(uri)
    assert snapshot is not None
    around = await window.around(uri, data.draw(st.integers(0, len(snapshot.text))), tokens)
    assert sum(map(len, around.pieces)) <= capture.chars_of(LIMITS, tokens)
    assert around.budget.prefix_chars > 0
    assert "hidden" not in "".join(around.pieces)
    window.surroundings.close()
