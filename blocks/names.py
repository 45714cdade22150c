"""The names that Azure ML takes, as types for the fields of forms and blocks: what it would refuse is refused before a run exists.

The rules are those of the public REST specification (Azure/azure-rest-api-specs, machinelearningservices, 2024-10-01 and
2024-04-01-preview); where Microsoft Learn is stricter (clusters: how-to-create-attach-compute-cluster; endpoints:
how-to-manage-quotas) or the service itself (experiments: microsoft/dstoolkit-mlops-v2 180), theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema


@dataclass(frozen=True)
class NameRule:
    """What a name of one kind must be: `pattern`, within two lengths. The other two say so to people."""

    noun: str
    pattern: str
    shortest: int
    longest: int
    allowed: str
    example: str

    def takes(self, name: str) -> bool:
        """Whether Azure ML takes it."""
        return self.shortest <= len(name) <= self.longest and re.fullmatch(self.pattern, name) is not None

    def check(self, name: str, info: ValidationInfo) -> str:
        """The name, as pydantic's validators return it.

        Raises:
            ValueError: it breaks the rule.
        """
        if not self.takes(name):
            raise ValueError(
                f"{info.field_name} '{name[:64]}' is not what Azure ML takes as {self.noun}. Give {self.bounds}"
            )
        return name

    @property
    def bounds(self) -> str:
        """The rule in words, for the form and its refusals."""
        return f"{self.shortest} to {self.longest} {self.allowed}; for example {self.example}."

    @property
    def schema(self) -> dict[str, Any]:
        """The same for the form, which shows and checks it before anything is submitted."""
        lengths = {"minLength": self.shortest, "maxLength": self.longest}
        return {"type": "string", **lengths, "pattern": f"^{self.pattern}$"}


MODEL = NameRule(
    "a model's name",
    "[A-Za-z0-9][A-Za-z0-9_-]*",
    1,
    255,
    "letters, digits, dashes and underscores, a letter or a digit first",
    "Phi-4-chats",
)
COMPONENT = replace(MODEL, noun="a component's name", example="chat_completion_pipeline")
EXPERIMENT = replace(MODEL, noun="an experiment's name", longest=256, example="chat_completion_Phi-4")
JOB_KEY = replace(MODEL, noun="part of a job's name", longest=248, example="june-trial")
"""A job's name has 255; the flow puts `ft-` before the key, and up to `-r99` after it."""
REGISTRY_MODEL = NameRule(
    "the name of a registry's model",
    "[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?",
    1,
    255,
    "letters, digits, dots, dashes and underscores, a letter or a digit first and no dot last",
    "Phi-3.5-mini-instruct",
)
CLUSTER = NameRule(
    "a cluster's name",
    "[A-Za-z]([A-Za-z0-9-]*[A-Za-z])?[0-9]*",
    3,
    24,
    "letters, digits and dashes, a letter first and a letter somewhere after every dash",
    "gpu-cluster-a100",
)
ENDPOINT = NameRule(
    "an endpoint's name",
    "[A-Za-z](-?[A-Za-z0-9])+",
    3,
    32,
    "letters, digits and single dashes, a letter first and no dash last",
    "chats-of-may",
)
DEPLOYMENT = replace(ENDPOINT, noun="a deployment's name", example="demo")
WORKSPACE = NameRule(
    "a workspace's name",
    "[A-Za-z0-9][A-Za-z0-9_-]*",
    3,
    33,
    "letters, digits, dashes and underscores, a letter or a digit first",
    "nightly-chats",
)
REGISTRY = replace(WORKSPACE, noun="a registry's name", example="azureml")

ModelName = Annotated[str, AfterValidator(MODEL.check), WithJsonSchema(MODEL.schema)]
ComponentName = Annotated[str, AfterValidator(COMPONENT.check), WithJsonSchema(COMPONENT.schema)]
ExperimentName = Annotated[str, AfterValidator(EXPERIMENT.check), WithJsonSchema(EXPERIMENT.schema)]
JobKey = Annotated[str, AfterValidator(JOB_KEY.check), WithJsonSchema(JOB_KEY.schema)]
RegistryModelName = Annotated[str, AfterValidator(REGISTRY_MODEL.check), WithJsonSchema(REGISTRY_MODEL.schema)]
ClusterName = Annotated[str, AfterValidator(CLUSTER.check), WithJsonSchema(CLUSTER.schema)]
EndpointName = Annotated[str, AfterValidator(ENDPOINT.check), WithJsonSchema(ENDPOINT.schema)]
WorkspaceName = Annotated[str, AfterValidator(WORKSPACE.check), WithJsonSchema(WORKSPACE.schema)]
RegistryName = Annotated[str, AfterValidator(REGISTRY.check), WithJsonSchema(REGISTRY.schema)]
