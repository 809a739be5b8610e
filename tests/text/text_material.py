"""Texts that the tests of the room are made of, and the settings of the package's recipes."""

import random
import tomllib
from importlib.resources import files

from hypothesis import strategies as st

from selflengthen.text import CheckSettings, Verdict

SOUP = st.lists(
    st.sampled_from(
        [
            *("a", "b", "version", "paragraph", " ", "  ", "\n", "\r\n", "\n\n", "\t", "好", "坏", "，", "。", "“好”", "　", "！", "１"),
            *("😀", "👩‍👩‍👧", "é", "\ud83d", "\udc00", "\U00020000", "`", "```", "---", "|", "-", "x y", "你好世界", "改写后", "かな", "한글"),
        ]
    ),
    max_size=60,
).map("".join)
"""Short texts of everything that is awkward, made of few parts so that things repeat."""


@st.composite
def cut_text(draw: st.DrawFn, texts: st.SearchStrategy[str] = SOUP) -> tuple[str, list[str]]:
    """A text and a way to cut it into pieces, empty ones among them."""
    text = draw(texts)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return text, [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def long_text(draw: st.DrawFn) -> str:
    """Paragraphs of prose in several languages, some repeated, looping, monotonous or in code."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    kinds = {
        "en": lambda: english(rng, 40),
        "zh": lambda: chinese(rng, 90),
        "same": lambda: "The same sentence of more than ten words comes again and again in here.",
        "code": lambda: "```\n" + "x = y\n" * rng.randint(1, 9) + "```",
        "loop": lambda: rng.choice(["a", "ab", "-", "好", "\n", "😀", "=-"]) * rng.randint(1, 400),
        "poor": lambda: " ".join(rng.choices(["one", "two", "red"], k=60)),
        "mixed": lambda: "甲乙丙 abc 丁戊己，price 100 " * rng.randint(1, 6),
        "talk": lambda: rng.choice(["a version", "草稿。", "conversion"]),
    }
    return "\n\n".join(kinds[kind]() for kind in draw(st.lists(st.sampled_from(sorted(kinds)), max_size=9)))


def settings_of(language: str) -> CheckSettings:
    """The checks of a recipe of the package."""
    table = tomllib.loads((files("selflengthen.recipes") / language / "recipe.toml").read_text(encoding="utf-8"))
    return CheckSettings(language=language, **table["checks"])


def fed(check, pieces) -> Verdict | None:
    """What a check says of a text that arrives in these pieces, stopped at its first verdict."""
    for piece in pieces:
        verdict = check.feed(piece)
        if verdict is not None:
            return verdict
    return check.finish()


def first_verdict(check, text: str) -> tuple[int, Verdict | None]:
    """After how many characters a check fed one by one says something; the length of the text and one more when only the end tells."""
    for i, character in enumerate(text):
        verdict = check.feed(character)
        if verdict is not None:
            return i + 1, verdict
    return len(text) + 1, check.finish()


def english(rng: random.Random, words: int) -> str:
    """Varied prose of about this many words."""
    stock = ["".join(rng.choices("etaoinshrdlucmfwypvbgk", k=rng.randint(2, 9))) for _ in range(1200)]
    sentences = []
    while words > 0:
        size = min(words, rng.randint(6, 18))
        sentences.append(" ".join(rng.choices(stock, k=size)).capitalize() + ".")
        words -= size
    return " ".join(sentences)


def chinese(rng: random.Random, characters: int) -> str:
    """Varied prose of about this many characters."""
    stock = [chr(0x4E00 + 11 * i) for i in range(1500)]
    sentences = []
    while characters > 0:
        size = min(characters, rng.randint(8, 24))
        sentences.append("".join(rng.choices(stock, k=size // 2)) + "，" + "".join(rng.choices(stock, k=size - size // 2)) + "。")
        characters -= size
    return "".join(sentences)
