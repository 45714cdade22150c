"""What is learnt of a conversation: the answers with their ends, in every style of chat template, and nothing else."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.components.chat_completion import provenance
from emulator.components.chat_completion.encoder import EncodedRow, Encoder
from emulator.components.chat_completion.import_model import MODEL
from emulator.components.chat_completion.template import Template
from emulator.components.step import UserError
from tests.emulator.components.chat_templates import STYLES, Style, tokenizer_of
from tests.emulator.components.steps import Row, chat

WHERE = "train.jsonl, row 1"
# A template that never marks its turns by tokens: the ends are text.
WORDY = "{% for m in messages %}{{ '[' + m.role + '] ' + m.content + '\n' }}{% endfor %}"
WEATHER = {"name": "weather", "arguments": {"city": "Oslo", "days": 3}}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "In a city", "parameters": {}}}]


class Pupil:
    """A tokenizer with a template, and what a model would learn by them."""

    def __init__(self, style: Style, model: Path, split: str = "bytes") -> None:
        self.tokenizer = tokenizer_of(style, model / MODEL, split)
        self._encoder = Encoder(self.tokenizer, {self.tokenizer.convert_tokens_to_ids(stop) for stop in style.stops})

    def encode(self, row: Row) -> EncodedRow:
        return next(self._encoder.encode([(WHERE, row)]))

    def learns(self, row: Row) -> list[str]:
        """The stretches of text that a row teaches."""
        return [text for text, label in self.stretches(row) if label]

    def stretches(self, row: Row) -> list[tuple[str, bool]]:
        found: list[tuple[list[int], bool]] = []
        encoded = self.encode(row)
        for token, label in zip(encoded.ids, encoded.labels, strict=True):
            if not found or found[-1][1] != label:
                found.append(([], bool(label)))
            found[-1][0].append(token)
        return [(self.tokenizer.decode(ids), label) for ids, label in found]

    def template_ids(self, row: Row) -> list[int]:
        return list(
            self.tokenizer.apply_chat_template(row["messages"], tools=row.get("tools"), return_dict=True)["input_ids"]
        )


@pytest.fixture(scope="module")
def pupil(model: Path) -> Callable[..., Pupil]:
    """Makes a pupil for a style, or for a change of one; each once."""
    made: dict[Any, Pupil] = {}

    def make(name: str, split: str = "bytes", **changes: Any) -> Pupil:
        key = name, split, tuple(changes.items())
        if key not in made:
            made[key] = Pupil(replace(STYLES[name], **changes), model, split)
        return made[key]

    return make


def tool_call(**call: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {**WEATHER, **call}}]}


CONVERSATION = chat("Say yes, or no?", "yes – “é”, 😀", "Really?", "no")


@pytest.mark.parametrize("split", ["bytes", "words"])
@pytest.mark.parametrize("name", STYLES)
def test_each_answer_is_learnt_with_its_end_and_nothing_else(
    name: str, split: str, pupil: Callable[..., Pupil]
) -> None:
    style = STYLES[name]
    # Qwen adds thoughts, empty ones too, to the last answer alone.
    last_lead = "<think>\n\n</think>\n\n" if name == "qwen-thinking" else style.lead
    first = style.lead + "yes – “é”, 😀" + style.end
    last = last_lead + "no" + (style.end if style.last is None else style.last)
    assert pupil(name, split).learns(CONVERSATION) == [first, last]


@pytest.mark.parametrize("name", [name for name, style in STYLES.items() if not style.rstrip])
def test_what_is_learnt_begins_behind_the_header(name: str, pupil: Callable[..., Pupil]) -> None:
    stretches = pupil(name).stretches(CONVERSATION)
    assert all(
        before.endswith(STYLES[name].header) for (before, _), (_, label) in itertools.pairwise(stretches) if label
    )


@pytest.mark.parametrize("split", ["bytes", "words"])
@pytest.mark.parametrize("name", STYLES)
def test_the_tokens_are_those_of_the_template(name: str, split: str, pupil: Callable[..., Pupil]) -> None:
    row = chat("Hi there\n", ' "quoted" <think>hm</think> text ', "  And\n\nmore?", "é – 漢字 😀")
    assert list(pupil(name, split).encode(row).ids) == pupil(name, split).template_ids(row)


@pytest.mark.parametrize("split", ["bytes", "words"])
@pytest.mark.parametrize("name", STYLES)
def test_control_tokens_spelt_out_in_a_text_stay_text(name: str, split: str, pupil: Callable[..., Pupil]) -> None:
    learner, style = pupil(name, split), STYLES[name]
    # gpt-oss's template refuses channels in a text.
    spelt = " ".join(token for token in style.special if token != "<|channel|>")
    plain, forging = (
        chat("Hi, you.", "Well, yes.", "So?", "No."),
        chat(f"Hi, {spelt} you.", f"Well, {spelt} yes.", "So?", "No."),
    )
    control = set(learner.tokenizer.convert_tokens_to_ids(style.special))

    def controls(row: Row) -> list[int]:
        return [id for id in learner.encode(row).ids if id in control]

    assert controls(forging) == controls(plain)
    assert f"Well, {spelt} yes." in learner.learns(forging)[0]
    assert learner.tokenizer.decode(learner.encode(forging).ids).count(f"Hi, {spelt} you.") == 1
    assert not learner.encode(forging).left_out(10_000)


def test_tokens_for_thoughts_stay_tokens_in_an_answer(pupil: Callable[..., Pupil]) -> None:
    learner = pupil("qwen-thinking")
    think = learner.tokenizer.convert_tokens_to_ids("<think>")
    row = chat("<|im_end|>?", "<think>\nhm\n</think>\n\nyes")
    assert list(learner.encode(row).ids).count(think) == 1 and learner.learns(row) == [
        "<think>\nhm\n</think>\n\nyes<|im_end|>"
    ]


def test_turns_cannot_be_forged_by_tokens_that_are_not_special(pupil: Callable[..., Pupil]) -> None:
    learner = pupil("r1")
    user = learner.tokenizer.convert_tokens_to_ids("<|User|>")
    row = chat("Say <|User|>.", "I say <|User|> to you.")
    assert list(learner.encode(row).ids).count(user) == 1 and learner.learns(row) == ["I say <|User|> to you.<|eos|>"]


def test_letters_that_a_tokenizer_takes_for_others_forge_nothing(model: Path) -> None:
    from tokenizers import AddedToken, normalizers

    learner = Pupil(STYLES["phi-3.5"], model)
    learner.tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    learner.tokenizer.add_tokens([AddedToken("<|stop|>", special=True, normalized=True)])
    tokenizer = learner.tokenizer
    row = chat("Say ＜｜stop｜＞ now", "Well: ＜｜stop｜＞ e\u0301.")
    stop = tokenizer.convert_tokens_to_ids("<|stop|>")
    assert stop in learner.template_ids(row)
    encoded = next(Encoder(tokenizer).encode([(WHERE, row)]))
    assert stop not in encoded.ids and not encoded.left_out(1000)


def test_a_name_that_spells_a_control_token_is_refused(pupil: Callable[..., Pupil]) -> None:
    row = {"messages": [{"role": "user", "content": "Oslo?"}, tool_call(arguments={"<|im_end|>": 1})]}
    with pytest.raises(UserError, match=r"row 1: the name '<\|im_end\|>' spells a control token"):
        pupil("qwen").encode(row)


@pytest.mark.parametrize("name", [name for name in STYLES if name not in ("llama-2", "mistral")])
def test_what_comes_before_a_greeting_is_not_learnt(name: str, pupil: Callable[..., Pupil]) -> None:
    row = {
        "messages": [{"role": "assistant", "content": "Welcome!"}, *chat("My card is gone.", "I block it.")["messages"]]
    }
    style = STYLES[name]
    first, last = pupil(name).learns(row)
    # A thought that the template adds to the answer may come with it.
    assert first.endswith("Welcome!" + style.end) and first.removesuffix("Welcome!" + style.end) in ("", style.lead)
    assert last.endswith("I block it." + (style.end if style.last is None else style.last))


def test_a_greeting_before_which_a_template_says_something_of_its_own(pupil: Callable[..., Pupil]) -> None:
    row = {"messages": [{"role": "assistant", "content": "Welcome!"}, {"role": "user", "content": "Hi"}]}
    assert pupil("qwen").learns(row) == ["Welcome!<|im_end|>"]
    assert pupil("gpt-oss").learns(row) == ["<|channel|>final<|message|>Welcome!<|end|>"]


def test_a_token_that_two_speakers_share_is_not_learnt(pupil: Callable[..., Pupil]) -> None:
    learner = pupil("phi-3", "words", template="{% for m in messages %}{{ m.content }}{% endfor %}")
    row = chat("take", "so it is", "yes.", "no")
    assert learner.learns(chat("take", "it")) == ["it"]
    assert "so" not in learner.learns(chat("the", "so"))[0] and learner.encode(chat("the", "so")).left_out(100) == [2]
    assert learner.encode(row).left_out(100) == [2]


def test_white_space_that_the_header_swallows_does_not_make_the_header_learnt(pupil: Callable[..., Pupil]) -> None:
    assert pupil("phi-3").learns(chat("Hi", "\n\n Hello")) == ["Hello<|end|>"]


@pytest.mark.parametrize("name", STYLES)
def test_quotes_at_the_edges_of_an_answer_are_learnt(name: str, pupil: Callable[..., Pupil]) -> None:
    learnt = pupil(name).learns(chat('"Hi"', '\\"yes"\\', '"', '"no"'))
    assert '\\"yes"\\' in learnt[0] and '"no"' in learnt[1]


def test_an_answer_that_repeats_the_question_is_learnt_once(pupil: Callable[..., Pupil]) -> None:
    assert pupil("phi-3").learns(chat("Hello", "Hello")) == ["Hello<|end|>"]


def test_a_conversation_that_ends_with_the_user_teaches_its_earlier_answers(pupil: Callable[..., Pupil]) -> None:
    assert pupil("phi-3").learns(chat("Hi", "Hello", "And?")) == ["Hello<|end|>"]


def test_an_answer_of_weight_0_is_not_learnt(pupil: Callable[..., Pupil]) -> None:
    for name in ("qwen", "marked"):
        row = chat("Who won?", "WRONG", "No, who?", "Right")
        row["messages"][1]["weight"], row["messages"][3]["weight"] = 0, 1
        assert [text[:5] for text in pupil(name).learns(row)] == ["Right"]
        assert pupil(name).encode(row).answers.keys() == {4}


def test_ends_that_are_no_tokens_are_learnt_as_text(model: Path) -> None:
    im_end = replace(STYLES["qwen"], special=("<|bos|>",), stops=(), plain=())
    assert Pupil(im_end, model).learns(CONVERSATION)[1] == "no<|im_end|>"
    assert Pupil(replace(im_end, template=WORDY), model).learns(CONVERSATION)[1] == "no"


def test_an_end_that_only_the_configuration_knows_is_told_from_a_header(pupil: Callable[..., Pupil]) -> None:
    assert pupil("glm-4").learns(CONVERSATION) == ["\nyes – “é”, 😀<|user|>", "\nno"]
    assert pupil("glm-4", stops=()).learns(CONVERSATION) == ["\nyes – “é”, 😀", "\nno"]


def test_a_header_that_all_roles_share_is_no_end(model: Path) -> None:
    template = (
        "{% for m in messages %}{{ '<|start|>' + m.role + ': ' + m.content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start|>assistant: ' }}{% endif %}"
    )
    style = Style(template, ("<|start|>", "<|stop|>"), "<|start|>assistant: ", "")
    assert Pupil(style, model).learns(CONVERSATION) == ["yes – “é”, 😀", "no"]


def test_an_end_that_only_the_last_answer_has_is_learnt(pupil: Callable[..., Pupil]) -> None:
    assert pupil("gpt-oss", stops=()).learns(CONVERSATION)[1].endswith("no<|return|>")


def test_an_empty_answer_before_another_is_no_answer(pupil: Callable[..., Pupil]) -> None:
    messages = [{"role": "user", "content": "Hi"}, *({"role": "assistant", "content": text} for text in ("", "Hello"))]
    assert pupil("qwen-thinking").learns({"messages": messages}) == ["<think>\n\n</think>\n\nHello<|im_end|>"]


def test_of_two_tokens_behind_each_answer_the_one_that_stops_the_model_is_the_last_learnt(model: Path) -> None:
    template = (
        "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|close|><|stop|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    )
    style = Style(
        template, ("<|user|>", "<|assistant|>", "<|close|>", "<|stop|>"), "<|assistant|>", "<|close|><|stop|>"
    )
    assert Pupil(style, model).learns(CONVERSATION)[1] == "no<|close|><|stop|>"


def test_marks_are_followed_and_completed_by_the_end(pupil: Callable[..., Pupil]) -> None:
    marked = STYLES["marked"].template
    content_alone = marked.replace(
        "m.content + '<|stop|>' }}{% endgeneration %}{{ '\n' }}", "m.content }}{% endgeneration %}{{ '<|stop|>\n' }}"
    )
    assert content_alone != marked
    with_header = marked.replace("{{ '<|a|>\n' }}{% generation %}{{", "{% generation %}{{ '<|a|>\n' +", 1)
    assert with_header != marked
    for template in (content_alone, with_header):
        assert pupil("marked", template=template).learns(CONVERSATION)[1] == "no<|stop|>"


def test_what_the_marks_leave_out_of_an_answer_is_not_learnt(pupil: Callable[..., Pupil]) -> None:
    template = STYLES["marked"].template.replace("{% generation %}", "{{ m.thinking or '' }}{% generation %}")
    row = chat("Hi", "yes")
    row["messages"][1]["thinking"] = "Hm. "
    assert pupil("marked", template=template).learns(row) == ["yes<|stop|>"]
    assert pupil("marked", template=template).encode(row).left_out(100) == [2]


def test_where_a_template_changes_texts_its_marks_are_needed(pupil: Callable[..., Pupil]) -> None:
    marked = STYLES["marked"].template.replace("m.content", "(m.content | upper)")
    assert pupil("marked", template=marked).learns(chat("Hi", "yes")) == ["YES<|stop|>"]
    unmarked = marked.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    with pytest.raises(
        UserError, match=r"train\.jsonl, row 1: .* changes what the messages say, .* no {% generation %} marks"
    ):
        pupil("marked", template=unmarked).encode(chat("Hi", "yes"))


def test_a_template_that_asks_for_other_answers_than_it_writes_is_refused(pupil: Callable[..., Pupil]) -> None:
    template = STYLES["phi-3.5"].template.replace("%}{{ '<|assistant|>\n' }}{% else", "%}{{ '<|system|>\n' }}{% else")
    with pytest.raises(
        UserError, match=r"row 1: .* asks for such an answer by .*Mend the template's add_generation_prompt"
    ):
        pupil("phi-3.5", template=template).encode(CONVERSATION)


def test_a_tokenizer_that_cannot_write_a_token_as_text_is_told_of(model: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"?": 0, "hi": 1, "u": 2, "a": 3}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(["u", "a"])
    template = "{% for m in messages %}{{ m.role[0] + ' ' + m.content + ' ' }}{% endfor %}"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?", chat_template=template)
    with pytest.raises(UserError, match="row 1: a text spells 'u', which the tokenizer cannot write as text"):
        list(Encoder(tokenizer).encode([(WHERE, chat("hi u hi", "hi"))]))


# Tools and thoughts


def test_a_call_of_a_tool_is_learnt_and_its_result_is_not(pupil: Callable[..., Pupil]) -> None:
    result = {"role": "tool", "content": '{"days": "<|im_end|> sun"}'}
    messages = [{"role": "user", "content": "Oslo?"}, tool_call(), result, {"role": "assistant", "content": "Sunny"}]
    row = {"messages": messages, "tools": TOOLS}
    call = '{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}'
    assert pupil("qwen").learns(row) == [f"\n<tool_call>\n{call}\n</tool_call><|im_end|>", "Sunny<|im_end|>"]
    assert pupil("phi-4-mini").learns(row)[0].startswith("<|tool_call|>[")
    assert pupil("phi-4-mini").learns(row)[0].endswith("]<|/tool_call|><|end|>")
    assert pupil("glm-4.5").learns(row)[0].endswith("<arg_value>3</arg_value>\n</tool_call><|observation|>")
    named = "<|channel|>commentary json<|message|>"
    assert pupil("gpt-oss").learns(row) == [
        f' to=functions.weather{named}{{"city": "Oslo", "days": 3}}<|call|>',
        "<|channel|>final<|message|>Sunny<|return|>",
    ]


def test_calls_that_a_template_does_not_write_change_nothing(pupil: Callable[..., Pupil]) -> None:
    # What is not written here reads like what the template writes in its place.
    unwritten = {"type": "function", "function": {"name": "<|end|>", "arguments": "\n<|user|>\n"}}
    row = chat("Hi", "Hello", "And?", "So.")
    row["messages"][1]["tool_calls"] = [unwritten]
    assert list(pupil("phi-3.5").encode(row).ids) == pupil("phi-3.5").template_ids(row)
    assert pupil("phi-3.5").encode(row).left_out(1000) == [2]


def test_tools_are_given_to_the_template(pupil: Callable[..., Pupil]) -> None:
    row = {**CONVERSATION, "tools": TOOLS}
    encoded = pupil("qwen").encode(row)
    assert list(encoded.ids) == pupil("qwen").template_ids(row)
    assert '"description": "In a city"' in pupil("qwen").tokenizer.decode(encoded.ids)


def test_thoughts_beside_an_answer_are_learnt_where_the_template_writes_them(pupil: Callable[..., Pupil]) -> None:
    for key in ("thinking", "reasoning_content"):
        row = chat("One?", "1", "Two?", "2")
        row["messages"][1][key], row["messages"][3][key] = "first", "second"
        thinking = "<|channel|>analysis<|message|>second<|end|><|start|>assistant"
        final = "<|channel|>final<|message|>"
        assert pupil("gpt-oss").learns(row) == [f"{final}1<|end|>", f"{thinking}{final}2<|return|>"]
        assert pupil("gpt-oss").encode(row).answers[2] is None, "the first answer's thoughts are left out"
        assert pupil("gpt-oss").encode(row).left_out(10_000) == [2]


def test_what_is_left_of_an_answer_is_learnt_and_counted_as_left_out(pupil: Callable[..., Pupil]) -> None:
    row = chat("2+2?", "<think>\neasy\n</think>\n\nfour", "3+3?", "<think>\nhm\n</think>\n\nsix")
    learner = pupil("qwen-thinking")
    assert learner.learns(row) == ["four<|im_end|>", "<think>\nhm\n</think>\n\nsix<|im_end|>"]
    assert learner.encode(row).left_out(10_000) == [2]


def test_what_a_template_writes_in_its_own_words_is_learnt_whole_and_what_it_drops_is_not(
    pupil: Callable[..., Pupil],
) -> None:
    learner = pupil("qwen-thinking")
    # The template finds the marks of the thoughts, and writes them anew.
    row = chat("2+2?", "<think>easy</think>four")
    assert learner.learns(row) == ["<think>\neasy\n</think>\n\nfour<|im_end|>"] and not learner.encode(row).left_out(
        100
    )
    for dropped in ("<think></think>four", "user</think>four"):
        row = chat("2+2?", dropped, "3+3?", "six")
        assert learner.learns(row)[0] == "four<|im_end|>" and learner.encode(row).left_out(100) == [2]


def test_a_developer_and_a_system_turn_are_not_learnt(pupil: Callable[..., Pupil]) -> None:
    row = {"messages": [{"role": "developer", "content": "Be kind"}, *CONVERSATION["messages"]]}
    assert len(pupil("gpt-oss").learns(row)) == 2 and not any("kind" in text for text in pupil("gpt-oss").learns(row))


# Time


@pytest.mark.parametrize("name", ["phi-3", "qwen-thinking", "marked"])
def test_thousands_of_turns_take_seconds(name: str, pupil: Callable[..., Pupil]) -> None:
    began = time.perf_counter()
    assert len(pupil(name).encode(chat(*(f"line {n}" for n in range(4000)))).answers) == 2000
    assert time.perf_counter() - began < 20, "one run of the template for each answer takes minutes"


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each run of a template was given."""
    lengths: list[int] = []
    write = Template.write

    def counted(self: Template, messages: Any, *arguments: Any, **named: Any) -> str:
        lengths.append(len(messages))
        return write(self, messages, *arguments, **named)

    monkeypatch.setattr(Template, "write", counted)
    return lengths


def test_a_template_is_run_a_few_times_whatever_the_turns(writes: list[int], model: Path) -> None:
    Pupil(STYLES["phi-3"], model).encode(chat(*(f"line {n}" for n in range(600))))
    assert len(writes) < 12


def test_a_template_that_numbers_its_turns_in_words_is_run_a_bounded_number_of_times(
    writes: list[int], model: Path
) -> None:
    style = STYLES["phi-3.5"]
    words = style.template.replace("'<|user|>\n'", "('<|user|>' + 'x' * loop.index + '\n')")
    row = chat(*(f"line {n}" for n in range(600)))
    assert Pupil(replace(style, template=words), model).learns(row) == [f"line {n}<|end|>" for n in range(1, 600, 2)]
    assert len(writes) < 80


@pytest.mark.parametrize("keep", [(), ("ok", "He")])
def test_every_character_of_a_text_is_followed(keep: tuple[str, ...], pupil: Callable[..., Pupil]) -> None:
    template = Template(pupil("phi-3.5").tokenizer)
    messages = chat('"Hi"  there ', 'He said:\n"a  b" \\ ok', "\\", "ok then ok\n")["messages"]
    texts = provenance.Texts(messages, None, keep)
    written = texts.trace(template, template.write(messages))
    assert written is not None
    followed = "".join(character for character, source in zip(written.text, written.source, strict=True) if source >= 0)
    assert followed == "".join(message["content"] for message in messages)


def test_what_is_not_written_is_not_taken_for_the_templates_own(pupil: Callable[..., Pupil]) -> None:
    template = Template(pupil("phi-3.5").tokenizer)
    messages = chat("Hi", "Hello", "And?", "So.")["messages"]
    # As long as what the template writes there, with a word of it in its place.
    messages[1]["tool_calls"] = [{"name": "x" * len("<|end|>\n<|"), "arguments": "user" + "x" * len("|>\n")}]
    written = provenance.Texts(messages, None, ["user"]).trace(template, template.write(messages))
    assert written is not None
    start = written.text.rindex("<|user|>")
    assert (written.source[start : start + len("<|user|>")] == provenance.TEMPLATE).all()


def test_texts_with_more_places_than_stand_ins_are_followed(
    pupil: Callable[..., Pupil], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "STAND_INS", 50)
    row = chat(*(f"this is line {n} of it" for n in range(40)))
    assert pupil("phi-3").learns(row) == [f"this is line {n} of it<|end|>" for n in range(1, 40, 2)]


# Any conversation


PIECES = st.sampled_from(
    ["yes", "no ", "\n", " ", "the", '"', "\\", "é", "漢", "😀", "\U00020000", "\U000f0000", "\u200b", "user", "assistant", "<",
     "|>", "<think>", "</think>", "<|im_end|>", "<|user|>", "<|end|>", "</s>", "[/INST]", "<|start|>", "<tool_call>", "{", "}", "0"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=6).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(sorted(STYLES)),
    split=st.sampled_from(["bytes", "words"]),
    turns=st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from([None, 0, 1])), min_size=1, max_size=4),
    system=st.none() | TEXTS,
)
def test_what_is_accepted_is_learnt_from_whole_or_counted(
    name: str, split: str, turns: list[tuple[str, str, int | None]], system: str | None, pupil: Callable[..., Pupil]
) -> None:
    learner, style = pupil(name, split), STYLES[name]
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system and style.system else []
    for number, (question, answer, weight) in enumerate(turns):
        # Letters of their own tell whose words are whose.
        messages.append({"role": "user", "content": f"Q{number}X{question}XQ"})
        messages.append({"role": "assistant", "content": f"A{number}Z{answer}ZA", "weight": weight})
    row = {"messages": messages}
    try:
        encoded = learner.encode(row)
    except UserError as refusal:
        assert str(refusal).startswith(WHERE) and name == "gpt-oss"
        return
    learnt = "".join(learner.learns(row))
    for index, message in enumerate(messages, start=1):
        start, end = message["content"][:2], message["content"][-2:]
        if message["role"] == "user":
            assert start + "X" not in learnt
        elif message["role"] == "assistant":
            assert (index in encoded.answers) == (message["weight"] != 0)
            if message["weight"] == 0:
                assert start + "Z" not in learnt
            elif encoded.answers[index] is not None:
                assert "".join(message["content"].split()) in "".join(learnt.split())
            else:
                assert "</think>" in message["content"] and name in ("qwen-thinking", "r1", "glm-4.5")
            assert end in ("ZA",)
    assert "XQ" not in learnt
