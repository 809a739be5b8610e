"""A script for the scripted engine that plays a little writer: it knows the recipes' tasks by their own prompts and answers each in kind.

Its texts are word salad in sentences and paragraphs: most pass the checks, a few (by the seed) are unfinished or repeat themselves, and a
higher number at the end of the adapter's name writes longer ones. What does not live here: streaming, tokens and stop strings (`scripted`).
"""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from selflengthen.engines.base import Request
from selflengthen.recipes import load_recipe
from selflengthen.text.count import count_words


def _words(text: str, between: str = " ") -> list[str]:
    return text.split(between)


_EN_NAMES = _words(
    "lantern window river anchor ledger compass wheel candle statue fountain lemon basket kettle cloak curtain scroll coin hammer ladder "
    "engine signal umbrella stove chimney pebble feather heron beehive drum violin poster crowd sailor baker teacher doctor farmer painter "
    "clerk widow tailor gardener bridge market harbour orchard museum quarry chapel tunnel cellar attic"
)
_EN_MARKS = _words(
    "old narrow quiet bright wooden heavy golden pale dusty broken painted hidden famous enormous gentle stubborn curious patient distant "
    "warm crooked polished forgotten cheerful lonely fragile sturdy humble ancient crowded scarlet hollow smooth damp noisy clever proud "
    "weary generous"
)
_EN_DEEDS = _words(
    "carried repaired painted guarded followed admired borrowed cleaned measured lifted described replaced protected discovered collected "
    "moved watched remembered decorated covered supported inspected surrounded greeted warmed sketched traded guided"
)
_EN_TIMES = _words(
    "In the morning;At noon;Every evening;After the storm;Long ago;Last winter;Before sunrise;On market days;Each autumn;Once a year;"
    "At midnight;Two years later;When the rain stopped;Shortly afterwards;For a whole week;Without a word",
    ";",
)
_EN_SHAPES = (
    "{T}, the {A} {N} {V} a {B} {M} near the {O}.",
    "Nobody knew why the {N} {V} the {M}, yet the {A} {O} was {B}.",
    "The {A} {N} and the {B} {M} {V} one {O} after another.",
    "{T}, people {V} the {N} because a {M} had become {A} and {B}, like an {O} of stone.",
    "Beside the {O} stood a {A} {N}; it {V} the {M} and stayed {B}.",
    "What the {N} {V}, the {M} forgot: a {A} {O}, {B} as ever.",
)
_ZH_NAMES = _words(
    "灯塔 渡口 茶馆 老街 书信 钟表 石桥 果园 船票 木匠 裁缝 画师 渔夫 祠堂 麦田 竹林 邮差 码头 瓷器 雨伞 围墙 琴师 药铺 "
    "染坊 水井 戏台 山谷 车站 阁楼 古井"
)
_ZH_MARKS = _words("古老 安静 明亮 陈旧 固执 温和 遥远 狭窄 热闹 孤单 结实 朴素 模糊 骄傲 疲倦 慷慨 潮湿 清亮 斑驳 笨重 细致 寻常")
_ZH_DEEDS = _words("守护 修补 描绘 记住 收藏 打量 追随 照亮 交换 掩盖 称赞 搬走 丈量 寻找 擦拭 端详 托付 惊动")
_ZH_TIMES = _words("清晨 正午 每到傍晚 暴雨过后 许多年前 去年冬天 日出之前 赶集的日子 入秋以后 深夜里 两年之后 雨停的时候 不久以后 整整一周")
_ZH_SHAPES = (
    "{T}，{A}的{N}{V}了一只{B}的{M}，旁边就是{O}。",
    "没有人明白{N}为何{V}那座{M}，而{A}的{O}依旧{B}。",
    "{A}的{N}同{B}的{M}一起{V}着{O}，谁也不肯先走。",
    "{T}，人们{V}{N}，因为{M}变得{A}又{B}，好像{O}一般。",
    "{O}边上有一处{A}的{N}，它{V}过{M}，却还是那样{B}。",
    "凡是{N}{V}过的，{M}都忘了，只剩{A}的{O}，{B}如初。",
)


@dataclass(frozen=True, slots=True)
class _Tongue:
    """One language the writer has words in."""

    names: list[str]
    marks: list[str]
    deeds: list[str]
    times: list[str]
    shapes: tuple[str, ...]
    space: str
    wish: str
    demand: str

    def sentence(self, dice: random.Random) -> str:
        names, marks = dice.sample(self.names, 3), dice.sample(self.marks, 2)
        words = {"N": names[0], "M": names[1], "O": names[2], "A": marks[0], "B": marks[1]}
        return dice.choice(self.shapes).format(T=dice.choice(self.times), V=dice.choice(self.deeds), **words)

    def prose(self, dice: random.Random, words: int) -> str:
        """Paragraphs of sentences, of at least `words`."""
        paragraphs: list[str] = []
        while sum(map(count_words, paragraphs)) < words:
            paragraphs.append(self.space.join(self.sentence(dice) for _ in range(dice.randint(2, 5))))
        return "\n\n".join(paragraphs)


_TONGUES = {
    "en": _Tongue(
        _EN_NAMES, _EN_MARKS, _EN_DEEDS, _EN_TIMES, _EN_SHAPES, " ", "Write about a {A} {N} and the {M} it {V}, for every {O}.", "Length: {demand}."
    ),
    "zh": _Tongue(
        _ZH_NAMES, _ZH_MARKS, _ZH_DEEDS, _ZH_TIMES, _ZH_SHAPES, "", "请写一篇长文，讲{A}的{N}怎样{V}{M}，给{O}的邻居看。", "篇幅：{demand}。"
    ),
}
_QUALITIES = ("relevance", "coherence", "accuracy", "consistency", "clarity", "creativity", "engagement")
_CHINESE = re.compile("[\u4e00-\u9fff]")


def pretend(request: Request) -> str:
    """What the little writer answers: the same for the same messages, prefill, adapter and seed."""
    asked = request.messages[-1].content
    dice = random.Random(f"{request.seed}|{request.adapter}|{request.prefill}|{[(turn.role, turn.content) for turn in request.messages]}")
    for language, tongue in _TONGUES.items():
        for task, pattern in _prompts(language).items():
            if found := pattern.fullmatch(asked):
                return _TASKS[task](tongue, dice, request, found.groupdict())
    return _write(_TONGUES["zh" if _CHINESE.search(asked) else "en"], dice, request, {})


@cache
def _prompts(language: str) -> dict[str, re.Pattern[str]]:
    """The recipe's prompts as patterns: each placeholder is a group of its name."""
    patterns = {}
    for task, template in load_recipe(language).prompts.items():
        source = re.sub(r"\\\{([a-z]+)\\\}", r"(?P<\1>.*)", re.escape(template.strip()))
        patterns[task] = re.compile(rf"\s*{source}\s*", re.DOTALL)
    return patterns


def _judge(tongue: _Tongue, dice: random.Random, _request: Request, _said: dict[str, str]) -> str:
    recipe = load_recipe("zh" if tongue is _TONGUES["zh"] else "en")
    return (recipe.no if dice.random() < 0.1 else recipe.yes)[0]


def _list(tongue: _Tongue, dice: random.Random, request: Request, _said: dict[str, str]) -> str:
    """The next item, and the one after it, as a model that runs on would write; the stop string cuts there."""
    recipe = load_recipe("zh" if tongue is _TONGUES["zh"] else "en")
    following = recipe.item_separator + recipe.label(_items(recipe.item_label, request.prefill) + 1)
    return f" {_wish(tongue, dice)}{following} {_wish(tongue, dice)}"


def _items(label: str, prefill: str) -> int:
    return len(re.findall(re.escape(label).replace(r"\{n\}", r"\d+"), prefill))


def _wish(tongue: _Tongue, dice: random.Random) -> str:
    names, deed = dice.sample(tongue.names, 3), dice.choice(tongue.deeds)
    wish = tongue.wish.format(A=dice.choice(tongue.marks), N=names[0], M=names[1], O=names[2], V=deed)
    return tongue.space.join([wish, tongue.sentence(dice)])


def _demand(tongue: _Tongue, _dice: random.Random, _request: Request, said: dict[str, str]) -> str:
    return tongue.space.join([said["instruction"].strip(), tongue.demand.format(demand=said["demand"])])


def _quality(_tongue: _Tongue, dice: random.Random, _request: Request, _said: dict[str, str]) -> str:
    return json.dumps({"analysis": "Word salad, neatly served.", **{quality: dice.randint(4, 9) for quality in _QUALITIES}})


def _extend(tongue: _Tongue, dice: random.Random, request: Request, said: dict[str, str]) -> str:
    """Longer than the draft; with a prefill, what is still missing of that."""
    wanted = int(count_words(said["draft"]) * dice.uniform(1.3, 1.9))
    return _text(tongue, dice, request, wanted)


def _write(tongue: _Tongue, dice: random.Random, request: Request, _said: dict[str, str]) -> str:
    number = re.search(r"(\d+)$", request.adapter or "")
    return _text(tongue, dice, request, int(dice.randint(100, 200) * 1.6 ** int(number[1] if number else 0)))


def _text(tongue: _Tongue, dice: random.Random, request: Request, words: int) -> str:
    """A text of about that length, the prefill counted; now and then a bad one."""
    opening = "\n\n" if request.prefill and not request.prefill.endswith("\n") else ""
    text = opening + tongue.prose(dice, max(20, words - count_words(request.prefill)))
    luck = dice.random()
    if luck < 0.06:
        return text[: len(text) * 3 // 4].rstrip(".。\n") + ("，" if tongue.space == "" else " and")
    if luck < 0.12:
        return f"{text}\n\n{text.strip()}"
    return text


_TASKS: dict[str, Callable[[_Tongue, random.Random, Request, dict[str, str]], str]] = {
    "judge": _judge,
    "instruct": _list,
    "demand": _demand,
    "quality": _quality,
    "extend": _extend,
}
