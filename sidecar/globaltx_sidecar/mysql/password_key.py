"""The RSA key with which a client in the clear hides its password from everybody but this process.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_BITS = 2048


class PasswordKey:
    """A key of this process, made when a client first asks for it, and never written anywhere."""

    def __init__(self) -> None:
        self._key: RSAPrivateKey | None = None
        self._making = asyncio.Lock()

    async def shown(self) -> bytes:
        """Give the public half (PEM)."""
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415  few need it, it is large
            Encoding,
            PublicFormat,
        )

        async with self._making:
            if self._key is None:
                self._key = await asyncio.to_thread(_make)
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def deciphered(self, data: bytes) -> bytes:
        """Give what was enciphered with the public half.

        Raises:
            ConnectionError: it was not.
        """
        from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP  # noqa: PLC0415  as above
        from cryptography.hazmat.primitives.hashes import SHA1  # noqa: PLC0415  as above

        message = "the password was not enciphered with the key that was given"
        if self._key is None:
            raise ConnectionError(message)
        try:
            return self._key.decrypt(data, OAEP(MGF1(SHA1()), SHA1(), None))  # noqa: S303  as the protocol says
        except ValueError:
            raise ConnectionError(message) from None


def _make() -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key  # noqa: PLC0415  as above

    return generate_private_key(public_exponent=65537, key_size=_BITS)
