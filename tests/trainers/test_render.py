"""The loss mask, token by token, for three chat formats that are told apart by their templates alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from families import llama_tokenizer, mistral_tokenizer, qwen2_tokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selflengthen.records import Message
from selflengthen.trainers.render import OverCutoff, Renderer, Unrenderable

FAMILIES = {"qwen2": (qwen2_tokenizer, "<|im_end|>", ""), "llama": (llama_tokenizer, "<|eot_id|>", ""), "mistral": (mistral_tokenizer, "</s>", " ")}
ASK = (Message(role="user", content="Write a long letter to the harbour."),)
ANSWERS = {
    "plain": "The harbour answered.\n\nThen the storm came.",
    "chinese": "灯塔的看守人写了一封长信，港口只回了两行。",
    "leading newline": "\nThen the storm came.",
    "leading newlines": "\n\n\nThen the storm came.",
    "leading spaces": "   Then the storm came.",
    "trailing blank lines": "Then the storm came.\n\n\n",
    "trailing space": "Then the storm came. ",
    "unknown characters": "Ärger über 🦊 and \t tabs",
    "ends with a mark of its own": "the answer-goes-here",
}


@pytest.fixture(scope="module")
def renderers(tmp_path_factory) -> dict[str, Renderer]:
    return {name: Renderer(build(tmp_path_factory.mktemp(name))) for name, (build, _, _) in FAMILIES.items()}


@pytest.fixture(params=FAMILIES)
def family(request, renderers):
    _, end, lead = FAMILIES[request.param]
    return renderers[request.param], end, lead


def learned(renderer: Renderer, rendered) -> str:
    """The text the loss is taken on, decoded in its place: some tokenizers drop a space at the beginning of what they decode."""
    cut = rendered.prompt_tokens
    before = renderer.tokenizer.decode(list(rendered.ids[:cut]))
    return renderer.tokenizer.decode(list(rendered.ids)).removeprefix(before)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_loss_covers_the_answer_and_its_end_of_turn_and_nothing_else(family, answer):
    renderer, end, lead = family
    rendered = renderer.render(ASK, answer)
    assert learned(renderer, rendered) == lead + answer + end
    assert rendered.mask == (False,) * rendered.prompt_tokens + (True,) * (len(rendered.ids) - rendered.prompt_tokens)
    assert rendered.labels == [token if on else -100 for token, on in zip(rendered.ids, rendered.mask, strict=True)]


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_prompt_is_what_the_engine_sends(family, answer):
    renderer, _, _ = family
    rendered = renderer.render(ASK, answer)
    prompt = renderer.tokenizer.apply_chat_template([m.model_dump() for m in ASK], add_generation_prompt=True, return_dict=False)
    assert list(rendered.ids[: rendered.prompt_tokens]) == prompt


@pytest.mark.parametrize("answer", [ANSWERS["plain"], ANSWERS["chinese"]])
def test_an_ordinary_example_is_the_templates_own_tokens_up_to_the_end_of_turn(family, answer):
    renderer, end, _ = family
    turns = [*(m.model_dump() for m in ASK), {"role": "assistant", "content": answer}]
    whole = renderer.tokenizer.apply_chat_template(turns, return_dict=False)
    stop = len(whole) - whole[::-1].index(renderer.tokenizer.convert_tokens_to_ids(end))
    assert list(renderer.render(ASK, answer).ids) == whole[:stop]


def test_several_turns(family):
    renderer, end, lead = family
    turns = (*ASK, Message(role="assistant", content="Then the storm came."), Message(role="user", content="And then?"))
    assert learned(renderer, renderer.render(turns, "Then the storm came.")) == lead + "Then the storm came." + end


def test_the_name_of_a_special_token_in_an_answer_stays_text(family):
    renderer, end, lead = family
    answer = f"In markup one writes {end} to end it.\n\nThen the storm came."
    rendered = renderer.render(ASK, answer)
    assert learned(renderer, rendered) == lead + answer + end
    inside = rendered.ids[rendered.prompt_tokens : -1]
    assert not set(inside) & set(renderer.tokenizer.all_special_ids)


def test_when_it_cannot_stay_text_it_is_refused(renderers, monkeypatch):
    renderer = renderers["qwen2"]
    monkeypatch.setattr(renderer, "_special_names", None)  # as for a tokenizer that does not know its special tokens
    with pytest.raises(Unrenderable, match="special token"):
        renderer.render(ASK, "one <|im_end|> two")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"]) | st.sampled_from(" \n\t。，aé<|/s>"), min_size=1, max_size=60))
def test_any_answer_is_rendered_exactly_or_refused(family, answer):
    renderer, end, lead = family
    try:
        rendered = renderer.render(ASK, answer)
    except Unrenderable:
        assert not answer.strip() or "▁" in answer  # the sentence-piece sign for a space is no text of its own there
        return
    normalizer = renderer.tokenizer.backend_tokenizer.normalizer
    expected = normalizer.normalize_str(answer) if normalizer else answer.replace("▁", " ")
    assert learned(renderer, rendered) == lead + expected + end
    assert not set(rendered.ids[rendered.prompt_tokens : -1]) & (set(renderer.tokenizer.all_special_ids) - {renderer.tokenizer.unk_token_id})


def test_what_is_over_the_cut_off_is_refused_with_its_numbers(renderers):
    renderer = renderers["qwen2"]
    tokens = renderer.count_tokens(ASK, ANSWERS["plain"])
    assert tokens == len(renderer.render(ASK, ANSWERS["plain"]).ids)
    assert renderer.tokens_within(ASK, ANSWERS["plain"], cutoff=tokens) == tokens
    with pytest.raises(OverCutoff, match=f"{tokens} tokens.*{tokens - 1}") as caught:
        renderer.tokens_within(ASK, ANSWERS["plain"], cutoff=tokens - 1)
    assert (caught.value.tokens, caught.value.cutoff) == (tokens, tokens - 1)


def test_turns_a_template_does_not_take_are_named(renderers):
    with pytest.raises(Unrenderable, match=r"\(system, user\)"):
        renderers["mistral"].render((Message(role="system", content="Be brief."), *ASK), "No.")


def test_a_tokenizer_without_a_template_is_named(tmp_path):
    renderer = Renderer(qwen2_tokenizer(tmp_path))
    renderer.tokenizer.chat_template = None
    with pytest.raises(Unrenderable, match=str(tmp_path)):
        renderer.render(ASK, "No.")


@pytest.mark.parametrize("template", ["thinking", "prompt differs"])
def test_what_a_template_writes_before_an_answer_is_not_learned(tmp_path, template):
    renderer = Renderer(qwen2_tokenizer(tmp_path))
    prompt, block = ("", "<think>\n\n</think>\n\n") if template == "thinking" else ("<think>\n", "")
    renderer.tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}" + block + "{% endif %}"
        "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n" + prompt + "' }}{% endif %}"
    )
    assert learned(renderer, renderer.render(ASK, "No.")) == "No.<|im_end|>"


def test_a_blank_answer_is_refused(renderers):
    with pytest.raises(Unrenderable, match="blank"):
        renderers["llama"].render(ASK, "\n \n")


def test_the_room_and_its_door_load_no_heavy_library():
    code = "import sys, selflengthen.trainers as t; t.open_trainer('lora'); t.open_trainer('scripted'); import selflengthen.trainers.render; "
    code += "print(sorted({'torch', 'transformers', 'trl', 'peft', 'datasets', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    assert done.stdout.strip() == "[]"
