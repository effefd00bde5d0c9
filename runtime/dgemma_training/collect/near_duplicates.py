"""Exact and near duplicates: a file is dropped when most of its long lines were seen before.

Short lines say nothing (``return None``), so only long ones count. What comes first wins, which is
how held-out documents take precedence: they are offered before any other. Hashes only, no texts
are kept. Knows nothing of splits or packages.
"""

from __future__ import annotations

import hashlib

LONG_LINE = 25
"""Characters of a line, without the blanks around it, from which it counts."""
SEEN_SHARE = 0.6
"""Share of seen long lines from which a file is a repeat."""
FEW_LINES = 4
"""Below so many long lines only an exact repeat is dropped."""


class NearDuplicates:
    """What has been seen so far."""

    def __init__(self) -> None:
        self._lines: set[int] = set()
        self._texts: set[bytes] = set()

    def is_new(self, text: str) -> bool:
        """Whether to keep a text; one that is kept counts as seen from then on."""
        digest = hashlib.blake2b("".join(text.split()).encode(), digest_size=16).digest()
        if digest in self._texts:
            return False
        lines = {hash(line) for raw in text.split("\n") if len(line := raw.strip()) >= LONG_LINE}
        if len(lines) >= FEW_LINES:
            seen = len(lines & self._lines)
            if seen >= SEEN_SHARE * len(lines):
                return False
        self._texts.add(digest)
        self._lines |= lines
        return True
