"""`python -m benchmarks.bare_server PORT FOLDER`: answers one JSON document over TLS on 127.0.0.1; its certificate authority is
in FOLDER once it listens."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

CERTIFICATE = "bare-ca.pem"


def serve(port: int, folder: Path) -> None:
    """Runs until it is ended."""
    import trustme
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    # About as large as a workspace's document.
    document = {"id": "/subscriptions/0", "properties": {f"property{number}": "x" * 40 for number in range(40)}}

    async def get(request: Request) -> JSONResponse:
        return JSONResponse(document)

    @contextlib.asynccontextmanager
    async def announced(app: Starlette) -> AsyncIterator[None]:
        authority.cert_pem.write_to_path(folder / CERTIFICATE)
        yield

    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "bare-key.pem")
    with (folder / "bare-leaf.pem").open("wb") as file:
        file.writelines(pem.bytes() for pem in leaf.cert_chain_pems)
    app = Starlette(routes=[Route("/", get)], lifespan=announced)
    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="warning",
        ssl_keyfile=str(folder / "bare-key.pem"), ssl_certfile=str(folder / "bare-leaf.pem"),
    )  # fmt: skip


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
