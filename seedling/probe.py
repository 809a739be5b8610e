"""Looks at a trained seedling: samples of every task in both languages, and the figures that say whether the method can start from it.

    python -m seedling.probe OUT [--count 64] [--show 1] [--json figures.json]

Plain `generate` of transformers with the method's decoding, one extension round as the method does it (half, then whole with the first
two thirds of that as a prefill). The requests come from seeds that training does not use.
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

from seedling.corpus import Corpus
from seedling.grammar.base import count_words, distinct_3, repeats, units

ENDINGS = {"en": ".!?\"')", "zh": "。！？…”’」』）》"}


class Probe:
    """A trained folder and one language."""

    def __init__(self, folder: Path, language: str, seed: int, most: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(self.device).eval()
        self.language, self.most = language, most
        self.corpus = Corpus(language)
        self.rng = random.Random(f"probe {language} {seed}")
        torch.manual_seed(seed)
        self.tokens = 0

    def answers(self, prompts: list[tuple[str, str]], most: int | None = None, stop: str | None = None) -> list[str | None]:
        """Answers to (user turn, opened answer); None where no end came before the limit."""
        texts = [
            self.tokenizer.apply_chat_template([{"role": "user", "content": user}], add_generation_prompt=True, tokenize=False) + opened
            for user, opened in prompts
        ]
        found: list[str | None] = []
        for start in range(0, len(texts), 128):
            inputs = self.tokenizer(texts[start : start + 128], return_tensors="pt", padding=True, add_special_tokens=False).to(self.device)
            inputs.pop("token_type_ids", None)
            options: dict[str, Any] = {"stop_strings": [stop], "tokenizer": self.tokenizer} if stop else {}
            sampling: dict[str, Any] = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20}
            with self.torch.inference_mode():
                out = self.model.generate(**inputs, max_new_tokens=most or self.most, repetition_penalty=1.1, **sampling, **options)
            for row in out[:, inputs["input_ids"].shape[1] :].tolist():
                ended = self.tokenizer.eos_token_id in row
                ids = row[: row.index(self.tokenizer.eos_token_id)] if ended else [each for each in row if each != self.tokenizer.pad_token_id]
                self.tokens += len(ids)
                text = self.tokenizer.decode(ids).strip()
                stopped = stop is not None and stop in text
                found.append(text.partition(stop)[0].strip() if stopped and stop else text if ended else None)
        return found

    def passes(self, text: str | None) -> bool:
        """Whether a text ended well and repeats no n-gram."""
        return bool(text) and text[-1] in ENDINGS[self.language] and not repeats(text, self.language)  # type: ignore[index,arg-type]

    def requests(self, count: int) -> list[str]:
        """Requests from the grammar."""
        return [self.corpus.grammar.instruction(self.rng, self.corpus.grammar.topic(self.rng)) for _ in range(count)]

    def list_items(self, count: int) -> tuple[list[str], dict[str, float]]:
        """Instructions that the model adds to a list of two."""
        recipe, pool = self.corpus.recipe, self.requests(20)
        label = str(recipe.settings["item_label"])
        prompts = []
        for _ in range(count):
            shown = recipe.items(self.rng.sample(pool, 2)) + recipe.settings["item_separator"] + label.format(n=3)
            prompts.append((recipe.prompt("instruct"), shown))
        found = self.answers(prompts, 120, label.format(n=4))
        valid = [text for text in found if text and 3 < count_words(text) < 200 and "\n" not in text]
        near = [max(overlap(one, other, self.language) for other in [*pool, *valid] if other is not one) for one in valid]
        fresh = sum(value < 0.7 for value in near) / max(1, count)
        return valid, {"valid": len(valid) / count, "distinct": len(set(valid)) / count, "nearest_below_0.7": fresh}

    def judged(self, count: int, valid: list[str]) -> dict[str, float]:
        """Accuracy of the judge on grammar requests, and how many of the model's own instructions it accepts."""
        grammar, recipe = self.corpus.grammar, self.corpus.recipe
        yes, no = recipe.settings["yes"][0], recipe.settings["no"][0]
        cases = [(text, yes) for text in self.requests(count)] + [(grammar.unsuitable(self.rng), no) for _ in range(count)]
        found = self.answers([(recipe.prompt("judge", instruction=text), "") for text, _ in cases], 8)
        own = self.answers([(recipe.prompt("judge", instruction=text), "") for text in valid], 8) if valid else []
        right = sum(answer == wanted for answer, (_, wanted) in zip(found, cases, strict=True)) / len(cases)
        return {"accuracy": right, "accepts_own": sum(answer == yes for answer in own) / max(1, len(own))}

    def summary(self, texts: list[str | None]) -> dict[str, float]:
        """Figures of some texts."""
        ended = [text for text in texts if text]
        return {
            "ended": len(ended) / max(1, len(texts)),
            "pass": sum(self.passes(text) for text in texts) / max(1, len(texts)),
            "words": sum(map(count_words, ended)) / max(1, len(ended)),
            "distinct_3": sum(distinct_3(text, self.language) for text in ended) / max(1, len(ended)),
        }

    def extended(self, asked: list[str], drafts: list[str]) -> list[str | None]:
        """One round of the method's extension, over all drafts at once."""
        recipe = self.corpus.recipe
        halves = []
        for draft in drafts:
            parts = draft.split("\n\n")
            halves.append("\n\n".join(parts[: max(1, len(parts) // 2)]))
        first = self.answers([(recipe.prompt("extend", instruction=q, draft=half), "") for q, half in zip(asked, halves, strict=True)])
        opened = []
        for text in first:
            parts = (text or "").split("\n\n")
            kept = parts[: len(parts) * 2 // 3]
            opened.append("\n\n".join(kept) + "\n\n" if kept else "")
        prompts = [(recipe.prompt("extend", instruction=q, draft=draft), opening) for q, draft, opening in zip(asked, drafts, opened, strict=True)]
        second = self.answers(prompts)
        return [opening + text if text else None for opening, text in zip(opened, second, strict=True)]

    def demands(self, count: int) -> tuple[list[str], dict[str, float]]:
        """Requests with a length written in: whether the numbers of the demand are there, and most of the request."""
        grammar, recipe = self.corpus.grammar, self.corpus.recipe
        asked, wanted = self.requests(count), [grammar.demand(self.rng) for _ in range(count)]
        prompts = [(recipe.prompt("demand", instruction=q, demand=d), "") for q, d in zip(asked, wanted, strict=True)]
        found = [text or "" for text in self.answers(prompts, 200)]
        kept = sum(d in text for d, text in zip(wanted, found, strict=True)) / count
        near = sum(overlap(q, text, self.language) for q, text in zip(asked, found, strict=True)) / count
        return found, {"demand_present": kept, "request_kept": near}


def overlap(one: str, other: str, language: str) -> float:
    """ROUGE-L: the longest common subsequence, as F1 over words (English) or characters (Chinese)."""
    a, b = units(one, language), units(other, language)
    row = [0] * (len(b) + 1)
    for unit in a:
        left = 0
        for index, each in enumerate(b, 1):
            above = row[index]
            row[index] = left + 1 if unit == each else max(above, row[index - 1])
            left = above
    return 2 * row[-1] / max(1, len(a) + len(b))


def look(probe: Probe, count: int, show: int, rounds: int) -> dict[str, Any]:
    """All tasks of one language, printed, and their figures."""
    began = time.perf_counter()
    valid, listed = probe.list_items(count)
    figures: dict[str, Any] = {"list": listed, "judge": probe.judged(count, valid)}
    asked = probe.requests(count)
    drafts = probe.answers([(text, "") for text in asked])
    figures["write"] = probe.summary(drafts)
    examples, figures["demand"] = probe.demands(count)
    print(f"\n## {probe.language}\n\nlist:", *valid[: 3 * show], "\ndemand:", *examples[: 3 * show], sep="\n- ")
    good = [(q, text) for q, text in zip(asked, drafts, strict=True) if text and probe.passes(text)]
    for q, text in good[:show]:
        print(f"\nwrite: {q}\n\n{text}")
    current = dict(good)
    for number in range(1, rounds + 1):
        longer = probe.extended(list(current), list(current.values()))
        pairs = [(q, old, new) for (q, old), new in zip(current.items(), longer, strict=True)]
        grown = [(q, new) for q, old, new in pairs if probe.passes(new) and new and count_words(new) > count_words(old)]
        ratio = [count_words(new) / count_words(old) for _, old, new in pairs if new]
        kept = [share_kept(old, new) for _, old, new in pairs if new]
        figures[f"extend_{number}"] = probe.summary(longer) | {
            "gain": sum(ratio) / max(1, len(ratio)),
            "accepted": len(grown) / max(1, len(pairs)),
            "draft_kept": sum(kept) / max(1, len(kept)),
        }
        current |= dict(grown)
        for q, _ in good[:show]:
            print(f"\nextended, round {number}:\n\n{current[q]}")
    figures["words_after_extension"] = sum(map(count_words, current.values())) / max(1, len(current))
    figures["seconds"] = round(time.perf_counter() - began, 1)
    figures["tokens_per_second"] = round(probe.tokens / (time.perf_counter() - began))
    return figures


def share_kept(draft: str, text: str) -> float:
    """Share of the draft's sentences that stand in the text word for word."""
    sentences = [part for part in draft.replace("。", "。\n").replace(". ", ".\n").split("\n") if part.strip()]
    return sum(part.strip() in text for part in sentences) / max(1, len(sentences))


def main() -> None:
    """Look at a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", nargs="+", default=["en", "zh"])
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--show", type=int, default=1, help="samples of each task to print")
    parser.add_argument("--rounds", type=int, default=2, help="extension rounds")
    parser.add_argument("--most", type=int, default=1500, help="new tokens at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = {}
    for language in options.languages:
        probe = Probe(options.folder, language, options.seed, options.most)
        figures[language] = look(probe, options.count, options.show, options.rounds)
    text = json.dumps(figures, indent=1, default=lambda value: round(value, 3))
    print(text)
    if options.json:
        options.json.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
