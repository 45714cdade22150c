"""The body of a managed online deployment, with Azure's own limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from emulator.arm.durations import seconds

LONGEST_REQUEST = 180  # seconds that one request to a managed endpoint may take


def _duration(text: str) -> str:
    seconds(text)
    return text


def _request_timeout(text: str) -> str:
    if not 0 < seconds(text) <= LONGEST_REQUEST:
        raise ValueError(f"must be over 0 and at most {LONGEST_REQUEST} seconds for managed online endpoints")
    return text


Duration = Annotated[str, StringConstraints(max_length=60), AfterValidator(_duration)]
RequestTimeout = Annotated[str, StringConstraints(max_length=60), AfterValidator(_request_timeout)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=256)]
VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=32_768)]


class Part(BaseModel):
    """A part of the body; members that mean nothing here are let through."""

    model_config = ConfigDict(extra="ignore")


class RequestSettings(Part):
    """How requests are taken."""

    maxConcurrentRequestsPerInstance: int = Field(1, ge=1, le=1000)
    requestTimeout: RequestTimeout = "PT5S"
    maxQueueWait: Duration = "PT0.5S"


class Probe(Part):
    """When a process counts as ready, or as dead."""

    failureThreshold: int = Field(30, ge=1, le=10_000)
    successThreshold: int = Field(1, ge=1, le=10_000)
    timeout: Duration = "PT2S"
    period: Duration = "PT10S"
    initialDelay: Duration = "PT10S"

    @property
    def budget(self) -> float:
        """Seconds after which a process that never answered has failed."""
        return seconds(self.initialDelay) + self.failureThreshold * seconds(self.period)


class CodeConfiguration(Part):
    """A custom scoring script. It stays in its code's folder."""

    codeId: str = Field(max_length=2048)
    scoringScript: str = Field(pattern=r"^[^\\\x00-\x1f]+$", max_length=512)


class Sku(Part):
    """How many instances."""

    name: str = "Default"
    tier: str | None = "Standard"
    capacity: int = Field(1, ge=1, le=100)


class DeploymentProperties(Part):
    """`properties` of a deployment's PUT."""

    endpointComputeType: Literal["Managed"]
    model: str | None = Field(None, max_length=2048)
    modelMountPath: str | None = None
    codeConfiguration: CodeConfiguration | None = None
    environmentId: str | None = None
    environmentVariables: dict[VariableName, VariableValue] | None = None
    instanceType: str = Field("Standard_DS3_v2", max_length=100)
    description: str | None = Field(None, max_length=10_000)
    properties: dict[str, str | None] | None = None
    appInsightsEnabled: bool = False
    egressPublicNetworkAccess: Literal["Enabled", "Disabled"] | None = None
    dataCollector: dict[str, Any] | None = None
    requestSettings: RequestSettings | None = None
    livenessProbe: Probe | None = None
    readinessProbe: Probe | None = None
    scaleSettings: dict[str, Any] | None = None


class DeploymentBody(Part):
    """The body of a PUT."""

    location: str | None = None
    tags: dict[str, str] | None = None
    sku: Sku | None = None
    identity: dict[str, Any] | None = None
    properties: DeploymentProperties


class LogsBody(Part):
    """The body of getLogs."""

    tail: int = Field(50, ge=1, le=100_000)
    containerType: Literal["InferenceServer", "StorageInitializer"] | None = None
