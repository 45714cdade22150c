"""The data plane as one app: MLflow under its prefix, everything else by route."""

from __future__ import annotations

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.dataplane.mlflow import MlflowRoute
from emulator.routing import AzureRouter


def app(mlflow: MlflowRoute, routes: list[Route]) -> ASGIApp:
    """The service of {region}.api.azureml.ms."""
    router = AzureRouter(routes)

    async def dataplane(scope: Scope, receive: Receive, send: Send) -> None:
        await (mlflow if mlflow.matches(scope["path"]) else router)(scope, receive, send)

    return dataplane
