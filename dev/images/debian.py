"""Where this machine gets its Debian packages from: read from apt's own files."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_APT = Path("/etc/apt")
_ONE_LINE = re.compile(r"^deb\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)", re.MULTILINE)


def mirror(suite: str) -> str | None:
    """The mirror that apt uses for the suite or for this machine's own; None: then debootstrap knows best."""
    files = [_APT / "sources.list", *sorted((_APT / "sources.list.d").glob("*"))]
    texts = [
        (file.suffix == ".sources", file.read_text())
        for file in files
        if file.suffix in {".list", ".sources"} and file.is_file()
    ]
    return next((found for each in (suite, *_own_suite()) if (found := find_mirror(texts, each))), None)


def _own_suite() -> Iterator[str]:
    """A mirror of one suite of Debian has the others too."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return
    if release.get("ID") == "debian" and "VERSION_CODENAME" in release:
        yield release["VERSION_CODENAME"]


def find_mirror(texts: Iterable[tuple[bool, str]], suite: str) -> str | None:
    """The first http(s) mirror of the suite in apt's files (True: in the deb822 format)."""
    for is_stanzas, text in texts:
        for uri, suites in _stanzas(text) if is_stanzas else _lines(text):
            if suite in suites and uri.startswith(("http://", "https://")):
                return uri
    return None


def _lines(text: str) -> Iterator[tuple[str, list[str]]]:
    for found in _ONE_LINE.finditer(text):
        yield found["uri"], [found["suite"]]


def _stanzas(text: str) -> Iterator[tuple[str, list[str]]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(_fields(stanza))
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        for uri in fields.get("uris", "").split():
            yield uri, fields.get("suites", "").split()


def _fields(stanza: str) -> Iterator[tuple[str, str]]:
    for line in stanza.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith(("#", " ")):
            yield name.strip().lower(), value.strip()
