"""Where the flow works: one Azure ML workspace, and the registry its foundation models come from."""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, PrivateAttr

from blocks.azure_credentials import AzureCredentials
from blocks.form import block_schema
from blocks.names import REGISTRY, WORKSPACE, RegistryName, WorkspaceName

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

POLLING_SECONDS = 5
"""How often the SDK asks whether a long-running operation is done. Its own default is 30 s, for want of a
Retry-After from Azure ML."""


class AzureMLWorkspace(Block):
    """A workspace and the identity that works in it. Loaded by name: the flow's `workspace` parameter."""

    _block_type_name: ClassVar[str] = "Azure ML Workspace"
    _block_type_slug: ClassVar[str] = "azure-ml-workspace"

    model_config = ConfigDict(json_schema_extra=block_schema)

    subscription_id: str = Field(title="Subscription", description="Subscription id.")
    resource_group: str = Field(title="Resource group", description="Its name.")
    workspace_name: WorkspaceName = Field(title="Workspace", description=f"Its name. {WORKSPACE.bounds}")
    registry_name: RegistryName = Field(
        "azureml",
        title="Model registry",
        description=f"Where foundation models and fine-tuning pipelines are looked up. {REGISTRY.bounds}",
    )
    credentials: AzureCredentials = Field(
        default_factory=AzureCredentials,
        title="Credentials",
        description="As whom. A saved block needs a choice: one whose credentials were deleted must not sign in as somebody else.",
    )

    _clients: dict[str, MLClient] = PrivateAttr(default_factory=dict)
    _building: Any = PrivateAttr(default_factory=Lock)

    def client(self) -> MLClient:
        """The workspace's client; one per block instance, shared by threads. Makes no call to Azure."""
        return self._client(
            "workspace",
            subscription_id=self.subscription_id,
            resource_group_name=self.resource_group,
            workspace_name=self.workspace_name,
        )

    def registry_client(self) -> MLClient:
        """The registry's client; one per block instance. Building it asks Azure once where the registry is.

        Raises:
            azure.core.exceptions.HttpResponseError: no such registry, or no right to read it.
        """
        return self._client("registry", registry_name=self.registry_name)

    def _client(self, key: str, **where: str) -> MLClient:
        from azure.ai.ml import MLClient

        # The SDK announces every experimental class that it uses itself, once for each run.
        logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)
        with self._building:
            if key not in self._clients:
                self._clients[key] = MLClient(
                    self.credentials.credential(),
                    cloud=self.credentials.endpoints.sdk_name,
                    enable_telemetry=False,
                    show_progress=False,
                    polling_interval=POLLING_SECONDS,
                    **where,
                )
            return self._clients[key]
