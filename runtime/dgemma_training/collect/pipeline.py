"""The whole way from the pinned list to a corpus on disk.

Fetch, read, drop duplicates, decontaminate, write, and account for every package beside the
corpus. Owns the order of the steps and the accounts; every rule is somebody else's.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from dgemma_training.collect.archives import ArchiveError
from dgemma_training.collect.clean import Dropped
from dgemma_training.collect.decontaminate import Shingles, read_protected
from dgemma_training.collect.fetch import Download, Fetched, fetch_all
from dgemma_training.collect.licences import Verdict
from dgemma_training.collect.near_duplicates import NearDuplicates
from dgemma_training.collect.packages import PinnedPackage, load_packages
from dgemma_training.collect.sources import PackageSources, path_hash, read_package
from dgemma_training.documents import Document, Split, write_documents

PACKAGES_FILE = "packages.json"
SUMMARY_FILE = "summary.json"

Report = Callable[[str, float], None]


class PackageAccount(msgspec.Struct):
    """What became of one package; ``problem`` is empty when it could be read."""

    registry: str
    name: str
    version: str
    split: Split
    form: str
    problem: str = ""
    accepted: bool = False
    licence: str = ""
    licence_source: str = ""
    files: int = 0
    bytes_by_language: dict[str, int] = {}
    dropped: dict[str, int] = {}


class Summary(msgspec.Struct):
    """Counts over a whole corpus.

    Attributes:
        files: Documents by split and language.
        bytes: Bytes by split and language.
        dropped: Files by reason, of accepted packages.
        accepted: Number of packages by licence.
        refused: Declared licence of every package that was refused for it.
        failed: What went wrong, for every package that could not be had or read.
    """

    files: dict[str, dict[str, int]]
    bytes: dict[str, dict[str, int]]
    dropped: dict[str, int]
    accepted: dict[str, int]
    refused: dict[str, str]
    failed: dict[str, str]


class _Read(msgspec.Struct):
    """One package with its documents while the corpus is put together."""

    package: PinnedPackage
    sources: PackageSources
    problem: str = ""

    @property
    def key(self) -> str:
        """Names the package; names alone are taken in more than one registry."""
        return f"{self.package.registry}:{self.package.name}"


def collect(
    folder: Path,
    *,
    languages: Collection[str] | None = None,
    exclude: Sequence[Path] = (),
    jobs: int = 4,
    limit: int | None = None,
    report: Report,
    downloads: Path | None = None,
    packages: Sequence[PinnedPackage] | None = None,
    download: Download | None = None,
) -> Summary:
    """Make a corpus.

    Args:
        folder: Where the corpus and its accounts are written.
        languages: Language identifiers to keep; all that are known when ``None``.
        exclude: Files of JSON lines with evaluation rows that must not be trained on.
        jobs: Clients and reading processes at a time.
        limit: At most so many packages of each split, for a quick trial.
        report: Called with what is being done and the share of that step that is done.
        downloads: Where archives are kept between runs; inside ``folder`` by default.
        packages: What to collect; the pinned list by default.
        download: How one archive is fetched; the registries' clients by default.

    Raises:
        OSError: An exclusion file cannot be read, or the folder cannot be written.
        ValueError: An exclusion file is not JSON lines.
    """
    shingles = Shingles()
    # First of all, so that a wrong path costs no download.
    for path in exclude:
        for text in read_protected(path):
            shingles.protect_row(text)
    chosen = _limited(load_packages().packages if packages is None else packages, limit)
    fetched = fetch_all(
        chosen,
        downloads or folder / "downloads",
        jobs=jobs,
        report=lambda name, share: report(f"fetch {name}", share),
        download=download,
    )
    reads = _read_all(fetched, languages, jobs, report)
    documents = _distinct(reads, report)
    documents = _clean_of_held_out(documents, shingles, report)
    documents.sort(key=lambda entry: path_hash(entry[0].package, entry[1].path))
    report("write", 0.0)
    write_documents(folder, (document for _, document in documents))
    summary = _account(folder, reads, documents)
    report("write", 1.0)
    return summary


_Entries = list[tuple[_Read, Document]]


def _limited(packages: Sequence[PinnedPackage], limit: int | None) -> list[PinnedPackage]:
    ordered = sorted(packages, key=lambda each: path_hash(each, ""))
    if limit is None:
        return ordered
    taken: Counter[Split] = Counter()
    chosen: list[PinnedPackage] = []
    for package in ordered:
        if taken[package.split] < limit:
            taken[package.split] += 1
            chosen.append(package)
    return chosen


def _read_all(
    fetched: Sequence[Fetched], languages: Collection[str] | None, jobs: int, report: Report
) -> list[_Read]:
    tasks = [(entry, languages) for entry in fetched]
    reads: list[_Read] = []
    # Not forked: the caller may hold threads of its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        for done, read in enumerate(pool.map(_read_one, tasks), start=1):
            reads.append(read)
            report(f"read {read.package.name}", done / len(tasks))
    return reads


def _read_one(task: tuple[Fetched, Collection[str] | None]) -> _Read:
    fetched, languages = task
    nothing = PackageSources(Verdict(False, "", "none"), [], Counter())
    if fetched.archive is None:
        return _Read(fetched.package, nothing, fetched.error)
    try:
        return _Read(fetched.package, read_package(fetched.package, fetched.archive, languages))
    except ArchiveError as error:
        return _Read(fetched.package, nothing, str(error))


def _distinct(reads: Iterable[_Read], report: Report) -> _Entries:
    """Drop repeats; what is held out comes first, so that it is what stays."""
    precedence = {Split.TEST: 0, Split.VALIDATION: 1, Split.TRAIN: 2}
    entries = [(read, document) for read in reads for document in read.sources.documents]
    entries.sort(
        key=lambda entry: (precedence[entry[1].split], path_hash(entry[0].package, entry[1].path))
    )
    duplicates = NearDuplicates()
    kept: _Entries = []
    for read, document in entries:
        if duplicates.is_new(document.text):
            kept.append((read, document))
        else:
            read.sources.dropped[Dropped.DUPLICATE] += 1
    report("drop duplicates", 1.0)
    return kept


def _clean_of_held_out(entries: _Entries, shingles: Shingles, report: Report) -> _Entries:
    """Drop training documents that share a run of tokens with anything that is held out."""
    for _, document in entries:
        if document.split is not Split.TRAIN:
            shingles.protect_document(document.text)
    kept: _Entries = []
    for done, (read, document) in enumerate(entries, start=1):
        touched = shingles.touched(document.text) if document.split is Split.TRAIN else None
        if touched is None:
            kept.append((read, document))
        else:
            read.sources.dropped[touched] += 1
        if done % 1000 == 0:
            report("decontaminate", done / len(entries))
    report("decontaminate", 1.0)
    return kept


def _account(folder: Path, reads: Sequence[_Read], entries: _Entries) -> Summary:
    accounts: dict[str, PackageAccount] = {}
    summary = Summary({}, {}, {}, {}, {}, {})
    dropped: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    for read in reads:
        package, verdict = read.package, read.sources.verdict
        dropped.update(read.sources.dropped)
        if read.problem:
            summary.failed[read.key] = read.problem
        elif verdict.accepted:
            accepted[verdict.licence] += 1
        else:
            summary.refused[read.key] = verdict.licence or "not declared"
        accounts[read.key] = PackageAccount(
            registry=package.registry,
            name=package.name,
            version=package.version,
            split=package.split,
            form=package.form,
            problem=read.problem,
            accepted=verdict.accepted,
            licence=verdict.licence,
            licence_source=verdict.source,
            dropped=dict(read.sources.dropped),
        )
    for read, document in entries:
        account = accounts[read.key]
        size = len(document.text.encode())
        account.files += 1
        _add(account.bytes_by_language, document.language, size)
        _add(summary.files.setdefault(document.split, {}), document.language, 1)
        _add(summary.bytes.setdefault(document.split, {}), document.language, size)
    summary.dropped = dict(dropped.most_common())
    summary.accepted = dict(accepted.most_common())
    ordered = sorted(accounts.values(), key=lambda each: (each.registry, each.name))
    _write_json(folder / PACKAGES_FILE, ordered)
    _write_json(folder / SUMMARY_FILE, summary)
    return summary


def _write_json(path: Path, value: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def _add(counts: dict[str, int], key: str, amount: int) -> None:
    counts[key] = counts.get(key, 0) + amount
