"""The models that the system registry holds, and the folders they start from."""

from emulator.components.foundation.catalog import FoundationModel, chat_metadata, system_models
from emulator.components.foundation.folder import ModelUnavailable, write_mlmodel, write_model_folder

__all__ = [
    "FoundationModel",
    "ModelUnavailable",
    "chat_metadata",
    "system_models",
    "write_mlmodel",
    "write_model_folder",
]
