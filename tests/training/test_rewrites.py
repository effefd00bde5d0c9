"""Rewrites do what their kind says, keep within their limits and can be told from failures."""

from __future__ import annotations

import ast
import random
import re
from pathlib import Path

import _pytest
import pluggy
import pytest

from dgemma_lsp.languages import by_id
from dgemma_lsp.syntax.errors import count_errors
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_training.rewrites import KINDS, Rewrite, find_rewrites, is_done, sample_rewrite
from dgemma_training.rewrites.base import (
    MAX_ORIGINAL_CHARACTERS,
    MAX_ORIGINAL_LINES,
    MAX_REPLACEMENT_CHARACTERS,
    MAX_REPLACEMENT_LINES,
)
from dgemma_training.rewrites.names import another_name
from tests.training.rewrite_cases import LEFT_ALONE, PYTHON_CASES, SCRIPT_CASES

ROOT = Path(__file__).parents[2]


def rewrites(kind: str, text: str, language: str = "python") -> list[Rewrite]:
    """What a kind makes of a text, over several seeds: sites have more than one form."""
    return [
        rewrite
        for seed in range(12)
        for rewrite in find_rewrites(text, language, random.Random(seed))
        if rewrite.kind == kind
    ]


def own_sources() -> list[Path]:
    """Real code of several styles."""
    others = [Path(_pytest.__file__).parent, Path(pluggy.__file__).parent]
    paths = sorted((ROOT / "dgemma_lsp").rglob("*.py"))[::4]
    paths += [path for folder in others for path in sorted(folder.glob("*.py"))[::5]]
    return [path for path in paths if path.stat().st_size < 24_000]


def has_errors(text: str, language: str) -> bool:
    if language == "python":
        try:
            ast.parse(text)
        except SyntaxError:
            return True
        return False
    return count_errors(ParsedText(text, by_id(language).usable_grammar())) > 0


def assert_sound(rewrite: Rewrite, text: str, language: str) -> None:
    original, replacement = rewrite.original, rewrite.replacement
    assert rewrite.start == 0 or text[rewrite.start - 1] == "\n"
    assert rewrite.end == len(text) or text[rewrite.end] == "\n"
    assert original != replacement
    assert not original.endswith("\n")
    assert not replacement.endswith("\n")
    assert original.count("\n") < MAX_ORIGINAL_LINES
    assert replacement.count("\n") < MAX_REPLACEMENT_LINES
    assert len(original) <= MAX_ORIGINAL_CHARACTERS
    assert len(replacement) <= MAX_REPLACEMENT_CHARACTERS
    assert not has_errors(rewrite.before(text), language)
    assert not has_errors(rewrite.after(text), language)
    context = {"before": text[: rewrite.start], "after": text[rewrite.end :]}
    for around in ({}, context):
        done = [
            is_done(rewrite.kind, original, answer, replacement, language=language, **around)
            for answer in (replacement, original, "", "\n".join(replacement.split("\n")[:-1]))
        ]
        assert done == [True, False, False, False], (rewrite, around)


@pytest.mark.parametrize(("kind", "text", "original", "replacement"), PYTHON_CASES)
def test_a_python_kind(kind: str, text: str, original: str, replacement: str) -> None:
    check_case("python", kind, text, original, replacement)


@pytest.mark.parametrize(("kind", "text", "original", "replacement"), SCRIPT_CASES)
def test_a_script_kind(kind: str, text: str, original: str, replacement: str) -> None:
    check_case("typescript", kind, text, original, replacement)


def check_case(language: str, kind: str, text: str, original: str, replacement: str) -> None:
    """The pair is among what is found, and all that is found is sound."""
    found = rewrites(kind, text, language)
    assert (original, replacement) in {(one.original, one.replacement) for one in found}
    for rewrite in found:
        assert_sound(rewrite, text, language)


@pytest.mark.parametrize(("language", "kind", "text"), LEFT_ALONE)
def test_what_is_left_alone(language: str, kind: str, text: str) -> None:
    assert not has_errors(text, language)
    assert rewrites(kind, text, language) == []


def test_every_kind_has_a_case() -> None:
    covered = {case[0] for case in PYTHON_CASES} | {"rename_local", "replace_value"}
    scripts = {case[0] for case in SCRIPT_CASES} | {"rename_local"}
    for kind in KINDS:
        assert kind.name in (covered if "python" in kind.languages else scripts)
        assert len(kind.instructions) >= 2
        assert len(set(kind.instructions)) == len(kind.instructions)
        assert kind.has_argument == ("{" in kind.instructions[0])


def test_names_of_kinds_are_unique_within_a_language() -> None:
    names = [(kind.name, language) for kind in KINDS for language in kind.languages]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", own_sources(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_rewrites_of_real_python_are_sound(path: Path) -> None:
    text = path.read_text("utf-8")
    found = find_rewrites(text, "python", random.Random(path.name))
    for rewrite in random.Random(1).sample(found, min(len(found), 15)):
        assert_sound(rewrite, text, "python")


@pytest.mark.parametrize("language", ["typescript", "typescriptreact"])
def test_rewrites_of_real_typescript_are_sound(language: str) -> None:
    text = "\n".join(
        case[1] for case in SCRIPT_CASES if "import" not in case[1] and "<" not in case[1]
    )
    found = find_rewrites(text, language, random.Random(3))
    assert len({rewrite.kind for rewrite in found}) > 20
    for rewrite in found:
        assert_sound(rewrite, text, language)


def test_a_rename_changes_the_name_and_nothing_else() -> None:
    line = "    y = g(x.total, total=total)  # é"
    text = f"def f(total, x):\n{line}\n"
    ways: set[bool] = set()
    for rewrite in rewrites("rename_local", text):
        assert_sound(rewrite, text, "python")
        forward = rewrite.before(text) == text
        real = rewrite.original if forward else rewrite.replacement
        made = rewrite.replacement if forward else rewrite.original
        other = re.fullmatch(r"    y = g\(x\.total, total=(?!total\b)(\w+)\)  # é", made)
        if real != line or other is None:
            continue
        ways.add(forward)
        old, new = ("total", other[1]) if forward else (other[1], "total")
        assert rewrite.instruction in {
            f"rename {old} to {new}",
            f"change the name {old} to {new}",
            f"call it {new}, not {old}",
        }
    assert ways == {True, False}


def test_a_rename_to_another_name_is_not_done() -> None:
    found = rewrites("rename_local", "def f(count):\n    return count\n")
    assert found
    for rewrite in found:
        wrong = rewrite.replacement.replace("count", "counted")
        if wrong == rewrite.replacement:
            wrong = re.sub(r"\w+(?=\W*$)", "wrong", wrong)
        assert not is_done("rename_local", rewrite.original, wrong, rewrite.replacement)


def test_another_name_keeps_the_style() -> None:
    rng = random.Random(5)
    for _ in range(50):
        camel = another_name("userName", set(), rng)
        upper = another_name("LIMIT", set(), rng)
        assert camel is None or "_" not in camel
        assert upper is None or upper.isupper()
        assert another_name("key", {"name", "field", "label"}, rng) not in (
            "name",
            "field",
            "label",
        )


def test_a_replaced_value_is_the_one_named() -> None:
    text = "x = f(1, [11, 'left', 2.5])\n"
    replaced: set[str] = set()
    for rewrite in rewrites("replace_value", text):
        assert_sound(rewrite, text, "python")
        one, other = (
            re.findall(r"[\d.]+|'\w+'", part) for part in (rewrite.original, rewrite.replacement)
        )
        changed = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
        assert len(changed) == 1
        assert all(value in rewrite.instruction for value in changed[0])
        replaced.update(changed[0])
    assert replaced > {"1", "11", "'left'", "2.5"}


def test_together_kinds_rewrite_every_place_of_the_selection() -> None:
    text = "if a == None or b == None:\n    c = d is None\n"
    for rewrite in rewrites("is_none", text):
        assert "None" in rewrite.replacement
        assert "==" not in rewrite.replacement


def test_a_selection_may_have_a_neighbouring_line_that_stays() -> None:
    text = "a = 1\nif b == None:\n    c = 2\n"
    windows = {rewrite.original for rewrite in rewrites("is_none", text)}
    assert {"if b == None:", "a = 1\nif b == None:", "if b == None:\n    c = 2"} == windows


@pytest.mark.parametrize(
    ("kind", "answer", "expected", "done"),
    [
        ("f_string", 'x = f"{a}"', "x = f'{a}'", True),
        ("f_string", "x = (f'{a}')", "x = f'{a}'", True),
        ("f_string", "x = '{}'.format(a)", "x = f'{a}'", False),
        ("f_string", "x = f'{b}'", "x = f'{a}'", False),
        ("f_string", "x = f'{a", "x = f'{a}'", False),
        ("f_string", "    f('a', 1,", "    f('a', 1,", True),
        ("f_string", '    f("a", 1,', "    f('a', 1,", True),
        ("f_string", "    f('b', 1,", "    f('a', 1,", False),
        ("is_none", "if a is None:", "if a is None:", True),
        ("is_none", "if (a is None):", "if a is None:", True),
        ("is_none", "if a is None:\n    pass", "if a is None:", False),
        ("is_none", "  if a is None:", "if a is None:", False),
        ("is_none", "x = a is None", "x = a is None  # why", False),
        ("is_none", "x = a is None #  why", "x = a is None # why", True),
        ("dict_literal", "d = {\n    'a': 1,\n}", "d = {'a': 1}", True),
        (
            "docstring",
            'def f(x):\n    """Other words."""',
            'def f(x):\n    """Do one thing."""',
            True,
        ),
        ("docstring", 'def f(x):\n    """No"""', 'def f(x):\n    """Do one thing."""', False),
        (
            "docstring",
            'def f(y):\n    """Other words."""',
            'def f(x):\n    """Do one thing."""',
            False,
        ),
        ("docstring", "def f(x):\n    pass", 'def f(x):\n    """Do one thing."""', False),
        ("invert_if", "if not (a == b):\n    c()", "if a != b:\n    c()", True),
        ("invert_if", "if not a or not b:\n    c()", "if not (a and b):\n    c()", True),
        ("invert_if", "if a == b:\n    c()", "if a != b:\n    c()", False),
        ("is_none", "if not a is None:\n    c()", "if a is not None:\n    c()", False),
        (
            "ternary_to_if",
            "if c:\n    return a\nelse:\n    return b",
            "if c:\n    return a\nreturn b",
            True,
        ),
        (
            "remove_else",
            "if c:\n    return a\nelse:\n    return b",
            "if c:\n    return a\nreturn b",
            False,
        ),
    ],
)
def test_what_counts_as_done(kind: str, answer: str, expected: str, done: bool) -> None:
    assert is_done(kind, "x", answer, expected) is done


@pytest.mark.parametrize(
    ("answer", "expected", "done"),
    [
        ('f((a) => b("x"))', "f(a => b('x'));", True),
        ("f(async (a) => b('x'),)", "f(async a => b('x'));", True),
        ("f(a,\n  b)", "f(a, b)", True),
        ("f(a, c)", "f(a, b)", False),
        ("f(a", "f(a)", False),
        ("f(a) // why", "f(a)", False),
        ("if (a) {\n b();\n}", "if (a) { b() }", True),
    ],
)
def test_what_counts_as_done_in_scripts(answer: str, expected: str, done: bool) -> None:
    assert is_done("arrow_function", "x", answer, expected, language="javascript") is done


def test_answers_are_judged_in_their_place() -> None:
    around = {"before": "def f(x):\n", "after": "\n    return y\n"}
    expected = "    y = x is None"
    assert is_done("is_none", "", "    y = (x is None)", expected, **around)
    assert not is_done("is_none", "", "y = x is None", expected, **around)
    # What is cut out of a text need not parse by itself.
    torn = {"before": "        x)\n", "after": "\n    return (y,"}
    assert is_done("is_none", "", "    y = (x is None)", expected, **torn)


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="no kind of rewrite"):
        is_done("polish", "a", "b", "b")
    with pytest.raises(ValueError, match="no kind of rewrite"):
        is_done("optional_chaining", "a", "b", "b", language="python")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("def f(:\n    x == None\n", "python"),
        ("x = a == None\r\n", "python"),
        ("x = '\0' == None\n", "python"),
        ("if (a == b {\n", "typescript"),
        ("x == None\n", "rust"),
        ("", "python"),
        ("", "javascript"),
    ],
)
def test_nothing_comes_of_a_text_that_does_not_parse(text: str, language: str) -> None:
    assert find_rewrites(text, language, random.Random(0)) == []
    assert sample_rewrite(text, language, random.Random(0)) is None


def test_a_sample_is_one_of_the_kinds_and_repeats_with_its_seed() -> None:
    text = (Path(pluggy.__file__).parent / "_manager.py").read_text("utf-8")
    drawn = [sample_rewrite(text, "python", random.Random(seed)) for seed in range(40)]
    again = [sample_rewrite(text, "python", random.Random(seed)) for seed in range(40)]
    assert drawn == again
    kinds = {rewrite.kind for rewrite in drawn if rewrite is not None}
    assert len(kinds) > 8
    for rewrite in drawn:
        assert rewrite is not None
        assert_sound(rewrite, text, "python")
