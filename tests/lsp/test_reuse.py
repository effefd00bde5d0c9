from __future__ import annotations

from dgemma_lsp.infill.reuse import CandidateCache
from dgemma_lsp.infill.types import Candidate, Hole, HoleKind, Snapshot, Verdict
from tests.lsp.holes import CURSOR, at_cursor, snapshot

HEAD = "import os\n\n\ndef f(path):\n"


def candidate(text: str, *, accepted: bool = True) -> Candidate:
    return Candidate(text, text, -0.1, 0.9, 4, "settled", Verdict(accepted))


def filled(marked: str, *texts: str, kind: HoleKind = HoleKind.LINE) -> CandidateCache:
    cache = CandidateCache()
    snap, offset = at_cursor(marked)
    cache.store(snap, Hole(offset, kind), [candidate(text) for text in texts])
    return cache


def found(cache: CandidateCache, marked: str, version: int = 2) -> list[str] | None:
    offset = marked.index(CURSOR)
    snap = snapshot(marked.replace(CURSOR, ""), version=version)
    reused = cache.lookup(snap, offset)
    return None if reused is None else [each.text for each in reused.candidates]


def test_the_same_hole() -> None:
    cache = filled(HEAD + "    return █\n", "os.stat(path)", "path")
    assert found(cache, HEAD + "    return █\n") == ["os.stat(path)", "path"]


def test_typing_into_a_candidate() -> None:
    cache = filled(HEAD + "    return █\n", "os.stat(path)", "path")
    assert found(cache, HEAD + "    return o█\n") == ["s.stat(path)"]
    assert found(cache, HEAD + "    return os.stat(█\n") == ["path)"]
    assert found(cache, HEAD + "    return p█\n") == ["ath"]
    assert found(cache, HEAD + "    return x█\n") is None
    assert found(cache, HEAD + "    return os.stat(path)█\n") is None


def test_backspacing_to_the_old_spot() -> None:
    cache = filled(HEAD + "    return █\n", "path")
    assert found(cache, HEAD + "    return x█\n") is None
    assert found(cache, HEAD + "    return █\n", 4) == ["path"]


def test_edits_elsewhere_do_not_matter() -> None:
    long_head = "x = 1\n" * 200
    cache = filled(long_head + "    return █\n" + "y = 2\n" * 200, "path")
    edited = "import sys\n" + long_head + "    return p█\n" + "y = 2\n" * 200 + "z\n"
    assert found(cache, edited) == ["ath"]


def test_a_changed_suffix_is_no_hit() -> None:
    cache = filled("x = f(█)\n", "a, b")
    assert found(cache, "x = f(█, c)\n") is None
    assert found(cache, "x = f(a█)\n") == [", b"]
    assert found(cache, "x = f(a█)\nmore\n") is None


def test_brackets_and_quotes_the_editor_closed() -> None:
    cache = filled("x = █\n", "os.stat(path, [1])", 'os.env["a"]')
    assert found(cache, "x = os.stat(█)\n") == ["path, [1]"]
    assert found(cache, "x = os.stat(path, [█])\n") == ["1"]
    assert found(cache, 'x = os.env["█"]\n') == ["a"]
    assert found(cache, "x = os█)\n") is None


def test_an_empty_answer_is_an_answer() -> None:
    cache = CandidateCache()
    snap, offset = at_cursor("x = █\n")
    cache.store(snap, Hole(offset, HoleKind.LINE), [candidate("(", accepted=False)])
    assert found(cache, "x = █\n") == []
    assert found(cache, "x = (█\n") is None


def test_start_of_the_document() -> None:
    cache = filled("█", "import os")
    assert found(cache, "imp█") == ["ort os"]
    assert found(cache, "x imp█") is None


def test_crlf_and_emoji() -> None:
    cache = filled("a = '😀'\r\nb = █\r\n", "漢字 + '👨‍👩‍👧'")
    assert found(cache, "a = '😀'\r\nb = 漢█\r\n") == ["字 + '👨‍👩‍👧'"]


def test_bounds_and_forgetting() -> None:
    cache = CandidateCache(documents=2, holes=2)

    def snap(uri: str, text: str) -> Snapshot:
        plain = snapshot(text)
        return Snapshot(uri, 1, plain.parsed, plain.language)

    for text in ("a = ", "bb = ", "ccc = "):
        one = snap("file:///1", text)
        cache.store(one, Hole(len(text), HoleKind.LINE), [candidate("z")])
    assert cache.lookup(snap("file:///1", "a = "), 4) is None
    assert cache.lookup(snap("file:///1", "ccc = "), 6) is not None
    for uri in ("file:///2", "file:///3"):
        cache.store(snap(uri, "q"), Hole(1, HoleKind.LINE), [candidate("z")])
    assert cache.lookup(snap("file:///1", "ccc = "), 6) is None
    cache.forget("file:///2")
    assert cache.lookup(snap("file:///2", "q"), 1) is None
    cache.clear()
    assert cache.lookup(snap("file:///3", "q"), 1) is None
