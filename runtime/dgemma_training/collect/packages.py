"""The pinned list of packages that a corpus is made of, and which may never be in it.

Reads ``packages.toml``, the package data beside this module. Knows nothing of registries beyond
their names.
"""

from __future__ import annotations

import re
from enum import StrEnum
from importlib import resources

import msgspec

from dgemma_training.documents import Split


class Registry(StrEnum):
    """Where a package comes from."""

    PYPI = "pypi"
    NPM = "npm"


class Form(StrEnum):
    """Which archive of a Python package; sdists are taken for their C, Rust, Java or Go."""

    WHEEL = "wheel"
    SDIST = "sdist"


class PinnedPackage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the list."""

    registry: Registry
    name: str
    version: str
    split: Split
    form: Form = Form.WHEEL


class Never(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Packages that evaluation rows are cut from, or that carry benchmarks.

    Attributes:
        pypi: Names, compared in normal form.
        npm: Names.
        npm_scopes: Scopes, with the ``@``.
    """

    pypi: tuple[str, ...]
    npm: tuple[str, ...]
    npm_scopes: tuple[str, ...]

    def forbids(self, registry: Registry, name: str) -> bool:
        """Whether a package may not be in a corpus."""
        if registry is Registry.PYPI:
            return normal_name(name) in {normal_name(each) for each in self.pypi}
        return name in self.npm or name.partition("/")[0] in self.npm_scopes


class PackageList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole list."""

    never: Never
    packages: tuple[PinnedPackage, ...]


class PackageListError(Exception):
    """The list names a forbidden package, one twice, or one without an exact version."""


def load_packages(text: str | None = None) -> PackageList:
    """Read and check a list; the one that is shipped when no text is given.

    Raises:
        PackageListError: It breaks a rule of the list.
        msgspec.ValidationError: It has another shape.
    """
    if text is None:
        data = resources.files("dgemma_training.collect")
        text = data.joinpath("packages.toml").read_text("utf-8")
    loaded = msgspec.toml.decode(text, type=PackageList)
    seen: set[tuple[Registry, str]] = set()
    for package in loaded.packages:
        name = package.name
        key = (package.registry, normal_name(name) if package.registry == "pypi" else name)
        if loaded.never.forbids(package.registry, name):
            raise PackageListError(f"{name} is on the never list")
        if key in seen:
            raise PackageListError(f"{name} is listed twice")
        # Both reach a client's command line, where a leading dash would be an option.
        if re.fullmatch(r"@?[a-z0-9][\w.\-/]*", name, re.IGNORECASE) is None:
            raise PackageListError(f"{name!r} is not a package name")
        if re.fullmatch(r"\d[\w.+!\-]*", package.version) is None:
            raise PackageListError(f"{name} has no exact version")
        seen.add(key)
    return loaded


def normal_name(name: str) -> str:
    """The form in which the names of Python packages are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
