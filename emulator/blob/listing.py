"""Listings of containers and blobs, as Azure Storage writes them: XML with a byte order mark."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from emulator.blob.blobs import Blob
from emulator.blob.containers import is_blob_name
from emulator.blob.dates import http_date

HEAD = '\ufeff<?xml version="1.0" encoding="utf-8"?>'
PAGE_LIMIT = 5000  # entries, Azure's own


@dataclass(frozen=True)
class Page:
    """One page of a listing: blob names and prefixes in order, and where the next one starts ("" after the last)."""

    names: list[str]
    prefixes: list[str]
    next_marker: str


@dataclass(frozen=True)
class Query:
    """What a listing asks for. `marker` is the first name that it may hold."""

    prefix: str = ""
    delimiter: str = ""
    marker: str = ""
    limit: int = PAGE_LIMIT


def page(folder: Path, query: Query) -> Page:
    """The page of `folder`'s blobs that `query` asks for, in the order of their names."""
    names: list[str] = []
    prefixes: set[str] = set()
    for name in _names(folder, query):
        if not name.startswith(query.prefix):
            continue
        end = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
        if end < 0:
            names.append(name)
        else:
            prefixes.add(name[: end + len(query.delimiter)])
    entries = sorted(entry for entry in {*names, *prefixes} if entry >= query.marker)
    shown, rest = entries[: query.limit], entries[query.limit :]
    return Page(
        [entry for entry in shown if entry not in prefixes],
        [entry for entry in shown if entry in prefixes],
        rest[0] if rest else "",
    )


def blobs_xml(
    endpoint: str, container: str, query: Query, found: Page, blobs: Sequence[Blob], *, metadata: bool
) -> str:
    """The answer to a listing of a container."""
    lines = [
        f'{HEAD}<EnumerationResults ServiceEndpoint="{escape(endpoint)}" ContainerName="{escape(container)}">',
        _element("Prefix", query.prefix) if query.prefix else "",
        _element("Marker", query.marker) if query.marker else "",
        f"<MaxResults>{query.limit}</MaxResults>",
        _element("Delimiter", query.delimiter) if query.delimiter else "",
        "<Blobs>",
        *(_blob(blob, metadata) for blob in blobs),
        *(f"<BlobPrefix>{_element('Name', prefix)}</BlobPrefix>" for prefix in found.prefixes),
        "</Blobs>",
        _element("NextMarker", found.next_marker) if found.next_marker else "<NextMarker />",
        "</EnumerationResults>",
    ]
    return "".join(lines)


def containers_xml(endpoint: str, folders: Sequence[Path]) -> str:
    """The answer to a listing of the account's containers."""
    items = "".join(
        f"<Container><Name>{escape(folder.name)}</Name><Properties><Last-Modified>{http_date(folder.stat().st_mtime_ns)}"
        f'</Last-Modified><Etag>"0x{folder.stat().st_mtime_ns:X}"</Etag><LeaseStatus>unlocked</LeaseStatus>'
        "<LeaseState>available</LeaseState></Properties></Container>"
        for folder in folders
    )
    return (
        f'{HEAD}<EnumerationResults ServiceEndpoint="{escape(endpoint)}"><Containers>{items}</Containers><NextMarker />'
        "</EnumerationResults>"
    )


def _names(folder: Path, query: Query) -> Iterator[str]:
    """The names of all blobs that can matter: below the prefix's folder, and of deeper ones just one for each folder."""
    top = folder / query.prefix.rpartition("/")[0]
    root = folder.resolve()
    if not top.resolve().is_relative_to(root):
        return
    for place, folders, files in os.walk(top):
        for file in files:
            path = Path(place, file)
            # A link may lead anywhere; what it leads to outside is no blob.
            if not path.is_symlink() or (path.is_file() and path.resolve().is_relative_to(root)):
                name = path.relative_to(folder).as_posix()
                if is_blob_name(name):
                    yield name
        if query.delimiter == "/" and Path(place) != top and files:
            folders.clear()  # the folder's prefix is known now
        folders.sort()


def _blob(blob: Blob, metadata: bool) -> str:
    md5 = f"<Content-MD5>{blob.md5}</Content-MD5>" if blob.md5 else "<Content-MD5 />"
    pairs = "".join(_element(name, value) for name, value in blob.metadata.items()) if metadata else ""
    return (
        f"<Blob>{_element('Name', blob.name)}<Properties>"
        f"<Creation-Time>{http_date(blob.created)}</Creation-Time><Last-Modified>{http_date(blob.modified)}</Last-Modified>"
        f"<Etag>{escape(blob.etag.strip(chr(34)))}</Etag><Content-Length>{blob.size}</Content-Length>"
        f"{_element('Content-Type', blob.content_type)}<Content-Encoding /><Content-Language /><Content-CRC64 />{md5}"
        "<Cache-Control /><Content-Disposition /><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
        "<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
        "<ServerEncrypted>true</ServerEncrypted></Properties>"
        f"{f'<Metadata>{pairs}</Metadata>' if metadata else ''}<OrMetadata /></Blob>"
    )


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"
