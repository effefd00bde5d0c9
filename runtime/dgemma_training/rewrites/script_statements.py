"""JavaScript and TypeScript kinds about statements and names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from random import Random

from tree_sitter import Node

from dgemma_training.rewrites.base import Edit, Kind, Site
from dgemma_training.rewrites.names import another_name
from dgemma_training.rewrites.script_source import (
    FUNCTIONS,
    LANGUAGES,
    ScriptSource,
    field,
    is_plain,
    one_line,
)

_LEAVES = frozenset({"return_statement", "throw_statement", "continue_statement"})
_MOST_WINDOWS = 60
_MOST_BODY = 3
_LONGEST_LINE = 100
_RESERVED = frozenset(
    {
        *("arguments", "await", "break", "case", "catch", "class", "const", "continue"),
        *("default", "delete", "do", "else", "enum", "export", "extends", "false", "finally"),
        *("for", "function", "if", "import", "in", "instanceof", "let", "new", "null", "of"),
        *("return", "static", "super", "switch", "this", "throw", "true", "try", "type"),
        *("typeof", "undefined", "var", "void", "while", "with", "yield"),
    }
)


def find_add_braces(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``if (c) return`` against the same with braces."""
    for node in source.all("if_statement"):
        test, body = field(node, "condition"), field(node, "consequence")
        if test is None or body is None or field(node, "alternative") is not None:
            continue
        parent = node.parent
        if not source.alone(node) or not one_line(test):
            continue
        if parent is not None and parent.type == "else_clause":
            continue
        head = f"if {source.segment(test)}"
        indent = source.indent(node)
        if body.type == "statement_block":
            inner = body.named_children
            if (
                len(inner) != 1
                or not one_line(inner[0])
                or inner[0].type
                not in (
                    "return_statement",
                    "throw_statement",
                    "continue_statement",
                    "break_statement",
                    "expression_statement",
                )
            ):
                continue
            statement = source.segment(inner[0])
            if len(indent) + len(head) + len(statement) < _LONGEST_LINE and one_line(test):
                yield Site((source.edit(node, f"{head} {statement}", undoes=True),))
        elif one_line(body) and body.type != "if_statement":
            new = f"{head} {{\n{indent}{source.step()}{source.segment(body)}\n{indent}}}"
            yield Site((source.edit(node, new),))


def _block(node: Node | None) -> list[Node]:
    return node.named_children if node is not None and node.type == "statement_block" else []


def _moved(source: ScriptSource, nodes: list[Node], indent: str) -> str | None:
    """Whole lines of statements at another indentation; ``None`` where they cannot be moved."""
    if not nodes or len(nodes) > _MOST_BODY or not source.alone(nodes[0], nodes[-1]):
        return None
    rows = source.rows
    start = rows.start(nodes[0].start_point.row)
    end = source.span(nodes[-1])[1]
    text = source.text[start:end]
    # A template literal over several lines would change.
    if "`" in text and "\n" in text:
        return None
    old = len(source.indent(nodes[0]))
    return "\n".join(indent + line[old:] if line.strip() else line for line in text.split("\n"))


def _after(node: Node) -> list[Node]:
    found: list[Node] = []
    at = node.next_named_sibling
    while at is not None:
        found.append(at)
        at = at.next_named_sibling
    return found


def find_remove_else(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``else`` after a branch that leaves, against none."""
    for node in source.all("if_statement"):
        body, other = _block(field(node, "consequence")), field(node, "alternative")
        parent = node.parent
        if not body or body[-1].type not in _LEAVES or parent is None:
            continue
        if parent.type != "statement_block" or not source.alone(node):
            continue
        indent = source.indent(node)
        done = source.span(node.named_children[1])[1]
        rows = source.span(node)[0]
        if other is not None:
            inner = _block(other.named_children[0] if other.named_children else None)
            new = _moved(source, inner, indent)
            if new is not None:
                end = source.span(node)[1]
                yield Site((Edit(done, end, f"\n{new}"),), rows=(rows, end))
        else:
            rest = _after(node)
            old = _moved(source, rest, indent + source.step())
            if old is not None and rest[-1].type in _LEAVES:
                end = source.span(rest[-1])[1]
                edit = Edit(done, end, f" else {{\n{old}\n{indent}}}", undoes=True)
                yield Site((edit,), rows=(rows, end))


def _choices(source: ScriptSource) -> Iterator[tuple[int, int, str, str]]:
    """Ranges that return one of two values: as an ``if`` and as one expression."""
    step, stop = source.step(), source.stop()
    for node in source.all("return_statement"):
        given = node.named_children
        if len(given) != 1 or given[0].type != "ternary_expression" or not source.alone(node):
            continue
        parts = [field(given[0], name) for name in ("condition", "consequence", "alternative")]
        texts = [source.segment(part) for part in parts if part is not None]
        if len(texts) == 3 and all(part is not None and one_line(part) for part in parts):
            if any(part is not None and part.type == "ternary_expression" for part in parts):
                continue
            test = texts[0].removeprefix("(").removesuffix(")") if _bare(parts[0]) else texts[0]
            indent = source.indent(node)
            long = (
                f"if ({test}) {{\n{indent}{step}return {texts[1]}{stop}\n{indent}}}\n"
                f"{indent}return {texts[2]}{stop}"
            )
            yield *source.span(node), long, source.segment(node)
    for node in source.all("if_statement"):
        body, rest = _block(field(node, "consequence")), _after(node)[:1]
        test = field(node, "condition")
        if len(body) != 1 or not rest or test is None or field(node, "alternative") is not None:
            continue
        if not source.alone(node, rest[0]):
            continue
        values = [item.named_children for item in (body[0], rest[0])]
        if any(item.type != "return_statement" for item in (body[0], rest[0])):
            continue
        if all(len(value) == 1 and one_line(value[0]) for value in values):
            if any(value[0].type == "ternary_expression" for value in values):
                continue
            one, two = (source.segment(value[0]) for value in values)
            short = f"return {source.segment(test)[1:-1]} ? {one} : {two}{stop}"
            start, end = source.span(node)[0], source.span(rest[0])[1]
            if len(short) + len(source.indent(node)) <= _LONGEST_LINE and "=" not in re.sub(
                r"[=!<>]==?|[<>]=|=>", "", source.segment(test)
            ):
                yield start, end, source.text[start:end], short


def _bare(node: Node | None) -> bool:
    return node is not None and node.type == "parenthesized_expression"


def _find_choice(source: ScriptSource, *, wants_if: bool) -> Iterator[Site]:
    for start, end, long, short in _choices(source):
        has_if = source.text[start:end] == long
        new = short if has_if else long
        yield Site((Edit(start, end, new, undoes=has_if == wants_if),))


def find_ternary_to_if(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """``return c ? a : b`` against an ``if`` statement."""
    yield from _find_choice(source, wants_if=True)


def find_if_to_ternary(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """An ``if`` statement against ``return c ? a : b``."""
    yield from _find_choice(source, wants_if=False)


def find_for_of(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """A loop over indices against ``for ... of``."""
    for node in source.all("for_in_statement"):
        item, over, body = (field(node, name) for name in ("left", "right", "body"))
        sign, word = field(node, "operator"), field(node, "kind")
        if item is None or over is None or body is None or sign is None or word is None:
            continue
        if sign.type != "of" or body.type != "statement_block" or not is_plain(over):
            continue
        text = source.segment(node)
        start, low = source.span(node)[0], source.span(body)[0]
        index = next(
            (name for name in ("i", "j", "k") if not re.search(rf"\b{name}\b", text)), None
        )
        if index is None or not text.startswith("for (") or not one_line(item):
            continue
        sequence = source.segment(over)
        inner = source.indent(node) + source.step()
        head = (
            f"for (let {index} = 0; {index} < {sequence}.length; {index}++) {{\n"
            f"{inner}{word.type} {source.segment(item)} = {sequence}[{index}]{source.stop()}"
        )
        if source.text[low : low + 2] == "{\n":
            yield Site((Edit(start, low + 1, head, undoes=True),))


def find_sort_names(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """Imported names out of order against the same sorted."""
    for node in source.all("named_imports"):
        written = [source.segment(item) for item in node.named_children]
        names = [re.sub(r"^type ", "", text).split(" ")[0] for text in written]
        if len(names) < 2 or not one_line(node) or len(set(names)) < len(names):
            continue
        if len({name[:1].isupper() for name in names}) > 1 or any(n.isupper() for n in names):
            continue
        low, high = source.span(node.named_children[0])[0], source.span(node.named_children[-1])[1]
        if source.text[low:high] != ", ".join(written):
            continue
        order = sorted(range(len(names)), key=lambda index: names[index].lower())
        tidy = [written[index] for index in order]
        if tidy != written:
            yield Site((Edit(low, high, ", ".join(tidy)),))
        else:
            mixed = list(written)
            while mixed == written:
                rng.shuffle(mixed)
            yield Site((Edit(low, high, ", ".join(mixed), undoes=True),))


def _locals_of(source: ScriptSource) -> dict[tuple[int, str], list[tuple[int, int]]]:
    """Places of names that functions declare, by function and name."""
    declared: set[tuple[int, str]] = set()
    spots: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    stack: list[tuple[Node, tuple[int, ...]]] = [(source.root, ())]
    while stack:
        node, around = stack.pop()
        if node.type in FUNCTIONS:
            around = (*around, node.id)
        if node.type == "identifier":
            name = source.segment(node)
            for function in around:
                spots[function, name].append(source.span(node))
            parent = node.parent
            if around and parent is not None and _declares(parent, node):
                declared.add((around[-1], name))
        stack.extend((child, around) for child in node.named_children)
    return {key: places for key, places in spots.items() if key in declared}


def _declares(parent: Node, node: Node) -> bool:
    if parent.type in ("formal_parameters", "required_parameter"):
        return True
    name = field(parent, "name") or field(parent, "parameter")
    wanted = parent.type in ("variable_declarator", "arrow_function")
    return wanted and name is not None and name.id == node.id


def find_rename(source: ScriptSource, rng: Random) -> Iterator[Site]:
    """A local name within one to three logical lines, from the real name or back to it."""
    rows = source.rows
    names = list(_locals_of(source).items())
    rng.shuffle(names)
    for (_, name), spots in names[:_MOST_WINDOWS]:
        first, last = rows.row(rows.line_at(rng.choice(spots)[0]))
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            if last + 1 >= rows.count or not rows.line(last + 1).strip():
                break
            last = rows.row(last + 1)[1]
        start, end = rows.start(first), rows.end(last)
        selected = source.text[start:end]
        inside = sorted({spot for spot in spots if start <= spot[0] < end})
        known = {low for low, _ in inside}
        # A member of the same name stays; anything else would leave open what to do.
        clear = all(
            start + match.start() in known
            or selected[: match.start()].endswith(".")
            or re.match(r":\s", selected[match.end() :])
            for match in re.finditer(rf"(?<!\$)\b{re.escape(name)}\b(?!\$)", selected)
        )
        taken = _RESERVED.union(re.findall(r"\w+", selected))
        new = another_name(name, taken, rng)
        if not clear or new is None or not inside or name in _RESERVED:
            continue
        undoes = rng.random() < 0.5
        old, asked = (new, name) if undoes else (name, new)
        edits = tuple(Edit(low, high, new, undoes) for low, high in inside)
        yield Site(edits, {"old": old, "new": asked}, rows=(start, end))


KINDS: tuple[Kind[ScriptSource], ...] = (
    Kind(
        "rename_local",
        LANGUAGES,
        ("rename {old} to {new}", "change the name {old} to {new}", "call it {new}, not {old}"),
        find_rename,
        has_argument=True,
        weight=1.3,
    ),
    Kind(
        "add_braces",
        LANGUAGES,
        ("add braces", "put braces around the body", "use a block for the if"),
        find_add_braces,
        weight=0.6,
    ),
    Kind(
        "remove_else",
        LANGUAGES,
        ("remove the unneeded else", "remove the else after return", "drop the else"),
        find_remove_else,
        weight=2.0,
    ),
    Kind(
        "ternary_to_if",
        LANGUAGES,
        ("use an if statement", "expand the ternary", "replace the conditional expression"),
        find_ternary_to_if,
        weight=1.5,
    ),
    Kind(
        "if_to_ternary",
        LANGUAGES,
        ("use a conditional expression", "make it a ternary", "write the if as one expression"),
        find_if_to_ternary,
        weight=1.5,
    ),
    Kind(
        "for_of",
        LANGUAGES,
        ("use for...of", "replace the index loop with for...of", "loop over the items"),
        find_for_of,
        weight=2.0,
    ),
    Kind(
        "sort_names",
        LANGUAGES,
        ("sort the imported names", "put the names in order"),
        find_sort_names,
        together=True,
        weight=3.0,
    ),
)
