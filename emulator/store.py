"""The emulator's memory: JSON documents in SQLite, keyed by lower-cased resource id and sealed (endpoint keys, variables).

Used from the server's event loop only, so there is one writer and no lock to hold.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from emulator.seal import Seal

Document = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (type, id)
);
"""


class Store:
    """Documents by type and id. Ids are compared without case, as Azure Resource Manager does."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._seal = Seal.of(path.parent)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        # A document outlives a killed process; only a power cut may lose the last ones.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)

    def get(self, type: str, id: str) -> Document | None:
        """Returns the document, or None."""
        row = self._db.execute("SELECT body FROM documents WHERE type = ? AND id = ?", (type, id.lower())).fetchone()
        return None if row is None else self._opened(row[0], type, id.lower())

    def put(self, type: str, id: str, body: Document) -> None:
        """Writes the document, replacing the one of the same id in its place in the order."""
        self._db.execute(
            "INSERT INTO documents (type, id, body) VALUES (?, ?, ?) ON CONFLICT (type, id) DO UPDATE SET body = excluded.body",
            (type, id.lower(), self._seal.seal(json.dumps(body), _place(type, id.lower()))),
        )

    def delete(self, type: str, id: str) -> bool:
        """Removes the document; False when there was none."""
        return self._db.execute("DELETE FROM documents WHERE type = ? AND id = ?", (type, id.lower())).rowcount > 0

    def list(self, type: str, under: str = "") -> list[Document]:
        """The documents of a type whose id starts with `under`, oldest first."""
        prefix = under.lower()
        rows = self._db.execute(
            "SELECT id, body FROM documents WHERE type = ? AND substr(id, 1, ?) = ? ORDER BY seq",
            (type, len(prefix), prefix),
        )
        return [self._opened(body, type, id) for id, body in rows]

    def close(self) -> None:
        """Writes everything out and closes the file."""
        self._db.close()

    def _opened(self, body: bytes, type: str, id: str) -> Document:
        return json.loads(self._seal.open(body, _place(type, id)))


def _place(type: str, id: str) -> str:
    return f"{type} {id}"
