"""The documents: the recipes' own prompts, and the two limits that the whole experiment rests on."""

import random

import numpy as np
import pytest
from seedling.grammar.base import ANSWER_WORDS, EXTENDED_WORDS, count_words

from seedling import corpus, train

CHAT = ["write", "extend", "list", "judge", "demand"]


@pytest.fixture(scope="module", params=["en", "zh"])
def writer(request):
    return corpus.Corpus(request.param)


def split(document):
    user, _, answer = document.partition(f"{corpus.START}assistant\n")
    return user.removeprefix(f"{corpus.START}user\n").removesuffix(f"{corpus.STOP}\n"), answer.removesuffix(f"{corpus.STOP}\n{corpus.END}")


@pytest.mark.parametrize(("name", "limit"), [("write", ANSWER_WORDS), ("extend", EXTENDED_WORDS)])
def test_no_answer_is_longer_than_the_limit(writer, name, limit):
    rng = random.Random(0)
    sizes = [count_words(split(writer.document(rng, name))[1]) for _ in range(200)]
    assert max(sizes) <= limit
    assert min(sizes) > 10


def test_an_extension_is_longer_than_its_draft(writer):
    rng = random.Random(1)
    gains = []
    for _ in range(100):
        user, answer = split(writer.document(rng, "extend"))
        gains.append(count_words(answer) / count_words(user.split("\n\n", 2)[2]))
    assert sorted(gains)[50] > 1.6


def test_the_judge_says_the_words_of_the_recipe(writer):
    rng = random.Random(2)
    words = {split(writer.document(rng, "judge"))[1] for _ in range(60)}
    assert words == {writer.recipe.settings["yes"][0], writer.recipe.settings["no"][0]}


def test_no_placeholder_is_left(writer):
    rng = random.Random(3)
    for name in CHAT:
        assert not any(mark in writer.document(rng, name) for mark in ("{instruction}", "{draft}", "{demand}", "{n}"))


def test_list_items_carry_their_labels(writer):
    _, answer = split(writer.document(random.Random(4), "list"))
    label = writer.recipe.settings["item_label"]
    lines = answer.split("\n")
    assert 3 <= len(lines) <= 4
    assert all(line.startswith(label.format(n=number)) for number, line in enumerate(lines, 1))


def test_documents_depend_on_the_seed_alone():
    one, two = (corpus.texts(("en", "zh"), corpus.FULL, 5, 20) for _ in range(2))
    assert one == two
    assert one != corpus.texts(("en", "zh"), corpus.FULL, 6, 20)


def test_any_text_comes_back_from_the_tokenizer(tmp_path):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    train.make_tokenizer(tmp_path, 1024, ("en", "zh"), 200)
    # AutoTokenizer goes by the model's type, and may bring a pre-tokenizer of its own: the tokens must not depend on it.
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}', "utf-8")
    loaded, plain = AutoTokenizer.from_pretrained(tmp_path), Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    strange = "你好，世界！“Ünïcode”\n\n\n  1234 — 🙂\tthe lantern"
    for text in [strange, *corpus.texts(("en", "zh"), corpus.FULL, 9, 30)]:
        ids = loaded(text).input_ids
        assert loaded.decode(ids) == text
        assert ids == plain.encode(text).ids
    assert (loaded.eos_token, loaded.pad_token, loaded.model_max_length) == (corpus.STOP, corpus.END, 4096)
    turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    assert loaded.apply_chat_template(turns, tokenize=False) == corpus.chat("u", "a")


def test_the_budget_covers_both_phases():
    names = [phase.name for phase, _ in train.budgeted(train.Plan().phases, 1.0, 10)]
    assert names == ["copy"] * 4 + ["full"] * 6


def test_a_shard_is_tokens(tmp_path):
    train.make_tokenizer(tmp_path, 1024, ("en",), 50)
    found = train.shard((str(tmp_path / "tokenizer.json"), ("en",), corpus.EARLY, 1, 5))
    assert found.dtype == np.uint16
    assert len(found) > 500
