"""Values: dataclasses that nobody changes, which the type checker alone sees to.

At run time a frozen dataclass sets each of its fields by a call of ``object.__setattr__``, and takes three
times as long to make as one that is not; that was 8 to 9 % of all that a sidecar did under load. So
``frozen`` stays with the type checker here. Equality and hash are those of a frozen one.

``dataclasses.replace`` looks at each field of a value by itself, each time, which takes ten times as long as
to make one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass, replace
else:
    import dataclasses
    from functools import cache
    from operator import attrgetter

    def dataclass(*, frozen: bool = False, **options: Any) -> Any:
        """Make a dataclass as `dataclasses.dataclass` does, without watching over its fields."""

        def made(cls: type) -> type:
            hashed = frozen and options.get("eq", True) and "__hash__" not in cls.__dict__
            return dataclasses.dataclass(unsafe_hash=hashed, **options)(cls)

        return made

    def replace(value: Any, /, **changes: Any) -> Any:
        """Make a value like another one but for some fields, as `dataclasses.replace` does."""
        cls = type(value)
        places, read = _fields(cls)
        fields = list(read(value))
        for name, change in changes.items():
            fields[places[name]] = change
        return cls(*fields)

    @cache
    def _fields(cls: type) -> tuple[dict[str, int], Any]:
        """Where each field stands, and what reads them all (of one alone `attrgetter` makes no tuple)."""
        names = [each.name for each in dataclasses.fields(cls)]
        if any(not each.init or each.kw_only for each in dataclasses.fields(cls)):
            message = f"{cls.__name__} has fields that are not given by their place"
            raise TypeError(message)
        read = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
        return {name: at for at, name in enumerate(names)}, read


__all__ = ["dataclass", "replace"]
