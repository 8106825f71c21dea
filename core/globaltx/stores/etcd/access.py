"""Where an etcd is and how one enters it."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PREFIX = "/globaltx/"


class EtcdAccessError(ValueError):
    """What was given cannot be used; the message says why."""


@dataclass(slots=True)
class EtcdAccess:
    """The members' URLs, the files that TLS needs, and the user.

    ``folder`` holds, as far as they are needed, ``ca.crt`` (else the system's authorities), ``tls.crt``
    and ``tls.key`` (a client certificate), ``username`` and ``password``. They are read when they are
    used, so that they can be renewed without a restart.

    Raises:
        EtcdAccessError: an endpoint is no http or https URL of a host, or they are mixed.
    """

    endpoints: tuple[str, ...]
    folder: Path | None = None
    _username: Path | None = field(init=False, default=None, repr=False)
    """Its path is made once: whether there is a user is looked at for each request."""
    _made: tuple[tuple[float, ...], ssl.SSLContext] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the endpoints."""
        parts = [urlsplit(each) for each in self.endpoints]
        if not parts or any(not each.hostname or each.path.strip("/") or each.query for each in parts):
            message = f"etcd endpoints are URLs like https://etcd-0.etcd:2379, not {list(self.endpoints)}"
            raise EtcdAccessError(message)
        schemes = {each.scheme for each in parts}
        if schemes not in ({"http"}, {"https"}):
            message = f"etcd endpoints are all http or all https, not {', '.join(sorted(schemes))}"
            raise EtcdAccessError(message)
        self.endpoints = tuple(each.rstrip("/") for each in self.endpoints)
        self._username = None if self.folder is None else self.folder / "username"

    def user(self) -> tuple[str, str] | None:
        """Name and password, None where there is no user.

        Raises:
            OSError: the files cannot be read.
        """
        if self._username is None or not os.access(self._username, os.F_OK):
            return None
        return self._username.read_text().strip(), self._username.with_name("password").read_text().strip()

    def context(self) -> ssl.SSLContext | None:
        """What TLS needs, made anew when its files have changed; None for http.

        Raises:
            OSError: the files cannot be read, or do not hold certificates.
        """
        if self.endpoints[0].startswith("http:"):
            return None
        files = (
            [] if self.folder is None else [self.folder / each for each in ("ca.crt", "tls.crt", "tls.key")]
        )
        stamps = tuple(each.stat().st_mtime if each.exists() else 0.0 for each in files)
        if self._made is None or self._made[0] != stamps:
            self._made = stamps, _context(files)
        return self._made[1]


def _context(files: list[Path]) -> ssl.SSLContext:
    authority = files[0] if files and files[0].exists() else None
    made = ssl.create_default_context(cafile=authority)
    made.set_alpn_protocols(["h2"])
    if files and files[1].exists():
        made.load_cert_chain(files[1], files[2])
    return made
