"""The HTTP side: `GET /`, `POST /score`, `GET /swagger.json`, `POST /v1/chat/completions`."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from emulator.scoring.model_server import openai, swagger
from emulator.scoring.model_server.inference import InferenceThread
from emulator.scoring.model_server.scorers import BadRequest, MlflowScorer, ScriptScorer

# Azure's inference server tells with this header that the model, not the server, failed; the front door makes it a 424.
RUN_FUNCTION_FAILED = "x-ms-run-function-failed"

logger = logging.getLogger(__name__)


class ModelServer:
    """Serves one scorer.

    Args:
        timeout: seconds a request may take, from its arrival.
        on_broken: is called when the model cannot be loaded.
    """

    def __init__(
        self, scorer: MlflowScorer | ScriptScorer, name: str, timeout: float, on_broken: Callable[[], None]
    ) -> None:
        self._scorer = scorer
        self._name = name
        self._timeout = timeout
        self._on_broken = on_broken
        self._thread = InferenceThread()
        self._ready = False

    def app(self) -> Starlette:
        """The ASGI application. It listens at once and says 503 until the model is loaded."""
        routes = [
            Route("/", self._answered(self._health)),
            Route("/score", self._answered(self._score), methods=["POST"]),
            Route("/swagger.json", self._answered(self._swagger)),
            Route("/v1/chat/completions", self._answered(self._chat_completions), methods=["POST"]),
            Route("/v1/models", self._answered(self._models)),
        ]
        return Starlette(routes=routes, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._thread.submit(self._load)
        yield
        self._thread.close()

    def _load(self) -> None:
        started = time.monotonic()
        try:
            self._scorer.load()
        except Exception:
            logger.exception("The model %s could not be loaded", self._name)
            self._on_broken()
            return
        self._ready = True
        logger.info("Model %s loaded in %.1f s", self._name, time.monotonic() - started)

    def _answered(self, handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Wraps a handler: errors become answers, and each request a line in the log (without what was said)."""

        async def answer(request: Request) -> Response:
            started = time.monotonic()
            try:
                response = await handle(request)
            except BadRequest as error:
                response = _error(400, str(error))
            except TimeoutError:
                response = _error(408, f"The model took longer than the {self._timeout:g} s that a request may take.")
            except Exception as error:
                logger.exception("The model failed")
                response = _error(
                    500, f"The model failed: {type(error).__name__}: {error}", **{RUN_FUNCTION_FAILED: "True"}
                )
            milliseconds = (time.monotonic() - started) * 1000
            # Probes ask every few seconds.
            level = logging.DEBUG if request.url.path == "/" else logging.INFO
            logger.log(level, "%s %s %d %.0f ms", request.method, request.url.path, response.status_code, milliseconds)
            return response

        return answer

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("Healthy") if self._ready else _not_ready()

    async def _score(self, request: Request) -> Response:
        if not self._ready:
            return _not_ready()
        body = await request.body()
        result = await self._thread.run(lambda: self._scorer.score(body, self._timeout), self._timeout)
        return JSONResponse(result, headers={RUN_FUNCTION_FAILED: "False"})

    async def _swagger(self, _: Request) -> Response:
        return JSONResponse(swagger.document(self._name))

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": self._name, "object": "model", "owned_by": "azureml"}]})

    async def _chat_completions(self, request: Request) -> Response:
        if not self._ready:
            return _not_ready()
        if not isinstance(self._scorer, MlflowScorer) or not self._scorer.is_chat:
            raise BadRequest("The deployed model is no chat model. Send requests to /score.")
        return await openai.answer(await request.body(), self._scorer, self._thread, self._name, self._timeout)


def _not_ready() -> Response:
    return _error(503, "The model is being loaded. Try again in a few seconds.")


def _error(status: int, message: str, **headers: Any) -> Response:
    return JSONResponse({"message": message}, status_code=status, headers=headers)
