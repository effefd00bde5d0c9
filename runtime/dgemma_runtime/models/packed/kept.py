"""Keeping packed weights on the disk: written while they are made, read in place of the checkpoint.

What is kept fits when it is of this release, of these files of the checkpoint, and its headers are,
byte for byte, those that packing would write; anything else is made again. Keeping is a help and
never a need: whatever goes wrong with it ends the keeping and is logged, and the load goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dgemma_runtime.catalog import packed
from dgemma_runtime.catalog.packed import NOTE, SCRATCH, PackedFile, PackedNote
from dgemma_runtime.models.packed.tensor_file import Layout, TensorFile

log = logging.getLogger(__name__)

FREE_BYTES = 1_000_000_000
"""What keeping leaves free on the disk."""


class Unfit(Exception):
    """Why packed weights are not used."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Packed weights as they are to be kept.

    Attributes:
        home: Their folder.
        note: What they are made of; tells no files yet.
        checkpoint: Folder of the checkpoint.
        weights: Its weight files.
        layouts: The files.
    """

    home: Path
    note: PackedNote
    checkpoint: Path
    weights: list[Path]
    layouts: Sequence[Layout]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(layout.size for layout in self.layouts)


def make_plan(
    checkpoint: Path, weights: list[Path], form: str, layouts: Sequence[Layout], keep_in: Path
) -> Plan:
    """Plan how a checkpoint's packed weights are kept.

    Raises:
        OSError: The checkpoint cannot be looked at.
    """
    note = PackedNote(
        version=packed.VERSION,
        form=form,
        source=str(checkpoint.resolve()),
        source_files=packed.source_files(checkpoint, weights),
    )
    home = packed.packed_folder(keep_in, checkpoint, form)
    return Plan(home, note, checkpoint, weights, layouts)


def why_unfit(plan: Plan) -> str:
    """Say why what is kept is not what is planned; empty when it is."""
    note = packed.read_note(plan.home)
    if note is None:
        return "it is not whole"
    if (note.version, note.form, note.source) != (
        plan.note.version,
        plan.note.form,
        plan.note.source,
    ):
        return "another release made it"
    if note.source_files != plan.note.source_files:
        return "the checkpoint has changed since"
    try:
        for layout in plan.layouts:
            path = plan.home / layout.name
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size != layout.size:
                    return f"{layout.name} is cut off or of another size"
                if file.read(len(layout.header)) != layout.header:
                    return f"{layout.name} has another header"
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    return ""


@contextmanager
def opened(
    plan: Plan, device: torch.device
) -> Iterator[list[tuple[Layout, Callable[[str], Tensor]]]]:
    """Open what is kept: each file, and a function that brings a tensor of it to the device.

    Raises:
        Unfit: It is not what is planned, or cannot be read, now or while it is held open.
    """
    try:
        with ExitStack() as held:
            # All before the first is read: what another process takes away meanwhile stays open.
            files = [
                held.enter_context(
                    safe_open(plan.home / layout.name, framework="pt", device=str(device))
                )
                for layout in plan.layouts
            ]
            if why := why_unfit(plan):
                raise Unfit(why)
            yield [
                (layout, file.get_tensor) for layout, file in zip(plan.layouts, files, strict=True)
            ]
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        raise Unfit(str(error)) from error


class Keeping:
    """Packed weights that are being written into a folder of their own.

    Args:
        plan: What they are to be; ``None`` keeps nothing.
        scratch: The folder; without one nothing is kept, as after the first failure.
    """

    def __init__(self, plan: Plan | None = None, scratch: Path | None = None) -> None:
        self._plan = plan
        self._scratch = scratch
        layouts = plan.layouts if plan else ()
        self._home_of = {name: layout for layout in layouts for name in layout.places}
        self._open: dict[str, TensorFile] = {}
        self._left = {layout.name: set(layout.places) for layout in layouts}
        self._files: list[PackedFile] = []

    @property
    def wanted(self) -> bool:
        """Whether anything is still being kept."""
        return self._scratch is not None

    def put(self, name: str, tensor: Tensor) -> None:
        """Write a tensor."""
        if self._scratch is None:
            return
        layout = self._home_of[name]
        try:
            if layout.name not in self._open:
                self._open[layout.name] = TensorFile(self._scratch, layout)
            file = self._open[layout.name]
            file.put(name, tensor)
            self._left[layout.name].discard(name)
            if not self._left[layout.name]:
                self._files.append(file.finish())
        except (OSError, ValueError) as error:
            self._give_up(error)

    def finish(self) -> None:
        """Give what was written its name; from then on it is found."""
        plan = self._plan
        if plan is None or self._scratch is None:
            return
        try:
            if packed.source_files(plan.checkpoint, plan.weights) != plan.note.source_files:
                raise ValueError("the checkpoint changed while it was read")
            if lacking := [name for name, left in self._left.items() if left]:
                raise ValueError(f"{lacking[0]} lacks {min(self._left[lacking[0]])}")
            files = tuple(sorted(self._files, key=lambda file: file.name))
            note = msgspec.structs.replace(plan.note, files=files)
            _write_note(self._scratch, note)
            self._scratch.rename(plan.home)
            self._scratch = None
            _sync_folder(plan.home.parent)
        except (OSError, ValueError) as error:
            self._give_up(error)
            return
        log.info(
            "weights packed as %s are kept in %s (%.1f GB): the next start reads them",
            plan.note.form,
            plan.home,
            plan.size / 1e9,
        )

    def close(self) -> None:
        """Leave nothing behind of what was not finished."""
        for file in self._open.values():
            file.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _give_up(self, error: Exception) -> None:
        assert self._plan is not None
        _not_kept(self._plan, str(error))
        self.close()


@contextmanager
def keeping(plan: Plan | None) -> Iterator[Keeping]:
    """Begin to keep weights; what is not finished at the end is taken away.

    Args:
        plan: What they are to be; ``None`` keeps nothing.
    """
    if plan is None:
        yield Keeping()
        return
    with ExitStack() as held:
        scratch = None
        try:
            scratch = _prepare(plan, held)
        except filelock.Timeout:
            _not_kept(plan, "another process writes them just now")
        except (OSError, NotImplementedError, Unfit) as error:
            _not_kept(plan, str(error))
        made = Keeping(plan, scratch)
        held.callback(made.close)
        yield made


def _prepare(plan: Plan, held: ExitStack) -> Path:
    """Return an empty folder to write to; the lock of its home is held then.

    Raises:
        Unfit: There is no room, or another process was faster.
        filelock.Timeout: Another process holds the lock.
        OSError: The folder cannot be written.
        NotImplementedError: The file system has no locks.
    """
    directory = plan.home.parent
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    held.enter_context(packed.writing(plan.home))
    for left in directory.glob(f"{SCRATCH}{plan.home.name}.*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    if plan.home.exists():
        why = why_unfit(plan)
        if not why:
            raise Unfit("another process has just written them")
        (plan.home / NOTE).unlink(missing_ok=True)  # first: what is left is no longer whole
        shutil.rmtree(plan.home)
    free = shutil.disk_usage(directory).free
    if free < plan.size + FREE_BYTES:
        raise Unfit(
            f"{directory} has {free / 1e9:.1f} GB free, and they take {plan.size / 1e9:.1f} GB"
        )
    return Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{plan.home.name}.", dir=directory))


def _write_note(folder: Path, note: PackedNote) -> None:
    with open(folder / NOTE, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(msgspec.json.format(msgspec.json.encode(note), indent=1))
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make sure that a folder's entries are on the disk, where the system can tell."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # some file systems cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _not_kept(plan: Plan, why: str) -> None:
    log.warning(
        "weights packed as %s are used without being kept: %s; the next start packs them again",
        plan.note.form,
        why,
    )
