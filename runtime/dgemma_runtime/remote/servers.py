"""Which servers a person named, and the key they know: read from settings, checked, not asked.

Keys come from the environment or the system's keyring, never from an address or a setting. Opens no
connection.
"""

from __future__ import annotations

import importlib
import ipaddress
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from dgemma_runtime.remote import PREFIX
from dgemma_wire.errors import ModelError

log = logging.getLogger(__name__)

KEY_VARIABLE = "DGEMMA_VLLM_API_KEY"
"""Environment variable with the key that the servers were started with."""
KEYRING_SERVICE = "dgemma-vllm"
"""Service under which the system's keyring has a key; the user name is the first address."""

FORM = "vllm:https://HOST:PORT, several with commas between, and #NAME for one model of several"

Lookup = Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True)
class Servers:
    """What the setting ``model`` says.

    Attributes:
        urls: Base addresses without a closing slash, the preferred one first.
        model: Name that the servers know the model by; empty when they serve one only.
    """

    urls: tuple[str, ...]
    model: str = ""

    @property
    def hosts(self) -> str:
        """The addresses for a person."""
        return ", ".join(self.urls)


def read_servers(setting: str, *, allow_http: bool) -> Servers:
    """Read the addresses of ``vllm:URL,URL#MODEL``.

    Args:
        setting: The setting ``model``.
        allow_http: Unencrypted addresses of other machines were allowed.

    Raises:
        ModelError: One of them cannot be used; the text says why.
    """
    listed, _, name = setting.removeprefix(PREFIX).partition("#")
    urls = tuple(
        dict.fromkeys(_checked(one.strip(), allow_http=allow_http) for one in listed.split(","))
    )
    return Servers(urls, name.strip())


def _checked(url: str, *, allow_http: bool) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as err:
        raise ModelError(f"{url!r} is no address: {err}. The form is {FORM}.") from err
    if "@" in parts.netloc:
        raise ModelError(
            f"The address of a server must not hold a name or a key; set {KEY_VARIABLE} instead."
        )
    if (
        parts.scheme not in ("http", "https")
        or not host
        or parts.query
        or any(map(str.isspace, url))
    ):
        raise ModelError(f"{url!r} is no address of a server. The form is {FORM}.")
    if parts.scheme == "http" and not allow_http and not _loopback(host):
        raise ModelError(
            f"{url} is not encrypted, and source text would travel in the clear. Serve it over "
            f"https, or forward it: ssh -N -L {parts.port or 80}:127.0.0.1:{parts.port or 80} "
            f"{host} - and http://127.0.0.1:{parts.port or 80} as the address. On a network that "
            f"nobody else can read, the setting vllmAllowHttp allows it."
        )
    # People copy the address of the OpenAI routes; the others are beside them.
    return url.rstrip("/").removesuffix("/v1")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_key(
    servers: Servers,
    environ: Mapping[str, str] | None = None,
    lookup: Lookup | None = None,
) -> str | None:
    """Return the servers' key, or ``None`` when none is known; they may want none.

    Args:
        servers: Whose it is.
        environ: The environment, asked first; ``None`` is the process's own.
        lookup: Asks a keyring for service and user name; ``None`` for the system's, when the
            package ``keyring`` is installed.

    Raises:
        ModelError: What was found cannot stand in a header.
    """
    key = (os.environ if environ is None else environ).get(KEY_VARIABLE, "").strip()
    if not key:
        lookup = lookup or _keyring()
        try:
            key = (lookup(KEYRING_SERVICE, servers.urls[0]) or "").strip() if lookup else ""
        except Exception as err:  # backends raise what they like: locked, no session, no password
            log.warning("the keyring cannot be asked: %s", type(err).__name__)
    if key and not (key.isascii() and key.isprintable()):
        raise ModelError(f"The key of {servers.urls[0]} has characters that no header can carry.")
    return key or None


def _keyring() -> Lookup | None:
    try:
        module = importlib.import_module("keyring")
    except ImportError:
        return None
    return module.get_password
