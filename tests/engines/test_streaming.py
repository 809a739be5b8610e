"""Text out of tokens, and stop strings: whole characters only, nothing lost, nothing said that must not be."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from selflengthen.engines.embedded.streaming import BROKEN, HOPELESS, TextStream
from selflengthen.engines.stops import StopGuard
from tiny_models import CORPUS

TEXT = "渡口的船已经走远了，茶馆还亮着灯。 The harbour 😀👩‍🚀 été — “quiet”\n\n第三段：𠮷野家 ends."


def byte_level() -> Tokenizer:
    """Bytes as tokens, as Qwen and Llama 3 have them: nearly every Chinese character of TEXT spans several."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS[:2], trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
    return tokenizer


def byte_fallback() -> Tokenizer:
    """Words with a leading mark and bytes for the rest, as Llama 2 and Mistral have them."""
    words = ["▁The", "▁harbour", "▁", "quiet", "渡", "口", "ends", "."]
    vocabulary = {token: place for place, token in enumerate([*(f"<0x{byte:02X}>" for byte in range(256)), *words])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def streamed(tokenizer: Tokenizer, ids: list[int], before: list[int]) -> list[str]:
    stream = TextStream(tokenizer.decode, before)
    return [stream.push(token) for token in ids]


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_whole_characters_and_nothing_lost(make):
    tokenizer = make()
    ids = tokenizer.encode(TEXT * 3).ids
    pieces = streamed(tokenizer, ids, tokenizer.encode("assistant").ids)
    assert "".join(pieces) == TEXT * 3
    assert BROKEN not in "".join(pieces)
    assert sum(map(bool, pieces)) > 60, "not streamed"


def test_a_leading_blank_after_the_prompt_survives():
    tokenizer = byte_fallback()
    ids = [tokenizer.token_to_id("▁The"), tokenizer.token_to_id("▁harbour")]
    assert streamed(tokenizer, ids, [tokenizer.token_to_id("ends")]) == [" The", " harbour"]


def test_half_a_character_at_the_end_is_not_said():
    tokenizer = byte_level()
    ids = tokenizer.encode("口😀").ids
    assert "".join(streamed(tokenizer, ids[:-1], [])) == "口"


def test_broken_bytes_do_not_stop_the_stream_nor_grow_the_window():
    tokenizer = byte_level()
    dice = random.Random(0)
    noise = [dice.randrange(tokenizer.get_vocab_size()) for _ in range(3000)]
    seen = []

    def decode(window: list[int]) -> str:
        seen.append(len(window))
        return tokenizer.decode(window)

    stream = TextStream(decode, [])
    text = "".join(stream.push(token) for token in noise)
    whole = tokenizer.decode(noise)
    assert text == whole[: len(text)]
    assert len(whole) - len(text) < HOPELESS
    assert max(seen) <= HOPELESS + 1


def test_only_broken_bytes_are_still_let_through():
    """A model that writes continuation bytes for ever must not make the window grow."""
    tokenizer = byte_level()
    half = tokenizer.token_to_id("Ģ")
    pieces = streamed(tokenizer, [half] * 200, [])
    assert len("".join(pieces)) > 150


PIECES = st.lists(st.text("ab-\n", max_size=4), max_size=12)
STOPS = st.lists(st.text("ab-\n", min_size=1, max_size=4), max_size=3)


@given(PIECES, STOPS)
def test_text_ends_before_the_first_stop_string_however_it_is_cut(pieces, stops):
    guard, said = StopGuard(stops), []
    for piece in pieces:
        said.append(guard.push(piece))
        assert not any(stop in "".join(said) for stop in stops)
        if guard.hit:
            break
    said.append(guard.rest())
    text = "".join(pieces)
    # The first stop string is the one that is complete first; of those complete at once, the one that begins first.
    ends = sorted((text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text)
    if not ends:
        assert "".join(said) == text
    else:
        assert guard.hit
        assert text.startswith("".join(said))
        assert len("".join(said)) <= ends[0][1]


def test_text_is_held_back_only_while_it_may_begin_a_stop_string():
    guard = StopGuard(["---"])
    assert [guard.push(piece) for piece in ("a-", "-", "b", "-", "--c")] == ["a", "", "--b", "", ""]
    assert guard.hit


def test_no_stop_strings_hold_nothing_back():
    assert StopGuard([]).push("a\n\n\n") == "a\n\n\n"
