"""Manifests: YAML or JSON text with one document or several, to dictionaries and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from globaltx_cli.errors import CliError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STDIN = "-"


class _Loader(yaml.SafeLoader):
    """Leaves times as the text that they are: they must come out as they went in."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """Writes shared values out, each time in full."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the signature is PyYAML's
        """Never write an anchor."""
        return True


def read(file: str) -> list[dict[str, Any]]:
    """Read all documents of a file, or of standard input for ``-``; a List counts as its items.

    Raises:
        CliError: the file cannot be read, or is no manifest.
    """
    where = "standard input" if file == STDIN else file
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
        documents = list(yaml.load_all(text, Loader=_Loader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"{where} cannot be read: {error}"
        raise CliError(message) from error
    return [manifest for document in documents for manifest in _manifests(document, where)]


def write(documents: Iterable[dict[str, Any]]) -> str:
    """Write documents as YAML, in the order of their fields."""
    return yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=120, allow_unicode=True
    )


def _manifests(document: Any, where: str) -> Iterator[dict[str, Any]]:
    if document is None:
        return
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        message = f"{where} holds a document that is no Kubernetes manifest: it has no kind"
        raise CliError(message)
    if document["kind"] == "List":
        for item in document.get("items") or ():
            yield from _manifests(item, where)
    else:
        yield document
