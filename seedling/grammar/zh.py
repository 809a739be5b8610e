"""Chinese for the seedling: topics, instructions, articles and their longer versions.

Prose is a walk over nouns. Each sentence is about the noun that the last one ended on and ends on another one; the first sentence of a
paragraph returns to the topic. The nouns have fields (buildings, animals, tools, ...), and verbs, adjectives, measure words and patterns
are chosen by field, so that what is said is odd at times but never broken.
"""

import random

from seedling.grammar.base import KINDS, Article, Grammar, Sentence, Topic, split_paragraphs
from seedling.grammar.zh_words import Pieces, lexicon
from seedling.grammar.zh_writer import Writer, made

PARAGRAPH = 5
"""Most sentences of a paragraph after expansion."""
LEAST_REQUEST, MOST_REQUEST = 15, 60
AHEAD = 6
"""How many of the coming sentences an inserted one takes care not to anticipate."""

_DIGITS = "零一二三四五六七八九"


def numeral(n: int) -> str:
    """A number from 50 to 9,950 in steps of 50, as Chinese writes it."""
    thousands, rest = divmod(n, 1000)
    hundreds, rest = divmod(rest, 100)
    out = ("两" if thousands == 2 else _DIGITS[thousands]) + "千" if thousands else ""
    if hundreds:
        out += ("两" if hundreds == 2 and not thousands else _DIGITS[hundreds]) + "百"
    if rest:
        out += ("" if hundreds or not thousands else "零") + _DIGITS[rest // 10] + "十"
    return out


class Chinese(Grammar):
    """The Chinese grammar."""

    language = "zh"

    def topic(self, rng: random.Random, kind: str | None = None) -> Topic:
        words = lexicon()
        kind = kind or rng.choice(KINDS)
        subject = rng.choice(words.by_field[rng.choice(words.subjects[kind])])
        return Topic(
            kind=kind,
            form=rng.choice(words.forms[kind]),
            subject=subject.text,
            place=rng.choice(words.lists["places"]),
            person=rng.choice(words.lists["receivers"]),
            audience=rng.choice(words.lists["readers"]),
        )

    # Requests.

    def instruction(self, rng: random.Random, topic: Topic) -> str:
        requests = lexicon().requests["instructions"]
        own = requests.get(topic.form) or requests[topic.kind]
        while True:
            pieces = rng.choice(own if rng.random() < (0.85 if topic.form in requests else 0.5) else requests["any"])
            text = self._request(rng, pieces, topic)
            if LEAST_REQUEST <= len(text) <= MOST_REQUEST:
                return text

    def _request(self, rng: random.Random, pieces: Pieces, topic: Topic) -> str:
        words = lexicon()
        noun = words.nouns[topic.subject]
        one, two = rng.sample(words.lists["aspects"], 2)
        adjective = rng.choice(words.field_slots[noun.field]["a"])
        values = {
            "Y": topic.place,
            "s": noun.text,
            "N": f"一{noun.measure}{noun.text}" if rng.random() < 0.5 else f"一{noun.measure}{adjective}的{noun.text}",
            "f": topic.form,
            "g": topic.audience,
            "Z": topic.person,
            "A": one,
            "B": two,
            "R": rng.choice(words.lists["roles"]),
            "L": rng.choice(words.lists["styles"]),
            "M": rng.choice(words.lists["occasions"]),
        }
        return "".join(values[piece] if i % 2 else piece for i, piece in enumerate(pieces))

    def unsuitable(self, rng: random.Random) -> str:
        words = lexicon()
        noun, other = rng.sample(list(words.nouns.values()), 2)
        values = {
            "x": str(rng.randint(20, 99)),
            "y": str(rng.randint(2, 19)),
            "s": noun.text,
            "t": other.text,
            "N": f"一{noun.measure}{noun.text}",
            "c": rng.choice(noun.text),
            "a": rng.choice(words.field_slots[noun.field]["a"]),
            "w": rng.choice(words.field_slots[noun.field]["v"]),
            "Y": rng.choice(words.lists["places"]),
        }
        pieces = rng.choice(words.requests["unsuitable"]["any"])
        return "".join(values[piece] if i % 2 else piece for i, piece in enumerate(pieces))

    # Articles.

    def article(self, rng: random.Random, topic: Topic, paragraphs: int, sentences: tuple[int, int]) -> Article:
        frames = lexicon().frames
        openings, starts, closings = frames["openings"], frames["paragraphs"], frames["closings"]
        writer = Writer(rng, topic.kind, topic)
        article: Article = []
        # Drawn without replacement: the same start with the same topic would be the same thirteen characters again.
        unused = {name: rng.sample(starts[name], len(starts[name])) for name in (topic.kind, "general")}
        for number in range(paragraphs):
            count = rng.randint(*sentences)
            closing = number == paragraphs - 1 and (number > 0 or count > 1)
            paragraph: list[Sentence] = []
            if number == 0:
                paragraph.append(writer.frame(openings.get(topic.form) or openings[topic.kind]))
            elif count > closing:
                pool = unused[topic.kind if rng.random() < 0.3 else "general"] or unused["general"]
                paragraph.append(writer.frame([pool.pop()]) if pool else writer.about(article[-1][-1].noun))
            while len(paragraph) < count - closing:
                paragraph.append(writer.about(paragraph[-1].noun))
            if closing:
                paragraph.append(writer.frame(closings.get(topic.form) or closings[topic.kind], final=True))
            article.append(paragraph)
        return article

    def expand(self, rng: random.Random, article: Article, rate: float, most: int) -> Article:
        given = [sentence for paragraph in article for sentence in paragraph]
        kind = made(given[0]).kind if given else ""
        writer = Writer(rng, kind, None, given)
        longer: Article = []
        place = 0
        for paragraph in article:
            current: list[Sentence] = []
            for sentence in paragraph:
                place += 1
                current.append(sentence)
                writer.passed(sentence)
                # A closing stays last: it is what tells a reader, and the model, that the text is over.
                if made(sentence).final or rng.random() >= rate:
                    continue
                writer.look_ahead(given[place : place + AHEAD])
                noun = sentence.noun
                for _ in range(rng.randint(1, most)):
                    detail = writer.about(noun)
                    current.append(detail)
                    noun = detail.noun
            longer += split_paragraphs(current, PARAGRAPH)
        return longer

    def render(self, article: Article) -> str:
        return "\n\n".join("".join(sentence.text for sentence in paragraph) for paragraph in article)

    # Length demands.

    def demand(self, rng: random.Random) -> str:
        kind = rng.choice(("about", "range", "above", "below"))
        low = rng.choice((100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1000, 1200, 1500, 2000))
        high = low + rng.choice((50, 100, 150, 200, 300, 400) if low < 1000 else (500, 1000))
        write = numeral if rng.random() < 0.5 else str
        pieces = rng.choice(lexicon().requests["demands"][kind])
        values = {"n": write(low), "m": write(high)}
        return "".join(values[piece] if i % 2 else piece for i, piece in enumerate(pieces))

    def with_demand(self, rng: random.Random, instruction: str, demand: str) -> str:
        if "一篇" in instruction and rng.random() < 0.35:
            return instruction.replace("一篇", f"一篇{demand}的", 1)
        forms = lexicon().requests["with_demand"]["any"]
        # A question keeps its mark.
        pieces = rng.choice([p for p in forms if "i" not in p[1::2]] if instruction.endswith("？") else forms)
        values = {"I": instruction, "i": instruction.rstrip("。！？"), "d": demand}
        return "".join(values[piece] if i % 2 else piece for i, piece in enumerate(pieces))
