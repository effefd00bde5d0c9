"""Pulling a model from a hub over real HTTP: what can go wrong on the way, and what is kept."""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.hub import COMMIT, REPOSITORY, TinyHub

from dgemma_runtime import catalog
from dgemma_runtime.catalog import folders
from dgemma_runtime.catalog import pull as pulling
from dgemma_runtime.catalog.folders import Presence
from dgemma_runtime.catalog.hub import FetchError, Hub
from dgemma_runtime.catalog.pull import PullProgress, pull, remove
from dgemma_runtime.catalog.transfer import Retries
from dgemma_runtime.catalog.verify import verify_pulled
from dgemma_wire.errors import ModelError

MODEL = catalog.find(REPOSITORY)
assert MODEL is not None
QUICK = Retries(failures=3, first_wait_s=0.01, longest_wait_s=0.05, worth_bytes=5000)
BIG, SMALL = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def weights(count: int, name: str, seed: int) -> bytes:
    data = bytes((n * 31 + seed) % 256 for n in range(count))
    header = json.dumps({name: {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}})
    return struct.pack("<Q", len(header)) + header.encode() + data


def checkpoint() -> dict[str, bytes]:
    """Files as a hub has them: those a runtime needs, and others."""
    index = {"metadata": {}, "weight_map": {"a": BIG, "b": SMALL}}
    return {
        "config.json": b'{"model_type": "diffusion_gemma"}',
        "tokenizer.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        BIG: weights(200_000, "a", 1),
        SMALL: weights(30_000, "b", 2),
        "README.md": b"# read me",
        "preprocessor_config.json": b"{}",
        "original/consolidated.00.pth": b"p" * 10,
        "pytorch_model.bin": b"p" * 10,
        ".gitattributes": b"*",
    }


NEEDED = {"config.json", "tokenizer.json", "model.safetensors.index.json", BIG, SMALL}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "DGEMMA_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture
def hub() -> Iterator[TinyHub]:
    with TinyHub(checkpoint()) as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folders.model_folder(MODEL, tmp_path)


def fetch(hub: TinyHub, folder: Path, **more: object) -> folders.Manifest:
    asked = Hub(
        hub.url, token=str(more.pop("token", "")), timeout_s=float(more.pop("timeout_s", 5))
    )
    return pull(MODEL, folder, asked, retries=more.pop("retries", QUICK), **more)


def fetched(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} - {folders.MANIFEST, folders.LOCK, folders.PARTS}


def assert_whole(hub: TinyHub, folder: Path) -> None:
    assert fetched(folder) == NEEDED
    for name in NEEDED:
        assert (folder / name).read_bytes() == hub.files[name], name
    assert folders.presence(folder) is Presence.INSTALLED
    assert not (folder / folders.PARTS).exists()
    manifest = folders.read_manifest(folder)
    assert manifest is not None
    assert verify_pulled(folder, manifest) == []


def size(part: Path) -> int:
    """Bytes of a part, which may be done and gone since it was listed."""
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def parts(folder: Path) -> list[Path]:
    return sorted((folder / folders.PARTS).glob("*.part"))


def test_what_a_runtime_reads_is_fetched_and_nothing_else(hub: TinyHub, folder: Path) -> None:
    assert folders.presence(folder) is Presence.ABSENT
    seen: list[PullProgress] = []
    manifest = fetch(hub, folder, report=seen.append)
    assert_whole(hub, folder)
    assert (manifest.commit, manifest.revision, manifest.endpoint) == (COMMIT, "main", hub.url)
    assert set(hub.files_asked) == NEEDED
    size = sum(len(hub.files[name]) for name in NEEDED)
    assert seen[-1] == PullProgress(done=size, total=size, files_done=5, files=5)
    assert manifest.size == size


def test_a_second_pull_fetches_nothing(hub: TinyHub, folder: Path) -> None:
    fetch(hub, folder)
    hub.asked.clear()
    fetch(hub, folder)
    assert hub.files_asked == []
    assert_whole(hub, folder)


def test_a_dropped_connection_is_taken_up_where_it_broke(hub: TinyHub, folder: Path) -> None:
    hub.faults.drop_after, hub.faults.drops = {BIG: 50_000}, 2
    fetch(hub, folder)
    assert_whole(hub, folder)
    ranges = [h.get("range") for path, _, h in hub.asked if path.endswith(BIG)]
    assert ranges == [None, "bytes=50000-", "bytes=100000-"]


def test_a_server_without_ranges_begins_again(hub: TinyHub, folder: Path) -> None:
    hub.faults.drop_after, hub.faults.no_ranges = {BIG: 50_000}, True
    fetch(hub, folder)
    assert_whole(hub, folder)


def test_an_answer_for_another_range_is_refused(hub: TinyHub, folder: Path) -> None:
    hub.faults.drop_after, hub.faults.wrong_range = {BIG: 50_000}, True
    with pytest.raises(FetchError, match=f"skips a part of {BIG}"):
        fetch(hub, folder)


def test_drops_without_end_are_given_up_and_the_part_is_kept(hub: TinyHub, folder: Path) -> None:
    hub.faults.drop_after, hub.faults.drops = {BIG: 1000}, -1
    with pytest.raises(FetchError, match=f"{BIG} could not be fetched after 4 tries.*ended early"):
        fetch(hub, folder)
    (part,) = parts(folder)
    assert part.stat().st_size == 4000
    assert folders.presence(folder) is Presence.PARTIAL
    hub.faults.drops = 0
    hub.asked.clear()
    fetch(hub, folder)
    assert_whole(hub, folder)
    assert [h.get("range") for p, _, h in hub.asked if p.endswith(BIG)] == ["bytes=4000-"]


def test_enough_bytes_between_two_drops_renew_the_patience(hub: TinyHub, folder: Path) -> None:
    hub.faults.drop_after, hub.faults.drops = {BIG: 10_000}, 15  # more often than the budget
    fetch(hub, folder)
    assert_whole(hub, folder)


def test_wrong_bytes_once_are_fetched_again(hub: TinyHub, folder: Path) -> None:
    hub.faults.wrong = {BIG: 1, "config.json": 1}
    fetch(hub, folder)
    assert_whole(hub, folder)


@pytest.mark.parametrize("name", [BIG, "config.json"])
def test_wrong_bytes_always_are_refused(hub: TinyHub, folder: Path, name: str) -> None:
    hub.faults.wrong = {name: -1}
    with pytest.raises(FetchError, match=f"{name} came twice with other bytes"):
        fetch(hub, folder)
    assert not (folder / name).exists()
    assert all(name not in part.name for part in parts(folder))


def test_a_damaged_part_of_an_earlier_run_is_found_out(hub: TinyHub, folder: Path) -> None:
    hub.faults.drop_after, hub.faults.drops = {BIG: 1000}, -1
    with pytest.raises(FetchError):
        fetch(hub, folder)
    (part,) = parts(folder)
    part.write_bytes(b"?" * 4000)
    hub.faults.drops = 0
    fetch(hub, folder)
    assert_whole(hub, folder)


@pytest.mark.parametrize("size", [0, 1, 200_000, 300_000])
def test_parts_of_any_length_are_taken_up(hub: TinyHub, folder: Path, size: int) -> None:
    hub.faults.drop_after, hub.faults.drops = {BIG: 1000}, -1
    with pytest.raises(FetchError):
        fetch(hub, folder)
    (part,) = parts(folder)
    part.write_bytes((hub.files[BIG] + b"!" * 200_000)[:size])
    hub.faults.drops = 0
    fetch(hub, folder)
    assert_whole(hub, folder)


def test_a_file_that_changed_meanwhile_leaves_no_mixture(hub: TinyHub, folder: Path) -> None:
    hub.faults.drop_after, hub.faults.drops = {BIG: 1000}, -1
    with pytest.raises(FetchError):
        fetch(hub, folder)
    hub.faults.drops = 0
    hub.files[BIG] = weights(200_000, "a", 77)
    hub.commit = "f" * 40
    hub.asked.clear()
    manifest = fetch(hub, folder)
    assert manifest.commit == "f" * 40
    assert_whole(hub, folder)
    assert [h.get("range") for p, _, h in hub.asked if p.endswith(BIG)] == [None]


def test_a_new_revision_takes_the_old_ones_place_at_once(hub: TinyHub, folder: Path) -> None:
    fetch(hub, folder)
    old = hub.files[BIG]
    hub.files[BIG] = weights(200_000, "a", 5)
    hub.files[SMALL] = weights(30_000, "b", 5)
    hub.commit = "e" * 40
    hub.faults.wrong = {BIG: -1}
    with pytest.raises(FetchError):
        fetch(hub, folder)
    # The old revision is still the whole of what is there.
    assert folders.presence(folder) is Presence.INSTALLED
    assert (folder / BIG).read_bytes() == old
    hub.faults.wrong = {}
    hub.asked.clear()
    fetch(hub, folder)
    assert_whole(hub, folder)
    assert hub.files_asked == [BIG]  # the other had come already


def test_files_of_an_older_revision_go(hub: TinyHub, folder: Path) -> None:
    fetch(hub, folder)
    hub.files["model.safetensors"] = weights(10, "a", 0)
    for name in (BIG, SMALL, "model.safetensors.index.json"):
        del hub.files[name]
    (folder / "mine.txt").write_text("not a model's")
    fetch(hub, folder)
    assert fetched(folder) == {"config.json", "tokenizer.json", "model.safetensors", "mine.txt"}


def test_slow_is_not_broken(hub: TinyHub, folder: Path) -> None:
    hub.faults.pause_s = 0.02  # 50 blocks, each well within the time that silence may last
    fetch(hub, folder, timeout_s=0.5)
    assert_whole(hub, folder)


def test_silence_is_broken(hub: TinyHub, folder: Path) -> None:
    hub.faults.pause_s = 0.6
    with pytest.raises(FetchError, match="no answer in time"):
        fetch(hub, folder, timeout_s=0.1, retries=replace(QUICK, failures=1, worth_bytes=10**9))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_what_passes_is_waited_for(hub: TinyHub, folder: Path, status: int) -> None:
    hub.faults.statuses = [status, status]
    hub.faults.listing_statuses = [status]
    fetch(hub, folder)
    assert_whole(hub, folder)


def test_the_hub_says_how_long_to_wait(hub: TinyHub, folder: Path) -> None:
    hub.faults.listing_statuses, hub.faults.retry_after = [429], "1"
    began = time.monotonic()
    fetch(hub, folder, retries=replace(QUICK, longest_wait_s=0.3))
    assert 0.3 <= time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "HF_TOKEN is not set"),
        (403, "Accept its terms at"),
        (404, "does not have .*Check the revision"),
        (410, "answers 410"),
        (500, "could not be fetched after 4 tries"),
    ],
)
def test_what_does_not_pass_is_told(hub: TinyHub, folder: Path, status: int, says: str) -> None:
    hub.faults.listing_statuses = [status] * 20
    with pytest.raises(FetchError, match=says):
        fetch(hub, folder)
    hub.faults.listing_statuses = []
    hub.faults.statuses = [status] * 100
    with pytest.raises(FetchError, match=says):
        fetch(hub, folder)


def test_a_token_opens_a_gated_repository(hub: TinyHub, folder: Path) -> None:
    hub.faults.token = "hf_secret"
    with pytest.raises(FetchError, match="lets only some people"):
        fetch(hub, folder)
    with pytest.raises(FetchError, match="the one in HF_TOKEN is not let in"):
        fetch(hub, folder, token="hf_other")
    fetch(hub, folder, token="hf_secret")
    assert_whole(hub, folder)


def test_a_repository_that_has_moved_is_followed(hub: TinyHub, folder: Path) -> None:
    hub.faults.token, hub.faults.moved = "hf_secret", True
    fetch(hub, folder, token="hf_secret")
    assert_whole(hub, folder)


def test_the_token_stays_with_the_hub(hub: TinyHub, folder: Path) -> None:
    with TinyHub(checkpoint()) as storage:
        hub.faults.token = "hf_secret"
        hub.faults.redirect = storage.url
        fetch(hub, folder, token="hf_secret")
        assert_whole(storage, folder)
        assert all("authorization" not in headers for _, _, headers in storage.asked)
    assert Hub("http://mirror.example", token="hf_secret")._token == ""
    assert Hub("https://mirror.example", token="hf_secret")._token == "hf_secret"


@pytest.mark.parametrize(
    "name",
    [
        "../evil.safetensors",
        "/etc/model.safetensors",
        "a/../../b.json",
        "..\\b.json",
        "C:evil.json",
    ],
)
def test_names_that_lead_out_of_the_folder_are_refused(
    hub: TinyHub, folder: Path, name: str
) -> None:
    hub.files[name] = b"evil"
    with pytest.raises(FetchError, match="no folder can hold"):
        fetch(hub, folder)
    assert fetched(folder) == set()


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        (b"<html>Please sign in</html>", "does not answer as a model hub does"),
        (b"[]", "does not answer as a model hub does"),
        (b'{"sha": "main", "siblings": []}', "names no commit"),
        (b'{"sha": "%s", "siblings": []}' % COMMIT.encode(), "has no config.json"),
        (
            b'{"sha": "%s", "siblings": [{"rfilename": "config.json", "size": 3}]}'
            % COMMIT.encode(),
            "tells no digest of config.json",
        ),
    ],
)
def test_a_listing_that_is_none_is_refused(
    hub: TinyHub, folder: Path, listing: bytes, says: str
) -> None:
    hub.faults.listing = listing
    with pytest.raises(FetchError, match=says):
        fetch(hub, folder)


def test_more_bytes_than_listed_are_refused(hub: TinyHub, folder: Path) -> None:
    hub.faults.longer = 10
    with pytest.raises(FetchError, match="out of step"):
        fetch(hub, folder)


def test_nobody_there_is_told(folder: Path) -> None:
    with pytest.raises(FetchError, match=r"127.0.0.1:9: Connection refused"):
        pull(MODEL, folder, Hub("http://127.0.0.1:9"), retries=replace(QUICK, failures=1))
    for address in ("mirror.example", "ftp://mirror.example", "https://"):
        with pytest.raises(FetchError, match="is no address"):
            Hub(address)


def test_the_environment_names_a_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Hub().endpoint == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "https://one.example/")
    assert Hub().endpoint == "https://one.example"
    monkeypatch.setenv("DGEMMA_MIRROR", "https://two.example")
    assert Hub().endpoint == "https://two.example"
    assert Hub("https://three.example").endpoint == "https://three.example"


def test_a_disk_without_room_is_told_before(
    hub: TinyHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = pulling.SPARE_BYTES + 1000

    monkeypatch.setattr(pulling.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(FetchError, match=r"still to be fetched.*DGEMMA_MODELS_DIR"):
        fetch(hub, folder)
    assert hub.files_asked == []


COMMAND = [sys.executable, "-m", "dgemma_runtime", "models"]


def environment(hub: TinyHub, models: Path) -> dict[str, str]:
    return {**os.environ, "DGEMMA_MODELS_DIR": str(models), "DGEMMA_MIRROR": hub.url}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes")
def test_a_disk_that_fills_up_on_the_way_is_told(hub: TinyHub, tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    ran = subprocess.run(
        [*COMMAND, "pull", REPOSITORY],
        env=environment(hub, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=limit,
    )
    assert ran.returncode == 1
    assert "is full" in ran.stderr
    assert "Traceback" not in ran.stderr
    folder = folders.model_folder(MODEL, tmp_path)
    (part,) = parts(folder)
    assert part.stat().st_size == 100_000
    fetch(hub, folder)  # with room again
    assert_whole(hub, folder)
    assert [h.get("range") for p, _, h in hub.asked if p.endswith(BIG)][-1] == "bytes=100000-"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_pull_goes_on_later(hub: TinyHub, tmp_path: Path, number: int) -> None:
    hub.faults.pause_s = 0.2
    process = subprocess.Popen(
        [*COMMAND, "pull", REPOSITORY],
        env=environment(hub, tmp_path),
        stderr=subprocess.PIPE,
        text=True,
        # Who runs the tests in the background may have it ignored, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert hub.busy.wait(30)
    folder = folders.model_folder(MODEL, tmp_path)
    until = time.monotonic() + 20
    while not any(size(p) > 20_000 for p in parts(folder)) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "Stopped." in said
        assert "the next pull goes on" in said
    assert "Traceback" not in said
    kept = max(part.stat().st_size for part in parts(folder))
    assert kept > 0
    hub.faults.pause_s = 0.0
    hub.asked.clear()
    fetch(hub, folder)
    assert_whole(hub, folder)
    assert f"bytes={kept}-" in [h.get("range") for _, _, h in hub.asked]


def test_two_pulls_do_not_collide(hub: TinyHub, folder: Path) -> None:
    hub.faults.pause_s = 0.05
    thread = threading.Thread(target=fetch, args=(hub, folder))
    thread.start()
    assert hub.busy.wait(10)
    with pytest.raises(ModelError, match="Another process is fetching"):
        fetch(hub, folder)
    with pytest.raises(ModelError, match="Another process is fetching"):
        remove(MODEL, folder)
    hub.faults.pause_s = 0.0
    thread.join(30)
    assert_whole(hub, folder)


def test_verify_names_what_is_damaged_and_pull_mends_it(hub: TinyHub, folder: Path) -> None:
    manifest = fetch(hub, folder)
    data = bytearray((folder / SMALL).read_bytes())
    data[-1] ^= 1
    (folder / SMALL).write_bytes(data)
    (folder / BIG).write_bytes(hub.files[BIG][:-7])
    (folder / "tokenizer.json").unlink()
    wrong = verify_pulled(folder, manifest)
    assert len(wrong) == 3
    for name in (BIG, SMALL, "tokenizer.json"):
        assert sum(what.startswith(name) for what in wrong) == 1
    assert folders.presence(folder) is Presence.PARTIAL
    hub.asked.clear()
    fetch(hub, folder)
    assert_whole(hub, folder)
    assert set(hub.files_asked) == {BIG, SMALL, "tokenizer.json"}


def test_remove_takes_everything(hub: TinyHub, folder: Path) -> None:
    fetch(hub, folder)
    assert remove(MODEL, folder) > 230_000
    assert not folder.exists()
    assert remove(MODEL, folder) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_linked_folder_is_not_emptied(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("mine")
    folder.symlink_to(tmp_path / "mine")
    with pytest.raises(ModelError, match="is a link"):
        remove(MODEL, folder)
    assert (tmp_path / "mine" / "work.txt").exists()


def test_a_folder_that_cannot_be_made_is_named(hub: TinyHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be used"):
        fetch(hub, tmp_path / "file" / "folder")


def run(hub: TinyHub, models: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        env=environment(hub, models),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_commands_say_what_they_did(hub: TinyHub, tmp_path: Path) -> None:
    listed = run(hub, tmp_path, "list", "--json", "--model", REPOSITORY)
    rows = {row["name"]: row for row in json.loads(listed.stdout)["models"]}
    assert rows[REPOSITORY]["presence"] == "absent"
    assert rows[REPOSITORY]["current"]
    assert rows[REPOSITORY]["licence"] == "Apache-2.0"
    assert rows["embedded"]["sizeBytes"] < 10**9
    pulled = run(hub, tmp_path, "pull", REPOSITORY, "--json")
    lines = [json.loads(line) for line in pulled.stdout.splitlines()]
    assert lines[-1]["event"] == "done"
    assert lines[-1]["commit"] == COMMIT
    assert {line["event"] for line in lines[:-1]} == {"progress"}
    assert lines[-2]["done"] == lines[-2]["total"] > 230_000
    assert "installed" in run(hub, tmp_path, "list").stdout
    path = Path(run(hub, tmp_path, "path", REPOSITORY).stdout.strip())
    assert path == folders.model_folder(MODEL, tmp_path)
    assert "is sound (every byte of 5 files" in run(hub, tmp_path, "verify", REPOSITORY).stdout
    (path / SMALL).write_bytes(b"?")
    damaged = run(hub, tmp_path, "verify", str(path))
    assert damaged.returncode == 1
    assert SMALL in damaged.stderr
    removed = json.loads(run(hub, tmp_path, "remove", REPOSITORY, "--json").stdout)
    assert removed["removed"]
    for words in (["pull", "no-such-model"], ["verify", "no-such-model"], ["remove", "x"]):
        ran = run(hub, tmp_path, *words)
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
        assert words[1] in ran.stderr
    offline = run(hub, tmp_path, "pull", REPOSITORY, "--offline")
    assert offline.returncode == 1
    assert "offline" in offline.stderr


def test_a_reader_that_goes_away_ends_the_pull(hub: TinyHub, tmp_path: Path) -> None:
    hub.faults.pause_s = 0.2
    process = subprocess.Popen(
        [*COMMAND, "pull", "--json", REPOSITORY],
        env=environment(hub, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"progress" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 1
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
