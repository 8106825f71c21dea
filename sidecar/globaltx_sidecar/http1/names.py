"""What a head says by the names of its headers alone, found out once for each list of names; pure.

A client sends the same names in the same order again and again, and so does an application. What they
mean costs more than to look them up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from globaltx_sidecar.http1.heads import Pairs

HOP_BY_HOP = ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
"""Headers that a proxy must not pass on: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1."""
_ANSWERED_HERE = frozenset((*HOP_BY_HOP, "expect"))
_KNOWN_MAX, _BYTES_MAX = 512, 2048
_known: dict[tuple[bytes, ...], Names] = {}


class Names:
    """The names of a head.

    ``hosts`` is how many headers ``Host`` there are, ``length_at`` where ``Content-Length`` stands (-1:
    nowhere), ``coded`` whether there is a transfer coding, ``dated`` whether there is a ``Date``, ``stays``
    whether there is one that must not go on as it came. ``all`` has them in lower case, ``folded`` with ``-``
    for ``_`` too, between which many applications do not tell; ``places`` has where those stand that are
    there once.
    """

    __slots__ = ("all", "coded", "dated", "folded", "hosts", "length_at", "places", "stays")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        lower = [each.decode("utf-8", "surrogateescape").lower() for each in names]
        self.hosts = lower.count("host")
        self.length_at = lower.index("content-length") if "content-length" in lower else -1
        self.coded = "transfer-encoding" in lower
        self.dated = "date" in lower
        self.stays = not _ANSWERED_HERE.isdisjoint(lower)
        self.all = frozenset(lower)
        folded = [each.replace("_", "-") for each in lower]
        self.folded = frozenset(folded)
        self.places = {each: at for at, each in enumerate(lower) if folded.count(each) == 1}


def names_of(pairs: Pairs) -> Names:
    """What the names of a head say."""
    names = tuple([name for name, _ in pairs])
    found = _known.get(names)
    if found is None:
        found = Names(names)
        if sum(map(len, names)) <= _BYTES_MAX:
            if len(_known) >= _KNOWN_MAX:
                _known.clear()
            _known[names] = found
    return found


NO_NAMES = names_of([])
