"""A tiny chat model made from a recipe: Phi-3's architecture and chat format, trained for seconds on a few dialogues.

It stands in for models whose weights are not here. It is deterministic: the same recipe gives the same model on the
same machine and library versions.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import Phi3Config, PreTrainedTokenizerFast

DIALOGUES = Path(__file__).with_name("dialogues.txt")
END_OF_TEXT, END, UNKNOWN = "<|endoftext|>", "<|end|>", "<unk>"
SPECIAL_TOKENS = (UNKNOWN, END_OF_TEXT, "<|system|>", "<|user|>", "<|assistant|>", END)
# The shape of Phi-3's own chat format: each turn is its role, a line break, the text, <|end|>, a line break.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Recipe:
    """How to make the model. Sizes are small enough for seconds of training on one processor core."""

    architecture: str = "Phi3ForCausalLM"
    vocabulary_size: int = 512
    hidden_size: int = 64
    intermediate_size: int = 128
    layers: int = 2
    attention_heads: int = 4
    context: int = 4096
    seed: int = 42
    training_steps: int = 250
    batch_size: int = 8
    learning_rate: float = 5e-3

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Recipe":
        """Reads what `to_document` wrote.

        Raises:
            ValueError: a recipe for another architecture, or with unknown keys.
        """
        unknown = set(document) - {known.name for known in fields(cls)}
        recipe = None if unknown else cls(**document)
        if recipe is None or recipe.architecture != cls.architecture:
            raise ValueError(
                f"not a recipe for {cls.architecture} (unknown keys: {', '.join(sorted(unknown)) or 'none'})"
            )
        return recipe

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self) -> str:
        """Changes with the recipe and with the dialogues it trains on."""
        content = (
            json.dumps(self.to_document(), sort_keys=True).encode() + CHAT_TEMPLATE.encode() + DIALOGUES.read_bytes()
        )
        return hashlib.sha256(content).hexdigest()[:16]

    def tokenizer(self) -> "tuple[Tokenizer, int]":
        """The model's byte pairs without its chat template, made in milliseconds, and its context in tokens."""
        return _byte_pairs(self), self.context


def dialogues() -> Iterator[list[dict[str, str]]]:
    """The conversations in dialogues.txt: blocks apart by blank lines, turns by line, user and assistant in turn."""
    for block in DIALOGUES.read_text("utf-8").split("\n\n"):
        turns = [line for line in block.splitlines() if line and not line.startswith("#")]
        if turns:
            yield [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns)]


def build(recipe: Recipe, destination: Path) -> None:
    """Makes tokenizer and model, and saves them to `destination` as a Hugging Face folder."""
    import torch
    from transformers import Phi3ForCausalLM

    threads = torch.get_num_threads()
    # For matrices this small, threads wait for each other longer than they work.
    torch.set_num_threads(1)
    try:
        torch.manual_seed(recipe.seed)
        tokenizer = _tokenizer(recipe)
        model = Phi3ForCausalLM(_configuration(recipe, tokenizer))
        _train(model, tokenizer, recipe)
    finally:
        torch.set_num_threads(threads)
    tokenizer.save_pretrained(destination)
    model.save_pretrained(destination)


def _configuration(recipe: Recipe, tokenizer: "PreTrainedTokenizerFast") -> "Phi3Config":
    from transformers import Phi3Config

    vocabulary = tokenizer.get_vocab()
    return Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.attention_heads,
        num_key_value_heads=recipe.attention_heads,
        max_position_embeddings=recipe.context,
        original_max_position_embeddings=recipe.context,
        bos_token_id=vocabulary[END_OF_TEXT],
        eos_token_id=vocabulary[END],
        pad_token_id=vocabulary[END_OF_TEXT],
    )


def _byte_pairs(recipe: Recipe) -> "Tokenizer":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (message["content"] for dialogue in dialogues() for message in dialogue)
    bpe.train_from_iterator(texts, trainer)
    return bpe


def _tokenizer(recipe: Recipe) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=_byte_pairs(recipe),
        unk_token=UNKNOWN,
        bos_token=END_OF_TEXT,
        eos_token=END,
        pad_token=END_OF_TEXT,
        chat_template=CHAT_TEMPLATE,
        model_max_length=recipe.context,
        clean_up_tokenization_spaces=False,
    )


def _train(model: Any, tokenizer: "PreTrainedTokenizerFast", recipe: Recipe) -> None:
    import torch

    rows = [
        torch.tensor(
            tokenizer(str(tokenizer.apply_chat_template(d, tokenize=False)), add_special_tokens=False)["input_ids"]
        )
        for d in dialogues()
    ]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    labels = tokens.masked_fill(mask == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    shuffler = torch.Generator().manual_seed(recipe.seed)
    model.train()
    for step in range(recipe.training_steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / recipe.training_steps))
        chosen = torch.randperm(len(rows), generator=shuffler)[: recipe.batch_size]
        longest = int(mask[chosen].sum(1).max())
        part = (tensor[chosen, :longest] for tensor in (tokens, mask, labels))
        loss = model(**dict(zip(("input_ids", "attention_mask", "labels"), part, strict=True))).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
