"""The canvas adapters of workspaces: looked up by id, loaded when first asked for, few at a time.

Owns which of them are in memory. Knows no requests, and of the model only that it can take another
canvas adapter; the prefix cache is none of its business, since prefixes are the same for all.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections import OrderedDict
from pathlib import Path

import msgspec

from dgemma_runtime.models.base import ModelAdapter, TakesAdapters
from dgemma_wire.adapters import CARD_FILE, WEIGHTS_FILE, adapter_folder, is_adapter_id
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError

log = logging.getLogger(__name__)


class AdapterCard(msgspec.Struct, frozen=True, kw_only=True):
    """What ``adapter.json`` says of the weights next to it; other members are the training's own.

    Attributes:
        base_sha256: ``ModelSpec.base_sha256`` of the model they were made for.
        name: For people.
        created: When, as ISO 8601 says it.
        parent: Name of the adapter they were started from; empty for none.
    """

    base_sha256: str
    name: str
    created: str
    parent: str = ""


class AdapterShelf:
    """Models with the adapters of workspaces, least recently used first.

    Args:
        model: The model with its own adapter.
        base_sha256: What an adapter's card must say its base is.
        directory: Where the adapters lie; ``None`` is the user's directory.
        room: How many are kept, those of the model itself not counted.
        rewrites: The model's own adapter for rewrites; ``None`` when it has one for everything.
    """

    def __init__(
        self,
        model: ModelAdapter,
        base_sha256: str,
        directory: Path | None = None,
        room: int = 2,
        rewrites: Path | None = None,
    ) -> None:
        self._model = model
        self._base_sha256 = base_sha256
        self._directory = directory
        self._room = room
        self._rewrites = rewrites
        self._rewriter: ModelAdapter | None = None
        self._loaded: OrderedDict[str, tuple[tuple[int, int], ModelAdapter]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._loaded)

    def clear(self) -> None:
        """Give up the memory of all of them."""
        self._loaded.clear()
        self._rewriter = None

    def for_rewrites(self, name: str) -> ModelAdapter:
        """Return the model as it rewrites; an adapter of a workspace is for its fills.

        Raises:
            DenoiseFailed: As ``get``; ``model_unavailable`` when the model's file is damaged.
        """
        if self._rewrites is None:
            return self.get(name)
        if self._rewriter is None:
            if not isinstance(self._model, TakesAdapters):
                raise DenoiseFailed(FailureCode.MODEL_UNAVAILABLE, "This model takes no adapter.")
            try:
                self._rewriter = self._model.with_canvas_adapter(self._rewrites)
            except ModelError as error:
                raise DenoiseFailed(FailureCode.MODEL_UNAVAILABLE, str(error)) from error
        return self._rewriter

    def get(self, name: str) -> ModelAdapter:
        """Return the model with an adapter; with its own for the empty id.

        An adapter whose file was replaced since is loaded anew.

        Raises:
            DenoiseFailed: ``bad_request`` for what is no id, ``adapter_unavailable`` when there
                is no such adapter or it does not fit.
        """
        if not name:
            return self._model
        if not is_adapter_id(name):
            raise DenoiseFailed(FailureCode.BAD_REQUEST, "`adapter` is no id of an adapter.")
        try:
            return self._get(name)
        except ModelError as error:
            raise DenoiseFailed(
                FailureCode.ADAPTER_UNAVAILABLE, f"The adapter {name} cannot be used: {error}"
            ) from error

    def _get(self, name: str) -> ModelAdapter:
        model = self._model
        if not isinstance(model, TakesAdapters):
            raise ModelError("this model takes none.")
        folder = adapter_folder(name, self._directory)
        weights = folder / WEIGHTS_FILE
        stamp = _stamp(weights)
        known = self._loaded.pop(name, None)
        if known is not None and known[0] == stamp:
            self._loaded[name] = known
            return known[1]
        known = None  # an older version of it; its memory is needed for the new one
        card = _read_card(folder / CARD_FILE)
        if card.base_sha256 != self._base_sha256:
            raise ModelError("it was made for other base weights. Train it again.")
        # Room is made first: a trunk is a good part of the model's size.
        while len(self._loaded) >= self._room:
            self._loaded.popitem(last=False)
        adapter = model.with_canvas_adapter(weights)
        self._loaded[name] = (stamp, adapter)
        log.info("loaded the adapter %s (%s, made %s)", name, card.name, card.created)
        return adapter


def _stamp(weights: Path) -> tuple[int, int]:
    """Return what tells two versions of a file apart.

    Raises:
        ModelError: The file is missing, or other users can write it.
    """
    try:
        found = weights.stat()
    except OSError as error:
        raise ModelError(f"{weights}: {error.strerror}.") from error
    if sys.platform != "win32" and (
        found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022
    ):
        raise ModelError(f"{weights} is not this user's alone.")
    return found.st_mtime_ns, found.st_size


def _read_card(path: Path) -> AdapterCard:
    try:
        return msgspec.json.decode(path.read_bytes(), type=AdapterCard)
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error
