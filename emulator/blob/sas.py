"""Shared access signatures, made and checked as Azure Storage publishes them.

Account SAS: https://learn.microsoft.com/rest/api/storageservices/create-account-sas; service SAS:
https://learn.microsoft.com/rest/api/storageservices/create-service-sas; both for versions 2020-12-06 and later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from emulator.installation import Installation

VERSION = "2023-11-03"
OLDEST = "2020-12-06"  # the version that gave the string to sign its present lines
STAMP = "%Y-%m-%dT%H:%M:%SZ"
STAMPS = (STAMP, "%Y-%m-%dT%H:%MZ", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S.%fZ")
ACCOUNT_FIELDS = ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses")
# The lines of a service SAS before and after that of its resource.
FIELDS_BEFORE = ("sp", "st", "se")
FIELDS_AFTER = ("si", "sip", "spr", "sv", "sr", "snapshot", "ses", "rscc", "rscd", "rsce", "rscl", "rsct")


class SignatureRefused(Exception):
    """The signature opens nothing; the message is the detail that Azure gives, without the signature."""


@dataclass(frozen=True)
class Grant:
    """What a good signature allows.

    Attributes:
        permissions: letters, as in `rcwdl`.
        services: letters, `b` among them for blobs.
        resource_types: letters: `s` the account, `c` containers, `o` blobs.
        container: the only container that it opens; None for any.
        blob: the only blob that it opens; None for any.
        addresses: the client address or range that it is for; "" for any.
    """

    permissions: str
    services: str
    resource_types: str
    container: str | None
    blob: str | None
    addresses: str


def account_sas(installation: Installation, *, permissions: str = "rcuwdl", seconds: float = 3600) -> str:
    """A query string (no leading "?") that opens every container and blob of the account for `seconds`.

    The fields are those that a datastore's listSecrets gives on Azure, but for `st`: a clock that is set back would close it.
    """
    fields = {
        "sv": VERSION,
        "ss": "bf",
        "srt": "co",
        "sp": permissions,
        "se": _stamp(seconds),
        "spr": "https",
    }
    return urlencode({**fields, "sig": _sign(installation, _account_string(installation, fields))})


def blob_sas(
    installation: Installation, container: str, blob: str, *, permissions: str = "r", seconds: float = 3600
) -> str:
    """A query string that opens one blob for `seconds`."""
    return _service_sas(installation, container, blob, permissions, seconds)


def container_sas(installation: Installation, container: str, *, permissions: str = "rl", seconds: float = 3600) -> str:
    """A query string that opens one container and its blobs for `seconds`."""
    return _service_sas(installation, container, None, permissions, seconds)


def blob_url(
    installation: Installation, container: str, blob: str, *, permissions: str = "r", seconds: float = 3600
) -> str:
    """A blob's address with the signature that opens it, as Azure hands out log files and artifacts."""
    sas = blob_sas(installation, container, blob, permissions=permissions, seconds=seconds)
    return f"https://{installation.blob_host}/{container}/{quote(blob)}?{sas}"


def verify(installation: Installation, container: str, blob: str, query: Mapping[str, str]) -> Grant:
    """What the signature in `query` grants, for a request to `container` and `blob` ("" where the request has none).

    Raises:
        SignatureRefused: it is malformed, expired, not yet good, of an unknown form, or not this account's for this resource.
    """
    if query.get("sv", "") < OLDEST:
        raise SignatureRefused(f"sv is mandatory and must be {OLDEST} or later.")
    if "si" in query:
        raise SignatureRefused("Stored access policies (si) are not kept by this account.")
    is_account = "ss" in query or "srt" in query
    if not query.get("sp") or (is_account and not (query.get("ss") and query.get("srt"))):
        raise SignatureRefused("sp, and ss with srt for an account's signature, are mandatory. Cannot be empty.")
    resource = query.get("sr", "")
    if not is_account and resource not in ("b", "c"):
        raise SignatureRefused("sr is mandatory: b or c.")
    string = _account_string(installation, query) if is_account else _blob_string(installation, container, blob, query)
    given = query.get("sig", "").encode("utf-8", "replace")
    if not hmac.compare_digest(_sign(installation, string).encode(), given):
        raise SignatureRefused("Signature did not match.")
    _require_now(query)
    if is_account:
        return Grant(query["sp"], query["ss"], query["srt"], None, None, query.get("sip", ""))
    only = blob if resource == "b" else None
    return Grant(query["sp"], "b", "co" if resource == "c" else "o", container, only, query.get("sip", ""))


def _service_sas(installation: Installation, container: str, blob: str | None, permissions: str, seconds: float) -> str:
    fields = {
        "sv": VERSION,
        "sr": "c" if blob is None else "b",
        "sp": permissions,
        "se": _stamp(seconds),
        "spr": "https",
    }
    return urlencode({**fields, "sig": _sign(installation, _blob_string(installation, container, blob or "", fields))})


def _account_string(installation: Installation, fields: Mapping[str, str]) -> str:
    return "".join(
        f"{line}\n" for line in (installation.storage_account, *(fields.get(name, "") for name in ACCOUNT_FIELDS))
    )


def _blob_string(installation: Installation, container: str, blob: str, fields: Mapping[str, str]) -> str:
    resource = f"/blob/{installation.storage_account}/{container}" + (f"/{blob}" if fields["sr"] == "b" else "")
    before = [fields.get(name, "") for name in FIELDS_BEFORE]
    return "\n".join([*before, resource, *(fields.get(name, "") for name in FIELDS_AFTER)])


def _sign(installation: Installation, string: str) -> str:
    digest = hmac.new(base64.b64decode(installation.storage_key), string.encode("utf-8", "replace"), hashlib.sha256)
    return base64.b64encode(digest.digest()).decode()


def _require_now(query: Mapping[str, str]) -> None:
    now = datetime.now(UTC)
    start, expiry = query.get("st"), _moment(query.get("se", ""), "se")
    if expiry <= now or (start and _moment(start, "st") > now):
        start_text = start or "not given"
        raise SignatureRefused(
            f"Signature not valid in the specified time frame: Start [{start_text[:40]}] - Expiry [{query['se'][:40]}] - "
            f"Current [{now.strftime('%a, %d %b %Y %H:%M:%S GMT')}]"
        )


def _moment(text: str, field: str) -> datetime:
    for form in STAMPS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise SignatureRefused(f"{field} is mandatory and must be a UTC time.")


def _stamp(seconds_from_now: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds_from_now)).strftime(STAMP)
