"""The contract suite of all engines, over a real vLLM."""

import asyncio

import test_engine_contract
from asking import ask
from test_engine_contract import *  # noqa: F403 - the same tests, with the fixture `backend` of this folder

del globals()["test_adapters_are_chosen_by_request"]
# It compares answers given alone and in a mixed batch bit by bit; vLLM's sums over a batch are rounded otherwise than over one row.


def test_adapters_are_chosen_by_request_up_to_rounding(backend):
    async def body(engine):
        for name in ("one", "two"):
            await engine.load(backend.make_adapter(name))
        asked = [ask(adapter=name, temperature=0, tokens=4) for name in (None, "one", "two")]
        return [await engine.generate(request) for request in asked], await asyncio.gather(*map(engine.generate, asked))

    alone, together = test_engine_contract.run(backend, body, rows=8)
    assert len({answer.text for answer in alone}) == 3
    assert [answer.text[:1] for answer in alone] == [answer.text[:1] for answer in together]
