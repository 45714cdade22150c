"""How far things are, for whoever looks: a progress artifact in Prefect's UI, and whatever the process shows in its terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.artifacts import in_a_run, shown

if TYPE_CHECKING:
    from uuid import UUID

Watcher = Callable[[str, float, str], None]
"""Is told what moves (the artifact's key), how far it is in percent, and what is being done."""

_watcher: ContextVar[Watcher | None] = ContextVar("progress_watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Tells `watcher` of every move of what is run inside, in any of its threads."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@dataclass
class Progress:
    """Something that moves from 0 to 100 percent, known by its artifact's key."""

    key: str
    _artifact: UUID | None = None

    def move(self, percent: float, doing: str) -> None:
        """Shows `percent`, and what is being done. Never an error: it is only shown."""
        watcher = _watcher.get()
        if watcher is not None:
            watcher(self.key, percent, doing)
        if in_a_run():
            shown(self.key, lambda: self._publish(percent, doing))

    def _publish(self, percent: float, doing: str) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        if self._artifact is None:
            self._artifact = create_progress_artifact(percent, key=self.key, description=doing)  # type: ignore[assignment]
        else:
            update_progress_artifact(self._artifact, percent, description=doing)
