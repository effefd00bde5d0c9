"""The pure core of context: what a text defines and imports, what is in sight, what is chosen."""

from __future__ import annotations

from itertools import pairwise
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgemma_lsp.context.choose import Item, choose, rendered
from dgemma_lsp.context.definitions import MOST, definitions
from dgemma_lsp.context.edits import EditLog, shown
from dgemma_lsp.context.gather import Chosen, comment_of, gather
from dgemma_lsp.context.imports import Import, Root, imports_of, places, submodules
from dgemma_lsp.context.kinds import KINDS
from dgemma_lsp.context.sight import sight_of
from dgemma_lsp.context.similar import most_similar
from dgemma_lsp.languages import ALL, by_id
from dgemma_lsp.syntax.tree import ParsedText

HASH = ("#", "")


def defined(text: str, language: str = "python") -> dict[str, str]:
    """What a text defines, by ``container.name``."""
    one = by_id(language)
    parsed = ParsedText(text, one.usable_grammar())
    assert parsed.tree is not None
    found = definitions(parsed.tree, text.encode("utf-8", "surrogatepass"), one)
    return {f"{each.container}.{each.name}".lstrip("."): each.text for each in found}


# -- definitions ----------------------------------------------------------------------------------


def test_python_definitions_have_signatures_and_no_bodies() -> None:
    text = '''LIMIT: int = 3

@dataclass
class User(Base):
    """Somebody who can log in.

    More of it.
    """

    name: str
    age: int = 0

    def __init__(self, name: str) -> None:
        self.secret_of_the_body = name

    async def greet(
        self,
        other: "User",
    ) -> str:
        """Say hello."""
        return secret_of_the_body


try:
    def load(path): return secret_of_the_body
except ImportError:
    pass
'''
    found = defined(text)
    assert found["LIMIT"] == "LIMIT: int = 3"
    assert found["User"] == (
        'class User(Base):\n    """Somebody who can log in."""\n    name: str\n    age: int = 0\n'
        "    def __init__(self, name: str) -> None: ..."
    )
    assert found["User.greet"] == (
        'async def greet(self, other: "User") -> str:\n    """Say hello."""'
    )
    assert found["load"] == "def load(path): ..."
    assert not any("secret_of_the_body" in each for each in found.values())


def test_typescript_definitions() -> None:
    text = """/** Adds.
 *  And more. */
export function add(a: number, b = 1): number { return hidden(a) }
export const twice = (x: number): number => { return hidden(x) };
export interface Shape {
  name: string;
}
export type Id = string | number;
export default class Box<T> extends Base implements I {
  private value: T;
  constructor(value: T) { super(); hidden() }
  // Opens it.
  async open(key: string): Promise<T> { return hidden() }
}
declare function far(): void;
"""
    found = defined(text, "typescript")
    assert found["add"] == "// Adds.\nfunction add(a: number, b = 1): number;"
    assert found["twice"] == "const twice = (x: number): number;"
    assert found["Shape"] == "interface Shape {\n  name: string;\n}"
    assert found["Id"] == "type Id = string | number;"
    assert found["Box"] == (
        "class Box<T> extends Base implements I {\n  private value: T\n  constructor(value: T);\n}"
    )
    assert found["Box.open"] == "// Opens it.\nasync open(key: string): Promise<T>;"
    assert found["far"] == "function far(): void;"
    assert not any("hidden" in each for each in found.values())


def test_go_definitions() -> None:
    text = """package shop

// Price is in cents.
type Price struct {
\tCents int
}

const Limit = 3

// Add adds.
func (p *Price) Add(other Price) error { return hidden() }

func New(cents int) (*Price, error) { return hidden() }
"""
    found = defined(text, "go")
    assert found["Price"] == "// Price is in cents.\ntype Price struct {\n\tCents int\n}"
    assert found["Limit"] == "const Limit = 3"
    assert found["Add"] == "// Add adds.\nfunc (p *Price) Add(other Price) error"
    assert found["New"] == "func New(cents int) (*Price, error)"


@pytest.mark.parametrize(
    ("language", "text", "name", "wanted"),
    [
        ("rust", "/// Doc.\npub fn f(a: i32) -> A { 1 }", "f", "// Doc.\npub fn f(a: i32) -> A;"),
        ("rust", "impl S { pub fn g(&self) { h() } }", "S.g", "pub fn g(&self);"),
        ("java", "class A { void foo(String s) { b(); } }", "A.foo", "void foo(String s);"),
        ("c", "int foo(int a);", "foo", "int foo(int a);"),
        ("c", "static int bar(char *s) { return 1; }", "bar", "static int bar(char *s);"),
        ("cpp", "class A { public: void foo() const { b(); } };", "A.foo", "void foo() const;"),
        ("csharp", "namespace N { class A { void Foo(int x) {} } }", "A.Foo", "void Foo(int x);"),
        ("ruby", "module M\n class A\n  def foo(a, b = 1)\n   x\n  end\n end\nend", "A.foo",
         "def foo(a, b = 1)"),
        ("php", "<?php\nfunction f(int $a): string { return ''; }", "f",
         "function f(int $a): string;"),
        ("lua", "local function a(x) return 1 end", "a", "local function a(x)"),
    ],
)  # fmt: skip
def test_other_languages(language: str, text: str, name: str, wanted: str) -> None:
    assert defined(text, language)[name] == wanted


def test_every_table_is_of_a_grammar_that_is_there() -> None:
    known = {each.grammar.name for each in ALL if each.grammar is not None}
    assert set(KINDS) <= known


def test_node_types_are_the_grammars_own() -> None:
    for language in ALL:
        grammar = language.usable_grammar()
        if grammar is None or grammar.name not in KINDS:
            continue
        count = grammar.language.node_kind_count
        theirs = {grammar.language.node_kind_for_id(each) for each in range(count)}
        kinds = KINDS[grammar.name]
        ours = kinds.functions | kinds.types | kinds.shapes | kinds.values | kinds.through
        if grammar.name != "javascript":  # whose table is TypeScript's, which has more
            assert ours <= theirs, (grammar.name, ours - theirs)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted({each.ids[0] for each in ALL if each.grammar is not None})),
    st.lists(
        st.sampled_from(
            [
                "class A",
                "def f(",
                "):",
                "\n",
                "\r\n",
                "    ",
                "{",
                "}",
                "é",
                "😀",
                "x = 1",
                '"""',
                "func",
                "function g() {",
                "import a from 'b'",
                "from a import (b,",
                "\ud800",
                "struct S",
                "@",
                "//",
            ]
        ),
        max_size=40,
    ),
)
def test_broken_texts_are_no_error(language: str, parts: list[str]) -> None:
    text = "".join(parts)
    for each in defined(text, language).values():
        assert "\n\n" not in each
    imports_of(text, by_id(language))


def test_there_is_an_end_to_what_is_taken() -> None:
    text = "".join(f"def f{at}(a): pass\n" for at in range(3 * MOST))
    assert len(defined(text)) == MOST
    deep = "class A:\n" + "".join("    " * at + f"class B{at}:\n" for at in range(1, 60))
    assert "A" in defined(deep + "    " * 60 + "pass\n")
    long = "def f(" + ", ".join(f"argument{at}" for at in range(500)) + "): pass\n"
    assert len(defined(long)["f"]) < 300


# -- imports --------------------------------------------------------------------------------------

ROOT = Root(PurePosixPath("/w"))


def found_places(module: str, document: str, language: str, root: Root = ROOT) -> list[str]:
    one = Import(module)
    return [str(each) for each in places(one, PurePosixPath(document), root, by_id(language))]


def test_python_imports() -> None:
    text = (
        "import a.b as c, d\r\nfrom .x import (\r\n  one,  # why\r\n  two as three,\r\n)\r\n"
        "from .. import z\nfrom m import *\nfrom y import \\\n    k\nfrom . import (half"
    )
    found = imports_of(text, by_id("python"))
    assert Import(".x", (("one", "one"), ("three", "two"))) in found
    assert Import("..", (("z", "z"),)) in found
    assert Import("m", everything=True) in found
    assert Import("y", (("k", "k"),)) in found
    assert Import("a.b", through="c") in found
    assert Import("d", through="d") in found
    assert list(submodules(Import("..", (("z", "z"),)), by_id("python"))) == [
        ("z", Import("..z", through="z"))
    ]


def test_where_python_imports_lie() -> None:
    assert found_places(".x", "/w/a/b.py", "python")[0] == "/w/a/x.py"
    assert found_places("..x.y", "/w/a/b/c.py", "python")[:2] == [
        "/w/a/x/y.py",
        "/w/a/x/y/__init__.py",
    ]
    assert found_places(".", "/w/a/b.py", "python")[0] == "/w/a/__init__.py"
    absolute = found_places("a.c", "/w/src/a/b.py", "python")
    assert "/w/a/c.py" in absolute
    assert "/w/src/a/c.py" in absolute
    assert found_places("....x", "/w/b.py", "python") == []


def test_script_imports() -> None:
    text = """import A, {b as c, type D} from './x';
import * as Q from "../q"
import type { T } from 't'
export * from './e'; export { z as y } from './z'
const { a: b2, c2 } = require('./r'), f = 1; const g = require("g")
import 'side'
"""
    found = imports_of(text, by_id("typescript"))
    assert [each.module for each in found] == ["./x", "../q", "t", "./e", "./z", "./r", "g"]
    assert set(found[0].names) == {("c", "b"), ("D", "D"), ("A", "default")}
    assert found[1].through == "Q"
    assert found[3].everything
    assert found[4].names == (("y", "z"),)
    assert set(found[5].names) == {("b2", "a"), ("c2", "c2")}
    assert found[6].through == "g"


def test_where_script_imports_lie() -> None:
    assert found_places("./x", "/w/a/b.ts", "typescript")[:3] == [
        "/w/a/x.ts",
        "/w/a/x.tsx",
        "/w/a/x.d.ts",
    ]
    assert found_places("./x.js", "/w/a/b.ts", "typescript")[:3] == [
        "/w/a/x.ts",
        "/w/a/x.tsx",
        "/w/a/x.js",
    ]
    assert "/w/q/index.ts" in found_places("../q", "/w/a/b.ts", "typescript")
    assert "/w/src/lib/x.ts" in found_places("@/lib/x", "/w/a/b.ts", "typescript")
    named = Root(PurePosixPath("/w"), (("#ui/", PurePosixPath("/w/packages/ui")),))
    assert "/w/packages/ui/x.ts" in found_places("#ui/x", "/w/a/b.ts", "typescript", named)
    assert found_places("@scope/x", "/w/a/b.ts", "typescript") == []


def test_go_and_c_imports() -> None:
    text = 'package a\n\nimport (\n\t"fmt"\n\tx "shop/b"\n\t. "shop/d"\n)\nimport "shop/q"\n'
    found = imports_of(text, by_id("go"))
    assert [each.through for each in found] == ["fmt", "x", "", "q"]
    assert found[2].everything
    root = Root(PurePosixPath("/w"), module="shop", base=PurePosixPath("/w/go"))
    assert found_places("shop/b", "/w/go/a.go", "go", root) == ["/w/go/b"]
    assert found_places("shopping/b", "/w/go/a.go", "go", root) == []
    (one,) = imports_of('#include <stdio.h>\n#include "x/y.h"\n', by_id("c"))
    assert (one.module, one.everything) == ("x/y.h", True)


# -- sight, similar text, edits -----------------------------------------------------------------


def test_what_is_in_sight() -> None:
    sight = sight_of("total = price.of(item)\nuser.na", "me + tax(1)")
    assert sight.plain("price") > 0
    assert sight.member("of", "price") > 0
    assert sight.member("of", "user") == 0
    assert sight.plain("user") > sight.plain("price")
    assert sight.opened == "user"
    assert sight.plain("na") == sight.plain("me") == 0  # the word that is being typed
    assert sight.plain("tax") > 0
    assert sight_of("", "").uses == {}
    assert sight_of("größe.", "").opened == "größe"


def test_similar_text() -> None:
    place = "for order in orders:\n    total += order.price * order.amount\n    report(total)"
    other = (
        "x = 1\n" * 30
        + "    for order in open_orders:\n        total += order.price\n"
        + "        report(order.amount)\n"
    )
    found = most_similar(place, [("other.py", other), ("far.py", "import os\n" * 50)])
    assert found is not None
    assert found.source == "other.py"
    assert "for order in open_orders:" in found.text
    assert most_similar("x = 1", [("other.py", other)]) is None


def edits(*texts: str) -> tuple[EditLog, ParsedText]:
    """A log of one document that had these texts, one after another."""
    log = EditLog()
    parsed = [ParsedText(each) for each in texts]
    for before, after in pairwise(parsed):
        log.note("file:///a.py", before, after)
    return log, parsed[-1]


LINES = [f"line {at}" for at in range(40)]


def changed(**lines: str) -> str:
    return "\n".join(lines.get(f"at{at}", each) for at, each in enumerate(LINES)) + "\n"


def test_typing_in_one_place_is_one_edit() -> None:
    log, now = edits(changed(), changed(at5="n"), changed(at5="ne"), changed(at5="new", at6="six"))
    (place,) = log.places()
    found = shown(place, now)
    assert found is not None
    assert found.text == "-line 5\n-line 6\n+new\n+six"


def test_edits_further_away_are_others_and_move_with_the_text() -> None:
    log, now = edits(
        changed(),
        changed(at30="far"),
        changed(at30="far", at2="a\nb\nc"),
        changed(at30="farther", at2="a\nb\nc"),
    )
    texts = [found.text for place in log.places() if (found := shown(place, now)) is not None]
    assert texts == ["-line 30\n+farther", "-line 2\n+a\n+b\n+c"]


def test_what_was_taken_back_is_no_edit() -> None:
    log, now = edits(changed(), changed(at5="other"), changed())
    assert [shown(place, now) for place in log.places()] == [None]


def test_a_new_file_is_no_edit() -> None:
    log, _ = edits("", "x = 1\n" * 500)
    assert log.places() == ()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 30), st.text("ab\n\ré😀", max_size=8)),
        min_size=1,
        max_size=12,
    )
)
def test_edits_never_show_what_was_not_there(changes: list[tuple[int, int, str]]) -> None:
    log = EditLog()
    start = ParsedText(changed())
    now = start
    seen = set(start.text.replace("\r", "\n").split("\n"))
    for at, length, text in changes:
        low = min(at, len(now.text))
        after = now.edited(low, min(low + length, len(now.text)), text)
        log.note("file:///a.py", now, after)
        now = after
        seen |= set(now.text.replace("\r", "\n").split("\n"))
    for place in log.places():
        found = shown(place, now)
        for line in [] if found is None else found.text.split("\n"):
            assert line[0] in "+-"
            assert line[1:].strip("\r") in seen


# -- choosing -----------------------------------------------------------------------------------


def item(name: str, worth: float, source: str = "a.py", text: str = "") -> Item:
    return Item(source, text or f"def {name}(): ...", worth, name)


def test_members_stand_in_their_type() -> None:
    user = Item("a.py", "class User:\n    name: str", 3.0, "User")
    greet = Item("a.py", "def greet(self): ...", 2.0, "greet", "User", "class User:")
    leave = Item("a.py", "def leave(self): ...", 1.0, "leave", "User", "class User:")
    assert rendered((user, greet, leave), HASH) == (
        "# a.py\nclass User:\n    name: str\n    def greet(self): ...\n    def leave(self): ...\n",
    )
    assert rendered((greet, item("f", 1.0, "b.py")), HASH) == (
        "# a.py\nclass User:\n    def greet(self): ...\n",
        "# b.py\ndef f(): ...\n",
    )
    box = Item("a.ts", "open(): void;", 2.0, "open", "Box", "class Box {", "}")
    assert rendered((box,), ("//", "")) == ("// a.ts\nclass Box {\n  open(): void;\n}\n",)


def test_what_is_shown_stays_until_others_are_clearly_worth_more() -> None:
    budget = len("# a.py\ndef f0(): ...\ndef f1(): ...\n")
    first = choose([item("f0", 2.0), item("f1", 1.9), item("f2", 1.0)], (), budget, HASH)
    assert [each.name for each in first] == ["f0", "f1"]
    again = choose([item("f0", 1.8), item("f1", 2.0), item("f2", 2.1)], first, budget, HASH)
    assert rendered(again, HASH) == rendered(first, HASH)
    other = choose([item("f0", 2.0), item("f1", 0.1), item("f2", 9.0)], first, budget, HASH)
    assert [each.name for each in other] == ["f0", "f2"]  # what stays keeps its place


def test_what_comes_new_comes_last() -> None:
    first = choose([item("f0", 1.0)], (), 200, HASH)
    more = choose([item("f1", 3.0), item("f0", 1.0)], first, 200, HASH)
    assert [each.name for each in more] == ["f0", "f1"]


NAMES = st.sampled_from([f"f{at}" for at in range(8)])
ITEMS = st.lists(
    st.builds(
        item,
        NAMES,
        st.floats(0.1, 5),
        st.sampled_from(["a.py", "b.py", "c.py"]),
        st.sampled_from(["x = 1", "class A:\n    b: int", "é😀" * 10, "y" * 200]),
    ),
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(
    ITEMS,
    ITEMS,
    st.integers(0, 400),
    st.lists(
        st.tuples(st.sampled_from(["a.py", "b.py"]), st.text("ab\n+-", max_size=60)), max_size=4
    ),
)
def test_never_more_than_the_budget(
    wanted: list[Item], before: list[Item], budget: int, places: list[tuple[str, str]]
) -> None:
    python = by_id("python")
    texts = [("d.py", "total = price * amount + tax_of(price)\n" * 20)]
    place = "total = price * amount\nprint(total, tax_of, rate, sums)"
    chosen = gather(wanted, place, texts, places, budget, python, Chosen(tuple(before)))
    assert sum(map(len, chosen.pieces(python))) <= budget
    once_more = gather(wanted, place, texts, places, budget, python, chosen)
    assert once_more.pieces(python) == chosen.pieces(python)


def test_edits_come_last_as_comments() -> None:
    typescript = by_id("typescript")
    chosen = gather(
        [item("f", 1.0, "a.ts", "function f();")],
        "", [], [("b.ts", "-old\n+new"), ("b.ts", "+one")],
        800, typescript, Chosen(),
    )  # fmt: skip
    assert chosen.pieces(typescript) == (
        "// a.ts\nfunction f();\n",
        "// changed in b.ts\n// +one\n// -old\n// +new\n",
    )
    assert comment_of(by_id("css")) == ("/*", " */")
