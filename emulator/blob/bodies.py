"""The bodies of blob writes: their limits, and the lists of blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from xml.etree import ElementTree

from starlette.requests import Request

from emulator import errors
from emulator.blob.uploads import check_block_id

# Bytes, Azure's own for Put Blob, Put Block and (from 50,000 blocks of the longest ids) Put Block List.
PUT_LIMIT = 5000 * 1024 * 1024
BLOCK_LIMIT = 4000 * 1024 * 1024
BLOCK_LIST_LIMIT = 8 * 1024 * 1024
BLOCK_COUNT = 50_000


async def body_of(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body's pieces; refused before the first when its length is unknown or too great.

    Raises:
        AzureError: 411, 413.
    """
    length = request.headers.get("content-length")
    if length is None:
        raise errors.missing_content_length()
    if int(length) > limit:
        raise errors.blob_body_too_large(limit)
    async for piece in request.stream():
        yield piece


def block_list(raw: bytes) -> list[str]:
    """The ids of a block list. Committed blocks are not kept apart, so only staged ones can be named.

    Raises:
        AzureError: 400, it is no block list.
    """
    if b"<!" in raw:  # a document type may hold entities that grow without end
        raise errors.invalid_xml()
    try:
        root = ElementTree.fromstring(raw)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise errors.invalid_xml() from None
    if (
        root.tag != "BlockList"
        or len(root) > BLOCK_COUNT
        or any(item.tag not in ("Latest", "Uncommitted") for item in root)
    ):
        raise errors.invalid_block_list()
    blocks = [(item.text or "").strip() for item in root]
    for block in blocks:
        check_block_id(block)
    return blocks
