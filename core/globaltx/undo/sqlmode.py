"""What a connection's settings change about the reading of its SQL."""

from __future__ import annotations

from globaltx.values import dataclass

_UTF8 = frozenset({"utf8", "utf8mb3", "utf8mb4"})
_TRAILING_ASCII = {"gbk": "gbk", "gb18030": "gb18030", "big5": "big5", "sjis": "shift_jis", "cp932": "cp932"}
"""Character sets whose second byte may look like a backslash: they must be decoded to be read."""


class UnreadableTextError(ValueError):
    """The bytes are no text of the connection's character set."""


@dataclass(frozen=True, slots=True)
class SqlMode:
    """The settings of a connection that change how its SQL reads.

    ``charset`` is its ``character_set_client``; the flags follow from its ``sql_mode``
    (ANSI_QUOTES, NO_BACKSLASH_ESCAPES, NO_AUTO_VALUE_ON_ZERO, ORACLE).
    """

    charset: str = "utf8mb4"
    ansi_quotes: bool = False
    backslash_escapes: bool = True
    auto_value_on_zero: bool = True
    oracle: bool = False
    """MariaDB speaks another language: BEGIN begins a block, TRIM('') is NULL."""

    @classmethod
    def of(cls, sql_mode: str, charset: str = "utf8mb4") -> SqlMode:
        """Read the server's ``@@sql_mode`` (MySQL also expands ANSI and such itself)."""
        flags = {flag.strip().upper() for flag in sql_mode.split(",")}
        return cls(
            charset=charset.lower(),
            ansi_quotes="ANSI_QUOTES" in flags,
            backslash_escapes="NO_BACKSLASH_ESCAPES" not in flags,
            auto_value_on_zero="NO_AUTO_VALUE_ON_ZERO" not in flags,
            oracle="ORACLE" in flags,
        )

    def decode(self, data: bytes) -> str:
        """Read the connection's bytes as text that `encode` turns back into the same bytes.

        Bytes that are no text survive (an unescaped binary literal is legal SQL); a
        character set of one byte a character is read as if it were latin1, since only its
        ASCII half has a meaning in SQL.

        Raises:
            UnreadableTextError: they would not come back the same.
        """
        if self.charset in _UTF8:
            return data.decode("utf-8", "surrogateescape")
        codec = _TRAILING_ASCII.get(self.charset)
        if codec is None:
            return data.decode("latin-1")
        text = data.decode(codec, "surrogateescape")
        if text.encode(codec, "surrogateescape") != data:
            message = f"the statement is no text of the connection's character set {self.charset}"
            raise UnreadableTextError(message)
        return text

    def encode(self, text: str) -> bytes:
        """Turn what `decode` gave (with ASCII added) back into the connection's bytes."""
        if self.charset in _UTF8:
            return text.encode("utf-8", "surrogateescape")
        return text.encode(_TRAILING_ASCII.get(self.charset, "latin-1"), "surrogateescape")
