"""What every engine does, whatever answers inside: the one suite that each back-end passes."""

import asyncio

import pytest
from asking import Listener, ask

from selflengthen.engines import Finish, RequestRefused
from selflengthen.errors import EngineError
from selflengthen.records import Reason
from selflengthen.text.verdict import Verdict

FAULT = Verdict(Reason.REPEATED, 3, 9, "seen before")


def run(backend, body, rows: int = 4):
    """Open the engine, run the body on it."""

    async def go():
        async with backend.open(rows) as engine:
            return await asyncio.wait_for(body(engine), 60)

    return asyncio.run(go())


def test_says_what_it_can_do(backend):
    async def body(engine):
        return engine.capabilities

    can = run(backend, body, rows=3)
    assert can.prefill and can.adapters and can.seed and can.streaming  # noqa: PT018 - one question
    assert can.concurrency == 3
    assert can.context_tokens == backend.context_tokens


def test_ends_at_the_token_limit(backend):
    answer = run(backend, lambda engine: engine.generate(ask(tokens=25)))
    assert answer.finish is Finish.LENGTH
    assert answer.generated_tokens == 25
    assert answer.text


def test_the_same_seed_says_the_same_and_another_does_not(backend):
    async def body(engine):
        return [await engine.generate(ask(seed=seed)) for seed in (1, 1, 2)]

    first, again, other = run(backend, body)
    assert first == again
    assert first.text != other.text


def test_the_answer_goes_on_from_the_prefill_and_does_not_repeat_it(backend):
    prefill = "The harbour was quiet.\n\n"

    async def body(engine):
        return await engine.generate(ask()), await engine.generate(ask(prefill=prefill))

    plain, continued = run(backend, body)
    assert continued.prompt_tokens > plain.prompt_tokens
    assert continued.text != plain.text
    assert not continued.text.startswith(prefill)


def test_text_ends_before_a_stop_string(backend):
    async def body(engine):
        whole = Listener()
        free = await engine.generate(ask(tokens=60), whole)
        stop = free.text[30:37]
        heard = Listener()
        return free, stop, await engine.generate(ask(tokens=60, stop=("never said", stop)), heard), heard

    free, stop, stopped, heard = run(backend, body)
    assert stopped.finish is Finish.STOP
    assert stopped.text == free.text[: free.text.find(stop)]
    assert "".join(heard.pieces) == stopped.text, "a part of the stop string reached the watch"
    assert stopped.generated_tokens < free.generated_tokens


def test_a_stop_string_that_never_comes_whole_takes_nothing_away(backend):
    async def body(engine):
        free = await engine.generate(ask(tokens=60))
        stops = tuple(free.text[place : place + 3] + "\x00" for place in range(len(free.text) - 2))
        return free, await engine.generate(ask(tokens=60, stop=stops))

    free, guarded = run(backend, body)
    assert guarded == free


def test_a_watch_hears_exactly_the_text(backend):
    async def body(engine):
        heard = Listener()
        return await engine.generate(ask(tokens=50), heard), heard

    answer, heard = run(backend, body)
    assert "".join(heard.pieces) == answer.text
    assert len(heard.pieces) > 3, "not streamed"
    assert all(heard.pieces), "fed nothing"


def test_a_verdict_stops_the_generation_at_once(backend):
    async def body(engine):
        heard = Listener(stop_at=20, verdict=FAULT)
        return await engine.generate(ask(tokens=400), heard), heard, await engine.generate(ask(tokens=400))

    answer, heard, free = run(backend, body)
    assert answer.finish is Finish.WATCHED
    assert answer.verdict is FAULT
    assert "".join(heard.pieces) == answer.text
    assert len("".join(heard.pieces[:-1])) < 20, "fed again after the verdict"
    assert free.text.startswith(answer.text)
    assert answer.generated_tokens < 80


def test_an_error_in_a_watch_is_that_request_s_alone(backend):
    async def body(engine):
        broken = engine.generate(ask(), Listener(stop_at=10, verdict=ZeroDivisionError("in the watch")))
        return await asyncio.gather(broken, engine.generate(ask(seed=2)), return_exceptions=True)

    broken, fine = run(backend, body)
    assert isinstance(broken, ZeroDivisionError)
    assert fine.finish is Finish.LENGTH


def test_cancelling_stops_within_one_step(backend):
    async def body(engine):
        heard, other = Listener(), Listener()
        task = asyncio.create_task(engine.generate(ask(tokens=450), heard))
        beside = asyncio.create_task(engine.generate(ask(tokens=300, seed=5), other))
        await heard.fed.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        until = len(heard.pieces)
        rest = await beside
        return until, heard, rest

    until, heard, rest = run(backend, body)
    # The step that runs while the cancellation arrives may still be heard; nothing after it.
    assert len(heard.pieces) <= until + 1
    assert rest.finish is Finish.LENGTH


def test_a_cancelled_request_that_waits_never_runs(backend):
    async def body(engine):
        heard, first = Listener(), Listener()
        running = asyncio.create_task(engine.generate(ask(tokens=200), first))
        await first.fed.wait()
        waiting = asyncio.create_task(engine.generate(ask(seed=3), heard))
        await asyncio.sleep(0)
        waiting.cancel()
        await running
        await engine.generate(ask(tokens=5))
        return heard

    assert run(backend, body, rows=1).pieces == []


def test_many_requests_of_unequal_length_each_get_their_own_answer(backend):
    asked = [ask("Write about " + "the harbour and " * (seed * 7 % 11), tokens=5 + seed * 13 % 90, seed=seed) for seed in range(24)]

    async def body(engine):
        together = await asyncio.gather(*(engine.generate(request) for request in asked))
        return together, [await engine.generate(request) for request in asked[::5]]

    together, alone = run(backend, body, rows=10)
    for answer, request in zip(together, asked, strict=True):
        # A random model may end its turn by itself now and then.
        assert (answer.generated_tokens == request.sampling.max_tokens) or answer.finish is Finish.STOP
    assert len({answer.generated_tokens for answer in together}) > 15
    assert together[::5] == alone


def test_adapters_are_chosen_by_request(backend):
    async def body(engine):
        before = await engine.generate(ask())
        for name in ("one", "two"):
            await engine.load(backend.make_adapter(name))
        mixed = await asyncio.gather(*(engine.generate(ask(adapter=name)) for name in (None, "one", "two", "one", None)))
        return before, mixed, await engine.generate(ask(adapter="two"))

    before, (base, one, two, one_again, base_again), two_alone = run(backend, body, rows=8)
    assert base == base_again == before
    assert one == one_again
    assert two == two_alone
    assert len({base.text, one.text, two.text}) == 3


def test_an_adapter_s_name_is_used_once(backend):
    async def body(engine):
        await engine.load(backend.make_adapter("one"))
        with pytest.raises(EngineError, match="'one' is already loaded"):
            await engine.load(backend.make_adapter("one"))
        with pytest.raises(EngineError, match="'two' is not loaded; loaded: one"):
            await engine.generate(ask(adapter="two"))

    run(backend, body)


def test_an_adapter_that_is_unloaded_is_forgotten(backend):
    async def body(engine):
        await engine.load(backend.make_adapter("one"))
        await engine.load(backend.make_adapter("two"))
        before = await engine.generate(ask(adapter="two"))
        await engine.unload("one")
        with pytest.raises(EngineError, match="'one' is not loaded; loaded: two"):
            await engine.generate(ask(adapter="one"))
        with pytest.raises(EngineError, match="'one' is not loaded"):
            await engine.unload("one")
        return before, await engine.generate(ask(adapter="two"))

    before, after = run(backend, body)
    assert before == after


def test_an_engine_that_rests_answers_when_it_is_asked_again(backend):
    async def body(engine):
        await engine.load(backend.make_adapter("one"))
        before = await engine.generate(ask(adapter="one"))
        if not await engine.rest():
            return before, before  # it is to be closed, which other tests do
        return before, await engine.generate(ask(adapter="one"))

    before, after = run(backend, body)
    assert before == after


def test_a_prompt_that_fills_the_context_is_refused(backend):
    async def body(engine):
        with pytest.raises(RequestRefused) as refused:
            await engine.generate(ask("harbour, " * 2000))
        return refused.value

    assert run(backend, body).context_full


def test_an_answer_is_fitted_to_the_context(backend):
    # Greedy and unpenalised, a random model goes round in a loop and does not end its turn by itself.
    endless = ask("The old boats. " * 12, tokens=16384, temperature=0, repetition_penalty=1.0)
    answer = run(backend, lambda engine: engine.generate(endless))
    assert answer.finish is Finish.LENGTH
    assert answer.prompt_tokens + answer.generated_tokens == backend.context_tokens


def test_leaving_ends_what_is_pending(backend):
    async def go():
        async with backend.open(rows=2) as engine:
            heard = Listener()
            tasks = [asyncio.create_task(engine.generate(ask(tokens=450, seed=seed), heard)) for seed in range(5)]
            await heard.fed.wait()
        return engine, await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)

    engine, outcomes = asyncio.run(go())
    assert all(isinstance(outcome, EngineError) and "closed" in str(outcome) for outcome in outcomes), outcomes
    with pytest.raises(EngineError, match="not open"):
        asyncio.run(engine.generate(ask()))


def test_an_engine_that_was_not_entered_says_so(backend):
    with pytest.raises(EngineError, match="not open"):
        asyncio.run(backend.open().generate(ask()))
