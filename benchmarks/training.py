"""The emulator's fine-tune step against transformers' Trainer with peft: `python -m benchmarks.training`

The same model (SmolLM2-135M-Instruct), adapter, encoded rows, batch size and threads; both in turn, each in a process of its
own. Counted are the rows' own tokens a second of the training loop, without loading, evaluating and saving. Exits 1 below the
bound.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.emulator.components import steps

MODEL = "SmolLM2-135M-Instruct"
ROUNDS, ROWS, BATCH, LEARNING_RATE = 3, 48, 4, 1e-4
BOUND = 1.0


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


def reference(model: Path, data: Path, out: Path) -> float:
    """Tokens a second of transformers' Trainer, in this process."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    from emulator.components.catalog import component
    from emulator.components.chat_completion.encoded import EncodedSplit
    from emulator.components.chat_completion.import_model import MODEL as FOLDER

    split = EncodedSplit.load(data / "train.npz")
    inputs = component("chat_completion_finetune").document["inputs"]
    rows = [
        {
            "ids": torch.from_numpy(ids).long(),
            "labels": torch.from_numpy(ids).long().where(torch.from_numpy(said), -100),
        }
        for ids, said in (split.row(number) for number in range(len(split)))
    ]

    def collate(batch: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad([row["ids"] for row in batch], batch_first=True)
        mask = pad([torch.ones_like(row["ids"]) for row in batch], batch_first=True)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": pad([row["labels"] for row in batch], batch_first=True, padding_value=-100),
        }

    base = AutoModelForCausalLM.from_pretrained(model / FOLDER, dtype=torch.float32)
    adapter = LoraConfig(
        r=int(inputs["lora_r"]["default"]), lora_alpha=int(inputs["lora_alpha"]["default"]),
        lora_dropout=float(inputs["lora_dropout"]["default"]), task_type="CAUSAL_LM",
    )  # fmt: skip
    trainer = Trainer(
        model=get_peft_model(base, adapter),
        args=TrainingArguments(
            output_dir=str(out), per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=LEARNING_RATE,
            use_cpu=True, report_to=[], save_strategy="no", eval_strategy="no", disable_tqdm=True,
            remove_unused_columns=False,
        ),
        train_dataset=rows,  # type: ignore[arg-type]
        data_collator=collate,
    )  # fmt: skip
    seconds = trainer.train().metrics["train_runtime"]
    return float(len(split.tokens) / seconds)


def main() -> int:
    """Measures and prints the ratio of the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--reference", nargs=3, type=Path, metavar=("MODEL", "DATA", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args().reference
    if given:
        print(json.dumps(reference(*given)))
        return 0
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model, data = prepared(work)
        for number in range(ROUNDS):
            mine = ours(steps.folder(work / f"round-{number}"), model, data)
            command = [
                sys.executable,
                "-m",
                "benchmarks.training",
                "--reference",
                str(model),
                str(data),
                str(work / "hf"),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            pairs.append((mine, float(json.loads(done.stdout.splitlines()[-1]))))
            print(f"round {number + 1}: {pairs[-1][0]:.0f} tokens/s, Trainer {pairs[-1][1]:.0f}", flush=True)
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"fine-tune step {mine:.0f} tokens/s, Trainer {theirs:.0f}: ratio {mine / theirs:.2f}, at least {BOUND}")
    return 0 if mine / theirs >= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
