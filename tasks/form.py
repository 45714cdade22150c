"""What every group of the flow's parameters has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


def _in_order(schema: dict[str, Any]) -> None:
    """Places the fields as they are declared. Prefect's form shows those without a position in no useful order."""
    for position, field in enumerate(schema["properties"].values()):
        field["position"] = position


class Group(BaseModel):
    """A group of the form. Unknown names are refused, so that a misspelt parameter never passes for its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), json_schema_extra=_in_order)
