"""The storage account over HTTP: which request is which operation, and what it needs and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from emulator import errors
from emulator.blob import headers as blob_headers
from emulator.blob import listing
from emulator.blob.access import Access, Caller, Need
from emulator.blob.blobs import Blob, Blobs, read
from emulator.blob.bodies import BLOCK_LIMIT, BLOCK_LIST_LIMIT, PUT_LIMIT, block_list, body_of
from emulator.blob.containers import UNFIT, Containers
from emulator.blob.dates import http_date
from emulator.blob.uploads import Upload, Uploads, check_block_id
from emulator.http import reply_error
from emulator.identity.tokens import Tokens
from emulator.installation import Installation
from emulator.store import Store

# What changes the meaning of a write, and is not kept here.
UNSUPPORTED_HEADERS = ("x-ms-copy-source", "x-ms-structured-body", "x-ms-encryption-key", "x-ms-lease-id")


@dataclass(frozen=True)
class Target:
    """What a request is about; "" where it names no container or no blob."""

    container: str
    blob: str


Handler = Callable[[Request, Target], Awaitable[Response]]


class BlobService:
    """{account}.blob.core.windows.net as an ASGI app."""

    def __init__(self, installation: Installation, tokens: Tokens, containers: Containers, store: Store) -> None:
        self._endpoint = f"https://{installation.blob_host}/"
        self._access = Access(installation, tokens)
        self._containers = containers
        self._blobs = Blobs(containers, store)
        self._uploads = Uploads(installation.state / "uploads")
        # (method, level, comp): the need, and what is done. HEAD is as GET.
        self._operations: dict[tuple[str, str, str], tuple[Need, Handler]] = {
            ("GET", "account", "list"): (Need("l", "s"), self._list_containers),
            ("GET", "container", ""): (Need("rl", "c"), self._container),
            ("PUT", "container", ""): (Need("cw", "c"), self._create_container),
            ("GET", "container", "list"): (Need("l", "c"), self._list_blobs),
            ("GET", "blob", ""): (Need("r", "o"), self._get),
            ("GET", "blob", "metadata"): (Need("r", "o"), self._get_metadata),
            ("PUT", "blob", ""): (Need("wc", "o"), self._put),
            ("PUT", "blob", "block"): (Need("wc", "o"), self._put_block),
            ("PUT", "blob", "blocklist"): (Need("wc", "o"), self._put_block_list),
            ("PUT", "blob", "metadata"): (Need("w", "o"), self._set_metadata),
            ("DELETE", "blob", ""): (Need("d", "o"), self._delete),
        }

    @property
    def operations(self) -> list[tuple[str, str]]:
        """What is served: method and path, with the query that tells operations apart."""
        paths = {"account": "/", "container": "/{container}", "blob": "/{container}/{blob:path}"}
        return [(method, paths[level] + (f"?comp={comp}" if comp else "")) for method, level, comp in self._operations]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except errors.AzureError as error:
            response = reply_error(error)
        except ClientDisconnect:
            response = reply_error(errors.blob_body_incomplete())
        response.headers["x-ms-version"] = blob_headers.version_of(request.headers)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        container, _, blob = request.scope["path"].lstrip("/").partition("/")
        target = Target(container, blob)
        query = request.query_params
        level = "blob" if blob else "container" if container else "account"
        if level == "container" and query.get("restype") != "container":
            raise errors.invalid_query("restype", "must be container: blobs of the root container are not served.")
        method = "GET" if request.method == "HEAD" else request.method
        known = self._operations.get((method, level, query.get("comp", "")))
        if known is None:
            raise (
                errors.invalid_query("comp")
                if "comp" in query and method in ("GET", "PUT")
                else errors.unsupported_verb()
            )
        need, handler = known
        address = request.client.host if request.client else ""
        caller = Caller(query, request.headers.get("authorization", ""), address)
        self._access.require(caller, target.container, target.blob, need)
        return await handler(request, target)

    # --------------------------------------------------------------------------------------- account and containers

    async def _list_containers(self, request: Request, target: Target) -> Response:
        prefix = request.query_params.get("prefix", "")
        folders = [self._containers.folder(name) for name in self._containers.names() if name.startswith(prefix)]
        return _xml(listing.containers_xml(self._endpoint, folders))

    async def _container(self, request: Request, target: Target) -> Response:
        modified = self._containers.folder(target.container).stat().st_mtime_ns
        properties = {
            "x-ms-lease-status": "unlocked",
            "x-ms-lease-state": "available",
            "x-ms-has-immutability-policy": "false",
        }
        return _empty(200, {"ETag": f'"0x{modified:X}"', "Last-Modified": http_date(modified), **properties})

    async def _create_container(self, request: Request, target: Target) -> Response:
        if not self._containers.create(target.container):
            raise errors.blob(409, "ContainerAlreadyExists", "The specified container already exists.")
        modified = self._containers.folder(target.container).stat().st_mtime_ns
        return _empty(201, {"ETag": f'"0x{modified:X}"', "Last-Modified": http_date(modified)})

    async def _list_blobs(self, request: Request, target: Target) -> Response:
        folder = self._containers.folder(target.container)
        given = request.query_params
        for name in ("prefix", "delimiter", "marker"):
            if UNFIT.search(given.get(name, "")):
                raise errors.invalid_query(name)
        query = listing.Query(
            given.get("prefix", ""),
            given.get("delimiter", ""),
            given.get("marker", ""),
            _limit(given.get("maxresults")),
        )
        page = await asyncio.to_thread(listing.page, folder, query)
        blobs = [blob for name in page.names if (blob := self._blobs.find(target.container, name)) is not None]
        metadata = "metadata" in given.get("include", "").split(",")
        return _xml(listing.blobs_xml(self._endpoint, target.container, query, page, blobs, metadata=metadata))

    # -------------------------------------------------------------------------------------------------------- blobs

    async def _get(self, request: Request, target: Target) -> Response:
        blob = self._blobs.get(target.container, target.blob)
        if not blob_headers.require_conditions(request.headers, blob, reading=True):
            return _empty(304, blob_headers.written(blob))
        described = blob_headers.described(blob)
        if request.method == "HEAD":
            return Response(None, 200, {**described, "Content-Length": str(blob.size)})
        wanted = blob_headers.range_of(request.headers, blob.size)
        first, length = wanted or (0, blob.size)
        described["Content-Length"] = str(length)
        if wanted is not None:
            described["Content-Range"] = f"bytes {first}-{first + length - 1}/{blob.size}"
            # Of a part, this header would be the part's own; the whole blob's goes by another name.
            if md5 := described.pop("Content-MD5", None):
                described["x-ms-blob-content-md5"] = md5
        return StreamingResponse(read(blob, first, length), 206 if wanted else 200, described)

    async def _get_metadata(self, request: Request, target: Target) -> Response:
        blob = self._blobs.get(target.container, target.blob)
        pairs = {blob_headers.METADATA + name: value for name, value in blob.metadata.items()}
        return _empty(200, {**blob_headers.written(blob), **pairs})

    async def _put(self, request: Request, target: Target) -> Response:
        _refuse_unsupported(request)
        kind = request.headers.get("x-ms-blob-type", "")
        if kind.lower() != "blockblob":
            raise errors.invalid_header("x-ms-blob-type", kind)
        metadata = blob_headers.metadata_of(request.headers)
        self._require_writable(request, target)
        upload = await self._uploads.receive(
            body_of(request, PUT_LIMIT), limit=PUT_LIMIT, md5=request.headers.get("content-md5")
        )
        blob = self._commit(request, target, upload, metadata)
        headers = {**blob_headers.written(blob), "Content-MD5": blob.md5, "x-ms-request-server-encrypted": "true"}
        return _empty(201, headers)

    async def _put_block(self, request: Request, target: Target) -> Response:
        _refuse_unsupported(request)
        block = request.query_params.get("blockid", "")
        check_block_id(block)
        self._containers.locate(target.container, target.blob)
        md5 = request.headers.get("content-md5")
        upload = await self._uploads.receive(body_of(request, BLOCK_LIMIT), limit=BLOCK_LIMIT, md5=md5)
        self._uploads.stage(target.container, target.blob, block, upload)
        return _empty(201, {"Content-MD5": upload.md5, "x-ms-request-server-encrypted": "true"})

    async def _put_block_list(self, request: Request, target: Target) -> Response:
        _refuse_unsupported(request)
        metadata = blob_headers.metadata_of(request.headers)
        self._require_writable(request, target)
        raw = b"".join([piece async for piece in body_of(request, BLOCK_LIST_LIMIT)])
        upload = await asyncio.to_thread(self._uploads.assemble, target.container, target.blob, block_list(raw))
        blob = self._commit(request, target, upload, metadata)
        return _empty(201, {**blob_headers.written(blob), "x-ms-request-server-encrypted": "true"})

    async def _set_metadata(self, request: Request, target: Target) -> Response:
        metadata = blob_headers.metadata_of(request.headers)
        blob_headers.require_conditions(request.headers, self._blobs.get(target.container, target.blob), reading=False)
        blob = self._blobs.set_metadata(target.container, target.blob, metadata)
        return _empty(200, {**blob_headers.written(blob), "x-ms-request-server-encrypted": "true"})

    async def _delete(self, request: Request, target: Target) -> Response:
        blob_headers.require_conditions(request.headers, self._blobs.get(target.container, target.blob), reading=False)
        self._blobs.delete(target.container, target.blob)
        return _empty(202, {"x-ms-delete-type-permanent": "true"})

    def _commit(self, request: Request, target: Target, upload: Upload, metadata: Mapping[str, str]) -> Blob:
        """Puts what was uploaded in its place; the conditions hold at this moment, not only when the request began."""
        try:
            blob = self._blobs.commit(
                target.container,
                target.blob,
                upload,
                content_type=request.headers.get("x-ms-blob-content-type") or "application/octet-stream",
                metadata=metadata,
                overwrite=self._require_writable(request, target),
            )
        finally:
            self._uploads.discard(upload)
        self._uploads.forget(target.container, target.blob)
        return blob

    def _require_writable(self, request: Request, target: Target) -> bool:
        """Checks the write's conditions; whether an existing blob may be replaced (a signature may grant creation alone)."""
        existing = self._blobs.find(target.container, target.blob)
        blob_headers.require_conditions(request.headers, existing, reading=False)
        granted = request.query_params.get("sp", "w") if "sig" in request.query_params else "w"
        if existing is not None and "w" not in granted:
            raise errors.signature_lacks("Permission")
        return "w" in granted and request.headers.get("if-none-match") != "*"


def _refuse_unsupported(request: Request) -> None:
    for name in UNSUPPORTED_HEADERS:
        if name in request.headers:
            raise errors.unsupported_header(name)


def _limit(text: str | None) -> int:
    if text is None:
        return listing.PAGE_LIMIT
    if not text.isascii() or not text.isdigit() or int(text[:10]) < 1:
        raise errors.invalid_query("maxresults", "must be a positive number.")
    return min(int(text[:10]), listing.PAGE_LIMIT)


def _xml(text: str) -> Response:
    return Response(text.encode("utf-8"), media_type="application/xml")


def _empty(status: int, headers: dict[str, str]) -> Response:
    return Response(None, status, headers)
