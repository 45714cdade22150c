"""The fine-tuned model as MLflow loads it, anywhere: this file travels inside the model.

`predict` takes the body of an Azure ML chat endpoint and answers as it does:

    {"input_data": {"input_string": [{"role": "user", "content": "Hi"}], "parameters": {"max_new_tokens": 20}}}
    {"output": "Hello!", "finish_reason": "stop", "usage": {"prompt_tokens": 9, ...}}

`input_string` is one conversation, or a list that holds one. What is wrong with a body is raised as a ValueError.
"""

from collections.abc import Callable
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

DEFAULT_NEW_TOKENS = 128
MOST_NEW_TOKENS = 1024
# In layers narrower than this, threads wait for each other longer than they work.
NARROW = 256
ROLES = ("system", "user", "assistant", "tool")

# Parameters under transformers' names, each with what it must be.
NUMBERS = {"temperature": (0.0, 10.0), "top_p": (0.0, 1.0), "repetition_penalty": (0.01, 10.0), "min_p": (0.0, 1.0)}
COUNTS = {
    "max_new_tokens": (1, 1_000_000),
    "top_k": (0, 1_000_000),
    "num_beams": (1, 8),
    "no_repeat_ngram_size": (0, 100),
}
ALIASES = {"max_tokens": "max_new_tokens", "max_gen_len": "max_new_tokens", "max_length": "max_new_tokens"}


class ChatModel(PythonModel):
    """Answers conversations. Load it with `mlflow.pyfunc.load_model`."""

    def load_context(self, context: Any) -> None:
        """Loads tokenizer and weights (32-bit) from the model's artifacts."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        folder = context.artifacts["model"]
        settings = context.model_config or {}
        trust = bool(settings.get("trust_remote_code", False))
        self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=trust).eval()
        if self._model.config.get_text_config().hidden_size < NARROW:
            torch.set_num_threads(1)

    # MLflow reads annotations as a promise to take tables of rows; a body is no table.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Answers the body of one request."""
        messages, parameters = self.read(model_input)
        return self.answer(messages, {**parameters, **(params or {})})

    def read(self, body: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The conversation and the parameters in the body of a request; see `read_body`."""
        return read_body(body)

    def answer(
        self,
        messages: list[dict[str, Any]],
        parameters: dict[str, Any],
        on_text: Callable[[str], None] | None = None,
        most_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Answers a conversation.

        Args:
            parameters: see `read_parameters`.
            on_text: is called with each piece of the answer as it is generated.
            most_seconds: generation ends after about this long, with what there is.

        Raises:
            ValueError: the conversation does not fit the model's chat template, or a parameter is wrong.
        """
        import torch
        from transformers import TextStreamer

        options, seed, stop = read_parameters(parameters)
        inputs = self._encode(messages, options["max_new_tokens"])
        length = inputs["input_ids"].shape[1]
        if seed is not None:
            torch.manual_seed(seed)
        streamer = None
        if on_text:
            streamer = TextStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
            streamer.on_finalized_text = lambda text, stream_end=False: on_text(text) if text else None  # type: ignore[method-assign]
        with torch.inference_mode():
            generated = self._model.generate(
                **inputs,
                **options,
                **({"stop_strings": stop, "tokenizer": self._tokenizer} if stop else {}),
                **({"streamer": streamer} if streamer else {}),
                max_time=most_seconds,
                # An answer that ends before it has begun helps nobody.
                min_new_tokens=1,
                pad_token_id=self._tokenizer.pad_token_id,
            )[0, length:]
        text, stopped = cut(str(self._tokenizer.decode(generated, skip_special_tokens=True)), stop)
        return {
            "output": text.strip(),
            "finish_reason": "stop" if stopped or int(generated[-1]) in self._ends() else "length",
            "usage": {
                "prompt_tokens": length,
                "completion_tokens": len(generated),
                "total_tokens": length + len(generated),
            },
        }

    def _encode(self, messages: list[dict[str, Any]], new_tokens: int) -> dict[str, Any]:
        from jinja2 import TemplateError

        try:
            # Control tokens that a message spells stay text, as in training: nobody can forge a turn.
            inputs: Any = self._tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                sanitize_control_tokens=True,
            )
        except TemplateError as error:
            raise ValueError(f"The conversation does not fit the model's chat template: {error}") from error
        room = self._context_length() - new_tokens
        if room < 1:
            raise ValueError(
                f"max_new_tokens {new_tokens} leaves no room for a prompt: the model's context is shorter."
            )
        # Of a conversation that is too long, the latest part counts.
        return {name: inputs[name][:, -room:] for name in ("input_ids", "attention_mask")}

    def _context_length(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", None) or 2048)

    def _ends(self) -> list[int]:
        ends = self._model.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [ends]


def read_body(body: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The conversation and the parameters in the body of a request; `params` beside `input_data` counts too.

    Raises:
        ValueError: the body is not of the form above.
    """
    if not isinstance(body, dict) or not isinstance(body.get("input_data"), dict):
        raise ValueError('The body must be {"input_data": {"input_string": [...], "parameters": {...}}}.')
    data = body["input_data"]
    messages = data.get("input_string")
    if isinstance(messages, list) and messages and isinstance(messages[0], list):
        if len(messages) != 1:
            raise ValueError(f"input_string holds {len(messages)} conversations. Send one at a time.")
        messages = messages[0]
    if not isinstance(messages, list) or not messages:
        raise ValueError("input_data.input_string must be a list of messages: [{role, content}, ...].")
    for number, message in enumerate(messages, start=1):
        if (
            not isinstance(message, dict)
            or message.get("role") not in ROLES
            or not isinstance(message.get("content"), str)
        ):
            raise ValueError(
                f"Message {number} of input_string must have a `role` ({', '.join(ROLES)}) and a text as `content`."
            )
    parameters: dict[str, Any] = {}
    for given in (body.get("params"), data.get("parameters")):
        if given is not None and not isinstance(given, dict):
            raise ValueError("input_data.parameters must be an object.")
        parameters |= given or {}
    return messages, parameters


def read_parameters(parameters: dict[str, Any]) -> tuple[dict[str, Any], int | None, list[str]]:
    """Options for transformers' `generate`, the seed, and the strings that end an answer.

    Unknown parameters are passed over, as Azure's endpoints do. Without `do_sample` and `temperature` the answer is the
    likeliest one. `max_new_tokens` is 128 if not given, and never more than 1024.

    Raises:
        ValueError: a value is of the wrong type or out of bounds.
    """
    given = {ALIASES.get(name, name): value for name, value in parameters.items() if value is not None}
    options: dict[str, Any] = {"max_new_tokens": DEFAULT_NEW_TOKENS, "do_sample": "temperature" in given}
    for name, (least, most) in {**NUMBERS, **COUNTS}.items():
        if name in given:
            value = given[name]
            whole = name in COUNTS
            if (
                isinstance(value, bool)
                or not isinstance(value, int if whole else (int, float))
                or not least <= value <= most
            ):
                raise ValueError(
                    f"{name} must be {'a whole number' if whole else 'a number'} from {least} to {most}, not {value!r}."
                )
            options[name] = value
    if "do_sample" in given:
        if not isinstance(given["do_sample"], bool):
            raise ValueError(f"do_sample must be true or false, not {given['do_sample']!r}.")
        options["do_sample"] = given["do_sample"]
    if options.get("temperature") == 0:
        options["do_sample"] = False
    if not options["do_sample"]:
        for name in ("temperature", "top_p", "top_k", "min_p"):
            options.pop(name, None)
    options["max_new_tokens"] = min(options["max_new_tokens"], MOST_NEW_TOKENS)
    seed, stop = given.get("seed"), given.get("stop", [])
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ValueError(f"seed must be a whole number, not {seed!r}.")
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise ValueError("stop must be a text or a list of texts.")
    return options, seed, stop


def cut(text: str, stop: list[str]) -> tuple[str, bool]:
    """The text up to the first of the strings that end an answer, and whether there was one."""
    found = [text.index(end) for end in stop if end in text]
    return text[: min(found)] if found else text, bool(found)


set_model(ChatModel())
