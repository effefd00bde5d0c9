"""Which files are never read for a request: globs from the settings, secrets by default."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote, urlsplit


def is_ignored(uri: str, globs: Sequence[str]) -> bool:
    """Return whether a document's path matches any of the globs.

    Letter case does not count; ``*`` matches across folders; a glob without a leading slash may
    start at any folder.
    """
    path = unquote(urlsplit(uri).path)
    return _pattern(tuple(globs)).fullmatch(path.casefold()) is not None


@lru_cache(maxsize=8)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    if not globs:
        return re.compile(r"(?!)")  # matches nothing
    anchored = (glob if glob.startswith("/") else "*/" + glob.removeprefix("**/") for glob in globs)
    return re.compile("|".join(fnmatch.translate(glob.casefold()) for glob in anchored))
