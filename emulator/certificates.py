"""The emulator's own certificate authority and the server certificate it signs."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

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
        authority.cert_pem.write_to_path(str(self.authority))
        leaf = authority.issue_cert(*names, organization_name="Azure ML emulator")
        with os.fdopen(os.open(self.server, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(leaf.private_key_and_cert_chain_pem.bytes())

    def _write_bundle(self) -> None:
        # REQUESTS_CA_BUNDLE replaces the client's own list, so the bundle also holds what this user trusted before.
        import certifi

        before = os.environ.get("REQUESTS_CA_BUNDLE", "")
        known = (
            Path(before) if before and Path(before).is_file() and Path(before) != self.bundle else Path(certifi.where())
        )
        self.bundle.write_bytes(self.authority.read_bytes() + b"\n" + known.read_bytes())

    def server_context(self) -> ssl.SSLContext:
        """The TLS context of the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        return context
