"""What a text imports, and where in a workspace that may lie: text and paths in, paths out.

Found by patterns and not by a tree, since the line that is being typed is often broken. Whether a
path exists is asked of the caller; nothing here looks at a disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from dgemma_lsp.languages.base import Language

MOST = 60
"""Imports that are looked at in one text."""

_SCRIPT_ENDINGS = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mts", ".cts", ".mjs", ".cjs")
_DEPTH = 12
"""Folders above a file in which an absolute import may start."""

_PY_FROM = re.compile(
    r"^[ \t]*from[ \t]+(?P<module>\.*[\w.]*)[ \t]+import[ \t]*(?P<names>\([^()]*\)?|[^\n;]*)",
    re.MULTILINE,
)
_PY_IMPORT = re.compile(r"^[ \t]*import[ \t]+(?P<names>[\w., \t]+)", re.MULTILINE)
_PY_COMMENT = re.compile(r"#[^\n]*")
_PY_NAME = re.compile(r"(?P<name>[^\W\d]\w*)(?:\s+as\s+(?P<alias>[^\W\d]\w*))?|(?P<star>\*)")
_PY_MODULE = re.compile(r"(?P<module>[^\W\d][\w.]*)(?:\s+as\s+(?P<alias>[^\W\d]\w*))?")

_JS_FROM = re.compile(
    r"\b(?P<how>import|export)\b(?P<names>[^'\"`;()=]{0,2000}?)\bfrom\s*(?P<quote>['\"])"
    r"(?P<module>[^'\"\n]{1,300})(?P=quote)"
)
_JS_REQUIRE = re.compile(
    r"\b(?:const|let|var)\s+(?P<names>\{[^{}]*\}|[\w$]+)\s*=\s*require\(\s*['\"]"
    r"(?P<module>[^'\"\n]{1,300})['\"]\s*\)"
)
_JS_NAME = re.compile(
    r"(?:type\s+)?(?P<name>[\w$]+)(?:\s+as\s+(?P<alias>[\w$]+)|\s*:\s*(?P<other>[\w$]+))?"
)
_JS_WHOLE = re.compile(r"\*\s+as\s+(?P<alias>[\w$]+)")

_GO_BLOCK = re.compile(r"^import\s*\((?P<body>[^)]*)\)", re.MULTILINE)
_GO_LINE = re.compile(r"^import\s+(?P<body>[^\n(]+)$", re.MULTILINE)
_GO_ONE = re.compile(r"(?P<alias>[\w.]+)?[ \t]*\"(?P<module>[^\"\n]+)\"")

_C_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*\"(?P<module>[^\"\n]+)\"", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Import:
    """One import.

    Attributes:
        module: What is imported from, as it is written there.
        names: Names in this text, each with its name over there.
        through: The name through which the module's own names are reached; empty for none.
        everything: All names of the module can be used plainly.
    """

    module: str
    names: tuple[tuple[str, str], ...] = ()
    through: str = ""
    everything: bool = False

    def original(self, name: str) -> str | None:
        """What the name of this text is called over there; ``None`` when it is not from there."""
        return dict(self.names).get(name, name if self.everything else None)


@dataclass(frozen=True, slots=True)
class Root:
    """A workspace folder as imports see it.

    Attributes:
        path: The folder.
        aliases: Heads of script imports and the folders they stand for, such as ``@/``.
        module: Head of the Go imports that lie in ``base``; empty for none.
        base: The folder of that Go module.
    """

    path: PurePath
    aliases: Sequence[tuple[str, PurePath]] = ()
    module: str = ""
    base: PurePath | None = None


def imports_of(text: str, language: Language) -> tuple[Import, ...]:
    """Return what a text imports, in order."""
    read = _READERS.get(_family(language))
    if read is None:
        return ()
    found: list[Import] = []
    for one in read(text.replace("\r\n", "\n").replace("\\\n", "  ")):
        found.append(one)
        if len(found) >= MOST:
            break
    return tuple(found)


def places(one: Import, document: PurePath, root: Root, language: Language) -> Iterator[PurePath]:
    """Yield the files that an import may mean, the likeliest first; a folder for Go's."""
    find = _PLACES.get(_family(language))
    if find is not None:
        yield from find(one, document, root)


def reads_folders(language: Language) -> bool:
    """Whether an import of the language means all files of a folder, its own among them."""
    return _family(language) == "go"


def _family(language: Language) -> str:
    name = "" if language.grammar is None else language.grammar.name
    return {"javascript": "script", "typescript": "script", "tsx": "script", "cpp": "c"}.get(
        name, name
    )


# -- Python -------------------------------------------------------------------------------------


def _python(text: str) -> Iterator[Import]:
    for found in _PY_FROM.finditer(text):
        names = _PY_COMMENT.sub("", found["names"])
        parts = list(_PY_NAME.finditer(names))
        yield Import(
            found["module"],
            tuple((part["alias"] or part["name"], part["name"]) for part in parts if part["name"]),
            everything=any(part["star"] for part in parts),
        )
    for found in _PY_IMPORT.finditer(text):
        for part in found["names"].split(","):
            named = _PY_MODULE.fullmatch(part.strip())
            if named is not None:
                yield Import(
                    named["module"], through=named["alias"] or named["module"].rsplit(".", 1)[-1]
                )


def submodules(one: Import, language: Language) -> Iterator[tuple[str, Import]]:
    """Yield the modules that the names of an import may be themselves, by those names."""
    if _family(language) == "python" and one.module:
        dot = "" if one.module.endswith(".") else "."
        for alias, name in one.names:
            yield alias, Import(f"{one.module}{dot}{name}", through=alias)


def _python_places(one: Import, document: PurePath, root: Root) -> Iterator[PurePath]:
    level = len(one.module) - len(one.module.lstrip("."))
    parts = [part for part in one.module[level:].split(".") if part]
    folders: list[PurePath]
    if level:
        folders = [document.parents[level - 1]] if level <= len(document.parents) else []
    else:
        # The source root is not known: any folder above the document may be it.
        above = [folder for folder in document.parents if folder.is_relative_to(root.path)]
        folders = [*above[::-1][:_DEPTH], root.path / "src", root.path / "lib"]
    for folder in folders:
        target = folder.joinpath(*parts)
        if parts:
            yield target.with_name(target.name + ".py")
        yield target / "__init__.py"
        if parts:
            yield target.with_name(target.name + ".pyi")
        yield target / "__init__.pyi"


# -- JavaScript and TypeScript ------------------------------------------------------------------


def _script(text: str) -> Iterator[Import]:
    for found in _JS_FROM.finditer(text):
        outer, _, inner = found["names"].partition("{")
        names = {p["alias"] or p["name"]: p["name"] for p in _JS_NAME.finditer(inner)}
        whole = _JS_WHOLE.search(outer)
        if found["how"] == "export":
            yield Import(
                found["module"], tuple(names.items()), everything=not inner and whole is None
            )
            continue
        plain = outer.replace("type ", " ", 1).partition(",")[0].strip()
        if plain.isidentifier():
            names[plain] = "default"
        yield Import(
            found["module"], tuple(names.items()), through="" if whole is None else whole["alias"]
        )
    for found in _JS_REQUIRE.finditer(text):
        if found["names"].startswith("{"):
            inner = found["names"][1:-1]
            names = {p["other"] or p["name"]: p["name"] for p in _JS_NAME.finditer(inner)}
            yield Import(found["module"], tuple(names.items()))
        else:
            yield Import(found["module"], through=found["names"])


def _script_places(one: Import, document: PurePath, root: Root) -> Iterator[PurePath]:
    module = one.module
    targets: list[PurePath] = []
    if module.startswith("."):
        targets.append(joined(document.parent, module))
    else:
        for head, folder in root.aliases:
            if head and (module.startswith(head) if head.endswith("/") else module == head):
                targets.append(joined(folder, module[len(head) :]))
        for head in ("@/", "~/"):
            if module.startswith(head):
                targets += [joined(root.path / "src", module[2:]), joined(root.path, module[2:])]
        if not targets and not module.startswith(("@", "node:")):
            targets += [joined(root.path, module), joined(root.path / "src", module)]
    for target in targets:
        name = target.name
        stem, dot, ending = name.rpartition(".")
        if dot and "." + ending in _SCRIPT_ENDINGS:
            if ending in ("js", "jsx", "mjs", "cjs"):  # TypeScript imports by the later name
                yield target.with_name(stem + "." + ending.replace("j", "t", 1))
                if ending == "js":
                    yield target.with_name(stem + ".tsx")
            yield target
        if name:
            for ending in _SCRIPT_ENDINGS:
                yield target.with_name(name + ending)
        for ending in _SCRIPT_ENDINGS[:5]:
            yield target / f"index{ending}"


def joined(folder: PurePath, name: str) -> PurePath:
    """A folder and a path from there, with ``.`` and ``..`` followed by name alone."""
    for part in name.split("/"):
        if part == "..":
            folder = folder.parent
        elif part not in ("", "."):
            folder = folder / part
    return folder


# -- Go and C -------------------------------------------------------------------------------------


def _go(text: str) -> Iterator[Import]:
    for block in (*_GO_BLOCK.finditer(text), *_GO_LINE.finditer(text)):
        for found in _GO_ONE.finditer(block["body"]):
            alias = found["alias"] or found["module"].rsplit("/", 1)[-1]
            plain = alias == "."
            yield Import(found["module"], through="" if plain else alias, everything=plain)


def _go_places(one: Import, document: PurePath, root: Root) -> Iterator[PurePath]:
    base = root.path if root.base is None else root.base
    if root.module and (one.module + "/").startswith(root.module + "/"):
        yield joined(base, one.module[len(root.module) :])


def _c(text: str) -> Iterator[Import]:
    for found in _C_INCLUDE.finditer(text):
        yield Import(found["module"], everything=True)


def _c_places(one: Import, document: PurePath, root: Root) -> Iterator[PurePath]:
    for folder in (document.parent, root.path, root.path / "include", root.path / "src"):
        yield joined(folder, one.module)


_READERS: Mapping[str, Callable[[str], Iterator[Import]]] = {
    "python": _python,
    "script": _script,
    "go": _go,
    "c": _c,
}
_PLACES: Mapping[str, Callable[[Import, PurePath, Root], Iterator[PurePath]]] = {
    "python": _python_places,
    "script": _script_places,
    "go": _go_places,
    "c": _c_places,
}
