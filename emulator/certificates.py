"""The emulator's own certificate authority and the server certificate it signs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from emulator import disk
from emulator.hosts import certificate_names
from emulator.installation import Installation


@dataclass(frozen=True)
class Certificates:
    """Files in the state folder: the CA, the server's key and chain, and the bundle that clients trust."""

    authority: Path
    server: Path
    bundle: Path

    @classmethod
    def open(cls, installation: Installation) -> Certificates:
        """Returns the state folder's certificates, making them at the first call."""
        folder = installation.state / "certificates"
        certificates = cls(folder / "ca.pem", folder / "server.pem", folder / "bundle.pem")
        if not certificates.server.exists():
            certificates._make(certificate_names(installation))
        certificates._write_bundle()
        return certificates

    def _make(self, names: list[str]) -> None:
        import trustme

        self.server.parent.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA(organization_name="Azure ML emulator, this machine only")
        disk.replace(self.authority, authority.cert_pem.bytes())
        leaf = authority.issue_cert(*names, organization_name="Azure ML emulator")
        disk.replace(self.server, leaf.private_key_and_cert_chain_pem.bytes())

    def _write_bundle(self) -> None:
        # REQUESTS_CA_BUNDLE replaces the client's own list, so the bundle also holds what this user trusted before.
        import certifi

        before = os.environ.get("REQUESTS_CA_BUNDLE", "")
        known = (
            Path(before) if before and Path(before).is_file() and Path(before) != self.bundle else Path(certifi.where())
        )
        content = self.authority.read_bytes() + b"\n" + known.read_bytes()
        # Clients are reading it, and on a full disk it could not be written again.
        if not self.bundle.exists() or self.bundle.read_bytes() != content:
            disk.replace(self.bundle, content)
