"""The workspace that `azureml:` sources and data assets lie in."""

import pytest

from blocks.azure_credentials import AzureCredentials
from blocks.azure_ml_workspace import AzureMLWorkspace
from tests.emulated import Emulator


@pytest.fixture(scope="module")
def workspace(emulator: Emulator) -> AzureMLWorkspace:
    """The emulated workspace, as the flow sees it."""
    here = emulator.installation
    return AzureMLWorkspace(
        subscription_id=here.subscription_id,
        resource_group=here.resource_group,
        workspace_name=here.workspace,
        credentials=AzureCredentials(auth="default"),
    )
