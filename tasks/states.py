"""Azure's states as plain words: the SDK hands over some as text and some as members of an enumeration."""

from __future__ import annotations

from enum import Enum


def word(state: object) -> str:
    """`state` as Azure writes it; empty if there is none."""
    if isinstance(state, Enum):
        return str(state.value)
    return "" if state is None else str(state)
