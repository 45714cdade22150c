"""Online endpoints and their deployments over HTTP."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.arm.deployment_body import DeploymentBody, LogsBody
from emulator.arm.deployments import Deployments
from emulator.arm.endpoint_body import EndpointBody, RegenerateBody
from emulator.arm.endpoints import Endpoints
from emulator.http import read_model, reply
from emulator.routing import WORKSPACE

COLLECTION = WORKSPACE + "/onlineendpoints"
ONE = COLLECTION + "/{endpoint}"
DEPLOYMENTS = ONE + "/deployments"
DEPLOYMENT = DEPLOYMENTS + "/{deployment}"


def routes(endpoints: Endpoints, deployments: Deployments) -> list[Route]:
    """The routes of both."""
    return [*_endpoint_routes(endpoints), *_deployment_routes(deployments)]


def _endpoint_routes(endpoints: Endpoints) -> list[Route]:
    async def listed(request: Request) -> Response:
        return reply({"value": endpoints.list()})

    async def get(request: Request) -> Response:
        return reply(endpoints.get(request.path_params["endpoint"]))

    async def put(request: Request) -> Response:
        document, headers = endpoints.put(request.path_params["endpoint"], await read_model(request, EndpointBody))
        return reply(document, 201, headers)

    async def delete(request: Request) -> Response:
        return _deleting(endpoints.delete(request.path_params["endpoint"]))

    async def keys(request: Request) -> Response:
        return reply(endpoints.keys(request.path_params["endpoint"]))

    async def regenerate(request: Request) -> Response:
        body = await read_model(request, RegenerateBody)
        return reply(None, 202, endpoints.regenerate(request.path_params["endpoint"], body))

    async def token(request: Request) -> Response:
        return reply(endpoints.token(request.path_params["endpoint"]))

    return [
        Route(COLLECTION, listed, methods=["GET"]),
        Route(ONE, get, methods=["GET"]),
        Route(ONE, put, methods=["PUT"]),
        Route(ONE, delete, methods=["DELETE"]),
        Route(ONE + "/listkeys", keys, methods=["POST"]),
        Route(ONE + "/regeneratekeys", regenerate, methods=["POST"]),
        Route(ONE + "/token", token, methods=["POST"]),
    ]


def _deployment_routes(deployments: Deployments) -> list[Route]:
    def names(request: Request) -> tuple[str, str]:
        return request.path_params["endpoint"], request.path_params["deployment"]

    async def listed(request: Request) -> Response:
        return reply({"value": deployments.list(request.path_params["endpoint"])})

    async def get(request: Request) -> Response:
        return reply(deployments.get(*names(request)))

    async def put(request: Request) -> Response:
        document, headers = deployments.put(*names(request), await read_model(request, DeploymentBody))
        return reply(document, 201, headers)

    async def delete(request: Request) -> Response:
        return _deleting(deployments.delete(*names(request)))

    async def logs(request: Request) -> Response:
        return reply({"content": deployments.logs(*names(request), await read_model(request, LogsBody))})

    return [
        Route(DEPLOYMENTS, listed, methods=["GET"]),
        Route(DEPLOYMENT, get, methods=["GET"]),
        Route(DEPLOYMENT, put, methods=["PUT"]),
        Route(DEPLOYMENT, delete, methods=["DELETE"]),
        Route(DEPLOYMENT + "/getlogs", logs, methods=["POST"]),
    ]


def _deleting(headers: dict[str, str] | None) -> Response:
    """204 for what is not there; else 202 whose body is the word null, as Azure's."""
    if headers is None:
        return Response(None, 204)
    return Response("null", 202, headers, media_type="application/json")
