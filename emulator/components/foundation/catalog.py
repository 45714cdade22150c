"""What the system registry says of its models: the words, tags and properties that a client reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from emulator.components.foundation.gguf_package import SMOLLM2, GgufPackage
from emulator.components.foundation.stand_in import Recipe

REGISTRY = "azureml"

# SKUs with NVIDIA V100, A100 and H100 cards.
V100 = ("Standard_NC6s_v3", "Standard_NC12s_v3", "Standard_NC24s_v3", "Standard_NC24rs_v3", "Standard_ND40rs_v2")
A100 = (
    "Standard_NC24ads_A100_v4",
    "Standard_NC48ads_A100_v4",
    "Standard_NC96ads_A100_v4",
    "Standard_ND96asr_v4",
    "Standard_ND96amsr_A100_v4",
)
H100 = ("Standard_NC40ads_H100_v5", "Standard_NC80adis_H100_v5", "Standard_ND96isr_H100_v5")

STAND_IN_NOTE = (
    "This is NOT Microsoft's {name}. It is a model of some 150,000 parameters, of the same architecture (Phi-3) and "
    "chat format, made on this machine from a recipe, so that work written for {name} runs here. Expect nothing of its "
    "answers."
)


@dataclass(frozen=True)
class FoundationModel:
    """One model version of the system registry.

    Attributes:
        tags: lists and mappings in them are Python literals, as on Azure.
        properties: like the tags, of strings.
        system_metadata: what its publisher says of it, where Azure has it since the summer of 2026. Minimum specs are
            `vCPUs|GPUs|memory GB|disk GB`. Before, the same were tags and properties.
        license: SPDX identifier of the weights' licence.
        source: where the weights come from: a package that carries a GGUF file, or a recipe.
    """

    name: str
    version: str
    description: str
    license: str
    source: GgufPackage | Recipe
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    system_metadata: dict[str, Any] = field(default_factory=dict)
    archived_from: date | None = None

    def is_archived(self, today: date) -> bool:
        """Whether its publisher has withdrawn it by `today`."""
        return self.archived_from is not None and self.archived_from <= today

    @property
    def id(self) -> str:
        """The registry's asset id."""
        return f"azureml://registries/{REGISTRY}/models/{self.name}/versions/{self.version}"

    @property
    def stand_in_note(self) -> str | None:
        """For a stand-in, the sentence that says so."""
        return STAND_IN_NOTE.format(name=self.name) if isinstance(self.source, Recipe) else None


def system_models() -> tuple[FoundationModel, ...]:
    """Every model version of the system registry."""
    return _SYSTEM_MODELS


def system_model(name: str) -> FoundationModel:
    """The newest version of the model called `name`.

    Raises:
        KeyError: the system registry holds no such model.
    """
    versions = [model for model in _SYSTEM_MODELS if model.name == name]
    if not versions:
        raise KeyError(f"the system registry holds no model {name!r}")
    return max(versions, key=lambda model: int(model.version))


def chat_metadata(**more: Any) -> dict[str, Any]:
    """The `systemMetadata` of a model for chat that can be fine-tuned."""
    return {"tasks": {"fineTuningTasks": ["chat-completion"], "inferenceTasks": ["chat-completion"]}, **more}


def _stand_in(name: str, version: str, description: str, **facts: Any) -> FoundationModel:
    """A model whose weights are made here. `facts`: what its document has."""
    return FoundationModel(
        name=name,
        version=version,
        description=f"{STAND_IN_NOTE.format(name=name)} {description}",
        license="Apache-2.0",
        source=Recipe(),
        **facts,
    )


def _sizes(finetune_minimum: str, inference_minimum: str, recommended: Sequence[str]) -> dict[str, Any]:
    return {
        "finetuneMinSkuSpec": finetune_minimum,
        "finetuneRecommendedSkus": list(recommended),
        "inferenceMinSkuSpec": inference_minimum,
        "inferenceRecommendedSkus": [*V100, *A100],
    }


_SYSTEM_MODELS = (
    FoundationModel(
        name="SmolLM2-135M-Instruct",
        version="1",
        description="SmolLM2-135M-Instruct by Hugging Face: a chat model of 135 million parameters, small enough to be "
        "fine-tuned on a laptop's processor. Real weights, from a 4-bit GGUF file, trained here in 32 bits.",
        license="Apache-2.0",
        source=SMOLLM2,
        tags={
            "model_specific_defaults": repr(
                {
                    "apply_lora": "true",
                    "precision": 16,
                    "max_seq_length": 256,
                    "learning_rate": 2e-4,
                    "num_train_epochs": 1,
                    "per_device_train_batch_size": 4,
                    "per_device_eval_batch_size": 4,
                    "logging_steps": 1,
                }
            ),
        },
        system_metadata=chat_metadata(
            displayName="SmolLM2-135M-Instruct",
            license="apache-2.0",
            publisher="Hugging Face",
            SKU=_sizes("6|1|112|64", "6|1|112|64", [*V100, *A100]),
        ),
    ),
    _stand_in(
        "Phi-3-mini-4k-instruct",
        "15",
        "Its fine-tuning and its inference are retired from 2025-08-30 on.",
        tags={
            "stand_in": "true",
            "model_specific_defaults": repr(
                {
                    "apply_deepspeed": "true",
                    "deepspeed_stage": 2,
                    "apply_lora": "true",
                    "apply_ort": "false",
                    "precision": 16,
                    "ignore_mismatched_sizes": "false",
                    "max_seq_length": 512,
                }
            ),
        },
        system_metadata=chat_metadata(
            displayName="Phi-3-mini instruct (4k)",
            license="apache-2.0",
            SKU=_sizes("24|1|220|64", "6|1|112|64", A100),
            # The sizes are those of the public notebook's time: the list that Azure sends since has no V100 to tune on.
            supportedComputes={"finetuneComputes": [*V100, *A100], "inferenceComputes": [*V100, *A100]},
            deprecation={
                "finetuneDeprecationDate": "2025-06-30T00:00:00.000000Z",
                "finetuneRetirementDate": "2025-08-30T00:00:00.000000Z",
                "inferenceDeprecationDate": "2025-06-30T00:00:00.000000Z",
                "inferenceLegacyDate": "2025-06-09T00:00:00.000000Z",
                "inferenceRetirementDate": "2025-08-30T00:00:00.000000Z",
            },
        ),
        archived_from=date(2025, 8, 30),  # it is; since which day is not published
    ),
    _stand_in(
        "Phi-4",
        "8",
        "Not retired: the model to begin with today.",
        tags={
            "stand_in": "true",
            "model_specific_defaults": repr(
                {
                    "apply_deepspeed": "true",
                    "deepspeed_stage": 3,
                    "apply_lora": "true",
                    "apply_ort": "false",
                    "precision": 16,
                    "ignore_mismatched_sizes": "false",
                    "learning_rate": "5e-6",
                    "lr_scheduler_type": "cosine",
                    "num_train_epochs": 1,
                    "per_device_train_batch_size": 1,
                    "per_device_eval_batch_size": 1,
                    "gradient_accumulation_steps": 1,
                }
            ),
        },
        system_metadata=chat_metadata(
            displayName="Phi-4",
            license="apache-2.0",
            SKU={
                "finetuneMinSkuSpec": "24|1|220|64",
                "finetuneRecommendedSkus": [*A100, *H100],
                "inferenceMinSkuSpec": "24|1|220|64",
                "inferenceRecommendedSkus": [*A100, *H100],
            },
            supportedComputes={"finetuneComputes": [*A100, *H100], "inferenceComputes": [*A100, *H100]},
        ),
    ),
    # As every model was described until 2026: clients of either age can be tried.
    _stand_in(
        "Phi-2-chat",
        "3",
        "Archived: its fine-tuning and its inference are retired. Use Phi-3-mini-4k-instruct.",
        tags={
            "task": "chat-completion",
            "license": "apache-2.0",
            "stand_in": "true",
            "finetune_compute_allow_list": repr([*V100, *A100]),
            "inference_compute_allow_list": repr([*V100, *A100]),
            "finetuneDeprecationDate": "2024-06-30",
            "finetuneRetirementDate": "2024-08-30",
            "inferenceDeprecationDate": "2024-06-30",
            "inferenceRetirementDate": "2024-08-30",
        },
        properties={
            "finetuning-tasks": "chat-completion",
            "finetune-min-sku-spec": "24|1|220|64",
            "finetune-recommended-sku": ", ".join(A100),
            "inference-min-sku-spec": "6|1|112|64",
            "inference-recommended-sku": ", ".join([*V100, *A100]),
        },
        archived_from=date(2024, 8, 30),
    ),
)
