"""The routes of versioned assets; one set, in the workspace for each kind, and in a registry for what a registry has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.arm.assets import AssetBody, AssetKind, Assets, NameBody
from emulator.http import read_model, reply
from emulator.routing import WORKSPACE
from emulator.store import Document

PAGE = 100


def query(request: Request, name: str, default: str = "") -> str:
    """A query parameter by its name in any case, as Azure reads them."""
    found = {key.lower(): value for key, value in request.query_params.items()}
    return found.get(name.lower(), default)


def page(request: Request, found: list[Document]) -> dict[str, Any]:
    """One page of a list, with a nextLink when there is more. `$top` limits the page, `$skip` is where it starts."""
    top, skip = query(request, "$top"), query(request, "$skip")
    start = int(skip) if skip.isdecimal() and len(skip) < 10 else 0
    size = min(int(top), PAGE) if top.isdecimal() and len(top) < 10 else PAGE
    body: dict[str, Any] = {"value": found[start : start + size]}
    # `$top` asks for the first few and no more, so it has no next page.
    if not top and start + size < len(found):
        body["nextLink"] = str(request.url.include_query_params(**{"$skip": str(start + size)}))
    return body


def routes(assets: Assets) -> list[Route]:
    """Containers and versions of every kind, in the workspace."""
    made: list[Route] = []
    for kind in AssetKind:
        base = f"{WORKSPACE}/{kind}"
        made += [
            Route(base, _containers(assets, kind)),
            Route(base + "/{name}", _container(assets, kind)),
            Route(base + "/{name}", _put_container(assets, kind), methods=["PUT"]),
            Route(base + "/{name}/versions", _versions(assets, kind)),
            Route(base + "/{name}/versions/{version}", _get(assets, kind)),
            Route(base + "/{name}/versions/{version}", _put(assets, kind), methods=["PUT"]),
            Route(base + "/{name}/versions/{version}", _delete(assets, kind), methods=["DELETE"]),
        ]
    return made


Endpoint = Callable[[Request], Any]


def _containers(assets: Assets, kind: AssetKind) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return reply(page(request, assets.containers(kind, query(request, "listViewType", "ActiveOnly"))))

    return endpoint


def _container(assets: Assets, kind: AssetKind) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return reply(assets.container(kind, request.path_params["name"]))

    return endpoint


def _put_container(assets: Assets, kind: AssetKind) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await read_model(request, NameBody)
        return reply(assets.archive(kind, request.path_params["name"], bool(body.properties.isArchived)))

    return endpoint


def _versions(assets: Assets, kind: AssetKind) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        newest_first = "desc" in query(request, "$orderBy").lower()
        view = query(request, "listViewType", "ActiveOnly")
        wanted = query(request, "hash")
        found = (
            assets.with_hash(kind, wanted)
            if wanted
            else assets.versions(kind, request.path_params["name"], view, newest_first)
        )
        return reply(page(request, found))

    return endpoint


def _get(assets: Assets, kind: AssetKind) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return reply(assets.get(kind, request.path_params["name"], request.path_params["version"]))

    return endpoint


def _put(assets: Assets, kind: AssetKind) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        name, version = request.path_params["name"], request.path_params["version"]
        document, new = assets.put(kind, name, version, await read_model(request, AssetBody))
        location = {"Location": str(request.url)} if new else None
        return reply(document, 201 if new else 200, location)

    return endpoint


def _delete(assets: Assets, kind: AssetKind) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        gone = assets.delete(kind, request.path_params["name"], request.path_params["version"])
        return reply(None, 200 if gone else 204)

    return endpoint
