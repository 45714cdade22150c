"""The headers of blob requests and answers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from emulator import errors
from emulator.blob.blobs import Blob
from emulator.blob.dates import http_date, seconds

METADATA = "x-ms-meta-"
METADATA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # a C# identifier, as Azure demands
METADATA_LIMIT = 8 * 1024  # bytes of all names and values
RANGE = re.compile(r"bytes=(\d{1,19})-(\d{0,19})")
VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
DEFAULT_VERSION = "2023-11-03"


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The metadata that a request sets.

    Raises:
        AzureError: 400 InvalidMetadata.
    """
    found = {name[len(METADATA) :]: value for name, value in headers.items() if name.startswith(METADATA)}
    for name in found:
        if not METADATA_NAME.fullmatch(name):
            raise errors.invalid_metadata(name)
    if sum(len(name) + len(value) for name, value in found.items()) > METADATA_LIMIT:
        raise errors.blob(
            400, "MetadataTooLarge", "The size of the specified metadata exceeds the maximum size permitted."
        )
    return found


def range_of(headers: Mapping[str, str], size: int) -> tuple[int, int] | None:
    """The first byte and the number of bytes that a request wants; None for all.

    Raises:
        AzureError: 416, the range starts after the end; 400, it is no range.
    """
    text = headers.get("x-ms-range") or headers.get("range")
    if text is None:
        return None
    found = RANGE.fullmatch(text.strip())
    if found is None:
        raise errors.invalid_header("Range", text)
    first, last = int(found[1]), int(found[2]) if found[2] else size - 1
    if first >= size or last < first:
        raise errors.invalid_range(size)
    return first, min(last, size - 1) - first + 1


def require_conditions(headers: Mapping[str, str], blob: Blob | None, *, reading: bool) -> bool:
    """Checks If-Match and its kin; False when the answer to a read is 304 Not Modified.

    Raises:
        AzureError: 412, a condition is not met; 409, the blob exists and If-None-Match was `*`; 400, a date is none.
    """
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is not None and (blob is None or match not in ("*", blob.etag)):
        raise errors.blob_condition_not_met()
    if none_match is not None and blob is not None and none_match in ("*", blob.etag):
        if reading:
            return False
        raise errors.blob_exists() if none_match == "*" else errors.blob_condition_not_met()
    if blob is None:
        return True
    modified = blob.modified // 1_000_000_000
    unmodified_since, modified_since = _date(headers, "if-unmodified-since"), _date(headers, "if-modified-since")
    if unmodified_since is not None and modified > unmodified_since:
        raise errors.blob_condition_not_met()
    if modified_since is not None and modified <= modified_since:
        if reading:
            return False
        raise errors.blob_condition_not_met()
    return True


def described(blob: Blob) -> dict[str, str]:
    """The headers that tell of a blob when it is read; without its length."""
    md5 = {"Content-MD5": blob.md5} if blob.md5 else {}
    metadata = {METADATA + name: value for name, value in blob.metadata.items()}
    return {
        **written(blob),
        **md5,
        **metadata,
        "Content-Type": blob.content_type,
        "Accept-Ranges": "bytes",
        "x-ms-blob-type": "BlockBlob",
        "x-ms-creation-time": http_date(blob.created),
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-server-encrypted": "true",
    }


def written(blob: Blob) -> dict[str, str]:
    """The headers that tell which state of a blob a write has left."""
    return {"ETag": blob.etag, "Last-Modified": http_date(blob.modified)}


def version_of(headers: Mapping[str, str]) -> str:
    """The service version that the answer names: the client's own, where it is one."""
    version = headers.get("x-ms-version", "")
    return version if VERSION.fullmatch(version) else DEFAULT_VERSION


def _date(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    try:
        return seconds(text)
    except (ValueError, OverflowError):
        raise errors.invalid_header(name, text) from None
