"""From one fetched archive to its usable documents.

Applies the licence verdict and the cleaning rules, and takes no more than a package's share, in an
order that does not depend on the archive's. Knows no other package: duplicates and contamination
are found later, over all of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import msgspec

from dgemma_training.collect import clean
from dgemma_training.collect.archives import read_members
from dgemma_training.collect.clean import Dropped
from dgemma_training.collect.licences import Verdict, npm_verdict, python_verdict
from dgemma_training.collect.packages import PinnedPackage, Registry
from dgemma_training.documents import Document

MAX_PACKAGE_BYTES = 4_000_000
MAX_LANGUAGE_BYTES = 2_000_000
"""Of one package in one language: many packages teach more than much of one."""
TEST_SHARE = 1 / 3
"""Of a package's bytes in a language; tests repeat themselves."""


class PackageSources(msgspec.Struct):
    """What one archive gave.

    Attributes:
        verdict: On its licence; no documents when it is refused.
        documents: The usable ones.
        dropped: Number of files by reason.
    """

    verdict: Verdict
    documents: list[Document]
    dropped: Counter[str]


class _Candidate(msgspec.Struct):
    path: str
    text: str
    language: str
    size: int
    is_test: bool


def read_package(
    package: PinnedPackage, archive: Path, languages: Collection[str] | None = None
) -> PackageSources:
    """Read the documents of a package.

    Args:
        package: What the archive is.
        archive: A wheel, sdist or npm tarball.
        languages: Identifiers to take; all of them when ``None``.

    Raises:
        ArchiveError: The archive cannot be read.
    """
    dropped: Counter[str] = Counter()
    metadata: dict[str, str] = {}
    candidates: list[_Candidate] = []
    typed: set[str] = set()

    def wanted(path: str) -> bool:
        return _is_metadata(package, path) or clean.language_of(path) is not None

    for path, data in read_members(archive, wanted):
        if _is_metadata(package, path):
            metadata[path] = data.decode("utf-8", "replace")
            continue
        inner = _inner_path(package, path)
        language = clean.language_of(path)
        assert language is not None
        if language.startswith("typescript"):
            typed.add(PurePosixPath(path).stem)
        candidate = _candidate(inner, data, language)
        if isinstance(candidate, Dropped):
            dropped[candidate] += 1
        elif languages is None or candidate.language in languages:
            candidates.append(candidate)

    verdict = _verdict(package, metadata)
    if not verdict.accepted:
        return PackageSources(verdict, [], Counter())
    kept: list[_Candidate] = []
    for candidate in candidates:
        # Next to its TypeScript a script of the same name is what the compiler made of it.
        if candidate.language == "javascript" and PurePosixPath(candidate.path).stem in typed:
            dropped[Dropped.BUILT] += 1
        else:
            kept.append(candidate)
    documents = [
        Document(
            text=each.text,
            language=each.language,
            package=package.name,
            version=package.version,
            licence=verdict.licence,
            path=each.path,
            split=package.split,
        )
        for each in _share(package, kept, dropped)
    ]
    return PackageSources(verdict, documents, dropped)


def _candidate(path: str, data: bytes, language: str) -> _Candidate | Dropped:
    reason = clean.judge_path(path)
    if reason is not None:
        return reason
    if not clean.MIN_BYTES <= len(data) <= clean.MAX_BYTES:
        return Dropped.SIZE
    text = clean.decode(data)
    if text is None:
        return Dropped.ENCODING
    language = clean.refine_language(text, path, language)
    reason = clean.judge_text(text, language)
    if reason is not None:
        return reason
    return _Candidate(path, text, language, len(text.encode()), clean.is_test(path))


def _share(
    package: PinnedPackage, candidates: list[_Candidate], dropped: Counter[str]
) -> list[_Candidate]:
    """The candidates that parse and fit into the package's share, tests last."""
    taken: list[_Candidate] = []
    total = 0
    by_language: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    candidates.sort(key=lambda each: (each.is_test, path_hash(package, each.path)))
    for each in candidates:
        size, language = each.size, each.language
        ahead = by_language[language] + size
        full = total + size > MAX_PACKAGE_BYTES or ahead > MAX_LANGUAGE_BYTES
        if full or (each.is_test and tests[language] + size > TEST_SHARE * ahead):
            dropped[Dropped.CAP] += 1
            continue
        if not clean.parses(each.text, language):
            dropped[Dropped.SYNTAX] += 1
            continue
        total += size
        by_language[language] = ahead
        if each.is_test:
            tests[language] += size
        taken.append(each)
    return taken


def path_hash(package: PinnedPackage, path: str) -> str:
    """An order that is the same everywhere and follows neither registry nor name."""
    return hashlib.sha256(f"{package.registry}/{package.name}/{path}".encode()).hexdigest()


def _is_metadata(package: PinnedPackage, path: str) -> bool:
    parts = PurePosixPath(path).parts
    if package.registry is Registry.NPM:
        return len(parts) == 2 and parts[1] == "package.json"
    if len(parts) != 2:
        return False
    return parts[1] == "PKG-INFO" or (parts[0].endswith(".dist-info") and parts[1] == "METADATA")


def _inner_path(package: PinnedPackage, path: str) -> str:
    """The path without the one folder that sdists and npm tarballs wrap everything in."""
    wrapped = package.registry is Registry.NPM or package.form == "sdist"
    return path.partition("/")[2] or path if wrapped else path


def _verdict(package: PinnedPackage, metadata: dict[str, str]) -> Verdict:
    judge = npm_verdict if package.registry is Registry.NPM else python_verdict
    for text in metadata.values():
        return judge(text)
    return Verdict(False, "", "none")
