"""The data plane's addresses: of the workspace's services, and of registries."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.arm.gate import authenticate
from emulator.http import reply
from emulator.identity.tokens import ARM, AZURE_ML, Tokens
from emulator.installation import Installation
from emulator.registry.service import discovery

SERVICES = ("api", "experimentation", "history", "modelmanagement", "pipelines", "mlflow", "data")


def routes(installation: Installation, tokens: Tokens) -> list[Route]:
    """Discovery of the workspace (open to all, as on Azure) and of registries (with a token)."""

    async def workspace(request: Request) -> Response:
        return reply(dict.fromkeys(SERVICES, f"https://{installation.data_host}"))

    async def registry(request: Request) -> Response:
        authenticate(request.scope, tokens, ARM + AZURE_ML)
        return reply(discovery(installation, request.path_params["registry"]))

    return [
        Route("/discovery", workspace),
        Route("/registrymanagement/v1.0/registries/{registry}/discovery", registry),
    ]
