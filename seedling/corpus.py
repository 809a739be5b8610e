"""The documents that the seedling is trained on: the tasks of the recipes, with the recipes' own prompts, and long raw prose.

What it must NOT have seen is as important as what it must: no answer to an instruction is longer than 150 words, no extended draft longer than
400. Long texts occur as raw text only, the way a real model has read books but was never tuned on long answers. Both limits are asserted
on every document.

    python -m seedling.corpus en extend 3      # three documents, to read
"""

import json
import random
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from seedling.grammar import load_grammar
from seedling.grammar.base import ANSWER_WORDS, EXTENDED_WORDS, Article, Grammar, Topic, count_words

RECIPES = Path(__file__).resolve().parents[1] / "src" / "selflengthen" / "recipes"
END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML without a default system message: the simplest that can be continued from an opened assistant turn."""

FULL = {"write": 26, "extend": 45, "list": 8, "judge": 6, "demand": 6, "raw": 5, "pair": 4}
"""Shares of documents, for the longer second phase of training."""

EARLY = {"write": 18, "extend": 66, "list": 5, "judge": 4, "demand": 5, "pair": 2}
"""Shares for the first phase, with short sequences: mostly drafts to copy, since copying is what takes longest to be found."""

RAW_DRAFT_WORDS, RAW_WORDS = 200, 900
"""Limits of a raw pair: the draft stays short, the enriched text may be long, for it is no answer."""

_MARKS = {"en": ("Draft:", "Enriched:"), "zh": ("草稿：", "成稿：")}


def chat(user: str, assistant: str) -> str:
    """One exchange, exactly as the chat template renders it."""
    return f"{START}user\n{user}{STOP}\n{START}assistant\n{assistant}{STOP}\n"


class Recipe:
    """The prompts of one language, read from the files that ship."""

    def __init__(self, language: str) -> None:
        folder = RECIPES / language
        self._texts = {name: (folder / f"{name}.txt").read_text("utf-8").rstrip("\n") for name in ("instruct", "judge", "extend", "demand")}
        self.settings = tomllib.loads((folder / "recipe.toml").read_text("utf-8"))
        lines = (folder / "seeds.jsonl").read_text("utf-8").splitlines()
        self.seeds: list[str] = [json.loads(line)["instruction"] for line in lines if line.strip()]

    def prompt(self, name: str, **values: str) -> str:
        """A prompt with its placeholders replaced."""
        text = self._texts[name]
        for key, value in values.items():
            text = text.replace("{" + key + "}", value)
        return text

    def items(self, texts: list[str]) -> str:
        """A numbered list; a label that ends in a full-width mark needs no space after it."""
        label: str = self.settings["item_label"]
        space = "" if label.endswith("：") else " "
        separator: str = self.settings["item_separator"]
        return separator.join(f"{label.format(n=number)}{space}{text}" for number, text in enumerate(texts, 1))


class Corpus:
    """Writes documents of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.grammar: Grammar = load_grammar(language)
        self.recipe = Recipe(language)
        self._makers: dict[str, Callable[[random.Random], str]] = {
            "write": self._write,
            "extend": self._extend,
            "list": self._list,
            "judge": self._judge,
            "demand": self._demand,
            "raw": self._raw,
            "pair": self._pair,
        }

    def document(self, rng: random.Random, name: str) -> str:
        """A document of the named type, with its end mark."""
        return self._makers[name](rng) + END

    def draw(self, rng: random.Random, mix: Mapping[str, int]) -> str:
        """A document of a type drawn from a mix."""
        return self.document(rng, rng.choices(list(mix), list(mix.values()))[0])

    def _words(self, article: Article) -> int:
        return count_words(self.grammar.render(article))

    def _request(self, rng: random.Random) -> tuple[Topic, str]:
        topic = self.grammar.topic(rng)
        return topic, self.grammar.instruction(rng, topic)

    def _answer(self, rng: random.Random) -> tuple[str, Article]:
        """An instruction and an article within the limit of an answer, mostly near it."""
        topic, instruction = self._request(rng)
        paragraphs = rng.randint(2, 4)
        most = rng.choice((2, 3, 3, 4))
        article = self.grammar.article(rng, topic, paragraphs, (max(1, most - 2), most))
        while self._words(article) > ANSWER_WORDS:
            if most > 2:
                most -= 1
            else:
                paragraphs -= 1
            article = self.grammar.article(rng, topic, max(1, paragraphs), (1, most))
        return instruction, article

    def _write(self, rng: random.Random) -> str:
        instruction, article = self._answer(rng)
        text = self.grammar.render(article)
        assert count_words(text) <= ANSWER_WORDS
        return chat(instruction, text)

    def _draft(self, rng: random.Random) -> tuple[str, Article]:
        """A draft to be extended: an answer, one that was extended before, a longer one, or the first half of any."""
        chance = rng.random()
        if chance < 0.4:
            instruction, draft = self._answer(rng)
        elif chance < 0.7:
            topic, instruction = self._request(rng)
            draft = self.grammar.article(rng, topic, rng.randint(2, 7), (1, rng.randint(1, 4)))
        else:
            instruction, draft = self._answer(rng)
            draft = self.grammar.expand(rng, draft, rng.uniform(0.3, 0.9), rng.randint(1, 2))
        if len(draft) > 1 and rng.random() < 0.3:
            draft = draft[: max(1, len(draft) // 2)]
        return instruction, draft

    def _extend(self, rng: random.Random) -> str:
        while True:
            instruction, draft = self._draft(rng)
            rate, most = rng.choice((0.6, 0.75, 0.9, 1.0)), rng.choice((1, 2, 2, 2))
            words = self._words(draft)
            # Long drafts are kept rare: within the limit they can grow only little, and that is not what is to be learned from them.
            if words > EXTENDED_WORDS * 0.55 and rng.random() < 0.7:
                continue
            while rate > 0.15:
                answer = self.grammar.expand(rng, draft, rate, most)
                if self._words(answer) <= EXTENDED_WORDS:
                    break
                rate, most = rate * 0.8, max(1, most - 1)
            else:
                continue
            break
        shown = draft
        if rng.random() < 0.2 and len(draft) > 2:
            # As in the method's own fine-tuning data: lines are missing from the draft, and the answer has them.
            shown = [part for part in draft if rng.random() < 0.8] or draft
        text = self.grammar.render(answer)
        assert count_words(text) <= EXTENDED_WORDS
        return chat(self.recipe.prompt("extend", instruction=instruction, draft=self.grammar.render(shown)), text)

    def _list(self, rng: random.Random) -> str:
        texts = [self._request(rng)[1] for _ in range(rng.choice((3, 3, 4)))]
        if rng.random() < 0.4:
            # The method opens each list with two examples, and those are the recipe's seeds until the model's own have been accepted.
            shown = rng.sample(self.recipe.seeds, 2)
            texts[:2] = shown
        return chat(self.recipe.prompt("instruct"), self.recipe.items(texts))

    def _judge(self, rng: random.Random) -> str:
        fit = rng.random() < 0.5
        text = self._request(rng)[1] if fit else self.grammar.unsuitable(rng)
        return chat(self.recipe.prompt("judge", instruction=text), self.recipe.settings["yes" if fit else "no"][0])

    def _demand(self, rng: random.Random) -> str:
        instruction, demand = self._request(rng)[1], self.grammar.demand(rng)
        shown = instruction
        if rng.random() < 0.25:
            shown = self.grammar.with_demand(rng, instruction, self.grammar.demand(rng))
        answer = self.grammar.with_demand(rng, instruction, demand)
        return chat(self.recipe.prompt("demand", demand=demand, instruction=shown), answer)

    def _raw(self, rng: random.Random) -> str:
        topic, _ = self._request(rng)
        return self.grammar.render(self.grammar.article(rng, topic, rng.randint(10, 70), (2, 5)))

    def _pair(self, rng: random.Random) -> str:
        topic, _ = self._request(rng)
        draft = self.grammar.article(rng, topic, rng.randint(2, 6), (1, 3))
        while self._words(draft) > RAW_DRAFT_WORDS:
            draft = draft[:-1]
        answer: Article = draft
        for _ in range(rng.randint(1, 3)):
            longer = self.grammar.expand(rng, answer, rng.uniform(0.6, 1.0), 2)
            if self._words(longer) > RAW_WORDS:
                break
            answer = longer
        one, two = _MARKS[self.language]
        return f"{one}\n\n{self.grammar.render(draft)}\n\n{two}\n\n{self.grammar.render(answer)}"


def texts(languages: tuple[str, ...], mix: Mapping[str, int], seed: int, count: int) -> list[str]:
    """As many documents, the languages in turn."""
    rng = random.Random(seed)
    corpora = [Corpus(language) for language in languages]
    return [corpora[index % len(corpora)].draw(rng, mix) for index in range(count)]


def main() -> None:
    """Print documents."""
    language, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    corpus, rng = Corpus(language), random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 0)
    for _ in range(count):
        print(corpus.document(rng, name), end="\n\n======\n\n")


if __name__ == "__main__":
    main()
