"""Which public Azure host names this emulator stands for, and which it must never let through."""

from __future__ import annotations

from enum import StrEnum

from emulator.installation import Installation

# Names that belong to Azure. What is among them and not served here is refused, so that no test can reach the cloud.
AZURE_SUFFIXES = (
    "azure.com",
    "azure.net",
    "azure.us",
    "azure.cn",
    "azureml.ms",
    "azureml.net",
    "azureml.us",
    "windows.net",
    "microsoftonline.com",
    "microsoftonline.us",
    "partner.microsoftonline.cn",
    "chinacloudapi.cn",
    "usgovcloudapi.net",
    "azurecr.io",
    "mcr.microsoft.com",
)

# Where the SDK asks for registries, in whatever region the workspace is (azure.ai.ml._azure_environments).
REGISTRY_DISCOVERY = "eastus.api.azureml.ms"


class Service(StrEnum):
    """The host families of the Azure ML wire."""

    IDENTITY = "identity"
    ARM = "arm"
    DATAPLANE = "dataplane"
    REGISTRY = "registry"
    BLOB = "blob"
    SCORING = "scoring"


def service_of(host: str, installation: Installation) -> Service | None:
    """The service that answers for `host` (no port, any case); None when this emulator does not serve it."""
    host = host.lower().rstrip(".")
    fixed = {
        "login.microsoftonline.com": Service.IDENTITY,
        "management.azure.com": Service.ARM,
        REGISTRY_DISCOVERY: Service.DATAPLANE,
        installation.data_host: Service.DATAPLANE,
        installation.registry_host: Service.REGISTRY,
        installation.blob_host: Service.BLOB,
    }
    if host in fixed:
        return fixed[host]
    label = host.removesuffix(installation.scoring_suffix)
    return Service.SCORING if label != host and label and "." not in label else None


def is_azure(host: str) -> bool:
    """Whether `host` is one of Microsoft's cloud names."""
    host = host.lower().rstrip(".")
    return any(host == suffix or host.endswith("." + suffix) for suffix in AZURE_SUFFIXES)


def certificate_names(installation: Installation) -> list[str]:
    """The subject alternative names that the server's certificate needs (a wildcard stands for one label)."""
    return [
        "localhost",
        "127.0.0.1",
        "login.microsoftonline.com",
        "management.azure.com",
        "*.api.azureml.ms",
        "*.experiments.azureml.net",
        "*.blob.core.windows.net",
        "*" + installation.scoring_suffix,
    ]
