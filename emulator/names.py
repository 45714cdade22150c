"""The names and versions that Azure takes: one row a kind of resource, with where its rule is from. Nothing is made here under
any other.

SPEC is the public REST specification, Azure/azure-rest-api-specs, specification/machinelearningservices, stable/2024-10-01; PREVIEW
is its 2024-04-01-preview, read through Azure/bicep-types-az, which is generated from it. Both hold a name to a pattern where
something is made, not where it is read. A row is stricter where Microsoft Learn (MicrosoftDocs/azure-docs, articles/
machine-learning) is, or answers of the service that users quote in public: `owner/repository number` is such a thread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ASSET = r"[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}"
LARGEST_VERSION = 2**31 - 1


@dataclass(frozen=True)
class NameRule:
    """What one kind of name or version must be. `pattern` is of the whole name; `words` say it in the error."""

    noun: str
    pattern: str
    words: str
    source: str
    largest: int | None = None
    """Of versions that are numbers."""

    def takes(self, name: str) -> bool:
        """Whether something may be made under this name."""
        if re.fullmatch(self.pattern, name) is None:
            return False
        return self.largest is None or 0 < int(name) <= self.largest

    def refusal(self, name: str) -> str:
        """What Azure's error says of any other."""
        return f"{self.noun} '{name[:64]}' is invalid: it must {self.words}."


def _asset(noun: str, source: str) -> NameRule:
    words = "start with a letter or a digit and hold only letters, digits, dashes and underscores, at most 255"
    return NameRule(f"{noun} name", ASSET, words, source)


def _served(noun: str) -> NameRule:
    return NameRule(
        f"{noun} name",
        r"(?=.{3,32}\Z)[a-zA-Z](?:-?[a-zA-Z0-9])+",
        "be 3 to 32 characters long, start with a letter, end with a letter or a digit, and hold only letters, digits and single "
        "dashes",
        f"PREVIEW has {ASSET}. Stricter: Learn, how-to-manage-quotas.md (3 to 32, single dashes); azure-ai-ml 1.35.2, "
        "EndpointConfigurations (the last character)",
    )


NAMES = {
    "models": _asset("Model", "SPEC: mfe.json, ModelVersions_CreateOrUpdate"),
    "data": _asset("Data", "PREVIEW: workspaces/data"),
    "environments": _asset("Environment", "PREVIEW: workspaces/environments"),
    "components": _asset("Component", "PREVIEW: workspaces/components"),
    "codes": _asset("Code", "PREVIEW: workspaces/codes"),
    "jobs": _asset("Job", "SPEC: mfe.json, Jobs_CreateOrUpdate"),
    "experiments": NameRule(
        "Experiment name",
        r"[a-zA-Z0-9][a-zA-Z0-9\-_]{0,255}",
        "be 1-256 characters, start with a letter or a number, and can only contain letters, numbers, underscores, and dashes",
        "SPEC has none. The service, of a job's: microsoft/dstoolkit-mlops-v2 180, dotnet/machinelearning-modelbuilder 1773. Its "
        "MLflow route takes more (Azure/azure-sdk-for-python 45209) and is not held to it",
    ),
    "computes": NameRule(
        "Compute name",
        r"(?![a-zA-Z0-9-]*-[0-9]*\Z)[a-zA-Z][a-zA-Z0-9\-]{2,23}",
        "be 3 to 24 letters, digits and dashes, start with a letter, and have a letter after its last dash",
        r"PREVIEW: workspaces/computes, ^[a-zA-Z](?![a-zA-Z0-9-]*-\d+$)[a-zA-Z0-9\-]{2,23}$. Stricter: Learn, "
        "how-to-create-attach-compute-cluster.md (a letter after every dash)",
    ),
    "onlineEndpoints": _served("Endpoint"),
    "deployments": _served("Deployment"),
    "datastores": NameRule(
        "Datastore name",
        r"[a-zA-Z0-9][a-zA-Z0-9_]{0,254}",
        "start with a letter or a digit and hold only letters, digits and underscores, at most 255",
        f"PREVIEW has {ASSET}. Stricter: the service, MicrosoftDocs/azure-docs 110869 (no dashes). Capitals, which studio's form "
        "does not take (Azure/MachineLearningNotebooks 951), are not verified",
    ),
    # Nothing makes these two here: there is one of each from the start.
    "workspaces": NameRule(
        "Workspace name",
        r"[a-zA-Z0-9][a-zA-Z0-9_\-]{2,32}",
        "be 3 to 33 letters, digits, dashes and underscores, and start with a letter or a digit",
        "SPEC: Workspace.tsp, workspaceName",
    ),
    "registries": NameRule(
        "Registry name",
        r"[a-zA-Z0-9][a-zA-Z0-9\-_]{2,32}",
        "be 3 to 33 letters, digits, dashes and underscores, and start with a letter or a digit",
        "SPEC: ModelVersion.tsp, registryName",
    ),
    "registries/models": NameRule(
        "Model name",
        r"(?![\-_.])[a-zA-Z0-9\-_.]{1,255}(?<!\.)",
        "start with a letter or a digit, hold only letters, digits, dots, dashes and underscores, at most 255, and end with no dot",
        "azure-ai-ml 1.35.2, model_dataplane: such as registries hold, Phi-3.5-mini-instruct for one; of new ones PREVIEW asks "
        f"{ASSET}",
    ),
    "containers": NameRule(
        "Container name",
        r"(?=.{3,63}\Z)[a-z0-9](?:-?[a-z0-9])+",
        "be 3 to 63 lower-case letters, digits and single dashes, and start and end with a letter or a digit",
        "Learn, storageservices: Naming and Referencing Containers, Blobs, and Metadata",
    ),
}
"""By the resource's collection in the path."""


def _version(noun: str, longest: int, source: str) -> NameRule:
    return NameRule(
        f"{noun} version",
        rf"[A-Za-z0-9_][A-Za-z0-9._\-]{{0,{longest - 1}}}",
        "start with a letter, a digit or an underscore and hold only letters, digits, dots, dashes and underscores, at most "
        f"{longest}",
        source,
    )


UNVERIFIED = "SPEC has none, and no other source was found: bounded so that a version is one part of a path"
VERSIONS = {
    "models": NameRule(
        "Model version",
        "[0-9]{1,10}",
        f"be a positive integer, at most {LARGEST_VERSION}",
        "SPEC has none. The service: Azure/azureml-examples 2725, Azure/MachineLearningNotebooks 289. The largest is not verified",
        LARGEST_VERSION,
    ),
    "data": _version(
        "Data", 30, "SPEC has none. The service: Azure/azureml-assets 295 (30). The characters are not verified"
    ),
    "environments": _version("Environment", 100, UNVERIFIED),
    "components": _version("Component", 100, UNVERIFIED),
    "codes": _version("Code", 100, UNVERIFIED),
}
"""Of assets, by their collection."""
