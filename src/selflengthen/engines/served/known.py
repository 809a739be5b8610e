"""What is known of the servers once one of them was asked, and the bodies of requests that follow from it.

What does not live here: asking for an answer (`engines.openai`), the single questions (`probe`), and the words of the protocol (`wire`).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from selflengthen.engines.base import Request, RequestRefused
from selflengthen.engines.served.endpoint import Endpoint
from selflengthen.engines.served.probe import QUESTION, Abilities, Card, Probe
from selflengthen.engines.served.tokenizer import Local, read_local
from selflengthen.engines.served.wire import Mode, chat_fields, sampling_fields, stream_fields
from selflengthen.errors import EngineError
from selflengthen.records import Sampling

LONG_PROMPT = 4000
"""Characters from which a prompt is encoded in another thread, beside the streams."""
_GREEDY = Sampling(temperature=0)


@dataclass(frozen=True, slots=True)
class Known:
    """All servers are asked alike."""

    card: Card
    mode: Mode
    """How answers are asked for."""
    abilities: Abilities
    local: Local
    context_tokens: int
    adapters: bool
    """They load adapters, or have models beside the base model that may be some."""

    def question(self) -> list[int]:
        """The question by which a model is recognised, as a prompt; empty in chat mode, where it is messages."""
        if self.mode is Mode.CHAT:
            return []
        assert self.local.dialogue is not None
        return self.local.dialogue.encode(self.local.dialogue.prompt(Request(QUESTION, _GREEDY, 0)))

    async def body(self, request: Request, opening: str, left: int, name: str) -> dict[str, Any]:
        """What is sent to have `opening` gone on with by the model called `name`, for `left` tokens or what the context has room for.

        Raises RequestRefused when it has room for none.
        """
        if self.mode is Mode.CHAT:
            # The server ends a turn by itself. Ours may be another tokenizer, and its end tokens any tokens there.
            prompt, stop_ids = chat_fields(request.messages, opening), []
        else:
            ids = await self._encode(request, opening)
            room = self.context_tokens - len(ids)
            if room <= 0:
                raise RequestRefused(f"the prompt has {len(ids)} tokens, the context {self.context_tokens}: no room for an answer", context_full=True)
            left, prompt, stop_ids = min(left, room), {"prompt": ids}, sorted(self.local.ends)
        # A server refuses a limit beyond its context, whatever the prompt.
        limit = {"max_tokens": left} if left < self.context_tokens else {}
        extras = self.abilities.extras
        return {"model": name, **prompt, **limit, **sampling_fields(request.sampling, request.seed, stop_ids, extras), **stream_fields(extras)}

    async def _encode(self, request: Request, opening: str) -> list[int]:
        assert self.local.dialogue is not None
        rendered = self.local.dialogue.prompt(Request(request.messages, request.sampling, 0, prefill=opening))
        encode = self.local.dialogue.encode
        return encode(rendered) if len(rendered) < LONG_PROMPT else await asyncio.to_thread(encode, rendered)


async def learn(
    endpoint: Endpoint,
    card: Card,
    found: Sequence[Card],
    *,
    model: str,
    prefill: str,
    context_tokens: int,
    on_notice: Callable[[str], None],
) -> Known:
    """Ask a server what it can do. `found`: what it lists; `model`, `prefill`, `context_tokens`: as the engine was told.

    Raises EngineError when it cannot do enough.
    """
    local = await asyncio.to_thread(read_local, model)
    abilities = await Probe(endpoint, card.name, local.dialogue, local.why_not).abilities(prefill)
    if abilities.mode is None:
        raise EngineError(f"{endpoint.url} cannot go on with an answer that has begun, which the method needs. {abilities.refusal}")
    said = [tokens for tokens in (card.context_tokens, context_tokens) if tokens]
    if not said and local.context_tokens:
        said = [local.context_tokens]
        on_notice(f"{endpoint.url} does not tell its context; taken from model.path: {said[0]} tokens (engine.context_tokens sets it)")
    if not said:
        raise EngineError(f"{endpoint.url} does not tell how many tokens prompt and answer may have together; say it in engine.context_tokens")
    adapters = abilities.loads_adapters or any(each.name != card.name for each in found)
    return Known(card, abilities.mode, abilities, local, min(said), adapters)
