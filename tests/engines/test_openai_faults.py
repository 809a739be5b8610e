"""What goes wrong between the engine over servers and one of them, fault by fault: the request waits, goes on, or is refused for a reason."""

import asyncio
import itertools

import pytest
from asking import Listener, ask
from openai_quirks import Fault, Kind, Where, http_date, refused
from openai_server import OpenAIServer
from openai_tale import asked_about, befall, opened, tale, whole

from selflengthen.engines import Finish, RequestRefused
from selflengthen.engines import openai as face

CUTS = [Fault(Kind.CLOSES, where=where, resets=resets, after=5) for where, resets in itertools.product(Where, (False, True))]
FAULTS = [
    *CUTS,
    Fault(Kind.CLOSED),
    Fault(Kind.CLOSED, resets=True),
    Fault(Kind.GARBAGE),
    Fault(Kind.HTML),
    Fault(Kind.ERROR),
    Fault(Kind.ENDS),
    Fault(Kind.DRIPS, seconds=0.0),
    refused(500),
    refused(502),
    refused(503),
]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(face, "PAUSE_SECONDS", 0.001)


def name_of(fault: Fault) -> str:
    where = f"-{fault.where}-{'RST' if fault.resets else 'FIN'}" if fault.kind is Kind.CLOSES else ""
    return f"{fault.kind}{where}{fault.status if fault.kind is Kind.STATUS else ''}"


@pytest.mark.parametrize("mode", ["chat", "completions"])
def test_an_answer_comes_out_whole_whatever_befalls_it_on_the_way(models, mode):
    """Each fault by itself, and then all the cuts in one answer."""

    async def go(server):
        async with opened(models["qwen2"], server, prefill=mode) as engine:
            plain = await engine.generate(ask("anchor"))
            told = []
            for faults in (*([fault] for fault in FAULTS), CUTS):
                left = befall(server, *faults)
                heard = Listener()
                told.append((faults, await engine.generate(ask("anchor"), heard), heard))
                assert not left, "it did not befall the answer"
            return plain, told

    with OpenAIServer(tale, tokenizer=models["qwen2"], reads_turns=True, context_tokens=4096) as server:
        plain, told = asyncio.run(go(server))
    assert len(plain.text) > 80
    assert whole("anchor").startswith(plain.text)
    for faults, answer, heard in told:
        names = " ".join(map(name_of, faults))
        assert answer.text == "".join(heard.pieces) == plain.text, names
        assert (answer.finish, answer.generated_tokens) == (Finish.LENGTH, 40), names
        if faults[0].kind in {Kind.CLOSES, Kind.GARBAGE, Kind.ERROR, Kind.ENDS} and not faults[0].resets:
            assert answer.prompt_tokens > plain.prompt_tokens, f"{names}: what was heard was not gone on from"


def test_an_answer_is_gone_on_with_from_what_was_heard(tmp_path):
    prefill = whole("anchor")[:12]

    async def go(server):
        async with opened(tmp_path, server) as engine:
            befall(server, Fault(Kind.CLOSES, after=10))
            return await engine.generate(ask("anchor", prefill=prefill))

    with OpenAIServer(tale, context_tokens=4096) as server:
        answer = asyncio.run(go(server))
        first, second = asked_about(server, "anchor")
    assert whole("anchor")[len(prefill) :].startswith(answer.text)
    assert first.body["messages"][-1]["content"] == prefill
    said = second.body["messages"][-1]["content"]
    assert said.startswith(prefill)
    assert (prefill + answer.text).startswith(said)
    assert (first.body["max_tokens"], second.body["max_tokens"]) == (40, 30)


def test_a_cut_in_the_middle_of_blanks_neither_adds_nor_takes_a_line(tmp_path):
    story = "".join(f"Line {number}.\n\n" for number in range(60))

    async def go(server):
        async with opened(tmp_path, server) as engine:
            left = befall(server, *(Fault(Kind.CLOSES, after=after) for after in (2, 3, 4, 5, 6)))
            answer = await engine.generate(ask("anchor", tokens=100))
            assert not left
            return answer

    with OpenAIServer(lambda request: story[len(request.prefill) :], context_tokens=4096) as server:
        answer = asyncio.run(go(server))
    assert story.startswith(answer.text)
    assert len(answer.text) > 300


# -- too much to do ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "said", "least"), [(429, 0.7, 0.7), (429, "date", 0.95), (503, None, 0.2), (529, 0, 0.0)])
def test_a_server_that_is_busy_is_left_alone_for_as_long_as_it_says(tmp_path, status, said, least):
    async def go(server):
        async with opened(tmp_path, server) as engine:
            befall(server, refused(status, http_date(2) if said == "date" else said))
            answers = await asyncio.gather(*(engine.generate(ask("anchor", seed=seed, tokens=9)) for seed in range(3)))
            return [answer.text for answer in answers]

    with OpenAIServer(tale) as server:
        texts = asyncio.run(go(server))
        asked = asked_about(server, "anchor")
    assert all(whole("anchor", seed).startswith(text) for seed, text in enumerate(texts))
    assert len(asked) == 4
    assert asked[-1].at - asked[0].at >= least, "asked again too soon"


def test_requests_go_to_another_server_while_one_is_busy(tmp_path):
    async def go(busy, free):
        async with opened(tmp_path, busy, free) as engine:
            busy.fault_of = lambda _: refused(429, 300)
            answers = await asyncio.gather(*(engine.generate(ask("anchor", seed=seed)) for seed in range(6)))
            return [answer.text for answer in answers]

    with OpenAIServer(tale) as busy, OpenAIServer(tale) as free:
        texts = asyncio.run(go(busy, free))
    assert all(whole("anchor", seed).startswith(text) for seed, text in enumerate(texts))


# -- a request that fails by itself -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(refused(500, message="CUDA trouble"), "500: CUDA trouble"), (Fault(Kind.HTML), "ended before"), (Fault(Kind.CLOSED), "broke")],
)
def test_a_request_that_always_fails_is_refused_and_the_others_go_on(tmp_path, fault, reason):
    good = ("anchor", "quay", "tide")

    async def go(server):
        async with opened(tmp_path, server) as engine:
            befall(server, *[fault] * 99, about="poison")
            return await asyncio.gather(*(engine.generate(ask(topic)) for topic in ("poison", *good)), return_exceptions=True)

    with OpenAIServer(tale) as server:
        ill, *well = asyncio.run(go(server))
        asked = asked_about(server, "poison")
    assert isinstance(ill, RequestRefused)
    assert f"{face.TRIES} exchanges failed" in ill.detail
    assert reason in ill.detail
    assert not ill.context_full
    assert len(asked) == face.TRIES
    assert all(whole(topic).startswith(answer.text) for topic, answer in zip(good, well, strict=True))


def test_a_request_that_pauses_holds_no_place(tmp_path, monkeypatch):
    async def go(server):
        async with opened(tmp_path, server, concurrency=1) as engine:
            befall(server, refused(500), about="poison")
            ill = asyncio.create_task(engine.generate(ask("poison")))
            await asyncio.sleep(0)
            answer = await engine.generate(ask("anchor"))
            return ill.done(), answer

    monkeypatch.setattr(face, "PAUSE_SECONDS", 1000.0)
    with OpenAIServer(tale) as server:
        done, answer = asyncio.run(go(server))
    assert not done
    assert whole("anchor").startswith(answer.text)


def test_an_answer_that_a_filter_ended_is_refused(tmp_path):
    async def go(server):
        async with opened(tmp_path, server) as engine:
            befall(server, Fault(Kind.FILTERED))
            await engine.generate(ask("anchor"))

    with OpenAIServer(tale) as server, pytest.raises(RequestRefused, match="content filter"):
        asyncio.run(go(server))


def test_a_refusal_of_the_request_itself_is_not_tried_again(tmp_path):
    async def go(server):
        async with opened(tmp_path, server) as engine:
            befall(server, refused(400, message="temperature must be cold"))
            with pytest.raises(RequestRefused, match="temperature must be cold") as caught:
                await engine.generate(ask("anchor"))
            return caught.value

    with OpenAIServer(tale) as server:
        refusal = asyncio.run(go(server))
        assert len(asked_about(server, "anchor")) == 1
    assert not refusal.context_full
