"""How to reach an API server and who we are there: from inside a pod, or from a kubeconfig.

Files that Kubernetes rotates (the token, the certificate authority) are read again when they
change, so that a process outlives its first token.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
KUBECONFIG_VARIABLE = "KUBECONFIG"

Made = TypeVar("Made")


class AccessError(Exception):
    """The API server's address or our credentials are missing or unusable; a person must act."""


@dataclass(frozen=True, slots=True)
class Access:
    """An API server and our credentials there.

    ``token`` and ``context`` are asked before each request; they answer from memory unless a
    file changed. ``namespace`` is the one that is meant when none is named.
    """

    server: str
    token: Callable[[], str | None]
    context: Callable[[], ssl.SSLContext | None]
    namespace: str = "default"

    def __repr__(self) -> str:
        return f"Access({self.server!r})"  # never the token


class ChangingFile(Generic[Made]):
    """What was made of a file, made anew when the file changes.

    A file that is gone or unusable for a moment leaves the last good value; only the first
    reading can fail.
    """

    def __init__(self, path: Path, make: Callable[[Path], Made]) -> None:
        self._path = path
        self._make = make
        self._stamp = _stamp(path)
        try:
            self._value = make(path)
        except (OSError, ValueError) as error:
            message = f"{path} cannot be used: {error}"
            raise AccessError(message) from error

    def __call__(self) -> Made:
        """The value for the file as it is now."""
        stamp = _stamp(self._path)
        if stamp is not None and stamp != self._stamp:
            try:
                self._value = self._make(self._path)
                self._stamp = stamp
            except (OSError, ValueError):
                pass  # half-written: the next request looks again
        return self._value


def in_cluster(folder: str = SERVICE_ACCOUNT_FOLDER) -> Access:
    """Access from inside a pod; ``folder`` holds ``token``, ``ca.crt`` and ``namespace``.

    Raises:
        AccessError: this is no pod, or the folder is not mounted.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        message = "KUBERNETES_SERVICE_HOST is not set: this process does not run in a pod; use a kubeconfig"
        raise AccessError(message)
    at = Path(folder)
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        token=ChangingFile(at / "token", _token),
        context=ChangingFile(at / "ca.crt", lambda path: _trusting(path.read_text())),
        namespace=_text(at / "namespace", "default"),
    )


def from_kubeconfig(path: str | None = None, context: str | None = None) -> Access:
    """Access by a kubeconfig: ``path``, else $KUBECONFIG, else ``~/.kube/config``.

    ``context`` is the name of one of its contexts, else the current one. Client certificates
    and tokens are understood, programs that fetch credentials (``exec``) are not.

    Raises:
        AccessError: it says what is missing.
    """
    file = Path(path or os.environ.get(KUBECONFIG_VARIABLE) or Path.home() / ".kube" / "config")
    try:
        config = _read(file)
        return _access(config, context or config.get("current-context", ""), file.parent)
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        message = f"{file} is no usable kubeconfig: {type(error).__name__} {error}"
        raise AccessError(message) from error


def _read(file: Path) -> dict[str, Any]:
    """Read a kubeconfig, which may be JSON as well (``kubectl config view -o json``)."""
    text = file.read_text()
    if text.startswith("{"):
        with suppress(json.JSONDecodeError):
            return dict(json.loads(text))
    import yaml  # noqa: PLC0415  a megabyte, and no pod has a kubeconfig

    try:
        return dict(yaml.safe_load(text))
    except yaml.YAMLError:
        message = f"{file} is no usable kubeconfig: it is not YAML"
        raise AccessError(message) from None  # the parser's message quotes the file, and so our credentials


def discover(context: str | None = None) -> Access:
    """Access from inside a pod where this is one and no context is named, else by the kubeconfig."""
    if context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return in_cluster()
    return from_kubeconfig(context=context)


def _access(config: dict[str, Any], name: str, folder: Path) -> Access:
    context = _named(config, "contexts", name)["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    if "exec" in user or "auth-provider" in user:
        message = f"user {context['user']!r} gets its credentials from a program, which is not supported"
        raise AccessError(message)
    tls = _tls(cluster, user, folder)
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        token=_user_token(user, folder),
        context=lambda: tls,
        namespace=context.get("namespace") or "default",
    )


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [each for each in config.get(kind) or () if each["name"] == name]
    if not found:
        message = f"the kubeconfig has no {name!r} among its {kind}"
        raise AccessError(message)
    return found[0]


def _user_token(user: dict[str, Any], folder: Path) -> Callable[[], str | None]:
    if "tokenFile" in user:
        return ChangingFile(folder / user["tokenFile"], _token)
    token = user.get("token")
    return lambda: token


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext | None:
    if str(cluster["server"]).startswith("http://"):
        return None
    authority = _data(cluster, "certificate-authority", folder)
    context = _trusting(authority.decode()) if authority else ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        message = "insecure-skip-tls-verify is not supported; give the cluster's certificate-authority"
        raise AccessError(message)
    certificate, key = _data(user, "client-certificate", folder), _data(user, "client-key", folder)
    if certificate and key:
        _load_pair(context, certificate, key)
    return context


def _data(part: dict[str, Any], name: str, folder: Path) -> bytes:
    if part.get(f"{name}-data"):
        try:
            return base64.b64decode(part[f"{name}-data"], validate=True)
        except binascii.Error as error:
            message = f"{name}-data is not base64"
            raise AccessError(message) from error
    return (folder / part[name]).read_bytes() if part.get(name) else b""


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    with tempfile.NamedTemporaryFile() as pair:  # mode 0600; the ssl module reads files only
        pair.write(certificate + b"\n" + key)
        pair.flush()
        context.load_cert_chain(pair.name)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _token(path: Path) -> str:
    token = path.read_text().strip()
    if not token:
        message = "the token is empty"
        raise ValueError(message)
    return token


def _trusting(authority: str) -> ssl.SSLContext:
    """Trust a cluster's own authority.

    Chain, validity and name are verified as ever. Only the strictness about extensions that
    Python 3.13 switched on is left out: authorities made by older cluster tools lack them.
    """
    context = ssl.create_default_context(cadata=authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _text(path: Path, otherwise: str) -> str:
    try:
        return path.read_text().strip() or otherwise
    except OSError:
        return otherwise
