"""Azure's states as plain words: the SDK hands over some as text and some as members of an enumeration."""

from __future__ import annotations

from enum import Enum

COMPLETED = "Completed"
ENDED_BADLY = frozenset({"Failed", "Canceled"})
"""NotResponding is no end: from it a job goes back to any state (Microsoft Learn, KnownJobStatus)."""
ENDED = ENDED_BADLY | {COMPLETED}
CANCELLING = "CancelRequested"
WORKING = frozenset({"Running", "Finalizing", CANCELLING, "NotResponding"})
"""In these a job or step has its nodes; before, they are waited for, which costs nothing."""


def word(state: object) -> str:
    """`state` as Azure writes it; empty if there is none."""
    if isinstance(state, Enum):
        return str(state.value)
    return "" if state is None else str(state)
