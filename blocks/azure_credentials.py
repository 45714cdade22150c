"""As whom the flow talks to Azure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from blocks.form import block_schema

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

Auth = Literal["service_principal", "certificate", "managed_identity", "workload_identity", "azure_cli", "default"]
CloudName = Literal["public", "us_government", "china"]


@dataclass(frozen=True)
class Cloud:
    """What differs between Azure's clouds. Host names as in Microsoft's list of sovereign endpoints."""

    sdk_name: str
    authority: str
    management_scope: str
    storage_suffix: str


CLOUDS: dict[str, Cloud] = {
    "public": Cloud(
        sdk_name="AzureCloud",
        authority="login.microsoftonline.com",
        management_scope="https://management.azure.com/.default",
        storage_suffix="core.windows.net",
    ),
    "us_government": Cloud(
        sdk_name="AzureUSGovernment",
        authority="login.microsoftonline.us",
        management_scope="https://management.usgovcloudapi.net/.default",
        storage_suffix="core.usgovcloudapi.net",
    ),
    "china": Cloud(
        sdk_name="AzureChinaCloud",
        authority="login.chinacloudapi.cn",
        management_scope="https://management.chinacloudapi.cn/.default",
        storage_suffix="core.chinacloudapi.cn",
    ),
}


@dataclass(frozen=True)
class _Fields:
    """Which fields a way of signing in needs, and which it can also use."""

    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


_FIELDS: dict[str, _Fields] = {
    "service_principal": _Fields(needed=("tenant_id", "client_id", "client_secret")),
    "certificate": _Fields(needed=("tenant_id", "client_id", "certificate_path"), optional=("certificate_password",)),
    "managed_identity": _Fields(optional=("client_id",)),
    "workload_identity": _Fields(optional=("tenant_id", "client_id", "token_file")),
    "azure_cli": _Fields(optional=("tenant_id",)),
    "default": _Fields(),
}
_IDENTITY_FIELDS = ("tenant_id", "client_id", "client_secret", "certificate_path", "certificate_password", "token_file")


class AzureCredentials(Block):
    """One Azure identity. Exactly the fields that `auth` asks for are filled; anything half-filled is refused.

    Ways without a stored secret (managed identity, workload identity, the Azure CLI, the default chain) are
    preferable: a Prefect server without a login hands block secrets to whoever can reach its API.
    """

    _block_type_name: ClassVar[str] = "Azure Credentials"
    _block_type_slug: ClassVar[str] = "azure-credentials"

    model_config = ConfigDict(json_schema_extra=block_schema)

    auth: Auth = Field(
        "default",
        title="Sign in with",
        description="service_principal (secret), certificate, managed_identity, workload_identity, azure_cli, or "
        "default: azure-identity's chain of environment, workload and managed identity, then developer logins.",
    )
    cloud: CloudName = Field("public", title="Azure cloud", description="Which Azure.")
    tenant_id: str | None = Field(None, title="Tenant", description="Directory (tenant) id.")
    client_id: str | None = Field(
        None,
        title="Client",
        description="Application (client) id; for managed_identity, that of a user-assigned identity.",
    )
    client_secret: SecretStr | None = Field(None, title="Client secret", description="Only for service_principal.")
    certificate_path: str | None = Field(
        None,
        title="Certificate file",
        description="PEM or PKCS12 with its private key, on the machine that runs the flow.",
    )
    certificate_password: SecretStr | None = Field(
        None, title="Certificate password", description="If the file has one."
    )
    token_file: str | None = Field(
        None,
        title="Federated token file",
        description="Only for workload_identity; default: AZURE_FEDERATED_TOKEN_FILE.",
    )

    _credential: TokenCredential | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _complete(self) -> AzureCredentials:
        fields = _FIELDS[self.auth]
        filled = {name for name in _IDENTITY_FIELDS if _is_filled(getattr(self, name))}
        missing = [name for name in fields.needed if name not in filled]
        if missing:
            raise ValueError(
                f"auth '{self.auth}' needs {_listed(fields.needed)}; fill in {_listed(missing)} "
                "or choose another way to sign in."
            )
        unused = sorted(filled - {*fields.needed, *fields.optional})
        if unused:
            raise ValueError(
                f"auth '{self.auth}' does not use {_listed(unused)}; clear it or choose the auth that does."
            )
        return self

    @property
    def endpoints(self) -> Cloud:
        """The chosen cloud's names and hosts."""
        return CLOUDS[self.cloud]

    def credential(self) -> TokenCredential:
        """The azure-identity credential of `auth`, and of nothing else; built once. Makes no call to Azure.

        Raises:
            ValueError: the certificate cannot be read, or workload_identity finds no token file in block or environment.
        """
        if self._credential is None:
            self._credential = self._build()
        return self._credential

    def _build(self) -> TokenCredential:
        from azure import identity

        authority = self.endpoints.authority
        match self.auth:
            case "service_principal":
                return identity.ClientSecretCredential(
                    _required(self.tenant_id), _required(self.client_id), _revealed(self.client_secret) or "",
                    authority=authority,
                )  # fmt: skip
            case "certificate":
                return identity.CertificateCredential(
                    _required(self.tenant_id),
                    _required(self.client_id),
                    certificate_path=self.certificate_path,
                    password=_revealed(self.certificate_password),
                    authority=authority,
                )
            case "managed_identity":
                return identity.ManagedIdentityCredential(client_id=self.client_id)
            case "workload_identity":
                return identity.WorkloadIdentityCredential(
                    tenant_id=self.tenant_id,
                    client_id=self.client_id,
                    token_file_path=self.token_file,
                    authority=authority,
                )
            case "azure_cli":
                return identity.AzureCliCredential(tenant_id=self.tenant_id or "")
            case "default":
                return identity.DefaultAzureCredential(authority=authority)


def _is_filled(value: str | SecretStr | None) -> bool:
    return bool(_revealed(value) if isinstance(value, SecretStr) else value)


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _required(value: str | None) -> str:
    assert value is not None, "checked when the block was filled"
    return value


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))
