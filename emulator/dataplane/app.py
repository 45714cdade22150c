"""The data plane as one app: MLflow under its prefix, everything else by route."""

from __future__ import annotations

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from emulator.dataplane.mlflow import MlflowRoute
from emulator.routing import AzureRouter


class DataPlane:
    """The service of {region}.api.azureml.ms."""

    def __init__(self, mlflow: MlflowRoute, routes: list[Route]) -> None:
        self._mlflow = mlflow
        self._router = AzureRouter(routes)
        self.operations = [*self._router.operations, *mlflow.operations]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._mlflow if self._mlflow.matches(scope["path"]) else self._router)(scope, receive, send)
