"""Chat templates in the styles that published models have, each in words of its own, and a tokenizer that knows their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ASK = "{% if add_generation_prompt %}"
CALLS = "{% for call in m.tool_calls or [] %}{% set f = call.function or call %}"
THOUGHTS = "{% set thought = m.reasoning_content or '' %}{% set said = m.content or '' %}"
SPLIT = (
    "{% if not thought and '</think>' in said %}{% set thought = said.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
)


@dataclass(frozen=True)
class Style:
    """A template and its tokens.

    Attributes:
        special: its special tokens; the first begins a text, the last ends one.
        header, end: what the template writes before and behind an answer that is not the last; the end is learnt.
        last: what it writes behind the last answer that is learnt, where that is another end.
        lead: what it writes into an answer before its text.
        stops: tokens that the model's configuration names as ends.
        plain: tokens that are not special, as those of thoughts mostly are.
        rstrip: whether special tokens swallow the white space behind them.
        system: whether the template takes a system turn.
    """

    template: str
    special: tuple[str, ...]
    header: str
    end: str
    last: str | None = None
    lead: str = ""
    stops: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    rstrip: bool = False
    system: bool = True


STYLES = {
    "phi-3": Style(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        + ASK + "{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"), "<|assistant|>\n", "<|end|>", rstrip=True,
    ),
    "phi-3.5": Style(
        "{% for m in messages %}{% if m.role == 'system' and m.content %}{{ '<|system|>\n' + m.content + '<|end|>\n' }}"
        "{% elif m.role == 'user' %}{{ '<|user|>\n' + m.content + '<|end|>\n' }}"
        "{% elif m.role == 'assistant' %}{{ '<|assistant|>\n' + m.content + '<|end|>\n' }}{% endif %}{% endfor %}"
        + ASK + "{{ '<|assistant|>\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"), "<|assistant|>\n", "<|end|>",
        stops=("<|end|>", "<|endoftext|>"),
    ),
    "phi-4-mini": Style(
        "{% for m in messages %}{% if m.role == 'system' and tools %}"
        "{{ '<|system|>' + m.content + '<|tool|>' + (tools | tojson) + '<|/tool|><|end|>' }}"
        "{% else %}{{ '<|' + m.role + '|>' + (m.content or '') }}"
        "{% if m.tool_calls %}{{ '<|tool_call|>' + (m.tool_calls | tojson) + '<|/tool_call|>' }}{% endif %}{{ '<|end|>' }}"
        "{% endif %}{% endfor %}" + ASK + "{{ '<|assistant|>' }}{% else %}{{ '<|endoftext|>' }}{% endif %}",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"), "<|assistant|>", "<|end|>",
        plain=("<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>"), rstrip=True,
    ),
    "qwen": Style(
        "{% if tools %}{{ '<|im_start|>system\n# Tools\n<tools>' }}{% for t in tools %}{{ '\n' + (t | tojson) }}{% endfor %}"
        "{{ '\n</tools>\nCall one as <tool_call>\n{...}\n</tool_call><|im_end|>\n' }}"
        "{% elif messages[0].role != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
        "{% for m in messages %}{% if m.role == 'tool' %}"
        "{{ '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}"
        "{% else %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}" + CALLS
        + "{{ '\n<tool_call>\n{\"name\": \"' + f.name + '\", \"arguments\": ' }}"
        "{{ f.arguments if f.arguments is string else f.arguments | tojson }}{{ '}\n</tool_call>' }}{% endfor %}"
        "{{ '<|im_end|>\n' }}{% endif %}{% endfor %}" + ASK + "{{ '<|im_start|>assistant\n' }}{% endif %}",
        ("<|im_start|>", "<|im_end|>", "<|endoftext|>"), "<|im_start|>assistant\n", "<|im_end|>", stops=("<|im_end|>",),
        plain=("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    ),
    "qwen-thinking": Style(
        "{% set ns = namespace(asked=-1) %}{% for m in messages %}{% if m.role == 'user' and not"
        " (m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}"
        "{% set ns.asked = loop.index0 %}{% endif %}{% endfor %}"
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}" + THOUGHTS + SPLIT
        + "{% if loop.index0 > ns.asked and (loop.last or thought) %}"
        "{{ '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + said.lstrip('\n') }}{% else %}{{ said }}{% endif %}"
        "{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
        + ASK + "{{ '<|im_start|>assistant\n' }}{% endif %}",
        ("<|im_start|>", "<|im_end|>", "<|endoftext|>"), "<|im_start|>assistant\n", "<|im_end|>", plain=("<think>", "</think>"),
    ),
    "llama-3": Style(
        "{% for m in messages %}{% set part = '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim"
        " + '<|eot_id|>' %}{% if loop.first %}{% set part = bos_token + part %}{% endif %}{{ part }}{% endfor %}"
        + ASK + "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"),
        "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>", stops=("<|eot_id|>", "<|eom_id|>"),
    ),
    "llama-3-date": Style(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}"
        "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
        "{{ '<|start_header_id|>system<|end_header_id|>\n\nToday: ' + strftime_now('%d %b %Y') + '\n\n' + system + '<|eot_id|>' }}"
        "{% for m in rest %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}"
        "{% endfor %}" + ASK + "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"),
        "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>",
    ),
    "llama-2": Style(
        "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0].content %}"
        "{% else %}{% set rest = messages %}{% set system = none %}{% endif %}{% for m in rest %}"
        "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must take turns: user, assistant') }}"
        "{% endif %}{% if m.role == 'user' %}"
        "{% set said = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + m.content if loop.first and system else m.content %}"
        "{{ bos_token + '[INST] ' + said.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
        ("<s>", "</s>"), "[/INST]", " </s>", lead=" ", stops=("</s>",),
    ),
    "mistral": Style(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0].content %}"
        "{% else %}{% set rest = messages %}{% set system = none %}{% endif %}{% for m in rest %}"
        "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must take turns: user, assistant') }}"
        "{% endif %}{% if m.role == 'user' %}"
        "{{ '[INST] ' + (system + '\n\n' if loop.last and system else '') + m.content + '[/INST]' }}"
        "{% else %}{{ ' ' + m.content | trim + eos_token }}{% endif %}{% endfor %}",
        ("<s>", "</s>", "[INST]", "[/INST]"), "[/INST]", "</s>", lead=" ",
    ),
    "glm-4": Style(
        "{{ '[gMASK]<sop>' }}{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
        + ASK + "{{ '<|assistant|>' }}{% endif %}",
        ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|endoftext|>"),
        "<|assistant|>", "<|user|>", last="", lead="\n", stops=("<|user|>", "<|observation|>", "<|endoftext|>"),
    ),
    "glm-4.5": Style(
        "{{ '[gMASK]<sop>' }}{% set ns = namespace(asked=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.asked = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'assistant' %}"
        "{{ '<|assistant|>' }}" + THOUGHTS + SPLIT
        + "{% if loop.index0 > ns.asked and thought %}{{ '\n<think>' + thought.strip() + '</think>' }}"
        "{% else %}{{ '\n<think></think>' }}{% endif %}{% if said.strip() %}{{ '\n' + said.strip() }}{% endif %}" + CALLS
        + "{{ '\n<tool_call>' + f.name }}{% for k, v in f.arguments.items() %}{{ '\n<arg_key>' + k + '</arg_key>\n<arg_value>' }}"
        "{{ v if v is string else v | tojson }}{{ '</arg_value>' }}{% endfor %}{{ '\n</tool_call>' }}{% endfor %}"
        "{% elif m.role == 'tool' %}{{ '<|observation|>\n<tool_response>\n' + m.content + '\n</tool_response>' }}"
        "{% else %}{{ '<|' + m.role + '|>\n' + m.content }}{% endif %}{% endfor %}" + ASK + "{{ '<|assistant|>' }}{% endif %}",
        ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|endoftext|>"),
        "<|assistant|>", "<|user|>", last="", lead="\n<think></think>\n", stops=("<|user|>", "<|observation|>"),
        plain=("<think>", "</think>", "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    ),
    "gpt-oss": Style(
        "{{ '<|start|>system<|message|>You are a model.\nDate: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}"
        "{% if messages[0].role in ['developer', 'system'] %}{% set rest = messages[1:] %}"
        "{{ '<|start|>developer<|message|># Instructions\n\n' + messages[0].content + '<|end|>' }}"
        "{% else %}{% set rest = messages %}{% endif %}{% set ns = namespace(called='') %}{% for m in rest %}"
        "{% if m.role == 'assistant' %}{% if '<|channel|>' in (m.content or '') %}{{ raise_exception('Channels in content') }}"
        "{% endif %}{% if m.tool_calls %}{% set f = m.tool_calls[0].function %}{% set ns.called = f.name %}"
        "{% if m.thinking %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
        "{{ '<|start|>assistant to=functions.' + f.name + '<|channel|>commentary json<|message|>' }}"
        "{{ f.arguments | tojson }}{{ '<|call|>' }}"
        "{% elif loop.last and not add_generation_prompt %}"
        "{% if m.thinking %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
        "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}"
        "{% else %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}{% endif %}"
        "{% elif m.role == 'tool' %}"
        "{{ '<|start|>functions.' + ns.called + ' to=assistant<|channel|>commentary<|message|>' + m.content | tojson + '<|end|>' }}"
        "{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}"
        + ASK + "{{ '<|start|>assistant' }}{% endif %}",
        ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>"),
        "<|start|>assistant", "<|end|>", last="<|return|>", lead="<|channel|>final<|message|>", stops=("<|return|>", "<|call|>"),
    ),
    "r1": Style(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}"
        "{% elif m.role == 'user' %}{{ '<|User|>' + m.content }}{% else %}{% set said = m.content %}"
        "{% if '</think>' in said %}{% set said = said.split('</think>')[-1] %}{% endif %}"
        "{{ '<|Assistant|>' + said + '<|eos|>' }}{% endif %}{% endfor %}" + ASK + "{{ '<|Assistant|><think>\n' }}{% endif %}",
        ("<|bos|>", "<|eos|>"), "<|Assistant|>", "<|eos|>", plain=("<|User|>", "<|Assistant|>", "<think>", "</think>"),
    ),
    "glm-4.7": Style(
        "{{ '[gMASK]<sop>' }}{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|assistant|></think>' + m.content.strip() }}"
        "{% else %}{{ '<|' + m.role + '|>' + m.content }}{% endif %}{% endfor %}" + ASK + "{{ '<|assistant|><think>' }}{% endif %}",
        ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|endoftext|>"), "<|assistant|>", "<|user|>", last="",
        lead="</think>", stops=("<|user|>",), plain=("<think>", "</think>"),
    ),
    "gemma": Style(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim"
        " + '<end_of_turn>\n' }}{% endfor %}" + ASK + "{{ '<start_of_turn>model\n' }}{% endif %}",
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<start_of_turn>model\n", "<end_of_turn>",
        system=False, plain=("\n", "\n\n"),
    ),
    "marked": Style(
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|a|>\n' }}{% generation %}{{ m.content + '<|stop|>' }}"
        "{% endgeneration %}{{ '\n' }}{% else %}{{ '<|u|>\n' + m.content + '<|stop|>\n' }}{% endif %}{% endfor %}"
        + ASK + "{{ '<|a|>\n' }}{% endif %}",
        ("<|u|>", "<|a|>", "<|stop|>"), "<|a|>\n", "<|stop|>",
    ),
    "header-not-asked-for": Style(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}",
        ("<|im_start|>", "<|im_end|>"), "<|im_start|>assistant\n", "<|im_end|>",
    ),
}  # fmt: skip


def tokenizer_of(style: Style, model: Path, split: str = "bytes") -> Any:
    """The stand-in's tokenizer with the style's tokens and template.

    `split`: "bytes", as most do it now, or "words", as sentencepiece does: a space belongs to the word behind it, and the
    first word of a text gets one.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if split == "words":
        letters = [chr(code) for code in range(0x21, 0x7F)] + [
            "▁",
            *(f"<0x{byte:02X}>" for byte in range(256)),
            "▁the",
            "es",
        ]
        vocabulary = {letter: number for number, letter in enumerate(["<unk>", *letters])}
        bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=[("e", "s")], unk_token="<unk>", byte_fallback=True))
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>")
    else:
        tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(
        [AddedToken(text, special=True, normalized=False, rstrip=style.rstrip) for text in style.special]
    )
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in style.plain])
    tokenizer.bos_token, tokenizer.eos_token = style.special[0], style.special[-1]
    if "</s>" in style.special:
        tokenizer.eos_token = "</s>"
    tokenizer.chat_template = style.template
    return tokenizer
