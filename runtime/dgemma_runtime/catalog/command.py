"""``dgemma-runtime models``: list, pull, verify, path, remove, plan.

``dgemma models`` and the language server run this command, so what they need is in ``--json``:
one object, or for a pull one object per line with ``event``. Needs no torch, but for the memory of
a GPU and for converting the embedded model's base.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgemma_runtime import catalog
from dgemma_runtime.catalog import CatalogModel, folders, packed
from dgemma_runtime.catalog.folders import Presence
from dgemma_runtime.catalog.hub import Hub
from dgemma_runtime.catalog.packed import KeptForm
from dgemma_runtime.catalog.planned import planned_by_name
from dgemma_runtime.catalog.pull import PullProgress, pull, remove
from dgemma_runtime.catalog.show import ShowsProgress, plan_lines, size_text, write_json
from dgemma_runtime.catalog.verify import verify_pulled
from dgemma_runtime.embedded import base
from dgemma_runtime.engine.base import LoadProgress
from dgemma_runtime.models.checkpoint_files import defects
from dgemma_wire.errors import DgemmaError, ModelError
from dgemma_wire.settings import RuntimeSettings

INTERRUPTED = 130


def add_command(commands: Any) -> None:
    """Add ``models`` to the subparsers of ``dgemma-runtime``."""
    made = commands.add_parser(
        "models",
        help="list, pull, verify and remove models",
        description="The models that can be run, and those that are on this machine.",
        epilog="Exit status: 0 done, 1 something is wrong, 2 wrong usage, 130 stopped by Ctrl-C.",
    )
    verbs = made.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, (_, text, default) in _VERBS.items():
        one = verbs.add_parser(verb, help=text, description=text)
        if verb != "list":
            one.add_argument(
                "name",
                nargs="?" if default else None,
                metavar="NAME",
                help="A name of `models list`"
                + (", or a folder; without it the model that is set." if default else "."),
            )
        one.add_argument("--json", action="store_true", help="Print JSON.")
        # Also flags of the command itself; given here they go before those.
        one.add_argument("--model", default=argparse.SUPPRESS, help="The model that is set.")
        if verb == "pull":
            one.add_argument("--mirror", default=argparse.SUPPRESS, help="Where to fetch from.")
            one.add_argument("--revision", help="Branch, tag or commit instead of the usual one.")
            one.add_argument(
                "--offline", action="store_true", default=argparse.SUPPRESS, help="Fetch nothing."
            )
        if verb == "remove":
            one.add_argument(
                "--packed",
                action="store_true",
                help="Delete only what was packed of it; NAME may be a folder then.",
            )


def run(arguments: argparse.Namespace, settings: RuntimeSettings) -> int:
    """Run one verb; returns the exit status."""
    verb: _Verb = _VERBS[arguments.verb][0]
    try:
        return verb(arguments, settings)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; Python would say so once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except DgemmaError as error:
        if not arguments.json:
            raise
        write_json(event="failed", message=str(error))
        return 1


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a model lies and how much of it."""

    path: Path
    presence: Presence

    @property
    def words(self) -> str:
        return {
            Presence.ABSENT: "not fetched",
            Presence.PARTIAL: "fetched in part",
            Presence.INSTALLED: "installed",
        }[self.presence]


def place_of(model: CatalogModel) -> _Place:
    """Return where a model of the catalogue lies, or would."""
    if model.repository:
        folder = folders.model_folder(model)
        return _Place(folder, folders.presence(folder))
    source = base.embedded_source()
    path = base.base_path(source)
    there = base.defect_of(path, source) is None
    return _Place(path, Presence.INSTALLED if there else Presence.ABSENT)


def _list(arguments: argparse.Namespace, settings: RuntimeSettings) -> int:
    rows: list[dict[str, Any]] = [
        {
            "name": model.name,
            "description": model.description,
            "licence": model.licence,
            "source": model.source,
            "sizeBytes": model.size_bytes,
            "presence": str(place.presence),
            "path": str(place.path),
            "current": settings.model == model.name,
        }
        for model in catalog.MODELS
        for place in (place_of(model),)
    ]
    if catalog.find(settings.model) is None:
        folder = Path(settings.model).expanduser()
        there = (folder / "config.json").is_file() or (folder / "model.json").is_file()
        rows.append(
            {
                "name": settings.model,
                "description": "A folder of this machine.",
                "licence": "",
                "source": "",
                "sizeBytes": None,
                "presence": str(Presence.INSTALLED if there else Presence.ABSENT),
                "path": str(folder),
                "current": True,
            }
        )
    kept = packed.kept_forms(packed.packed_directory())
    if arguments.json:
        write_json(models=rows, packed=[_packed_row(form) for form in kept])
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        mark = "*" if row["current"] else " "
        size = "" if row["sizeBytes"] is None else size_text(row["sizeBytes"])
        words = _Place(Path(), Presence(row["presence"])).words
        print(f"{mark} {row['name']:<{width}}  {size:>8}  {words:<15}  {row['description']}")
        if row["licence"]:
            print(f"  {'':<{width}}  {row['licence']}, from {row['source']}")
        mine = [form for form in kept if form.note.source == str(Path(row["path"]).resolve())]
        for form in mine:
            print(f"  {'':<{width}}  packed as {form.note.form}: {size_text(form.size)}")
            kept.remove(form)
    for form in kept:
        told = f"packed as {form.note.form}: {size_text(form.size)}"
        print(f"  {form.note.source}  {told} (`models remove --packed` deletes it)")
    return 0


def _packed_row(form: KeptForm) -> dict[str, Any]:
    return {
        "source": form.note.source,
        "form": form.note.form,
        "sizeBytes": form.size,
        "path": str(form.folder),
    }


def _pull(arguments: argparse.Namespace, settings: RuntimeSettings) -> int:
    model = _named(arguments.name)
    if not model.repository:
        return _pull_embedded(arguments, settings)
    folder = folders.model_folder(model)
    if settings.offline:
        raise ModelError(
            "The setting `offline` forbids fetching. Turn it off for this pull, or copy the model "
            f"from a machine that has it to {folder}."
        )
    show = ShowsProgress(model.name, as_json=arguments.json)
    try:
        manifest = pull(
            model,
            folder,
            Hub(settings.mirror or None),
            report=show,
            revision=arguments.revision,
        )
    except KeyboardInterrupt:
        show.end()
        kept = size_text(folders.bytes_in(folder))
        print(f"Stopped. {kept} are kept, and the next pull goes on from there.", file=sys.stderr)
        raise
    finally:
        show.end()
    if wrong := defects(folder):
        raise ModelError(f"{model.name} came as its source has it, but {_joined(wrong)}.")
    if arguments.json:
        write_json(event="done", path=str(folder), commit=manifest.commit, size=manifest.size)
    else:
        print(f"{model.name} is in {folder}: {size_text(manifest.size)}, commit {manifest.commit}.")
    return 0


def _pull_embedded(arguments: argparse.Namespace, settings: RuntimeSettings) -> int:
    def report(progress: LoadProgress) -> None:
        if arguments.json:
            write_json(event="progress", share=progress.share, message=progress.message)
        elif progress.share in (0.0, None):
            print(progress.message, file=sys.stderr)

    path = base.ensure_base(base.embedded_source(), offline=settings.offline, report=report)
    if arguments.json:
        write_json(event="done", path=str(path))
    else:
        print(f"{catalog.EMBEDDED} is in {path}.")
    return 0


def _verify(arguments: argparse.Namespace, settings: RuntimeSettings) -> int:
    name = arguments.name or settings.model
    model = catalog.find(name)
    kept: list[KeptForm] = []
    if model is None:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise ModelError(f"{name!r} is neither a name of `dgemma models list` nor a folder.")
        wrong = defects(folder)
        kept = packed.kept_forms(packed.packed_directory(), folder)
        remedy = "Copy or fetch these files again."
        checked = "names, sizes and headers; there is no manifest to compare bytes with"
    elif not model.repository:
        source = base.embedded_source()
        defect = base.defect_of(base.base_path(source), source)
        wrong = [] if defect is None else [f"{base.base_path(source)}: {defect}"]
        remedy = f"Run `dgemma models pull {name}`."
        checked = "header and size"
    else:
        folder = folders.require(model)
        manifest = folders.read_manifest(folder)
        assert manifest is not None, "require saw it"
        show = ShowsProgress(name, as_json=arguments.json)
        files = len(manifest.files)

        def seen(read: int) -> None:
            show(PullProgress(read, manifest.size, 0, files))

        wrong = verify_pulled(folder, manifest, (lambda _: None) if arguments.json else seen)
        show.end()
        kept = packed.kept_forms(packed.packed_directory(), folder)
        remedy = f"Run `dgemma models pull {name}`: it fetches what is wrong again."
        checked = f"every byte of {len(manifest.files)} files of commit {manifest.commit}"
    broken = [what for form in kept for what in packed.damage(form)]
    if arguments.json:
        write_json(name=name, wrong=wrong + broken, checked=checked)
        return 1 if wrong or broken else 0
    if wrong:
        print(f"{name} is damaged:\n  " + "\n  ".join(wrong) + f"\n{remedy}", file=sys.stderr)
    else:
        print(f"{name} is sound ({checked}).")
    if broken:
        remedy = f"Run `dgemma models remove --packed {name}`: the next start packs it again."
        told = "\n  ".join(broken)
        print(f"What is packed of it is damaged:\n  {told}\n{remedy}", file=sys.stderr)
    elif kept:
        forms = ", ".join(form.note.form for form in kept)
        print(f"What is packed of it ({forms}) is sound, every byte.")
    return 1 if wrong or broken else 0


def _path(arguments: argparse.Namespace, settings: RuntimeSettings) -> int:
    name = arguments.name or settings.model
    model = catalog.find(name)
    place = (
        _Place(Path(name).expanduser(), Presence.INSTALLED) if model is None else place_of(model)
    )
    if arguments.json:
        write_json(path=str(place.path), presence=str(place.presence))
    else:
        print(place.path)
    return 0


def _remove(arguments: argparse.Namespace, settings: RuntimeSettings) -> int:
    name: str = arguments.name
    folder = Path(name).expanduser()
    if arguments.packed and catalog.find(name) is None:
        # The folder itself may be gone: what was packed of it is found by its path.
        size = packed.remove_kept(packed.packed_directory(), folder)
        if not size and not folder.is_dir():
            raise ModelError(f"{name!r} is neither a name of `dgemma models list` nor a folder.")
    else:
        size = _remove_known(_named(name), only_packed=arguments.packed)
    if arguments.json:
        write_json(removed=size > 0, size=size)
    else:
        told = f"Removed {size_text(size)}." if size else "There was nothing to remove."
        print(f"{name}: {told}")
    return 0


def _remove_known(model: CatalogModel, *, only_packed: bool) -> int:
    """Delete a model and what is packed of it; returns the bytes they held."""
    if not model.repository:
        path = place_of(model).path
        if only_packed:
            return 0
        size = path.stat().st_size if path.is_file() else 0
        path.unlink(missing_ok=True)
        return size
    folder = folders.model_folder(model)
    size = packed.remove_kept(packed.packed_directory(), folder)
    return size if only_packed else size + remove(model, folder)


def _plan(arguments: argparse.Namespace, settings: RuntimeSettings) -> int:
    name = arguments.name or settings.model
    found = planned_by_name(name, settings)
    if arguments.json:
        write_json(name=name, **found.as_json())
        return 0
    print(f"{name}: {found.counts.text / 1e9:.3f}e9 weights are loaded ({found.checked}).")
    for line in plan_lines(found.plans, found.memory.total):
        print("  " + line)
    print(found.words)
    return 0


def _named(name: str) -> CatalogModel:
    model = catalog.find(name)
    if model is None:
        known = ", ".join(model.name for model in catalog.MODELS)
        raise ModelError(f"There is no model {name!r} in the catalogue. It has: {known}.")
    return model


def _joined(wrong: list[str]) -> str:
    more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
    return "; ".join(wrong[:3]) + more


_Verb = Callable[[argparse.Namespace, RuntimeSettings], int]
_VERBS: dict[str, tuple[_Verb, str, bool]] = {
    "list": (_list, "Show the models that can be run, and which of them are here.", False),
    "pull": (_pull, "Fetch a model, or go on where a pull was stopped.", False),
    "verify": (_verify, "Check a model's files.", True),
    "path": (_path, "Print where a model lies.", True),
    "remove": (_remove, "Delete a fetched model.", False),
    "plan": (_plan, "Show what a model takes of memory in each number format.", True),
}
"""What it does, what it is told to be, and whether its name may be left out."""
