"""The stand-in model, made once a session, and data for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.components import steps


@pytest.fixture(scope="session", autouse=True)
def conversions_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the tests out of the user's own cache, and MLflow out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZUREML_EMULATOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="session")
def model(conversions_of_this_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in as the import step hands it on."""
    return steps.imported(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def data(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 training and 12 validation rows, encoded for the stand-in."""
    work = tmp_path_factory.mktemp("data")
    return steps.encoded(
        work,
        model,
        train_file_path=steps.write_jsonl(work / "train.jsonl", steps.rows(48)),
        validation_file_path=steps.write_jsonl(work / "validation.jsonl", steps.rows(12, seed=1)),
    )


@pytest.fixture(scope="session")
def finetuned(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in after one epoch of LoRA."""
    settings = {"apply_lora": "true", "learning_rate": 1e-3, "per_device_train_batch_size": 4}
    return steps.finetuned(tmp_path_factory.mktemp("finetuned"), model, data, **settings)
