"""MLflow's SQL store, with the artifact addresses of Azure ML. Imported only with MLflow's server: it costs seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.uri import append_to_uri_path

from emulator import disk


class AzureStore(SqlAlchemyStore):
    """A run's artifacts are at `.../experiments/{experiment}/runs/{run}/artifacts`, which is how azureml-mlflow tells the two."""

    @classmethod
    def opened(cls, store_uri: str, artifact_uri: str) -> Self:
        """As MLflow's registry of stores makes one."""
        store = cls(store_uri, artifact_uri)
        store.ManagedSessionMaker = _in_words(
            store.ManagedSessionMaker, Path(str(store.engine.url.database)).parents[1]
        )
        return store

    def _get_artifact_location(self, experiment_id: int) -> str:
        return str(append_to_uri_path(self.artifact_root_uri, str(experiment_id), "runs"))


def _in_words(sessions: Any, state: Path) -> Any:
    """MLflow's sessions, but that what the disk refuses is said in a sentence: MLflow sends the statement and its values."""

    @contextmanager
    def session(read_only: bool = True) -> Iterator[Any]:
        try:
            with sessions(read_only=read_only) as opened:
                yield opened
        except MlflowException as error:
            trouble = disk.trouble(error, state)
            if trouble is None:
                raise
            raise MlflowException(trouble.sentence(state), error_code=TEMPORARILY_UNAVAILABLE) from error

    return session
