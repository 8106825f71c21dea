"""Values: dataclasses that nobody changes, which the type checker alone sees to.

At run time a frozen dataclass sets each of its fields by a call of ``object.__setattr__``, and takes three
times as long to make as one that is not; that was 8 to 9 % of all that a sidecar did under load. So
``frozen`` stays with the type checker here. Equality and hash are those of a frozen one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses

    def dataclass(*, frozen: bool = False, **options: Any) -> Any:
        """Make a dataclass as `dataclasses.dataclass` does, without watching over its fields."""

        def made(cls: type) -> type:
            hashed = frozen and options.get("eq", True) and "__hash__" not in cls.__dict__
            return dataclasses.dataclass(unsafe_hash=hashed, **options)(cls)

        return made


__all__ = ["dataclass"]
