"""The scripted engine, its little writer, and the door to all engines."""

import asyncio
import re
import subprocess
import sys

import pytest
from asking import ask

from selflengthen.engines import Finish, Request, open_engine
from selflengthen.engines.pretend import pretend
from selflengthen.engines.scripted import ScriptedEngine, count_tokens, load_script
from selflengthen.errors import ConfigError, EngineError
from selflengthen.recipes import load_recipe
from selflengthen.records import Message, Reason, Sampling
from selflengthen.text import check_text, count_words


def play(script, request, **settings):
    async def go():
        async with ScriptedEngine(script, **settings) as engine:
            return await engine.generate(request)

    return asyncio.run(go())


def test_a_whole_answer_ends_by_itself():
    answer = play(lambda request: "Five words are in here.", ask(tokens=100))
    assert answer.finish is Finish.STOP
    assert answer.text == "Five words are in here."
    assert answer.generated_tokens == count_tokens(answer.text) + 1, "the end of the turn is a token"


def test_tokens_are_four_characters_or_one_chinese_one():
    assert count_tokens("abcdefghi") == 3
    assert count_tokens("渡口，ab") == 4
    assert play(lambda request: "渡口的船abcdefgh", ask(tokens=5)).text == "渡口的船abcd"


@pytest.mark.parametrize("fail", [lambda error: error, None])
def test_a_script_can_fail(fail):
    def script(request):
        if fail is None:
            raise EngineError("out of ink")
        return fail(EngineError("out of ink"))

    with pytest.raises(EngineError, match="out of ink"):
        play(script, ask())


def test_a_delay_is_kept():
    import time

    start = time.perf_counter()
    play(lambda request: "word " * 20, ask(tokens=20), delay_seconds=0.05, chunk=5)
    assert time.perf_counter() - start >= 0.2


def test_scripts_by_name():
    assert load_script("selflengthen.engines.pretend:pretend") is pretend
    for wrong in (
        "selflengthen.engines.pretend",
        "no.such.module:x",
        "selflengthen.engines.pretend:nothing",
        "selflengthen.engines.pretend:_EN_NAMES",
    ):
        with pytest.raises(ConfigError, match=re.escape(repr(wrong))):
            load_script(wrong)


def test_the_door_knows_its_engines():
    assert isinstance(open_engine("scripted", concurrency=3), ScriptedEngine)
    with pytest.raises(ConfigError, match="'oracle' is unknown; there are: openai, scripted, transformers, vllm"):
        open_engine("oracle")
    with pytest.raises(ConfigError, match=r"do not fit the scripted engine.*wings"):
        open_engine("scripted", wings=2)


def test_the_door_imports_no_torch():
    code = "import sys, selflengthen.engines as e; e.open_engine('scripted'); e.open_engine('transformers', model='x'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


# The little writer


def said(content: str, seed: int = 1, prefill: str = "", stop: tuple[str, ...] = ()) -> str:
    return play(pretend, Request((Message(role="user", content=content),), Sampling(stop=stop), seed, prefill)).text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_judges(language):
    recipe = load_recipe(language)
    verdicts = [recipe.verdict(said(recipe.judge_prompt(f"Write {place}."), seed=place)) for place in range(60)]
    assert None not in verdicts
    assert 0 < verdicts.count(False) < 20


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_goes_on_with_a_list(language):
    recipe = load_recipe(language)
    prefill = f"{recipe.label(1)} a{recipe.item_separator}{recipe.label(2)} b{recipe.item_separator}{recipe.label(3)}"
    items = [said(recipe.list_prompt(), seed, prefill, stop=(recipe.item_separator + recipe.label(4),)) for seed in range(20)]
    assert len(set(items)) == 20
    assert all(recipe.item_separator not in item.strip() and count_words(item) > 3 for item in items)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_extends(language):
    recipe = load_recipe(language)
    draft = pretend(ask("Write." if language == "en" else "请写。", seed=4))
    longer = [said(recipe.extend_prompt("Write {draft}.", draft), seed) for seed in range(10)]
    assert all(count_words(text) > 0.9 * count_words(draft) for text in longer)
    prefill = longer[0].split("\n\n")[0]
    assert count_words(said(recipe.extend_prompt("Write {draft}.", draft), 1, prefill)) < 2 * count_words(draft)


def test_higher_adapters_write_longer():
    mean = [sum(count_words(pretend(ask(seed=seed, adapter=f"generator-{number}"))) for seed in range(20)) / 20 for number in (1, 2, 3)]
    assert mean[0] * 1.3 < mean[1] < mean[2] / 1.3


@pytest.mark.parametrize("adapter", [None, "generator-2"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_most_texts_pass_the_checks_and_some_do_not(language, adapter):
    checks = load_recipe(language).checks
    verdicts = [check_text(pretend(ask("Write." if language == "en" else "请写。", seed=seed, adapter=adapter)), checks) for seed in range(100)]
    reasons = [verdict.reason for verdict in verdicts if verdict is not None]
    assert 3 <= len(reasons) <= 30, [verdict for verdict in verdicts if verdict]
    assert {Reason.UNFINISHED, Reason.REPEATED} <= set(reasons)
