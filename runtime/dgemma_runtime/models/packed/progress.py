"""How far reading weights is: layers that are whole, and the share of all bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from dgemma_runtime.models.loading import LoadReport

_LAYER = re.compile(r"\blayers\.(\d+)\.")


class Progress:
    """Counts tensors as they come, and tells when a layer is whole.

    Args:
        report: Is told.
        doing: What is being done, in words.
        sizes: Bytes of all tensors that are to come, by name.
    """

    def __init__(self, report: LoadReport, doing: str, sizes: Mapping[str, int]) -> None:
        self._report = report
        self._doing = doing
        self._sizes = sizes
        self._total = max(1, sum(sizes.values()))
        self._read = 0
        self._left = Counter(layer for name in sizes if (layer := _layer(name)))
        self._layers = len(self._left)

    def add(self, name: str) -> None:
        """Count a tensor."""
        self._read += self._sizes[name]
        layer = _layer(name)
        if layer:
            self._left[layer] -= 1
            if not self._left[layer]:
                del self._left[layer]
                self.tell()

    def tell(self) -> None:
        """Tell how far it is."""
        whole = self._layers - len(self._left)
        text = f"{self._doing}: {whole} of {self._layers} layers."
        self._report(min(1.0, self._read / self._total), text)


def _layer(name: str) -> str:
    found = _LAYER.search(name)
    return found[1] if found else ""
