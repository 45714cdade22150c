"""Pages of Azure ML studio. With the emulator they are only addresses: the studio knows nothing of its workspace."""

from __future__ import annotations

from urllib.parse import urlsplit


def model_page(job_page: str, name: str, version: str) -> str:
    """Where the studio shows a registered model. `job_page`: any page of the same workspace; empty if there is none."""
    return _page(job_page, f"/model/{name}:{version}/details")


def endpoint_page(job_page: str, name: str) -> str:
    """Where the studio shows an endpoint, its deployments, its metrics and its logs."""
    return _page(job_page, f"/endpoints/realtime/{name}/detail")


def base_model_page(job_page: str, model_id: str) -> str:
    """Where the studio shows a model of a registry: `azureml://registries/{registry}/models/{name}/versions/{version}`."""
    parts = model_id.removeprefix("azureml://").split("/")
    if len(parts) != 6 or parts[0] != "registries":
        return ""
    return _page(job_page, f"/registries/{parts[1]}/models/{parts[3]}/version/{parts[5]}")


def _page(job_page: str, path: str) -> str:
    at = urlsplit(job_page)
    return at._replace(path=path, fragment="").geturl() if at.netloc else ""
