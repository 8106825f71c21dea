"""Modules that another one imports at its top and hardly ever uses: loaded at their first use instead."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CRYPTOGRAPHY = (
    "cryptography.hazmat.primitives.asymmetric.padding",
    "cryptography.hazmat.primitives.hashes",
    "cryptography.hazmat.primitives.serialization",
)
"""What the MySQL driver imports to encipher a password with a server's RSA key, which happens only
in the clear and when the server has not seen the password before; it takes 8 MiB."""


class _Later(ModuleType):
    """Stands for a module until something is asked of it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def at_first_use(*names: str) -> Iterator[None]:
    """Whoever imports one of the modules within gets it loaded when they use it; nobody else is affected."""
    stand_ins = {name: _Later(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
