"""The emulator's workspace, as a block, and the model that is fine-tuned."""

import pytest

from blocks import AzureMLWorkspace
from tasks.azure_ml.foundation import FoundationModel
from tasks.models import ModelParameters, find_foundation_model
from tests.emulated import Emulator


@pytest.fixture(scope="session")
def workspace(emulator: Emulator) -> AzureMLWorkspace:
    """Signs in by the default chain, with what the environment holds: the contributor."""
    return emulator.block()


@pytest.fixture(scope="session")
def foundation(workspace: AzureMLWorkspace) -> FoundationModel:
    """The model that a run without other wishes fine-tunes."""
    return find_foundation_model.fn(workspace, ModelParameters())
