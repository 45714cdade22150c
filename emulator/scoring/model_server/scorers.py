"""What answers a request: an MLflow model, or a scoring script of the user's."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class BadRequest(Exception):
    """The request's body is wrong; the message says how."""


class MlflowScorer:
    """Answers with an MLflow model through its pyfunc flavour.

    A chat model (one whose Python class can `read` a chat body and `answer` it) takes Azure's chat body, another model
    whatever its `predict` takes, as the body's `input_data`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model: Any = None
        self._chat: Any = None

    @property
    def is_chat(self) -> bool:
        return self._chat is not None

    def load(self) -> None:
        """Makes ready; may take seconds."""
        import mlflow

        self._model = mlflow.pyfunc.load_model(str(self._folder))
        try:
            python_model = self._model.unwrap_python_model()
        except mlflow.MlflowException:
            return
        if hasattr(python_model, "read") and hasattr(python_model, "answer"):
            self._chat = python_model

    def score(self, body: bytes, most_seconds: float) -> Any:
        request = parse_json(body)
        if self.is_chat:
            return self.answer(*self.read(request), most_seconds=most_seconds)
        return self._model.predict(request.get("input_data", request) if isinstance(request, dict) else request)

    def read(self, request: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The conversation and the parameters of a chat model's request."""
        try:
            return self._chat.read(request)
        except ValueError as error:
            raise BadRequest(str(error)) from error

    def answer(
        self,
        messages: list[dict[str, Any]],
        parameters: dict[str, Any],
        on_text: Callable[[str], None] | None = None,
        most_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Answers a conversation; `on_text` is called with each piece of it."""
        try:
            return self._chat.answer(messages, parameters, on_text, most_seconds)
        except ValueError as error:
            raise BadRequest(str(error)) from error


class ScriptScorer:
    """Answers with a scoring script: `init()` once, `run(raw_body)` for each request, `AZUREML_MODEL_DIR` set."""

    is_chat = False

    def __init__(self, model: Path, code: Path, entry: str) -> None:
        self._model = model
        self._code = code
        self._entry = entry

    def load(self) -> None:
        os.environ.setdefault("AZUREML_MODEL_DIR", str(self._model))
        sys.path.insert(0, str(self._code))
        file = self._code / self._entry
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None or not file.is_file():
            raise FileNotFoundError(f"The scoring script {self._entry} is not in the deployment's code folder.")
        self._script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._script)
        self._script.init()

    def score(self, body: bytes, most_seconds: float) -> Any:
        return self._script.run(body.decode("utf-8"))


def parse_json(body: bytes) -> Any:
    """The body as JSON, or a BadRequest."""
    try:
        return json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from error


def scorer_for(model: Path, code: Path | None, entry: str | None) -> MlflowScorer | ScriptScorer:
    """A scoring script where the deployment brings one, else the MLflow model.

    Raises:
        FileNotFoundError: there is neither a script nor an MLmodel file.
    """
    if code and entry:
        return ScriptScorer(model, code, entry)
    if not (model / "MLmodel").is_file():
        raise FileNotFoundError(f"{model} holds no MLmodel file. A model of another kind needs a scoring script.")
    return MlflowScorer(model)
