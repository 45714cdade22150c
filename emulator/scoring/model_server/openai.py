"""The same model, spoken to as OpenAI's chat completions: whole answers and streams."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from emulator.scoring.model_server.inference import InferenceThread
from emulator.scoring.model_server.scorers import BadRequest, MlflowScorer, parse_json


async def answer(body: bytes, scorer: MlflowScorer, thread: InferenceThread, model: str, seconds: float) -> Response:
    """Answers `POST /v1/chat/completions`.

    Raises:
        BadRequest: the body is wrong.
    """
    request = parse_json(body)
    if not isinstance(request, dict):
        raise BadRequest('The body must be {"messages": [{role, content}, ...]}.')
    messages = request.pop("messages", None)
    streamed = bool(request.pop("stream", False))
    if "max_completion_tokens" in request:
        request["max_tokens"] = request.pop("max_completion_tokens")
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
    messages, parameters = scorer.read({"input_data": {"input_string": messages, "parameters": request}})
    if streamed:
        events = _stream(scorer, thread, messages, parameters, seconds, head)
        return StreamingResponse(events, media_type="text/event-stream")
    result = await thread.run(lambda: scorer.answer(messages, parameters, most_seconds=seconds), seconds)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": result["output"]},
        "finish_reason": result["finish_reason"],
    }
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": result["usage"]})


async def _stream(
    scorer: MlflowScorer,
    thread: InferenceThread,
    messages: list[dict[str, Any]],
    parameters: dict[str, Any],
    seconds: float,
    head: dict[str, Any],
) -> AsyncIterator[str]:
    """Server-sent events: a chunk for each piece of text as it is generated, then one with the reason of the end."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[str | None] = asyncio.Queue()

    def say(text: str | None) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, text)

    def generate() -> dict[str, Any]:
        try:
            return scorer.answer(messages, parameters, on_text=say, most_seconds=seconds)
        finally:
            say(None)

    def event(delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"

    generating = asyncio.ensure_future(thread.run(generate))
    yield event({"role": "assistant", "content": ""})
    while (piece := await pieces.get()) is not None:
        yield event({"content": piece})
    try:
        yield event({}, (await generating)["finish_reason"])
    except Exception as error:
        # The answer has begun with 200: what is left is to say it in the stream.
        yield f"data: {json.dumps({'error': {'message': f'The model failed: {error}'}})}\n\n"
    yield "data: [DONE]\n\n"
