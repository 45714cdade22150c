"""Checks what no engine here can run: the image file, the Kubernetes manifests and the work pools' job variables.

    make check-containers

runs it in an environment of its own, with the linters and the real workers in it. hadolint reads the image file; the manifests,
and the job that the real Kubernetes worker would create for a run, are held against Kubernetes' own schemas; and the job variables
of `deployments/containers.yaml` go through the real Docker, Kubernetes and Container Instances workers' templates.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deployments" / "kubernetes"
IMAGE_FILE = ROOT / "deployments" / "image" / "Dockerfile"
KUBERNETES_VERSION = "1.32"
# Kinds of add-ons, which Kubernetes' own schemas do not have.
OF_ADD_ONS = {"SecretProviderClass", "Kustomization"}
LOGIN = "operator:planted-login"


def main() -> int:
    """Runs every check; the first that fails ends it."""
    # Nothing listens there and nobody asks: without an address, Prefect would start a server.
    os.environ["PREFECT_API_URL"] = "http://prefect-server.finetune.svc:4200/api"
    for check in (image_file, manifests, kubernetes_job, docker_container, container_instance):
        print(f"{check.__name__:<20} {check()}", flush=True)
    return 0


def image_file() -> str:
    """hadolint's verdict."""
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([str(hadolint), str(IMAGE_FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return "hadolint has nothing to say"


def manifests() -> str:
    """Every manifest against the strict schema of its kind; every reference to a secret against the classes that make them."""
    import kubernetes_validate

    found = list(_documents())
    made = {
        (secret["secretName"], entry["key"])
        for document in found
        if document["kind"] == "SecretProviderClass"
        for secret in document["spec"]["secretObjects"]
        for entry in secret["data"]
    }
    checked = [document for document in found if document["kind"] not in OF_ADD_ONS]
    for document in checked:
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
        assert document["kind"] != "Secret", "a secret does not belong into a repository"
    wanted = set(_secret_references(found))
    assert wanted <= made, f"no SecretProviderClass makes {wanted - made}"
    return f"{len(checked)} fit Kubernetes {KUBERNETES_VERSION}; {len(wanted)} secrets, all by reference"


def kubernetes_job() -> str:
    """The job that the real worker would send to Kubernetes for a run of finetune/nightly."""
    import kubernetes_validate
    from prefect_kubernetes.settings import KubernetesSettings
    from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

    template = json.loads((KUBERNETES / "work-pool.json").read_text())
    _require_same_variables(template, KubernetesWorker.get_default_base_job_template())
    worker_variables = _variables_of("prefect-worker")
    os.environ.update({name: value for name, value in worker_variables.items() if value is not None})
    os.environ["PREFECT_API_AUTH_STRING"] = LOGIN
    settings = KubernetesSettings().worker

    async def made() -> dict[str, Any]:
        job = await KubernetesWorkerJobConfiguration.from_template_and_values(template, job_variables())
        job.prepare_for_flow_run(_flow_run())
        worker = KubernetesWorker(work_pool_name="containers")
        await worker._replace_env_variable_with_secret(
            env_variable_name="PREFECT_API_AUTH_STRING",
            configuration=job,
            secret_name=str(settings.api_auth_string_secret_name),
            secret_key=str(settings.api_auth_string_secret_key),
        )
        return job.job_manifest

    manifest = asyncio.run(made())
    for unknown in ("completions", "parallelism"):
        # The worker refuses a template without them; Kubernetes, which knows them for jobs only, drops them from a pod.
        del manifest["spec"]["template"]["spec"][unknown]
    kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
    assert LOGIN not in json.dumps(manifest), "the login is in the job's manifest"
    pod = manifest["spec"]["template"]
    environment = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
    assert manifest["spec"]["backoffLimit"] == 0, "Kubernetes must not start a run again behind Prefect's back"
    assert environment["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert pod["spec"]["serviceAccountName"] == "finetune"
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    return f"fits Kubernetes {KUBERNETES_VERSION}; non-root, login by reference, {grace} s to end"


def docker_container() -> str:
    """The container that the real worker would create."""
    from prefect_docker.worker import DockerWorker, DockerWorkerJobConfiguration

    async def made() -> DockerWorkerJobConfiguration:
        template = DockerWorker.get_default_base_job_template()
        return await DockerWorkerJobConfiguration.from_template_and_values(template, job_variables())

    container = asyncio.run(made())
    container.prepare_for_flow_run(_flow_run())
    assert container.image == job_variables()["image"]
    assert (container.mem_limit, container.auto_remove) == ("4g", True)
    assert container.env["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    return f"{container.command}, {container.mem_limit}"


def container_instance() -> str:
    """The container group that the real worker would ask Azure for."""
    from prefect_azure.workers.container_instance import AzureContainerJobConfiguration, AzureContainerWorker

    where = {"resource_group_name": "GROUP", "subscription_id": "SUBSCRIPTION", "identities": ["/IDENTITY"]}

    async def made() -> AzureContainerJobConfiguration:
        template = AzureContainerWorker.get_default_base_job_template()
        return await AzureContainerJobConfiguration.from_template_and_values(template, {**job_variables(), **where})

    group = asyncio.run(made())
    group.prepare_for_flow_run(_flow_run())
    container = group.arm_template["resources"][0]["properties"]["containers"][0]["properties"]
    assert container["command"][0] == "tini", "the image has no entrypoint of Prefect's"
    assert container["resources"]["requests"] == {"cpu": 1.0, "memoryInGB": 4.0}
    return " ".join(container["command"])


def job_variables() -> dict[str, Any]:
    """Those of `deployments/containers.yaml`, with the image that its build step would fill in."""
    project = yaml.safe_load((ROOT / "deployments" / "containers.yaml").read_text())
    return {**project["definitions"]["work_pool"]["job_variables"], "image": "registry.example/finetune:1"}


def _documents() -> Iterator[dict[str, Any]]:
    for file in sorted(KUBERNETES.glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text())


def _secret_references(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if "secretKeyRef" in value:
            yield value["secretKeyRef"]["name"], value["secretKeyRef"]["key"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _secret_references(item)


def _variables_of(deployment: str) -> dict[str, str | None]:
    [found] = [d for d in _documents() if d["kind"] == "Deployment" and d["metadata"]["name"] == deployment]
    [container] = found["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value") for entry in container["env"] if entry["name"].startswith("PREFECT_INT")}


def _require_same_variables(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Ours may only differ in defaults: a variable that the worker does not know would do nothing."""

    def without_defaults(template: dict[str, Any]) -> dict[str, Any]:
        properties = template["variables"]["properties"]
        return {
            name: {key: value for key, value in schema.items() if key != "default"}
            for name, schema in properties.items()
        }

    assert without_defaults(ours) == without_defaults(theirs), "work-pool.json is of another version of the worker"


def _flow_run() -> Any:
    from prefect.client.schemas.objects import FlowRun

    return FlowRun(id=uuid4(), flow_id=uuid4(), name="Phi-4 on ultrachat")


if __name__ == "__main__":
    sys.exit(main())
