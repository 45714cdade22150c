"""The emulator's workspace, as a block."""

import pytest

from blocks import AzureMLWorkspace
from tests.emulated import Emulator


@pytest.fixture(scope="session")
def workspace(emulator: Emulator) -> AzureMLWorkspace:
    """Signs in by the default chain, with what the environment holds: the contributor."""
    here = emulator.installation
    return AzureMLWorkspace(
        subscription_id=here.subscription_id, resource_group=here.resource_group, workspace_name=here.workspace
    )
