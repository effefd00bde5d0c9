"""Packed weights on the disk: the same tensors again, and nothing that harms when it goes wrong."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))
from safetensors.torch import load_file  # noqa: E402
from tiny_gemma import gemma_folder, packable_gemma  # noqa: E402

from dgemma_runtime.catalog import packed  # noqa: E402
from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.base import LoadProgress  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models import embedded_folder  # noqa: E402
from dgemma_runtime.models.loading import Loading  # noqa: E402
from dgemma_runtime.models.packed import kept, tensor_file  # noqa: E402
from dgemma_runtime.models.packed.forms import WeightForm  # noqa: E402
from dgemma_runtime.models.packed.load import load  # noqa: E402
from dgemma_wire.errors import ModelError  # noqa: E402
from dgemma_wire.messages import Clamped, Denoise, Free  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
FORMS = [WeightForm.INT4, WeightForm.FP8]
TOY = Path(__file__).parents[1] / "data" / "toy_gemma"
State = dict[str, torch.Tensor]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """One of several files, whose encoder has a scalar of its own."""
    model = packable_gemma()
    with torch.no_grad():
        model.model.encoder.language_model.layers[1].layer_scalar.fill_(0.5)
    folder = tmp_path / "checkpoint"
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "packed"


def state(
    checkpoint: Path,
    cache: Path | None,
    form: WeightForm = WeightForm.INT4,
    dtype: torch.dtype = torch.float32,
) -> tuple[State, str]:
    """Load, and return what is there with what was told last."""
    told: list[str] = []
    loading = Loading(lambda share, text: told.append(text), cache)
    found = load(checkpoint, form, CPU, dtype, loading).state_dict()
    return {name: tensor.clone() for name, tensor in found.items()}, told[-1]


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype, name
        ours, theirs = (t.reshape(-1).view(torch.uint8) for t in (tensor, expected[name]))
        assert torch.equal(ours, theirs), name


def was_packed(told: str) -> bool:
    assert told.split(" as ")[0] in ("Packing weights", "Reading weights packed"), told
    return told.startswith("Packing")


def the_kept(cache: Path) -> Path:
    (form,) = packed.kept_forms(cache)
    return form.folder


def left_in(cache: Path) -> list[Path]:
    """All that is there but locks, which hold nothing."""
    return [p for p in cache.rglob("*") if p.is_file() and not p.name.endswith(".lock")]


# -- the same again -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_what_was_kept_is_bit_for_bit_what_packing_makes(
    form: WeightForm, checkpoint: Path, cache: Path
) -> None:
    anew, _ = state(checkpoint, None, form)
    first, told_first = state(checkpoint, cache, form)
    again, told_again = state(checkpoint, cache, form)
    assert told_first == f"Packing weights as {form}: 6 of 6 layers."
    assert told_again == f"Reading weights packed as {form}: 6 of 6 layers."
    assert_same(first, anew)
    assert_same(again, anew)
    # What is not packed is kept as the checkpoint has it: other formats of it come out the same.
    half, told = state(checkpoint, cache, form, torch.bfloat16)
    assert not was_packed(told)
    assert_same(half, state(checkpoint, None, form, torch.bfloat16)[0])


def test_only_what_is_packed_is_kept(checkpoint: Path, cache: Path) -> None:
    load(checkpoint, WeightForm.PLAIN, CPU, torch.float32, Loading(keep_in=cache))
    assert not cache.exists()


def test_what_was_kept_is_read_without_the_checkpoints_tensors(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgemma_runtime.models.packed import forms

    expected, _ = state(checkpoint, cache)

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(forms.Int4, "pack", never)
    assert_same(state(checkpoint, cache)[0], expected)


def test_forms_are_kept_beside_each_other(checkpoint: Path, cache: Path) -> None:
    for form in FORMS:
        state(checkpoint, cache, form)
    assert {form.note.form for form in packed.kept_forms(cache)} == {"int4", "fp8"}
    for form in FORMS:
        assert not was_packed(state(checkpoint, cache, form)[1])


def test_files_are_safetensors_of_the_user_alone(checkpoint: Path, cache: Path) -> None:
    state(checkpoint, cache)
    home = the_kept(cache)
    names = {path.name for path in home.iterdir()}
    assert {Path(name).suffix for name in names - {packed.NOTE}} == {".safetensors"}
    for path in home.glob("*.safetensors"):
        assert load_file(path)
    if os.name == "posix":
        for path in home.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700


# -- through the engine ---------------------------------------------------------------------------


@pytest.mark.parametrize("toy", [True, False])
def test_the_engine_fills_the_same_from_what_it_kept(toy: bool, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    if toy:
        shutil.copytree(TOY, folder)
    else:
        gemma_folder(folder, embedded_folder() / "tokenizer.json", wide=True)

    def fill() -> tuple[list[str], tuple[str, ...], float]:
        told: list[LoadProgress] = []
        settings = RuntimeSettings(model=str(folder), device="cpu", dtype="int4", threads=1)
        engine = make_engine(settings, cache_dir=tmp_path / "cache")
        engine.load(told.append)
        segments = (Free(tokens=6), Clamped(text="\n\ttest"))
        request = Denoise(
            document="d", prefix="type point left", segments=segments, seed=3, max_steps=6
        )
        found = engine.denoise(Job(1, request, time.monotonic()), lambda draft: None).candidates[0]
        words = [progress.message for progress in told if "layers" in progress.message]
        return words, found.texts, found.score

    first, second = fill(), fill()
    assert first[0][0].startswith("Packing weights as int4: 1 of ")
    assert second[0][0].startswith("Reading weights packed as int4: 1 of ")
    assert first[1:] == second[1:]
    assert the_kept(tmp_path / "cache" / "packed")


# -- what does not fit is made again --------------------------------------------------------------


def assert_remade(checkpoint: Path, cache: Path, why: str, log: pytest.LogCaptureFixture) -> None:
    expected, _ = state(checkpoint, None)
    log.clear()
    found, told = state(checkpoint, cache)
    assert was_packed(told)
    assert any("made again" in line and why in line for line in log.messages), log.messages
    assert_same(found, expected)
    found, told = state(checkpoint, cache)
    assert not was_packed(told)
    assert_same(found, expected)


def test_every_byte_of_a_header_counts(
    checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state(checkpoint, cache)
    path = sorted(the_kept(cache).glob("*.safetensors"))[0]
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    for at in (0, 3, 9, end // 2, end - 1):
        changed = bytearray(path.read_bytes())
        changed[at] ^= 1
        path.write_bytes(changed)
        assert_remade(checkpoint, cache, "another header", caplog)
        path = sorted(the_kept(cache).glob("*.safetensors"))[0]
        assert path.read_bytes() == whole


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_remade(
    share: float, checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state(checkpoint, cache)
    path = sorted(the_kept(cache).glob("*.safetensors"))[-1]
    os.truncate(path, int(path.stat().st_size * share))
    assert_remade(checkpoint, cache, "cut off", caplog)


def test_a_missing_file_and_a_note_that_is_none_are_remade(
    checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state(checkpoint, cache)
    sorted(the_kept(cache).glob("*.safetensors"))[1].unlink()
    assert_remade(checkpoint, cache, "cannot be", caplog)
    for text in ("", "[]", '{"version": 1}'):
        (the_kept(cache) / packed.NOTE).write_text(text)
        assert_remade(checkpoint, cache, "not whole", caplog)
    note = the_kept(cache) / packed.NOTE
    other = json.loads(note.read_text()) | {"version": packed.VERSION + 1}
    note.write_text(json.dumps(other))
    assert_remade(checkpoint, cache, "another release", caplog)


def test_a_changed_checkpoint_is_packed_again(
    checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state(checkpoint, cache)
    path = sorted(checkpoint.glob("*.safetensors"))[2]
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    assert_remade(checkpoint, cache, "has changed", caplog)
    os.utime(checkpoint / "config.json", ns=(1, 1))
    assert_remade(checkpoint, cache, "has changed", caplog)


def test_a_read_that_breaks_off_ends_in_whole_weights(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a disk with a bad block."""
    from dgemma_runtime.models.packed.modules import PackedWeight

    state(checkpoint, cache)
    take, taken = PackedWeight.take, []

    def breaks(self: PackedWeight, codes: torch.Tensor, scales: torch.Tensor) -> None:
        taken.append(self)
        if len(taken) == 20:
            raise OSError(errno.EIO, "Input/output error")
        take(self, codes, scales)

    with monkeypatch.context() as patch:
        patch.setattr(PackedWeight, "take", breaks)
        found, told = state(checkpoint, cache)
    assert was_packed(told)
    assert "Input/output error" in caplog.text
    assert_same(found, state(checkpoint, None)[0])


def test_a_checkpoint_that_changes_while_it_is_packed_is_not_kept(
    checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def touch(share: float, text: str) -> None:
        os.utime(checkpoint / "config.json")

    load(checkpoint, WeightForm.INT4, CPU, torch.float32, Loading(touch, cache))
    assert "changed while it was read" in caplog.text
    assert left_in(cache) == []


# -- disks ----------------------------------------------------------------------------------------


def assert_not_kept(checkpoint: Path, cache: Path, why: str, log: pytest.LogCaptureFixture) -> None:
    log.clear()
    found, told = state(checkpoint, cache)
    assert was_packed(told)
    assert_same(found, state(checkpoint, None)[0])
    warnings = [r.getMessage() for r in log.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "used without being kept" in warnings[0]
    assert why in warnings[0]


def test_a_disk_without_room_is_left_alone(
    checkpoint: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    total = 10**12
    usage = type(shutil.disk_usage("/"))(total, total - 10**8, 10**8)
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda _: usage)
    assert_not_kept(checkpoint, cache, "has 0.1 GB free", caplog)
    assert left_in(cache) == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_disk_that_fills_up_on_the_way_keeps_nothing(
    share: float,
    checkpoint: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    state(checkpoint, cache)
    (form,) = packed.kept_forms(cache)
    shutil.rmtree(cache)
    room = int(share * sum(t.size for file in form.note.files for t in file.tensors.values()))
    put = tensor_file.TensorFile.put
    seen: list[int] = []

    def fills_up(self: tensor_file.TensorFile, name: str, tensor: torch.Tensor) -> None:
        put(self, name, tensor)
        seen.append(tensor.numel() * tensor.itemsize)
        if sum(seen) > room:
            assert left_in(cache)  # bytes were really written
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(tensor_file.TensorFile, "put", fills_up)
        assert_not_kept(checkpoint, cache, os.strerror(errno.ENOSPC), caplog)
    assert left_in(cache) == []
    assert len([p for p in cache.iterdir() if p.is_dir()]) == 0
    assert was_packed(state(checkpoint, cache)[1])  # with room again
    assert not was_packed(state(checkpoint, cache)[1])


LIMITED = """
import resource, signal, sys
from pathlib import Path
import torch
from dgemma_runtime.models.loading import Loading
from dgemma_runtime.models.packed.forms import WeightForm
from dgemma_runtime.models.packed.load import load
import logging
logging.basicConfig(level="WARNING")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
loading = Loading(keep_in=Path(sys.argv[2]))
found = load(Path(sys.argv[1]), WeightForm.INT4, torch.device("cpu"), torch.float32, loading)
print(sum(weight.filled for weight in found.modules() if hasattr(weight, "filled")))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes")
def test_a_write_that_the_system_refuses_leaves_nothing(checkpoint: Path, cache: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(checkpoint), str(cache), "20000"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 6
    assert "used without being kept" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert left_in(cache) == []


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.skipif(sys.platform != "win32" and os.geteuid() == 0, reason="root may write all")
def test_a_folder_that_cannot_be_written_is_read_all_the_same(
    checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    try:
        assert_not_kept(checkpoint, cache, "ermission denied", caplog)
        cache.chmod(0o700)
        state(checkpoint, cache)
        cache.chmod(0o500)
        assert not was_packed(state(checkpoint, cache)[1])
    finally:
        cache.chmod(0o700)


def test_a_folder_that_cannot_be_made_stops_nothing(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert_not_kept(checkpoint, tmp_path / "file" / "packed", "file", caplog)


def test_a_checkpoint_that_is_refused_leaves_nothing(checkpoint: Path, cache: Path) -> None:
    path = sorted(checkpoint.glob("*.safetensors"))[-1]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match=path.name):
        state(checkpoint, cache)
    assert not cache.exists() or left_in(cache) == []


# -- several at once ------------------------------------------------------------------------------


def test_two_runtimes_at_once_both_have_whole_weights(
    checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second begins when the first has written a part, and ends before it."""
    expected, _ = state(checkpoint, None)
    inside: list[State] = []

    def other(share: float, text: str) -> None:
        if not inside and "3 of 6" in text:
            assert left_in(cache)
            inside.append({})
            inside[0] = state(checkpoint, cache)[0]

    found = load(checkpoint, WeightForm.INT4, CPU, torch.float32, Loading(other, cache))
    assert "another process writes them just now" in caplog.text
    assert_same(inside[0], expected)
    assert_same(found.state_dict(), expected)
    again, told = state(checkpoint, cache)
    assert not was_packed(told)
    assert_same(again, expected)


def test_processes_that_start_together(checkpoint: Path, cache: Path) -> None:
    code = LIMITED.replace("resource.setrlimit", "(lambda *_: None)")
    command = [sys.executable, "-c", code, str(checkpoint), str(cache), "0"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert not was_packed(state(checkpoint, cache)[1])
    assert packed.damage(packed.kept_forms(cache)[0]) == []
    assert not list(cache.glob(f"{packed.SCRATCH}*"))


def test_what_a_killed_process_left_is_taken_away(checkpoint: Path, cache: Path) -> None:
    state(checkpoint, cache)
    home = the_kept(cache)
    left = cache / f"{packed.SCRATCH}{home.name}.abc"
    home.rename(left)
    assert was_packed(state(checkpoint, cache)[1])
    assert not left.exists()
    assert the_kept(cache) == home


def test_what_is_taken_away_while_it_is_read_is_read_to_its_end(
    checkpoint: Path, cache: Path
) -> None:
    if sys.platform == "win32":
        pytest.skip("open files stay there")
    expected, _ = state(checkpoint, cache)

    def away(share: float, text: str) -> None:
        shutil.rmtree(cache, ignore_errors=True)

    found = load(checkpoint, WeightForm.INT4, CPU, torch.float32, Loading(away, cache))
    assert_same(found.state_dict(), expected)


# -- taking away, looking at ----------------------------------------------------------------------


def test_removal_takes_all_forms_and_parts_of_one_checkpoint(
    checkpoint: Path, cache: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / checkpoint.name  # of the same name
    shutil.copytree(checkpoint, other)
    for folder in (checkpoint, other):
        state(folder, cache)
    state(checkpoint, cache, WeightForm.FP8)
    mine = packed.kept_forms(cache, checkpoint)
    assert len(mine) == 2
    shutil.copytree(mine[0].folder, cache / f"{packed.SCRATCH}{mine[0].folder.name}.abc")
    shutil.rmtree(checkpoint)  # what was packed of it is found all the same
    assert packed.remove_kept(cache, checkpoint) > sum(form.size for form in mine)
    (rest,) = packed.kept_forms(cache)
    assert rest.note.source == str(other.resolve())
    assert packed.remove_kept(cache, checkpoint) == 0
    assert {path.parent for path in left_in(cache)} == {rest.folder}


def test_what_is_being_written_is_not_removed(checkpoint: Path, cache: Path) -> None:
    state(checkpoint, cache)
    home = the_kept(cache)
    held, ended = threading.Event(), threading.Event()

    def writer() -> None:
        with packed.writing(home):
            held.set()
            ended.wait(20)

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        assert held.wait(20)
        with pytest.raises(ModelError, match="dgemma stop"):
            packed.remove_kept(cache, checkpoint)
        assert the_kept(cache) == home
    finally:
        ended.set()
        thread.join()


def test_a_changed_byte_of_a_tensor_is_found_by_reading_all(checkpoint: Path, cache: Path) -> None:
    state(checkpoint, cache)
    (form,) = packed.kept_forms(cache)
    seen: list[int] = []
    assert packed.damage(form, seen.append) == []
    assert 0 < seen[-1] < form.size
    path = sorted(form.folder.glob("*.safetensors"))[0]
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    (what,) = packed.damage(form)
    assert path.name in what
    path.unlink()
    (what,) = packed.damage(form)
    assert "is missing" in what


def test_the_commands_show_and_remove_what_is_kept(checkpoint: Path, cache: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dgemma_runtime", "models", *words],
            env={
                **os.environ,
                packed.PACKED_VARIABLE: str(cache),
                "DGEMMA_MODELS_DIR": str(checkpoint.parent),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )

    pulled = checkpoint.rename(checkpoint.parent / "google--diffusiongemma-26B-A4B-it")
    state(pulled, cache)
    name = "google/diffusiongemma-26B-A4B-it"
    assert "packed as int4: " in run("list").stdout
    (row,) = json.loads(run("list", "--json").stdout)["packed"]
    assert (row["form"], row["source"]) == ("int4", str(pulled.resolve()))
    assert row["sizeBytes"] == packed.kept_forms(cache)[0].size
    shutil.copy(embedded_folder() / "tokenizer.json", pulled)
    verified = run("verify", str(pulled))
    assert "packed of it (int4) is sound" in verified.stdout, verified
    removed = json.loads(run("remove", "--packed", name, "--json").stdout)
    assert removed["removed"]
    assert removed["size"] > row["sizeBytes"]  # the note too
    assert packed.kept_forms(cache) == []
    assert (pulled / "config.json").exists()
    assert "nothing to remove" in run("remove", "--packed", name).stdout
    state(pulled, cache)
    path = sorted(the_kept(cache).glob("*.safetensors"))[0]
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    damaged = run("verify", str(pulled))
    assert damaged.returncode == 1
    assert "remove --packed" in damaged.stderr
    assert json.loads(run("remove", name, "--json").stdout)["size"] > row["sizeBytes"]
    assert packed.kept_forms(cache) == []
    assert not pulled.exists()
    # Of a folder of the user's own, by its path, there or not.
    gemma = packable_gemma()
    gemma.save_pretrained(checkpoint)
    state(checkpoint, cache)
    assert str(checkpoint) in run("list").stdout
    shutil.rmtree(checkpoint)
    assert run("remove", str(checkpoint)).returncode == 1
    assert "Removed" in run("remove", "--packed", str(checkpoint)).stdout
    assert packed.kept_forms(cache) == []
    unknown = run("remove", "--packed", "no-such-model")
    assert unknown.returncode == 1
    assert "Traceback" not in unknown.stderr
