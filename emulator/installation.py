"""Who and where one emulator is: tenant, subscription, workspace, storage account, and their secrets.

Made once for a state folder and kept there, so that ids, keys and issued tokens survive a restart. The file is sealed.
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from emulator import disk
from emulator.seal import Seal

FILE = "installation.json"
REGION = "eastus"  # unless one is asked for
PROVIDER = "Microsoft.MachineLearningServices"


@dataclass(frozen=True)
class Principal:
    """A service principal: who may sign in, and with which Azure role on the workspace (Contributor or Reader)."""

    name: str
    client_id: str
    object_id: str
    role: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Installation:
    """One emulated Azure: a tenant with one subscription, one resource group and one workspace."""

    state: Path
    tenant_id: str
    principals: tuple[Principal, ...]
    subscription_id: str
    resource_group: str
    workspace: str
    workspace_guid: str
    region: str
    storage_account: str
    storage_key: str = field(repr=False)
    token_key: str = field(repr=False)
    control_key: str = field(repr=False)

    @classmethod
    def open(cls, state: Path, region: str | None = None) -> Installation:
        """Returns the installation that `state` holds, or makes one there, in `region`."""
        path = state / FILE
        if path.exists():
            sealed = bytes.fromhex(json.loads(path.read_text()).get("sealed", ""))
            saved = json.loads(Seal.of(state).open(sealed, FILE))
            saved["principals"] = tuple(Principal(**p) for p in saved["principals"])
            return cls(state=state, **saved)
        made = cls._new(state, region or REGION)
        made._save(path)
        return made

    @classmethod
    def _new(cls, state: Path, region: str) -> Installation:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        guid = str(uuid.uuid4())
        return cls(
            state=state,
            tenant_id=str(uuid.uuid4()),
            principals=tuple(
                Principal(role.lower(), str(uuid.uuid4()), str(uuid.uuid4()), role, secrets.token_urlsafe(30))
                for role in ("Contributor", "Reader")
            ),
            subscription_id=str(uuid.uuid4()),
            resource_group="emulator-rg",
            workspace="emulator-ws",
            workspace_guid=guid,
            region=region,
            storage_account="emulator" + guid.replace("-", "")[:14],
            storage_key=base64.b64encode(secrets.token_bytes(64)).decode(),
            token_key=pem.decode(),
            control_key=secrets.token_urlsafe(30),
        )

    def _save(self, path: Path) -> None:
        fields = {k: v for k, v in asdict(self).items() if k != "state"}
        path.parent.mkdir(parents=True, exist_ok=True)
        sealed = Seal.of(self.state).seal(json.dumps(fields), FILE).hex()
        disk.replace(path, json.dumps({"sealed": sealed}).encode())

    @cached_property
    def subscription_path(self) -> str:
        """`/subscriptions/{id}`: the root of every ARM id here."""
        return f"/subscriptions/{self.subscription_id}"

    @cached_property
    def workspace_id(self) -> str:
        """The workspace's ARM id, in Azure's own casing."""
        return (
            f"{self.subscription_path}/resourceGroups/{self.resource_group}"
            f"/providers/{PROVIDER}/workspaces/{self.workspace}"
        )

    @cached_property
    def location_id(self) -> str:
        """The ARM id of the provider's location, under which operations, sizes and usages are found."""
        return f"{self.subscription_path}/providers/{PROVIDER}/locations/{self.region}"

    @cached_property
    def container(self) -> str:
        """The default blob container, that of the datastore `workspaceblobstore`."""
        return f"azureml-blobstore-{self.workspace_guid}"

    @cached_property
    def files(self) -> Path:
        """Where the storage account's containers are folders."""
        return self.state / "blobs"

    @cached_property
    def blob_host(self) -> str:
        return f"{self.storage_account}.blob.core.windows.net"

    @cached_property
    def data_host(self) -> str:
        return f"{self.region}.api.azureml.ms"

    @cached_property
    def registry_host(self) -> str:
        return f"cert-{self.region}.experiments.azureml.net"

    @cached_property
    def scoring_suffix(self) -> str:
        """What follows an endpoint's name in its host name."""
        return f".{self.region}.inference.ml.azure.com"

    @cached_property
    def mlflow_base(self) -> str:
        """The MLflow tracking address that a job's process uses, as a plain https URL."""
        return f"https://{self.data_host}/mlflow/v2.0{self.workspace_id}"
