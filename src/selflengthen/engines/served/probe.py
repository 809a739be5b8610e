"""What a server can do, found out by asking it: tiny requests, each for one question. Nothing is assumed from a server's name.

Whether an answer that is begun is really continued cannot be seen in what the model says, but in what it is given: a template that closes the
begun turn and opens another adds tokens, and servers tell how many tokens a prompt has. What does not live here: recognising a model (`identity`).
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selflengthen.engines.base import Request, RequestRefused
from selflengthen.engines.embedded.dialogue import Dialogue
from selflengthen.engines.served.endpoint import Endpoint
from selflengthen.engines.served.faults import Busy, Faulty, Lost, ServerFault
from selflengthen.engines.served.wire import EXTRAS, Mode, chat_fields, read_answer, sampling_fields, stream_fields
from selflengthen.errors import EngineError
from selflengthen.records import Message, Sampling

QUESTION = (Message(role="user", content="Write a few words about a lamp, and about the sea: 灯与海。"),)
MARKER_TOKENS = 1.5
"""Closing a turn and opening another takes more tokens than this in every template."""
LISTED = 6
"""Names that are told of a list of models."""


@dataclass(frozen=True, slots=True)
class Card:
    """A model that a server lists."""

    name: str
    parent: str | None = None
    root: str | None = None
    context_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server can do."""

    mode: Mode | None
    """How an answer that is begun is asked for; None: it cannot be, for the reason in `refusal`."""
    refusal: str
    extras: frozenset[str]
    loads_adapters: bool
    """While it runs, from a folder that it can read too."""
    seed: bool
    notes: tuple[str, ...]
    """What it cannot do, for people."""


async def cards(endpoint: Endpoint) -> list[Card]:
    """The models a server lists. None when it has no such list."""
    try:
        body = await endpoint.get("models")
    except (Lost, RequestRefused):
        return []
    try:
        found = json.loads(body)["data"]
        return [Card(each["id"], each.get("parent"), each.get("root"), each.get("max_model_len") or each.get("context_length")) for each in found]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise EngineError(
            f"{endpoint.url}/models does not answer as an OpenAI-compatible server does; does the URL end where the API begins?"
        ) from None


def choose_card(found: Sequence[Card], wanted: str, model: str, url: str) -> Card:
    """The base model to ask: the one that is wanted by name, or called like the model's path, or the only one."""
    by_name = {card.name: card for card in found}
    bases = [card for card in found if not card.parent]
    if wanted:
        if found and wanted not in by_name:
            raise EngineError(f"{url} has no model {wanted!r} (engine.served_name); it has {_names(found)}")
        return by_name.get(wanted, Card(wanted))
    if model in by_name:
        return by_name[model]
    if len(bases) == 1:
        return bases[0]
    raise EngineError(f"{url} serves {_names(found) or 'no model that it lists'}; name the one to use in engine.served_name")


def _names(found: Sequence[Card]) -> str:
    return ", ".join(card.name for card in found[:LISTED]) + (f" and {len(found) - LISTED} more" if len(found) > LISTED else "")


class Probe:
    """Asks one server. `dialogue` is the tokenizer of `model.path`, None with the reason in `no_dialogue`."""

    def __init__(self, endpoint: Endpoint, name: str, dialogue: Dialogue | None, no_dialogue: str = "") -> None:
        self._endpoint, self._name = endpoint, name
        self._dialogue, self._no_dialogue = dialogue, no_dialogue

    async def abilities(self, wanted: str) -> Abilities:
        """All of it. `wanted`: auto, or the mode to be used."""
        mode, refusal = await self._mode(wanted)
        asked = mode or Mode.CHAT
        extras = await self._extras(asked) if mode else frozenset[str]()
        seed = await self._keeps_seed(asked, extras) if "seed" in extras else False
        notes = [f"the server takes no {name}: texts are drawn without it" for name in ("top_k", "repetition_penalty") if mode and name not in extras]
        if mode and not seed:
            notes.append("the server does not keep to a seed: a run that is done again will have other texts")
        return Abilities(mode, refusal, extras, await self._loads_adapters(), seed, tuple(notes))

    # -- how an answer is continued -------------------------------------------------------------------------------------------------

    async def _mode(self, wanted: str) -> tuple[Mode | None, str]:
        """The mode, or why there is none. Both are tried when none is wanted, the exact one first."""
        why = []
        if wanted in {"auto", Mode.COMPLETIONS}:
            if not (fault := await self._completions_fault()):
                return Mode.COMPLETIONS, ""
            why.append(f"completions: {fault}")
        if wanted in {"auto", Mode.CHAT}:
            if not (fault := await self._chat_fault(sure=wanted == "auto")):
                return Mode.CHAT, ""
            why.append(f"chat: {fault}")
        return None, "; ".join(why)

    async def _completions_fault(self) -> str | None:
        """What keeps us from sending token ids."""
        if self._dialogue is None:
            return self._no_dialogue
        ids = self._ids("")
        try:
            piece, _ = read_answer(await self._ask(Mode.COMPLETIONS, {"prompt": ids, "max_tokens": 1}))
        except (ServerFault, RequestRefused) as fault:
            return f"token ids are not taken ({fault})"
        if piece.prompt_tokens not in {None, len(ids)}:
            return f"the server counts {piece.prompt_tokens} tokens where {len(ids)} were sent"
        theirs = await self._chat_count("")
        if theirs is not None and theirs != len(ids):
            return f"the tokenizer of model.path is not the server's: it counts {theirs} tokens where ours makes {len(ids)}"
        return None

    async def _chat_fault(self, *, sure: bool) -> str | None:
        """What keeps us from `continue_final_message`. `sure`: a server that tells no token counts will not do."""
        short, long = "a" + " a" * 7, "a" + " a" * 15  # every tokenizer has these two tokens
        try:
            plain, eight, sixteen = [await self._chat_count(opening, strict=True) for opening in ("", short, long)]
        except (ServerFault, RequestRefused) as fault:
            return f"continue_final_message is not taken ({fault})"
        if plain is None or eight is None or sixteen is None:
            return "the server tells no token counts, so whether it continues an answer cannot be known" if sure else None
        added = eight - plain - (sixteen - eight)
        if sixteen <= eight:
            return "the server leaves out an answer that has begun"
        return None if added <= MARKER_TOKENS else f"the server closes the answer and begins another ({added} tokens more)"

    async def _chat_count(self, opening: str, *, strict: bool = False) -> int | None:
        """Tokens of a chat with an answer that begins so; None when it does not tell, or (not strict) does not answer."""
        try:
            piece, _ = read_answer(await self._ask(Mode.CHAT, {**chat_fields(QUESTION, opening), "max_tokens": 1}))
        except (ServerFault, RequestRefused):
            if strict:
                raise
            return None
        return piece.prompt_tokens

    # -- what else it takes -----------------------------------------------------------------------------------------------------------

    async def _extras(self, mode: Mode) -> frozenset[str]:
        """The fields beyond the protocol that it takes: all, or each that it takes by itself."""
        if await self._takes(mode, frozenset(EXTRAS)):
            return frozenset(EXTRAS)
        taken: frozenset[str] = frozenset()
        for extra in EXTRAS:
            if await self._takes(mode, taken | {extra}):
                taken |= {extra}
        return taken

    async def _takes(self, mode: Mode, extras: frozenset[str]) -> bool:
        stop_ids = sorted(self._dialogue.end_of_turn()) if self._dialogue else []
        body = {**self._prompt(mode), **sampling_fields(Sampling(max_tokens=1), 1, stop_ids, extras), **stream_fields(extras), "max_tokens": 1}
        try:
            await self._ask(mode, body)
        except RequestRefused:
            return False
        return True

    async def _keeps_seed(self, mode: Mode, extras: frozenset[str]) -> bool:
        """Whether the same seed says the same twice."""
        body = {**self._prompt(mode), **sampling_fields(Sampling(temperature=1.0, top_p=1.0, top_k=0), 7, [], extras), "max_tokens": 16}
        said = [read_answer(await self._ask(mode, body))[0].text for _ in range(2)]
        return said[0] == said[1]

    async def _loads_adapters(self) -> bool:
        """Whether it has the door by which adapters come in: it then complains of a call that names none."""
        try:
            await self._endpoint.post("load_lora_adapter", {})
        except RequestRefused as refused:
            return refused.detail.startswith(("400", "422"))
        except ServerFault:
            return False
        return True

    # -- asking -----------------------------------------------------------------------------------------------------------------------

    def _prompt(self, mode: Mode) -> dict[str, Any]:
        return {"prompt": self._ids("")} if mode is Mode.COMPLETIONS else chat_fields(QUESTION, "")

    def _ids(self, opening: str) -> list[int]:
        assert self._dialogue is not None
        return self._dialogue.encode(self._dialogue.prompt(Request(QUESTION, Sampling(), 0, prefill=opening)))

    async def _ask(self, mode: Mode, body: Mapping[str, Any]) -> bytes:
        """The answer's body; a server that is busy is asked again."""
        return await patiently(self._endpoint, mode.path, {"model": self._name, "temperature": 0, **body})


async def patiently(endpoint: Endpoint, path: str, body: Mapping[str, Any], tries: int = 6) -> bytes:
    """POST, again after a pause while the server is busy, and once when something goes wrong."""
    wrong = 0
    for attempt in range(tries):
        try:
            return await endpoint.post(path, body)
        except (Busy, Faulty) as fault:
            wrong += isinstance(fault, Faulty)
            if attempt == tries - 1 or wrong > 1:
                raise
            said = fault.seconds if isinstance(fault, Busy) else None
            await asyncio.sleep(said if said is not None else 0.5 * 2**attempt)
    raise AssertionError("unreachable")
