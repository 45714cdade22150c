"""The model in training: loaded, given its adapter, and saved whole."""

import logging
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emulator.components.chat_completion.model_folder import ADAPTER, link_tree
from emulator.components.step import UserError

WEIGHTS = "trainable.safetensors"
# In narrower layers, casting costs more than faster matrix instructions save, and threads wait more than they work.
NARROW = 256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdapterSettings:
    """LoRA: low-rank additions of rank `rank`, scaled by `alpha` / `rank`, to the layers that peft chooses for the architecture."""

    rank: int
    alpha: int
    dropout: float


class TrainedModel:
    """A causal language model of which all weights, or an adapter's, are trained.

    Attributes:
        module: what is called in training.
        autocast: the reduced precision that is computed in, or None.
        is_narrow: whether the layers are too small for more than one thread to be of use.
    """

    def __init__(
        self,
        folder: Path,
        adapter: AdapterSettings | None,
        *,
        half_precision: bool = False,
        ignore_mismatched_sizes: bool = False,
        trust_remote_code: bool = False,
    ) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        self._folder = folder
        self._adapter = adapter
        self._load = {"ignore_mismatched_sizes": ignore_mismatched_sizes, "trust_remote_code": trust_remote_code}
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        self.is_narrow = config.get_text_config().hidden_size < NARROW
        gains = not self.is_narrow and computes_well_in_bfloat16()
        self.autocast = torch.bfloat16 if half_precision and gains else None
        # Frozen weights are kept in the type that is computed in: casting them at each step would cost more than it gains.
        dtype = self.autocast if self.autocast and adapter else torch.float32
        try:
            base = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **self._load)
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(f"The base model cannot be loaded for training: {error}") from error
        self.module: Any = self._with_adapter(base) if adapter else base

    def _with_adapter(self, base: Any) -> Any:
        from peft import LoraConfig, get_peft_model

        assert self._adapter
        settings: dict[str, Any] = {
            "r": self._adapter.rank,
            "lora_alpha": self._adapter.alpha,
            "lora_dropout": self._adapter.dropout,
            "task_type": "CAUSAL_LM",
        }
        try:
            return get_peft_model(base, LoraConfig(**settings))
        except ValueError:
            # peft has no choice of layers for this architecture.
            return get_peft_model(base, LoraConfig(**settings, target_modules="all-linear"))

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that training changes, by name."""
        return {name: parameter for name, parameter in self.module.named_parameters() if parameter.requires_grad}

    def describe(self) -> str:
        """For the log: how much of the model is trained, and in which precision."""
        changed = sum(parameter.numel() for parameter in self.trainable().values())
        every = sum(parameter.numel() for parameter in self.module.parameters())
        how = f"LoRA r={self._adapter.rank} alpha={self._adapter.alpha}" if self._adapter else "all weights"
        return f"{how}: {changed:,} of {every:,} parameters are trained, in {self.autocast or torch.float32}"

    def save_trainable(self, folder: Path) -> None:
        """Writes the trained parameters alone."""
        from safetensors.torch import save_file

        save_file(
            {name: parameter.detach().contiguous() for name, parameter in self.trainable().items()}, folder / WEIGHTS
        )

    def load_trainable(self, folder: Path) -> None:
        """Reads what `save_trainable` wrote.

        Raises:
            UserError: it was written for another model or adapter.
        """
        from safetensors.torch import load_file

        saved, here = load_file(folder / WEIGHTS), self.trainable()
        if {n: t.shape for n, t in saved.items()} != {n: p.shape for n, p in here.items()}:
            raise UserError(
                f"The checkpoint {folder.name} belongs to another model or adapter. Delete it to start anew."
            )
        with torch.no_grad():
            for name, parameter in here.items():
                parameter.copy_(saved[name])

    def save(self, destination: Path, merge: bool) -> None:
        """Writes the model to `destination` in full 32-bit precision.

        With `merge` (or without an adapter) it is one Hugging Face model; else the base model with `adapter/` beside it.
        """
        from transformers import AutoModelForCausalLM

        if not self._adapter:
            self.module.save_pretrained(destination)
            return
        if not merge:
            link_tree(self._folder, destination)
            self.module.save_pretrained(destination / ADAPTER)
            return
        whole = self.module
        if self.autocast:
            # Merging into rounded weights would lose what was learnt: merge into the originals.
            whole = self._with_adapter(
                AutoModelForCausalLM.from_pretrained(self._folder, dtype=torch.float32, **self._load)
            )
            whole.load_state_dict({name: p.detach() for name, p in self.trainable().items()}, strict=False)
        whole.merge_and_unload().save_pretrained(destination)


def computes_well_in_bfloat16() -> bool:
    """Whether this processor has matrix instructions for bfloat16 (AMX, or AVX-512 BF16); else it only emulates them."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def adapter_settings(arguments: Namespace) -> AdapterSettings | None:
    """The adapter that was asked for, if any."""
    if not arguments.apply_lora:
        return None
    return AdapterSettings(arguments.lora_r, arguments.lora_alpha, arguments.lora_dropout)
