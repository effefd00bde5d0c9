from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgemma_lsp.documents import Change, DocumentStore, Position

URI = "file:///a.py"
PIECES = st.text(alphabet="ab(:)[]{}\"'# \t\r\n漢é😀\u0301", max_size=12)
ENCODINGS = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
UNIT_BYTES = {"utf-8": 1, "utf-16": 2, "utf-32": 4}


def naive_offset(text: str, line: int, character: int, encoding: str) -> int:
    """The plain reading of the specification, character by character."""
    lines = re.split(r"(\r\n|\r|\n)", text)
    contents, breaks = lines[::2], [*lines[1::2], ""]
    if line >= len(contents):
        return len(text)
    offset = sum(len(contents[at]) + len(breaks[at]) for at in range(line))
    used = 0
    for char in contents[line]:
        used += len(char.encode(ENCODINGS[encoding])) // UNIT_BYTES[encoding]
        if used > character:
            break
        offset += 1
    return offset


POSITIONS = st.tuples(st.integers(0, 12), st.integers(0, 40))


@settings(deadline=None)
@given(
    st.text(alphabet="ab(:) \t\r\n漢é😀\u0301", max_size=120),
    st.lists(st.tuples(POSITIONS, POSITIONS, PIECES), max_size=8),
    st.sampled_from(sorted(ENCODINGS)),
    st.booleans(),
)
def test_edits_equal_a_naive_reference(
    text: str,
    edits: list[tuple[tuple[int, int], tuple[int, int], str]],
    encoding: str,
    at_once: bool,
) -> None:
    store = DocumentStore()
    document = store.open(URI, "python", 0, text)
    if not at_once:
        assert document.parsed.tree is not None
    for version, (one, two, new) in enumerate(edits, 1):
        low = naive_offset(text, *one, encoding)
        high = naive_offset(text, *two, encoding)
        low, high = min(low, high), max(low, high)
        text = text[:low] + new + text[high:]
        changed = store.change(
            URI, version, [Change(new, Position(*one), Position(*two))], encoding
        )
        assert changed is not None
        assert (changed.text, changed.version) == (text, version)
        if not at_once:
            assert changed.parsed.tree is not None
    snapshot = store.snapshot(URI)
    assert snapshot is not None
    fresh = DocumentStore().open(URI, "python", 0, text).parsed.tree
    tree = snapshot.parsed.tree
    assert tree is not None
    assert fresh is not None
    assert str(tree.root_node) == str(fresh.root_node)
    for offset in range(len(text) + 1):
        line, column = snapshot.parsed.position_at(offset)
        if text[offset - 1 : offset + 1] != "\r\n":
            assert snapshot.parsed.offset_at(line, column) == offset


SOURCES = {
    "python": "class A:\n    def f(self, x):\n        '''doc'''\n        return [x, (1)]\n\n" * 4,
    "javascript": "function f(a) {\n  const x = `t ${a}`;\n  return [x];\n}\n" * 4,
    "go": "package m\n\nfunc f(a int) int {\n\treturn a + 1\n}\n",
    "rust": 'fn f(a: i32) -> i32 {\n    let s = r#"x"#;\n    a + 1\n}\n' * 4,
    "lua": "local function f(a)\n  return a + 1\nend\n" * 4,
    "json": '{"a": [1, 2, {"b": null}], "c": "d"}\n',
    "typescript": "interface A { b: string }\nconst f = (a: A): string => a.b;\n" * 4,
}


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(SOURCES)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), PIECES), min_size=1, max_size=5),
)
def test_the_incremental_tree_equals_a_fresh_one(
    language: str, edits: list[tuple[int, int, str]]
) -> None:
    # Broken text can be recovered in more than one way, and an incremental parse may settle on
    # another one; so equality is demanded where the text parses.
    store = DocumentStore()
    parsed = store.open(URI, language, 0, SOURCES[language]).parsed
    assert parsed.tree is not None
    for at, length, new in edits:
        start = min(at, len(parsed.text))
        parsed = parsed.edited(start, min(start + length, len(parsed.text)), new)
    fresh = store.open(URI, language, 0, parsed.text).parsed.tree
    tree = parsed.tree
    assert tree is not None
    assert fresh is not None
    assert tree.root_node.end_byte == len(parsed.text.encode())
    if not fresh.root_node.has_error:
        assert str(tree.root_node) == str(fresh.root_node)


def test_several_changes_see_each_other() -> None:
    store = DocumentStore()
    store.open(URI, "python", 1, "a\nb\n")
    document = store.change(
        URI,
        2,
        [
            Change("xx", Position(0, 0), Position(0, 0)),
            Change("", Position(0, 1), Position(1, 0)),
            Change("!", Position(0, 2), Position(0, 2)),
        ],
    )
    assert document is not None
    assert document.text == "xb!\n"


def test_full_change_replaces_all() -> None:
    store = DocumentStore()
    old = store.open(URI, "python", 1, "a")
    document = store.change(URI, 2, [Change("b = 1\n")])
    assert document is not None
    assert document.text == "b = 1\n"
    assert old.text == "a"


@pytest.mark.parametrize(
    ("line", "character", "offset"),
    [(0, 99, 2), (1, 99, 5), (99, 0, 8), (2, 99, 8), (0, 1, 1), (1, 1, 4)],
)
def test_positions_out_of_range_are_clamped(line: int, character: int, offset: int) -> None:
    parsed = DocumentStore().open(URI, "plaintext", 1, "ab\rcd\r\ne").parsed
    assert parsed.offset_at(line, character) == offset


def test_a_split_surrogate_pair_counts_down() -> None:
    parsed = DocumentStore().open(URI, "plaintext", 1, "a😀b").parsed
    from dgemma_lsp.syntax.lines import Encoding

    assert parsed.offset_at(0, 2, Encoding.UTF16) == 1
    assert parsed.offset_at(0, 3, Encoding.UTF16) == 2
    assert parsed.offset_at(0, 3, Encoding.UTF8) == 1
    assert parsed.position_at(2, Encoding.UTF8) == (0, 5)


def test_lone_surrogates_do_not_raise() -> None:
    store = DocumentStore()
    store.open(URI, "python", 1, "x = '\ud83d'\n")
    document = store.change(URI, 2, [Change("y", Position(0, 0), Position(0, 1))])
    assert document is not None
    assert document.parsed.tree is not None


def test_close_and_unknown_documents() -> None:
    store = DocumentStore()
    store.open(URI, "python", 1, "")
    assert URI in store
    assert len(store) == 1
    assert [document.uri for document in store] == [URI]
    store.close(URI)
    store.close(URI)
    assert store.get(URI) is None
    assert store.snapshot(URI) is None
    assert store.change(URI, 2, [Change("")]) is None
