"""The emulator's fine-tune step against transformers' Trainer with peft: `python -m benchmarks.training`

The same model (SmolLM2-135M-Instruct), adapter, encoded rows, batch size, threads and their waiting; in turn, each in a process of
its own. The Trainer runs twice: as it comes, and with our precision, output layer and batches, which leaves the loops to compare.
Counted are the rows' own tokens a second of the training loop, without loading, evaluating and saving. Exits 1 below a bound.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from emulator.components.catalog import component
from emulator.components.chat_completion.encoded import EncodedSplit
from emulator.components.chat_completion.import_model import MODEL as FOLDER
from emulator.components.chat_completion.training.batches import collate, epoch_order
from emulator.components.chat_completion.training.model import computes_well_in_bfloat16
from emulator.components.chat_completion.training.objective import AssistantLoss
from tests.emulator.components import steps

MODEL = "SmolLM2-135M-Instruct"
ROUNDS, ROWS, BATCH, LEARNING_RATE = 3, 48, 4, 1e-4
BOUNDS = {"as it comes": 1.0, "alike": 0.9}


def prepared(work: Path) -> tuple[Path, Path]:
    """The imported model and the encoded rows, as the fine-tune step gets them: real conversations, at most 256 tokens."""
    from demo.chitchat import convert
    from emulator.components.foundation import write_model_folder

    convert(work / "chitchat")
    model = steps.folder(work / "imported")
    registry = write_model_folder(MODEL, work / "registry" / MODEL)
    steps.import_model(steps.arguments("chat_completion_model_import", mlflow_model_path=registry, output_dir=model))
    rows = _rows(work / "chitchat")
    train = steps.write_jsonl(work / "train.jsonl", rows[:ROWS])
    held_out = steps.write_jsonl(work / "held-out.jsonl", rows[ROWS : ROWS + BATCH])
    data = steps.encoded(work, model, train_file_path=train, validation_file_path=held_out, max_seq_length=256)
    return model, data


def _rows(folder: Path) -> list[steps.Row]:
    import polars

    [file] = folder.glob("data/train_sft*.parquet")
    return [{"messages": messages} for messages in polars.read_parquet(file, n_rows=ROWS + BATCH)["messages"].to_list()]


def ours(work: Path, model: Path, data: Path) -> float:
    """Tokens a second of the fine-tune step, as its own log says."""
    process = steps.start(
        "finetune", work, preprocess_output=data, model_selector_output=model, pytorch_model_folder=work / "ours",
        per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=LEARNING_RATE, apply_lora="true",
        evaluation_strategy="disable", gradient_accumulation_steps=1,
    )  # fmt: skip
    log, _ = process.communicate()
    said = re.search(r"Trained \d+ steps in .*, ([\d.]+) tokens/s", log)
    if process.returncode or not said:
        raise RuntimeError(f"the fine-tune step failed:\n{log[-3000:]}")
    return float(said[1])


def as_it_comes(model: Path, data: Path, out: Path) -> float:
    """Tokens a second of transformers' Trainer as one would write it: 32-bit, the whole output layer, rows in any order."""
    split, base = EncodedSplit.load(data / "train.npz"), _base(model, torch.float32)
    rows = [
        {
            "ids": torch.from_numpy(ids).long(),
            "labels": torch.from_numpy(ids).long().where(torch.from_numpy(said), -100),
        }
        for ids, said in (split.row(number) for number in range(len(split)))
    ]

    def padded(batch: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad([row["ids"] for row in batch], batch_first=True)
        mask = pad([torch.ones_like(row["ids"]) for row in batch], batch_first=True)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": pad([row["labels"] for row in batch], batch_first=True, padding_value=-100),
        }

    trainer = Trainer(model=base, args=_arguments(out), train_dataset=rows, data_collator=padded)  # type: ignore[arg-type]
    return _tokens_a_second(trainer, split)


def alike(model: Path, data: Path, out: Path) -> float:
    """Tokens a second of the Trainer's loop alone: precision, output layer, rows and padding of a batch are ours."""
    split = EncodedSplit.load(data / "train.npz")
    precision = torch.bfloat16 if computes_well_in_bfloat16() else None
    base = _base(model, precision or torch.float32)
    loss = AssistantLoss(base, precision)
    batches = [{"batch": collate(split, rows)} for rows in epoch_order(split.lengths, BATCH, seed=0, epoch=0)]

    class Alike(Trainer):
        def get_train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

        def compute_loss(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> torch.Tensor:
            return loss(inputs["batch"]) / len(inputs["batch"].targets)

    trainer = Alike(model=base, args=_arguments(out), train_dataset=batches)  # type: ignore[arg-type]
    return _tokens_a_second(trainer, split)


def _base(model: Path, dtype: torch.dtype) -> Any:
    """The model with the adapter that the component has by default."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    inputs = component("chat_completion_finetune").document["inputs"]
    base = AutoModelForCausalLM.from_pretrained(model / FOLDER, dtype=dtype)
    adapter = LoraConfig(
        r=int(inputs["lora_r"]["default"]), lora_alpha=int(inputs["lora_alpha"]["default"]),
        lora_dropout=float(inputs["lora_dropout"]["default"]), task_type="CAUSAL_LM",
    )  # fmt: skip
    return get_peft_model(base, adapter)


def _arguments(out: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(out), per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=LEARNING_RATE,
        use_cpu=True, report_to=[], save_strategy="no", eval_strategy="no", disable_tqdm=True,
        remove_unused_columns=False,
    )  # fmt: skip


def _tokens_a_second(trainer: Trainer, split: EncodedSplit) -> float:
    return float(len(split.tokens) / trainer.train().metrics["train_runtime"])


REFERENCES = {"as it comes": as_it_comes, "alike": alike}


def referred_to(how: str, model: Path, data: Path, out: Path) -> float:
    """Tokens a second of a reference, in a process of its own, whose threads wait for each other as ours do."""
    command = [sys.executable, "-m", "benchmarks.training", "--reference", how, str(model), str(data), str(out)]
    passive = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=passive)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Measures and prints the ratios of the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--reference", nargs=4, metavar=("HOW", "MODEL", "DATA", "OUT"), help=argparse.SUPPRESS)
    if given := parser.parse_args().reference:
        print(json.dumps(REFERENCES[given[0]](*map(Path, given[1:]))))
        return 0
    seen: dict[str, list[float]] = {"ours": [], **{how: [] for how in REFERENCES}}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model, data = prepared(work)
        for number in range(ROUNDS):
            seen["ours"].append(ours(steps.folder(work / f"round-{number}"), model, data))
            for how in REFERENCES:
                seen[how].append(referred_to(how, model, data, work / "hf"))
            print(
                f"round {number + 1}: {', '.join(f'{how} {rates[-1]:.0f}' for how, rates in seen.items())} tokens/s",
                flush=True,
            )
    middle = {how: statistics.median(rates) for how, rates in seen.items()}
    ratios = {how: middle["ours"] / middle[how] for how in REFERENCES}
    for how, ratio in ratios.items():
        rates = f"fine-tune step {middle['ours']:.0f} tokens/s, Trainer {how} {middle[how]:.0f}"
        print(f"{rates}: ratio {ratio:.2f}, at least {BOUNDS[how]}")
    return 0 if all(ratio >= BOUNDS[how] for how, ratio in ratios.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
