"""MLflow's SQL store, with the artifact addresses of Azure ML. Imported only with MLflow's server: it costs seconds."""

from __future__ import annotations

from typing import Self

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.uri import append_to_uri_path


class AzureStore(SqlAlchemyStore):
    """A run's artifacts are at `.../experiments/{experiment}/runs/{run}/artifacts`, which is how azureml-mlflow tells the two."""

    @classmethod
    def opened(cls, store_uri: str, artifact_uri: str) -> Self:
        """As MLflow's registry of stores makes one."""
        return cls(store_uri, artifact_uri)

    def _get_artifact_location(self, experiment_id: int) -> str:
        return str(append_to_uri_path(self.artifact_root_uri, str(experiment_id), "runs"))
