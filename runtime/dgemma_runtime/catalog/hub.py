"""The model hub's protocol: what files a revision has with size and digest, and their bytes.

Two addresses are used: the listing and the files of one commit. Answers are not trusted: names
are checked, sizes and digests go to who compares them. Knows no folders and retries nothing; it
says of each failure whether trying again can help.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import msgspec

from dgemma_wire.errors import ModelError

ENDPOINT = "https://huggingface.co"
MIRROR_VARIABLES = ("DGEMMA_MIRROR", "HF_ENDPOINT")
TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105 - the name of a variable
TIMEOUT_S = 30.0
"""A connection may be silent for so long."""
BLOCK_BYTES = 1 << 18
MAX_LISTING_BYTES = 16 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,120}")
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class FetchError(ModelError):
    """The hub cannot give what was asked for, and trying again does not help."""


class TransientError(Exception):
    """Trying again may help; ``wait_s`` is what the hub asked to wait, 0 when it said nothing."""

    def __init__(self, text: str, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class Hash(Protocol):
    """The part of ``hashlib``'s objects that is used here."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of the bytes so far."""
        ...


@dataclass(frozen=True, slots=True)
class Digest:
    """A file's digest as the hub tells it: SHA-256 of large files, git's own of small ones."""

    kind: str
    value: str

    @property
    def text(self) -> str:
        """As manifests write it."""
        return f"{self.kind}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read what ``text`` wrote."""
        kind, _, value = text.partition(":")
        return cls(kind, value)

    def start(self, size: int) -> Hash:
        """Return a hash of no bytes yet, for a file of ``size`` bytes."""
        if self.kind == "sha256":
            return hashlib.sha256()
        return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a revision; ``size`` in bytes."""

    name: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a revision that a runtime reads, smallest first, and its commit."""

    repository: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


class _Lfs(msgspec.Struct, frozen=True):
    sha256: str
    size: int


class _Sibling(msgspec.Struct, frozen=True, rename="camel"):
    rfilename: str
    size: int | None = None
    blob_id: str | None = None
    lfs: _Lfs | None = None


class _Told(msgspec.Struct, frozen=True):
    sha: str
    siblings: list[_Sibling]


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a file from ``offset`` on."""

    response: http.client.HTTPResponse
    offset: int

    def blocks(self) -> Iterator[bytes]:
        """Yield blocks as they come in.

        Raises:
            TransientError: The connection broke or fell silent.
        """
        while True:
            try:
                block = self.response.read1(BLOCK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise TransientError(f"the connection broke ({_words(error)})") from error
            if not block:
                return
            yield block


class Hub:
    """Asks one hub or mirror.

    Args:
        endpoint: Its address; ``None`` takes the environment's or the hub itself.
        token: For repositories whose owner lets in only some; ``None`` takes ``HF_TOKEN``.
        timeout_s: A connection may be silent for so long.

    Raises:
        FetchError: The address is none.
    """

    def __init__(
        self, endpoint: str | None = None, token: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.endpoint = (endpoint or endpoint_of(os.environ)).rstrip("/")
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise FetchError(
                f"The mirror {self.endpoint!r} is no address: write https://host or http://host."
            )
        self._token = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
        if parts.scheme == "http" and not _is_this_machine(parts.hostname):
            self._token = ""  # readable by everyone on the way
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=ssl.create_default_context()), _Redirects()
        )

    def listing(self, repository: str, revision: str) -> Listing:
        """Return the files of a revision that a runtime needs.

        Raises:
            FetchError: There is no such revision, or the answer cannot be trusted.
            TransientError: Trying again may help.
        """
        path = f"/api/models/{quote(repository)}/revision/{quote(revision, safe='')}?blobs=true"
        with self._open(path, {}, repository) as response:
            try:
                data = response.read(MAX_LISTING_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise TransientError(f"the connection broke ({_words(error)})") from error
        try:
            told = msgspec.json.decode(data, type=_Told)
        except msgspec.DecodeError as error:
            raise FetchError(
                f"{self.endpoint} does not answer as a model hub does ({error}). A proxy or the "
                "sign-in page of a network may stand between; or set `mirror` to another one."
            ) from error
        if not re.fullmatch(r"[0-9a-f]{40}", told.sha):
            raise FetchError(f"{self.endpoint} names no commit for {repository} at {revision}.")
        files = needed(told.siblings, f"{self.endpoint}/{repository}")
        return Listing(repository, told.sha, files)

    @contextmanager
    def open(self, repository: str, commit: str, file: RemoteFile, offset: int) -> Iterator[Body]:
        """Open a file's bytes from ``offset`` on, or from 0 where the server cannot do that.

        Raises:
            FetchError: The file is gone or has another length.
            TransientError: Trying again may help.
        """
        path = f"/{quote(repository)}/resolve/{quote(commit)}/{quote(file.name)}"
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._open(path, headers, repository) as response:
            start = 0
            total = response.headers.get("Content-Length")
            if response.status == 206:
                told = re.fullmatch(
                    r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "")
                )
                if told is None:
                    raise FetchError(f"{self.endpoint} answers a part of {file.name} unnamed.")
                start, total = int(told[1]), told[2]
                if start > offset:
                    raise FetchError(f"{self.endpoint} skips a part of {file.name}.")
            if total is not None and total.isdecimal() and int(total) != file.size:
                raise FetchError(
                    f"{file.name} has {total} bytes at {self.endpoint} and {file.size} in its "
                    "listing: the mirror is out of step. Try again later or use another one."
                )
            yield Body(response, start)

    @contextmanager
    def _open(
        self, path: str, headers: Mapping[str, str], repository: str
    ) -> Iterator[http.client.HTTPResponse]:
        url = self.endpoint + path
        request = urllib.request.Request(url)  # noqa: S310 - http and https only, see __init__
        request.add_header("User-Agent", "dgemma")
        request.add_header("Accept-Encoding", "identity")
        for name, value in headers.items():
            request.add_header(name, value)
        if self._token:
            # Not to where the hub sends us: storage servers sign their own addresses.
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error, repository) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise FetchError(
                    f"The certificate of {self.endpoint} is not trusted "
                    f"({error.reason.verify_message}). If your network has its own authority, "
                    "name its file in SSL_CERT_FILE."
                ) from error
            raise TransientError(f"{self.endpoint}: {_words(error.reason)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"{self.endpoint}: {_words(error)}") from error
        with response:
            yield response

    def _refused(
        self, error: urllib.error.HTTPError, repository: str
    ) -> FetchError | TransientError:
        if error.code in _TRANSIENT:
            wait = error.headers.get("Retry-After", "")
            return TransientError(
                f"{self.endpoint} answers {error.code} ({error.reason})",
                float(wait) if wait.isdecimal() else 0.0,
            )
        if error.code in (401, 403):
            known = "the one in HF_TOKEN is not let in" if self._token else "HF_TOKEN is not set"
            return FetchError(
                f"{self.endpoint} lets only some people have {repository} ({error.code}), and "
                f"{known}. Accept its terms at {self.endpoint}/{repository}, make a token for "
                "reading, and set HF_TOKEN to it. (The hub also answers so for a name it lacks.)"
            )
        if error.code == 404:
            what = error.headers.get("X-Error-Message", "") or "not found"
            return FetchError(
                f"{self.endpoint} does not have {urlsplit(error.url).path} ({what[:200]}). Check "
                "the revision, or the setting `mirror`."
            )
        return FetchError(f"{self.endpoint} answers {error.code} ({error.reason}).")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows the hub to its storage: never from https to http, the token to the same host only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if before.scheme == "https" and after.scheme != "https":
            raise FetchError(f"{before.hostname} sends us to an address that is not https.")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if (
            request is not None
            and token
            and (before.scheme, before.netloc)
            == (
                after.scheme,
                after.netloc,
            )
        ):
            request.add_unredirected_header("Authorization", token)
        return request


def endpoint_of(environ: Mapping[str, str]) -> str:
    """Return the address that an environment names, or the hub's own."""
    return next((environ[name] for name in MIRROR_VARIABLES if environ.get(name)), ENDPOINT)


def needed(siblings: list[_Sibling], where: str) -> tuple[RemoteFile, ...]:
    """Pick the files that a runtime reads: weights, configuration, tokenizer, licence.

    Raises:
        FetchError: A name could lead out of the folder, a digest is missing, or weights are.
    """
    for sibling in siblings:
        name = sibling.rfilename
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            raise FetchError(f"{where} lists a file named {name!r}, which no folder can hold.")
    names = {sibling.rfilename for sibling in siblings}
    sharded = "model.safetensors.index.json" in names
    files = [_remote(s, where) for s in siblings if _is_needed(s.rfilename, sharded=sharded)]
    found = [file.name for file in files]
    if len({name.lower() for name in found}) != len(found):
        raise FetchError(f"{where} lists two files of the same name.")
    if not any(name.endswith(".safetensors") for name in found) or "config.json" not in found:
        raise FetchError(f"{where} has no config.json with weights as safetensors.")
    return tuple(sorted(files, key=lambda file: file.size))


def _is_needed(name: str, *, sharded: bool) -> bool:
    """Say whether a runtime reads a file; those in folders are of other formats."""
    if _NAME.fullmatch(name) is None:
        return False
    if name.endswith(".safetensors"):
        return re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", name) is not None or (
            name == "model.safetensors" and not sharded
        )
    return name in {
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "LICENSE",
    }


def _remote(sibling: _Sibling, where: str) -> RemoteFile:
    name = sibling.rfilename
    if sibling.lfs is not None and re.fullmatch(r"[0-9a-f]{64}", sibling.lfs.sha256):
        return RemoteFile(name, sibling.lfs.size, Digest("sha256", sibling.lfs.sha256))
    if sibling.size is not None and re.fullmatch(r"[0-9a-f]{40}", sibling.blob_id or ""):
        return RemoteFile(name, sibling.size, Digest("git", sibling.blob_id or ""))
    raise FetchError(
        f"{where} tells no digest of {name}, so it could not be checked. Use another mirror."
    )


def _is_this_machine(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")


def _words(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
