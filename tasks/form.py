"""What every group of the flow's parameters has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

RESOURCE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$"
"""Azure ML's rule for names of models, data, components and experiments: no dots
(https://github.com/Azure/azure-rest-api-specs, machinelearningservices, 2024-04-01: parameters `name` of the assets)."""


class Group(BaseModel):
    """A group of the form. Unknown names are refused, so that a misspelt parameter never passes for its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def at(position: int) -> dict[str, Any]:
    """Where Prefect's form shows the field. Fields without a position are shown in no useful order."""
    return {"position": position}
