"""The body of an online endpoint."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class EndpointProperties(BaseModel):
    """`properties` of an endpoint's PUT."""

    model_config = ConfigDict(extra="ignore")
    authMode: Literal["Key", "AMLToken", "AADToken"]
    description: str | None = Field(None, max_length=10_000)
    properties: dict[str, str | None] | None = None
    traffic: dict[str, int] | None = None
    mirrorTraffic: dict[str, int] | None = None
    publicNetworkAccess: Literal["Enabled", "Disabled"] | None = None


class EndpointBody(BaseModel):
    """The body of a PUT."""

    model_config = ConfigDict(extra="ignore")
    location: str | None = None
    tags: dict[str, str] | None = None
    kind: str | None = None
    identity: dict[str, Any] | None = None
    properties: EndpointProperties


class RegenerateBody(BaseModel):
    """The body of regenerateKeys."""

    model_config = ConfigDict(extra="ignore")
    keyType: Literal["Primary", "Secondary"]
    keyValue: str | None = Field(None, min_length=16, max_length=256)
