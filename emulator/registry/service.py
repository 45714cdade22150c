"""The registry's own host, and its discovery on the data plane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import errors
from emulator.arm.asset_routes import page, query
from emulator.arm.assets import in_view
from emulator.arm.gate import authenticate
from emulator.blob.containers import Containers
from emulator.components.foundation import ModelUnavailable
from emulator.http import reply
from emulator.identity.tokens import ARM, AZURE_ML, Tokens
from emulator.installation import Installation
from emulator.registry.catalog import NAME, Catalog
from emulator.registry.documents import component_document, model_document
from emulator.registry.files import data_reference
from emulator.store import Document

BASE = (
    "/mferp/managementfrontend/subscriptions/{subscription}/resourcegroups/{group}"
    "/providers/microsoft.machinelearningservices/registries/{registry}"
)
AUDIENCES = ARM + AZURE_ML


def discovery(installation: Installation, name: str) -> dict[str, Any]:
    """Where the registry `name` lives.

    Raises:
        AzureError: 403 in the data plane's shape: the caller may not use such a registry.
    """
    if name.lower() != NAME:
        raise errors.dataplane(
            403,
            "UserError",
            f"The registry {name[:64]} was not found, or the caller has no access to it.",
            inner=["Auth", "Authorization", "UnAuthorizedRegistryAccess"],
            component="feedmanagement",
        )
    return {
        "registryId": installation.workspace_guid,
        "registryName": NAME,
        "tenantId": installation.tenant_id,
        "primaryRegion": installation.region,
        "regions": [installation.region],
        "subscriptionId": installation.subscription_id,
        "resourceGroup": "registry-builtin",
        "workspaceName": None,
        "intellectualPropertyPublisher": None,
        # The SDK appends its path to this as it is, so the slash at the end must be there.
        "primaryRegionResourceProviderUri": f"https://{installation.registry_host}/",
        "registryFqdns": {installation.region: {"uri": f"https://{installation.registry_host}"}},
    }


def routes(installation: Installation, catalog: Catalog, containers: Containers, tokens: Tokens) -> list[Route]:
    """Models, their files and components of the registry; read only, as the system registry is for its users."""

    def models(name: str) -> list[Document]:
        found = [m for m in catalog.models() if m.name.lower() == name.lower()]
        return [model_document(m, installation) for m in found]

    def components(name: str) -> list[Document]:
        return [component_document(c) for c in catalog.components() if c["name"].lower() == name.lower()]

    def listed(find: Callable[[str], list[Document]]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            _admit(request, tokens)
            view = query(request, "listViewType", "All")
            found = [document for document in find(request.path_params["name"]) if in_view(document, view)]
            return reply(page(request, found[::-1] if "desc" in query(request, "$orderBy").lower() else found))

        return endpoint

    def one(find: Callable[[str], list[Document]], noun: str) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            _admit(request, tokens)
            name, version = request.path_params["name"], request.path_params["version"]
            found = next((d for d in find(name) if d["name"] == version), None)
            if found is None:
                raise errors.asset_not_found(noun, name, version)
            return reply(found)

        return endpoint

    def names(all_names: Callable[[], list[str]], kind: str) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            _admit(request, tokens)
            rows = [
                {"id": f"azureml://registries/{NAME}/{kind}/{n}", "name": n, "type": kind, "properties": {}}
                for n in dict.fromkeys(all_names())
            ]
            return reply(page(request, rows))

        return endpoint

    async def files(request: Request) -> Response:
        _admit(request, tokens)
        name, version = request.path_params["name"], request.path_params["version"]
        model = catalog.model(name, version)
        if model is None:
            raise errors.asset_not_found("Model", name, version)
        try:
            folder = await asyncio.to_thread(catalog.model_folder, name, version)
        except ModelUnavailable as problem:
            raise errors.bad_request(str(problem)) from None
        return reply(await asyncio.to_thread(data_reference, installation, containers, model.id, folder))

    return [
        Route(BASE + "/datarefs/{name}/versions/{version}", files, methods=["POST"]),
        Route(BASE + "/models", names(lambda: [m.name for m in catalog.models()], "models")),
        Route(BASE + "/models/{name}/versions", listed(models)),
        Route(BASE + "/models/{name}/versions/{version}", one(models, "Model")),
        Route(BASE + "/components", names(lambda: [c["name"] for c in catalog.components()], "components")),
        Route(BASE + "/components/{name}/versions", listed(components)),
        Route(BASE + "/components/{name}/versions/{version}", one(components, "Component")),
    ]


def _admit(request: Request, tokens: Tokens) -> None:
    authenticate(request.scope, tokens, AUDIENCES)
    if request.path_params["registry"].lower() != NAME:
        raise errors.dataplane(404, "UserError", "Registry not found.", inner=["NotFound"], component="feedmanagement")
