"""What every group of the flow's parameters has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """A group of the form. Unknown names are refused, so that a misspelt parameter never passes for its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def at(position: int) -> dict[str, Any]:
    """Where Prefect's form shows the field. Fields without a position are shown in no useful order."""
    return {"position": position}
