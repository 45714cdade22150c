"""Finds out, before anything else, as whom and where the run works.

Promise: afterwards every later stage can count on the block, the token, the workspace, the registry and the right to
write into the workspace's storage. Reads only.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import ErrorInfo, InvalidConfiguration, classify, redact
from tasks.azure_ml.kinds import Kind
from tasks.stage import run_logger, stage

if TYPE_CHECKING:
    from azure.core.rest import HttpRequest, HttpResponse

SHOWN = 300
"""Characters of what a service said."""
_UNDESCRIBED = re.compile(r"Unable to get authority configuration for (?P<authority>https://\S+?)\.?\s")
"""What MSAL says for every refusal of the tenant's OpenID configuration, be it for want of a tenant or of a way there."""
_OUTAGE = re.compile(r"HTTP Error: 5\d\d")
"""What azure-identity says when the sign-in service fails; its own tries are over then."""


class WorkspaceIdentity(BaseModel):
    """The workspace as Azure describes it, and the identity as its token does."""

    workspace: str
    location: str
    tracking_uri: str
    """MLflow's, in Azure ML's form: `azureml://{host}/mlflow/v1.0/subscriptions/...`."""
    identity: str
    tenant: str


@stage
def resolve_credentials(workspace: AzureMLWorkspace) -> WorkspaceIdentity:
    """Gets a token, reads the workspace and the registry, and checks the right to write.

    Raises:
        InvalidConfiguration: the credentials, the tenant, the workspace or the role is wrong; the sentence says which.
    """
    claims = _claims(_token(workspace))
    with _refusal_told(f"workspace {workspace.workspace_name} in resource group {workspace.resource_group}"):
        found = workspace.client().workspaces.get(workspace.workspace_name)
    _reach_services(workspace, str(found.discovery_url))
    with _refusal_told(f"registry {workspace.registry_name}"):
        workspace.registry_client()
    # What an upload needs: a reader of the workspace is refused here, not after an hour.
    with _refusal_told(f"the default datastore of workspace {workspace.workspace_name}"):
        workspace.client().datastores.get_default(include_secrets=True)
    who = WorkspaceIdentity(
        workspace=workspace.workspace_name,
        location=str(found.location),
        tracking_uri=str(found.mlflow_tracking_uri),
        identity=str(claims.get("upn") or claims.get("appid") or claims.get("oid") or workspace.credentials.auth),
        tenant=str(claims.get("tid", "")),
    )
    run_logger().info("Working in %s (%s) as %s.", who.workspace, who.location, who.identity)
    return who


def _token(workspace: AzureMLWorkspace) -> str:
    credentials = workspace.credentials
    try:
        return credentials.credential().get_token(credentials.endpoints.management_scope).token
    except Exception as error:
        info = classify(error)
        if info is None or info.kind not in (Kind.AUTH, Kind.SIGN_IN):
            raise
        if outage := _OUTAGE.search(info.message):
            # azure-identity reports it as a refusal; it is worth another try.
            raise ConnectionError(f"The sign-in service does not work ({outage[0]}).") from error
        raise InvalidConfiguration(_sign_in_sentence(workspace, info)) from error


def _sign_in_sentence(workspace: AzureMLWorkspace, info: ErrorInfo) -> str:
    """AADSTS codes: https://learn.microsoft.com/entra/identity-platform/reference-error-codes."""
    credentials, text = workspace.credentials, info.message
    if any(code in text for code in ("AADSTS7000215", "AADSTS7000222", "AADSTS700027")):
        return (
            f"The secret or certificate of client {credentials.client_id or 'from the environment'} is wrong or "
            f"expired (AADSTS7000215/7000222). {_how_to_renew(workspace)}."
        )
    undescribed = _UNDESCRIBED.search(text)
    said = _tenant_described(undescribed["authority"]) if undescribed else text
    if any(code in said for code in ("AADSTS90002", "AADSTS900023", "AADSTS700016")):
        return (
            f"Tenant {credentials.tenant_id or 'from the environment'} does not exist or does not know the client. "
            "Correct tenant and client in the credentials block."
        )
    if undescribed:
        return (
            f"The sign-in service does not describe tenant {credentials.tenant_id or 'from the environment'} ({said}). "
            f"Check that this machine may reach {undescribed['authority']} (proxy, firewall), and the tenant in the credentials "
            "block."
        )
    return f"Signing in with '{credentials.auth}' failed: {text} Check the credentials block."


def _how_to_renew(workspace: AzureMLWorkspace) -> str:
    """What to do about a secret: the default chain reads it from the worker's environment, where no block can mend it."""
    if workspace.credentials.auth == "default":
        return (
            "Put a valid one into the environment of the worker (AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH)"
        )
    return "Put a valid one into the credentials block"


def _tenant_described(authority: str) -> str:
    """What the sign-in service answers when it is asked for the tenant's description, in a few words. azure-identity asks
    the same, and keeps the answer to itself."""
    try:
        response = _get(f"{authority}/v2.0/.well-known/openid-configuration")
    except Exception as error:
        return redact(str(error))[:SHOWN]
    if response.status_code < 400:
        return "it does now; run again"
    return f"HTTP {response.status_code}: {redact(_error_text(response))[:SHOWN]}"


def _error_text(response: Any) -> str:
    """The sign-in service's own sentence, or whatever stood in its way says."""
    try:
        body = response.json()
        return str(body.get("error_description") or body["error"]["message"])
    except (ValueError, LookupError, AttributeError, TypeError):
        return " ".join(response.text().split()) or str(response.reason)


def _reach_services(workspace: AzureMLWorkspace, discovery_url: str) -> None:
    """Asks where the workspace's services are, as the SDK will: it takes a refusal for an answer without addresses."""
    try:
        _get(discovery_url).raise_for_status()
    except Exception as error:
        info = classify(error)
        if info is None or info.kind in (Kind.TRANSIENT, Kind.THROTTLED):
            raise
        raise InvalidConfiguration(
            f"The addresses of workspace {workspace.workspace_name}'s services cannot be read at {discovery_url} (HTTP "
            f"{info.status}: {info.message[:SHOWN]}). Check that this machine may reach them (proxy, firewall, private "
            "endpoint)."
        ) from error


def _get(url: str) -> HttpResponse:
    """The whole answer, whatever its status, with the SDK's own retries and proxies; nobody is signed in."""
    from azure.core import PipelineClient
    from azure.core.rest import HttpRequest

    client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(base_url=url)
    with client:
        return client.send_request(HttpRequest("GET", url))


@contextmanager
def _refusal_told(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _refusal(error, what) from error


def _refusal(error: Exception, what: str) -> Exception:
    info = classify(error)
    if info is not None and info.kind is Kind.NOT_FOUND:
        return InvalidConfiguration(f"There is no {what}, or the identity may not see it. Correct the workspace block.")
    # A 403 of another kind (a policy, a firewall, a disabled subscription) has a sentence of its own.
    if info is None or info.status != 403 or info.kind not in (Kind.AUTH, Kind.ROLES):
        return error
    if "registry" in what:
        return InvalidConfiguration(
            f"There is no {what}, or the identity may not read it. Correct the registry name in the workspace block."
        )
    return InvalidConfiguration(
        f"The identity has no role that allows to use {what}. Grant it 'AzureML Data Scientist' on the workspace "
        f"(and 'AzureML Compute Operator' to create clusters). Azure says: {info.message[:SHOWN]}"
    )


def _claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, for display only: Azure checks the signature, not we."""
    try:
        payload = token.split(".")[1]
        return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (IndexError, ValueError):
        return {}
