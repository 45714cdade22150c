"""A model whose weights are a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.components.chat_completion.import_model import MODEL, import_model
from emulator.components.foundation import write_mlmodel
from emulator.components.foundation.gguf_package import GgufPackage
from tests.emulator.components.steps import arguments, folder

WIDTH, INNER, CONTEXT = 32, 64, 64
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def write_gguf(file: Path) -> dict[str, Any]:
    """Writes a Llama of one layer whose weights are random; returns them under llama.cpp's names."""
    from gguf import GGUFWriter, TokenType
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    random = np.random.default_rng(0)
    tokens = [*bytes_to_unicode().values(), "ab", "<|end|>"]
    shapes = {
        "token_embd": (len(tokens), WIDTH),
        "blk.0.attn_norm": (WIDTH,),
        "blk.0.attn_q": (WIDTH, WIDTH),
        "blk.0.attn_k": (WIDTH, WIDTH),
        "blk.0.attn_v": (WIDTH, WIDTH),
        "blk.0.attn_output": (WIDTH, WIDTH),
        "blk.0.ffn_norm": (WIDTH,),
        "blk.0.ffn_gate": (INNER, WIDTH),
        "blk.0.ffn_up": (INNER, WIDTH),
        "blk.0.ffn_down": (WIDTH, INNER),
        "output_norm": (WIDTH,),
        "output": (len(tokens), WIDTH),
    }
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(1)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.NORMAL] * (len(tokens) - 1) + [TokenType.CONTROL])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(len(tokens) - 1)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_chat_template(TEMPLATE)
    for name, weight in weights.items():
        writer.add_tensor(f"{name}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    registry = tmp_path_factory.mktemp("gguf")
    weights = write_gguf(folder(registry / "data" / "model") / "tiny.gguf")
    write_mlmodel(registry, "tiny", "azureml://registries/azureml/models/tiny/versions/1", license="MIT")
    return registry, weights


def imported(registry: Path, output: Path) -> Path:
    import_model(arguments("chat_completion_model_import", mlflow_model_path=registry, output_dir=folder(output)))
    return output / MODEL


def test_a_gguf_file_becomes_a_model_that_can_be_trained(written: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    registry, weights = written
    output = imported(registry, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(output)
    assert not getattr(model.config, "quantization_config", None)
    np.testing.assert_array_equal(model.model.layers[0].mlp.up_proj.weight.detach(), weights["blk.0.ffn_up"])
    tokenizer = AutoTokenizer.from_pretrained(output)
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.decode(tokenizer("Hello, wörld")["input_ids"], skip_special_tokens=True) == "Hello, wörld"


def test_the_registry_s_tokenizer_counts_as_the_trainer_s(
    written: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    registry, _ = written
    monkeypatch.setattr(GgufPackage, "locate", lambda _: registry / "data" / "model" / "tiny.gguf")
    ours, context = GgufPackage("tiny", "1", "tiny", "tiny.gguf").tokenizer()
    trainers = AutoTokenizer.from_pretrained(imported(registry, tmp_path / "out"))
    text = " ab cab 42 wörld\n<|end|>ab"
    assert ours.encode(text).ids == trainers(text, add_special_tokens=False)["input_ids"]
    assert "<|end|>" in ours.encode(text).tokens and "ab" in ours.encode(text).tokens
    assert context == CONTEXT


def test_the_conversion_is_done_once(written: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    registry, _ = written
    first, second = imported(registry, tmp_path / "first"), imported(registry, tmp_path / "second")
    assert (first / "model.safetensors").samefile(second / "model.safetensors")
