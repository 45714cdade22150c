"""What the emulator keeps on disk is sealed: without the one key file, nobody reads or changes it unnoticed.

AES-256-GCM. The key lies in the state folder, readable by its owner only; whoever copies the database alone has nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from emulator import disk

FILE = "secret.key"
NONCE_BYTES = 12  # what GCM is made for


class SealBroken(Exception):
    """The bytes were sealed with another key, for another place, or were changed since."""


class Seal:
    """Seals and opens with one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def of(cls, state: Path) -> Seal:
        """The state folder's own, made at the first call."""
        path = state / FILE
        if not path.exists():
            state.mkdir(parents=True, exist_ok=True)
            disk.replace(path, AESGCM.generate_key(256))
        return cls(path.read_bytes())

    def seal(self, text: str, place: str) -> bytes:
        """`text`, to be opened at the same `place` only."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), place.encode())

    def open(self, sealed: bytes, place: str) -> str:
        """The text.

        Raises:
            SealBroken: it was not sealed so.
        """
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError):
            raise SealBroken(
                f"What is kept of {place} cannot be read with this folder's {FILE}: the key is another's, or the file was "
                "changed. `python -m emulator reset` begins anew."
            ) from None
