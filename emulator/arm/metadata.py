"""The cloud's own description, and the addresses of long-running operations."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import errors
from emulator.http import reply
from emulator.operations import Operations, status_body

PUBLIC_CLOUD = {
    "name": "AzureCloud",
    "portal": "https://portal.azure.com",
    "resourceManager": "https://management.azure.com/",
    "authentication": {
        "loginEndpoint": "https://login.microsoftonline.com",
        "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
        "tenant": "common",
        "identityProvider": "AAD",
    },
    "suffixes": {"storage": "core.windows.net", "keyVaultDns": "vault.azure.net"},
}
LOCATION = "/subscriptions/{subscription}/providers/microsoft.machinelearningservices/locations/{location}"


def routes(operations: Operations) -> list[Route]:
    """The routes that belong to no workspace."""

    async def endpoints(request: Request) -> Response:
        return reply([PUBLIC_CLOUD])

    async def status(request: Request) -> Response:
        operation = _find(operations, request)
        return reply(status_body(operation), headers=operations.poll_headers(operation))

    async def result(request: Request) -> Response:
        operation = _find(operations, request)
        if operation["status"] == "InProgress":
            return reply(None, 202, {"Location": str(request.url), **operations.poll_headers(operation)})
        if "error" in operation:
            return reply({"error": operation["error"]}, 400)
        return reply(None, 204)

    return [
        Route("/metadata/endpoints", endpoints),
        Route(LOCATION + "/computeoperationsstatus/{operation}", status),
        Route(LOCATION + "/mfeoperationsstatus/{operation}", status),
        Route(LOCATION + "/mfeoperationresults/{operation}", result),
    ]


def _find(operations: Operations, request: Request) -> dict[str, object]:
    id = request.path_params["operation"]
    operation = operations.find(id)
    if operation is None:
        raise errors.frontend(404, "UserError", f"Operation {id} was not found.", inner=["NotFoundError"])
    return operation
