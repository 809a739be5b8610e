"""The meter: the shares of all requests add up to the time the engine was at work, whatever overlaps, fails or is cancelled."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from asking import Listener, adapter_record, ask

from selflengthen.engines import Finish, Request
from selflengthen.engines.base import Capabilities, Completion, RequestRefused
from selflengthen.engines.metered import Metered
from selflengthen.engines.scripted import ScriptedEngine
from selflengthen.records import Reason
from selflengthen.text.verdict import Verdict


@dataclass
class Staged:
    """An engine that answers a request, or fails it, when the test says so. Time is what the test says too."""

    now: float = 1000.0
    told: list[str] = field(default_factory=list)
    answers: dict[int, asyncio.Future] = field(default_factory=dict)
    capabilities = Capabilities(prefill=True, adapters=True, seed=True, streaming=True, context_tokens=7, concurrency=3)

    async def __aenter__(self):
        self.told.append("entered")
        return self

    async def __aexit__(self, kind, error, trace):
        self.told.append(f"left {kind and kind.__name__}")

    async def load(self, adapter):
        self.told.append(f"load {adapter.name}")

    async def unload(self, name):
        self.told.append(f"unload {name}")

    async def rest(self):
        return len(self.told) > 3

    async def generate(self, request: Request, watch=None) -> Completion:
        self.answers[request.seed] = asyncio.get_running_loop().create_future()
        return await self.answers[request.seed]


@dataclass
class Stage:
    """A metered engine and its requests, by their seeds."""

    engine: Staged
    metered: Metered
    tasks: dict[int, asyncio.Task] = field(default_factory=dict)

    async def ask(self, seed: int) -> None:
        self.tasks[seed] = asyncio.create_task(self.metered.generate(ask(seed=seed)))
        await asyncio.sleep(0)

    def wait(self, seconds: float) -> None:
        self.engine.now += seconds

    async def answer(self, seed: int, error: Exception | None = None) -> float:
        """Its share; of one that fails nothing is known."""
        if error is None:
            self.engine.answers[seed].set_result(Completion("Text.", Finish.STOP, prompt_tokens=5, generated_tokens=2, cached_tokens=3))
            return (await self.tasks.pop(seed)).engine_seconds
        self.engine.answers[seed].set_exception(error)
        with pytest.raises(type(error)):
            await self.tasks.pop(seed)
        return 0.0


def staged(play: Callable[[Stage], Awaitable[None]]) -> None:
    async def go():
        engine = Staged()
        await play(Stage(engine, Metered(engine, lambda: engine.now)))

    asyncio.run(go())


def test_time_is_shared_by_those_in_flight():
    async def play(stage: Stage):
        stage.wait(50)  # nobody asks: nobody's time
        await stage.ask(1)
        stage.wait(2)  # 1 alone
        await stage.ask(2)
        stage.wait(6)  # 3 each
        await stage.ask(3)
        stage.wait(3)  # 1 each
        assert await stage.answer(2) == 4
        stage.wait(4)  # 2 each
        assert await stage.answer(1) == 2 + 3 + 1 + 2
        assert await stage.answer(3) == 1 + 2
        stage.wait(100)
        await stage.ask(4)
        stage.wait(1)
        assert await stage.answer(4) == 1

    staged(play)


def test_one_that_fails_or_is_cancelled_takes_its_share_and_leaves():
    async def play(stage: Stage):
        for seed in (1, 2, 3):
            await stage.ask(seed)
        stage.wait(6)
        await stage.answer(2, RequestRefused("too long"))
        stage.wait(4)
        stage.tasks[3].cancel()
        with pytest.raises(asyncio.CancelledError):
            await stage.tasks[3]
        stage.wait(7)
        assert await stage.answer(1) == 6 / 3 + 4 / 2 + 7

    staged(play)


@pytest.mark.parametrize("seed", range(8))
def test_the_shares_of_any_requests_add_up_to_the_time_there_was_one(seed: int):
    async def play(stage: Stage):
        dice, busy, shares, numbers = random.Random(seed), 0.0, [], itertools.count(1)
        for _ in range(300):
            passed = dice.choice([0.0, 0.25, 1.5, 31.0])
            stage.wait(passed)
            busy += passed if stage.tasks else 0.0
            if stage.tasks and dice.random() < 0.5:
                shares.append(await stage.answer(dice.choice(list(stage.tasks))))
            elif len(stage.tasks) < 6:
                await stage.ask(next(numbers))
        shares += [await stage.answer(number) for number in list(stage.tasks)]
        assert min(shares) >= 0
        assert sum(shares) == pytest.approx(busy, rel=1e-12)

    staged(play)


def test_everything_else_is_the_engine_s_own():
    async def play(stage: Stage):
        async with stage.metered as metered:
            assert metered is stage.metered
            assert metered.capabilities is stage.engine.capabilities
            assert not await metered.rest()
            await metered.load(adapter_record("generator-1", "nowhere", "seedling"))
            await metered.unload("generator-1")
            stage.engine.told.append("")
            assert await metered.rest()
        assert stage.engine.told == ["entered", "load generator-1", "unload generator-1", "", "left None"]
        with pytest.raises(ZeroDivisionError):
            async with stage.metered:
                _ = 1 / 0
        assert stage.engine.told[-1] == "left ZeroDivisionError"

    staged(play)


def test_a_real_engine_answers_the_same_through_it():
    async def go():
        verdict = Verdict(Reason.REPEATED, 0, 9, "again")
        request = ask("Write about the harbour.", tokens=60)
        async with ScriptedEngine() as plain, Metered(ScriptedEngine(delay_seconds=0.002)) as metered:
            for heard, again in ((None, None), (Listener(20, verdict), Listener(20, verdict))):
                bare, answer = await plain.generate(request, heard), await metered.generate(request, again)
                assert bare.engine_seconds == 0 < answer.engine_seconds
                assert (bare.text, bare.finish, bare.verdict) == (answer.text, answer.finish, answer.verdict)
                assert (bare.prompt_tokens, bare.generated_tokens) == (answer.prompt_tokens, answer.generated_tokens)
                assert heard is None or heard.pieces == again.pieces

    asyncio.run(go())
