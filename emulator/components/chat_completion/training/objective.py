"""The loss on assistant tokens, at no more cost than they need.

The vocabulary projection is a fifth of a small model's work. It is computed only where there is a token to learn, by
narrowing what reaches the model's output layer; the model's own forward pass, with whatever it does to its logits,
stays in charge.
"""

from typing import Any

import torch
from torch.nn import functional

from emulator.components.chat_completion.training.batches import Batch


class AssistantLoss:
    """Computes summed cross-entropy over a batch's assistant tokens.

    Args:
        model: a causal language model of transformers, with or without adapters.
        autocast: the type to compute in where the processor is faster at it; None for the model's own.
    """

    def __init__(self, model: Any, autocast: torch.dtype | None = None) -> None:
        self._model = model
        self._autocast = autocast
        self._positions: torch.Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._narrow)

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The sum over the batch's assistant tokens, in float32."""
        self._positions = batch.predicts
        try:
            with torch.autocast("cpu", self._autocast or torch.bfloat16, enabled=self._autocast is not None):
                logits = self._model(input_ids=batch.inputs, attention_mask=batch.attention, use_cache=False).logits
        finally:
            self._positions = None
        return functional.cross_entropy(logits.float(), batch.targets, reduction="sum")

    def _narrow(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if self._positions is None:
            return None
        hidden, *rest = inputs
        return hidden.flatten(0, -2)[self._positions], *rest
