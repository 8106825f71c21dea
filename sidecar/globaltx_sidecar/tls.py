"""TLS of one datasource: towards the database as its policy says, towards the application if it may.

The files are those of mounted Secrets. They are looked at for each new connection and read when
they have changed, so that a renewed certificate needs no restart.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from globaltx.coordinator.policy import TlsMode

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    from globaltx.coordinator.policy import Tls

AUTHORITY: Final = "ca.crt"
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"


class TlsFilesError(ConnectionError):
    """A passing fault: a file of a Secret is missing (yet), or is not what it should be."""


class DatasourceTls:
    """The contexts of a datasource; ``folder`` holds the files of its Secrets."""

    def __init__(self, tls: Tls, folder: Path) -> None:
        self.mode = tls.mode
        self.shows_certificate = bool(tls.server_secret)
        if tls.mode is TlsMode.VERIFY_IDENTITY:
            self._to_database = _Context((folder / AUTHORITY,), _verifying)
        else:
            self._to_database = _Context((), _trusting)
        self._to_application = _Context((folder / CERTIFICATE, folder / KEY), _showing)

    def check(self) -> None:
        """See that what the policy asks for is there, before anybody relies on it.

        Raises:
            TlsFilesError: it is not.
        """
        if self.mode is TlsMode.VERIFY_IDENTITY:
            self._to_database.current()
        if self.shows_certificate:
            self._to_application.current()

    def to_database(self) -> ssl.SSLContext:
        """Give the context of a client.

        Raises:
            TlsFilesError: the authority cannot be read.
        """
        return self._to_database.current()

    def to_application(self) -> ssl.SSLContext:
        """Give the context of a server.

        Raises:
            TlsFilesError: certificate or key cannot be read.
        """
        return self._to_application.current()


class _Context:
    """A context that is made when it is first asked for, and anew when its files have changed."""

    def __init__(self, files: tuple[Path, ...], make: Callable[..., ssl.SSLContext]) -> None:
        self._files = files
        self._make = make
        self._made: ssl.SSLContext | None = None
        self._seen: object = None

    def current(self) -> ssl.SSLContext:
        try:
            seen = [(found.st_mtime_ns, found.st_ino, found.st_size) for found in self._stats()]
            if self._made is None or seen != self._seen:
                self._made, self._seen = self._make(*self._files), seen
        except (OSError, ValueError) as error:  # what ssl raises is an OSError
            names = " and ".join(str(each) for each in self._files)
            message = f"{names} cannot be used for TLS: {told(error)}"
            raise TlsFilesError(message) from error
        return self._made

    def _stats(self) -> list[os.stat_result]:
        return [each.stat() for each in self._files]


def _verifying(authority: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    return context


def _trusting() -> ssl.SSLContext:
    """Encrypt for whoever answers, as the modes say that do not verify."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _showing(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Without a function OpenSSL would ask a terminal for the passphrase of a key that has one.
    context.load_cert_chain(certificate, key, password=lambda: "")
    return context


def told(error: BaseException) -> str:
    """Say what went wrong with TLS, without the place in OpenSSL's sources."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error)
    return str(error) or type(error).__name__
