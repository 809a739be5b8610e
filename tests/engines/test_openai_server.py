"""The server that engines over servers are tested against: it does what it says, seen from outside with a plain HTTP client."""

import asyncio
import json
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from asking import Listener, ask, wander
from openai_quirks import Fault, Kind, Where, http_date, refused
from openai_server import OpenAIServer
from openai_tale import until

from selflengthen.engines.scripted import ScriptedEngine, count_tokens

USER = {"role": "user", "content": "Write about the harbour."}
CHAT = {"model": "base", "messages": [USER], "max_tokens": 12, "seed": 1, "top_k": 20}
STREAM = CHAT | {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}


def opened(*, text: str) -> dict:
    return {"messages": [USER, {"role": "assistant", "content": text}], "continue_final_message": True, "add_generation_prompt": False}


@asynccontextmanager
async def exchange(server, path, body=None, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    root = server.url.removesuffix("/v1")
    timeout = aiohttp.ClientTimeout(total=20)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.request("GET" if body is None else "POST", root + path, json=body, headers=headers) as response,
    ):
        yield response


def talk(server, path, body=None, key=None):
    """Status and body, read as JSON where it is."""

    async def go():
        async with exchange(server, path, body, key) as response:
            raw = await response.read()
            return response.status, json.loads(raw) if response.content_type == "application/json" else raw.decode()

    return asyncio.run(go())


def say(server, **fields):
    """The one choice of a chat that is no stream, and its usage."""
    status, body = talk(server, "/v1/chat/completions", CHAT | fields)
    assert status == 200, body
    return body["choices"][0], body.get("usage")


def events_in(raw: bytes) -> list:
    assert raw.endswith(b"\n\n")
    data = [each.removeprefix("data: ") for each in raw.decode().removesuffix("\n\n").split("\n\n")]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def listen(server, path="/v1/chat/completions", **fields) -> tuple[list, list[bytes], Exception | None]:
    """The events of a stream, its reads, and how it broke off."""

    async def go():
        reads, wrong = [], None
        try:
            async with exchange(server, path, STREAM | fields) as response:
                assert response.status == 200
                assert response.content_type == "text/event-stream"
                while data := await response.content.readany():
                    reads.append(data)
        except aiohttp.ClientError as error:
            wrong = error
        return reads, wrong

    reads, wrong = asyncio.run(go())
    return [] if wrong else events_in(b"".join(reads)), reads, wrong


def text_of(events) -> str:
    return "".join(choice["delta"].get("content", "") for each in events if each != "[DONE]" for choice in each.get("choices", ()))


# -- answers ----------------------------------------------------------------------------------------------------------------------------


def test_a_stream_is_the_scripted_engine_s_answer_in_vllm_s_events():
    async def scripted():
        async with ScriptedEngine(wander) as engine:
            return await engine.generate(ask("Write about the harbour.", tokens=12), Listener())

    with OpenAIServer() as server:
        events, _, _ = listen(server)
        choice, usage = say(server)
    wanted = asyncio.run(scripted())
    opening, *parts, counts, done = events
    assert text_of(events) == choice["message"]["content"] == wanted.text
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [each["usage"]["completion_tokens"] for each in parts] == [*range(1, 13)]
    assert [each["choices"][0]["finish_reason"] for each in parts] == [None] * 11 + ["length"]
    assert counts["choices"] == []
    assert counts["usage"] == usage
    assert done == "[DONE]"
    assert usage["total_tokens"] == usage["prompt_tokens"] + 12


def test_an_answer_ends_by_itself_or_at_a_stop_string_as_vllm_says_it():
    with OpenAIServer(lambda _: "One two. Three four.", chunk=8) as server:
        events, _, _ = listen(server, max_tokens=100)
        stopped, usage = say(server, stop=[" Three", "never"])
        server.quirks.ignores_stop = True
        unstopped, _ = say(server, stop=[" Three"])
    last = events[-3]
    assert last["choices"][0]["delta"]["content"] == ""
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["completion_tokens"] == count_tokens("One two. Three four.") + 1
    assert (stopped["message"]["content"], stopped["finish_reason"], usage["completion_tokens"]) == ("One two.", "stop", 4)
    assert unstopped["message"]["content"] == "One two. Three four."


def test_completions_take_token_ids_and_text(models):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models["qwen2"])
    heard = []
    with OpenAIServer(lambda request: heard.append(request) or "Fine.", tokenizer=models["qwen2"], reads_turns=True) as server:
        text = tokenizer.apply_chat_template([USER], tokenize=False, add_generation_prompt=True) + "灯 is"
        ids = tokenizer.encode(text)
        fields = {"model": "base", "max_tokens": 9, "logprobs": 2}
        (_, by_ids), (_, by_text) = (talk(server, "/v1/completions", fields | {"prompt": prompt}) for prompt in (ids, text))
        beyond = talk(server, "/v1/completions", fields | {"prompt": [10**6]})
        plain, counted = (say(server, **more)[1]["prompt_tokens"] for more in ({}, opened(text="灯 is")))
    assert by_ids["choices"][0]["text"] == "Fine."
    assert by_ids["usage"] == by_text["usage"]
    assert by_ids["usage"]["prompt_tokens"] == len(ids) == counted > plain
    assert (heard[0].messages[0].content, heard[0].prefill) == (USER["content"], "灯 is")
    assert beyond[0] == 400
    assert len(by_ids["choices"][0]["logprobs"]["top_logprobs"][0]) == 2


def test_a_prefill_is_continued_and_token_counts_show_it():
    counts = {}
    with OpenAIServer() as server:
        plain, before = say(server)
        for name, quirk in (("kept", ""), ("closed", "ignores_prefill")):
            if quirk:
                setattr(server.quirks, quirk, True)
            counts[name] = [say(server, **opened(text="a" + " a" * more))[1]["prompt_tokens"] for more in (7, 15)]
        continued, _ = say(server, **opened(text="The harbour"))
        server.quirks.ignores_prefill, server.quirks.echoes_prefill = False, True
        echoed, _ = say(server, **opened(text="The harbour"))
        both = talk(server, "/v1/chat/completions", CHAT | opened(text="x") | {"add_generation_prompt": True})
    eight, sixteen = counts["kept"]
    assert eight - before["prompt_tokens"] == sixteen - eight, "an opened turn costs what the generation prompt does"
    assert counts["closed"][0] > eight + 1
    assert continued["message"]["content"] != plain["message"]["content"]
    assert echoed["message"]["content"].startswith("The harbour")
    assert both[0] == 400


def test_another_model_under_the_name_has_other_probabilities():
    wanted = {"logprobs": True, "top_logprobs": 3, "temperature": 0}
    said = []
    with OpenAIServer() as server:
        for seed in (0, 0, 1):
            server.model_seed = seed
            choice, _ = say(server, **wanted)
            said.append([step["logprob"] for step in choice["logprobs"]["content"]])
            assert all(len(step["top_logprobs"]) == 3 for step in choice["logprobs"]["content"])
        server.quirks.wobbles = 0.2
        wobbled = [step["logprob"] for step in say(server, **wanted)[0]["logprobs"]["content"]]
    assert said[0] == said[1]
    assert max(abs(one - other) for one, other in zip(*said[1:], strict=True)) > 0.5
    assert 0 < max(abs(one - other) for one, other in zip(said[2], wobbled, strict=True)) <= 0.2


def test_a_prompt_that_was_there_before_is_told_as_cached():
    with OpenAIServer(caches=True) as server:
        cached = [say(server, messages=[{"role": "user", "content": "tide " * 40}])[1]["prompt_tokens_details"]["cached_tokens"] for _ in range(2)]
    assert cached == [0, 48]


# -- what it refuses --------------------------------------------------------------------------------------------------------------------


def test_what_exceeds_the_context_is_refused_in_vllm_s_words():
    long = [{"role": "user", "content": "tide " * 900}]
    with OpenAIServer(context_tokens=512) as server:
        answers = [talk(server, "/v1/chat/completions", CHAT | fields) for fields in ({"max_tokens": 600}, {"messages": long}, {"max_tokens": 510})]
        rest = CHAT.copy()
        del rest["max_tokens"]
        _, whole = talk(server, "/v1/chat/completions", rest)
    assert [status for status, _ in answers] == [400] * 3
    said = [body["error"]["message"] for _, body in answers]
    assert said[0].startswith("max_tokens=600 cannot be greater than max_model_len=512.")
    assert "your prompt contains 1132 input tokens, which exceeds this limit" in said[1]
    assert "you requested 510 output tokens and your prompt contains 13 input tokens" in said[2]
    assert whole["usage"]["total_tokens"] == 512, "without max_tokens a chat gets what is left"


def test_models_keys_and_fields_that_it_does_not_know():
    with OpenAIServer(api_key="sesame") as server:
        assert talk(server, "/v1/models") == (401, {"error": "Unauthorized"})
        assert talk(server, "/health")[0] == 200
        assert talk(server, "/v1/models", key="sesame")[0] == 200
        status, body = talk(server, "/v1/chat/completions", CHAT | {"model": "other"}, key="sesame")
        assert (status, body["error"]["message"]) == (404, "The model `other` does not exist.")
        server.quirks.refuses_unknown_fields = True
        status, body = talk(server, "/v1/chat/completions", CHAT, key="sesame")
        assert (status, body["error"]["message"]) == (400, "Unrecognized request argument supplied: top_k")
        server.quirks.missing = frozenset({"/v1/models"})
        assert talk(server, "/v1/models", key="sesame") == (404, {"detail": "Not Found"})
        assert [seen.path for seen in server.seen][:2] == ["/v1/models", "/health"]
        assert server.asked[-1].body == CHAT


def test_adapters_come_and_go(tmp_path):
    (tmp_path / "one").mkdir()
    path = str(tmp_path / "one")
    load = "/v1/load_lora_adapter"
    with OpenAIServer() as server:
        base, _ = say(server)
        assert talk(server, load, {})[0] == 400
        assert talk(server, load, {"lora_name": "x", "lora_path": f"{path}-not"})[0] == 404
        assert talk(server, load, {"lora_name": "one-1f", "lora_path": path}) == (200, "Success: LoRA adapter 'one-1f' added successfully.")
        status, body = talk(server, load, {"lora_name": "one-1f", "lora_path": path})
        assert status == 400
        assert "already been loaded" in body["error"]["message"]
        cards = talk(server, "/v1/models")[1]["data"]
        assert [(card["id"], card["parent"], card["max_model_len"]) for card in cards] == [("base", None, 512), ("one-1f", "base", None)]
        assert say(server, model="one-1f")[0]["message"] != base["message"]
        assert talk(server, "/v1/unload_lora_adapter", {"lora_name": "one-1f"})[0] == 200
        assert talk(server, "/v1/chat/completions", CHAT | {"model": "one-1f"})[0] == 404
        server.quirks.no_lora = True
        assert talk(server, load, {})[0] == 404


# -- oddities ---------------------------------------------------------------------------------------------------------------------------


def test_a_stream_can_be_cut_anywhere_and_held_back():
    with OpenAIServer() as server:
        plain, _, _ = listen(server)
        server.quirks.cut_bytes, server.quirks.cut_pause_seconds = 3, 0.0005
        cut, reads, _ = listen(server)
        server.quirks.cut_bytes, server.quirks.buffers = 0, True
        held, reads_held, _ = listen(server)
        server.quirks.buffers, server.quirks.tokens_per_event = False, 5
        joined, _, _ = listen(server)
        server.quirks.no_usage = True
        silent, _, _ = listen(server)
    assert text_of(plain) == text_of(cut) == text_of(held) == text_of(joined) == text_of(silent)
    assert any(read[-1] >= 0x80 for read in reads), "no read ended within a character"
    assert len(reads) > 100 > len(reads_held)
    assert len([each for each in joined if each != "[DONE]" and each["choices"]]) == 1 + 3
    assert not any("usage" in each for each in silent)


def test_a_seed_is_kept_to_unless_it_ignores_seeds():
    with OpenAIServer() as server:
        said = [say(server)[0]["message"]["content"] for _ in range(2)]
        server.quirks.ignores_seed = True
        said += [say(server)[0]["message"]["content"] for _ in range(2)]
    assert said[0] == said[1]
    assert len(set(said)) == 3


def test_a_client_that_hangs_up_frees_its_place():
    async def go(server):
        async with exchange(server, "/v1/chat/completions", STREAM | {"max_tokens": 400}) as response:
            await response.content.readany()
            async with exchange(server, "/v1/chat/completions", STREAM), exchange(server, "/metrics") as metrics:
                await until(lambda: server.running == 2)
                told = await metrics.text()
        await until(lambda: server.running == 0)
        return told

    with OpenAIServer(delay_seconds=0.05, concurrency=1) as server:
        told = asyncio.run(go(server))
        assert server.most_at_once == 2
        assert server.answered == 0
    assert 'vllm:num_requests_running{engine="0",model_name="base"} 1.0' in told


@pytest.mark.parametrize(("switch", "health"), [("hangs", False), ("stalls", True)])
def test_it_falls_silent_and_comes_back(switch, health):
    async def go(server):
        async with exchange(server, "/v1/chat/completions", STREAM | {"max_tokens": 100}) as response:
            await response.content.readany()
            setattr(server.quirks, switch, True)
            await asyncio.sleep(0.3)
            response.content.read_nowait()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(response.content.readany(), 0.2)
            try:
                async with asyncio.timeout(0.3), exchange(server, "/health") as answer:
                    assert answer.status == 200
            except TimeoutError:
                assert not health
            else:
                assert health
            setattr(server.quirks, switch, False)
            return await response.read()

    with OpenAIServer(delay_seconds=0.005) as server:
        assert asyncio.run(go(server)).endswith(b"data: [DONE]\n\n")


# -- faults -----------------------------------------------------------------------------------------------------------------------------


def test_an_exchange_as_a_whole_goes_wrong():
    date = http_date(60)
    with OpenAIServer() as server:
        server.faults += [refused(429, 7), refused(503, date), Fault(Kind.HTML), None]

        async def go():
            told = []
            for _ in range(4):
                async with exchange(server, "/v1/chat/completions", CHAT) as response:
                    told.append((response.status, response.headers.get("Retry-After"), response.content_type))
            return told

        assert asyncio.run(go()) == [
            (429, "7", "application/json"),
            (503, date, "application/json"),
            (200, None, "text/html"),
            (200, None, "application/json"),
        ]
        assert parsedate_to_datetime(date).tzinfo is not None
        server.faults.append(Fault(Kind.CLOSED))
        with pytest.raises(aiohttp.ServerDisconnectedError):
            say(server)
        server.fault_of = lambda number: refused(500) if number == 6 else None
        assert [talk(server, "/v1/chat/completions", CHAT)[0] for _ in range(3)] == [200, 500, 200]
        server.fault_of = lambda _: Fault(Kind.DRIPS, seconds=0)
        assert say(server)[0]["finish_reason"] == "length"


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("where", Where)
def test_a_stream_is_closed_in_the_middle(where, resets):
    with OpenAIServer(lambda _: "灯" * 50) as server:
        server.faults.append(Fault(Kind.CLOSES, where=where, resets=resets, after=4))
        _, reads, wrong = listen(server)
        assert listen(server)[2] is None, "the next one is whole"
    raw = b"".join(reads)
    assert isinstance(wrong, aiohttp.ClientPayloadError | aiohttp.ClientConnectionError)
    if resets:
        return  # what was not read yet is lost with the connection
    assert raw.count("灯".encode()) == 4
    assert raw.endswith({Where.BETWEEN: b"\n\n", Where.CHARACTER: "灯".encode()[:1]}.get(where, b""))
    assert raw.count(b"data: ") == 5 + (where is not Where.BETWEEN)


def test_a_stream_goes_wrong_in_good_order():
    with OpenAIServer() as server:
        server.faults += [Fault(kind, after=3) for kind in (Kind.ENDS, Kind.ERROR, Kind.FILTERED)]
        ended, error, filtered = (listen(server)[0] for _ in range(3))
        server.faults.append(Fault(Kind.GARBAGE))
        with pytest.raises(ValueError, match="Expecting"):
            listen(server)
    assert len(ended) == 1 + 3
    assert ended[-1]["choices"][0]["finish_reason"] is None
    assert error[-2]["error"]["type"] == "InternalServerError"
    assert error[-1] == "[DONE]"
    assert filtered[-3]["choices"][0]["finish_reason"] == "content_filter"


def test_a_server_that_is_killed_resets_its_streams_and_comes_back_at_its_address():
    async def go(server):
        async with exchange(server, "/v1/chat/completions", STREAM | {"max_tokens": 400}) as response:
            await response.content.readany()
            await asyncio.to_thread(server.kill)
            with pytest.raises(aiohttp.ClientError, match=r"reset|Connection lost"):
                await response.read()
        with pytest.raises(aiohttp.ClientConnectorError):
            async with exchange(server, "/health"):
                pass
        server.start()
        async with exchange(server, "/health") as response:
            return response.status

    with OpenAIServer(delay_seconds=0.02) as server:
        before = server.url
        server.adapters["lost"] = None
        assert asyncio.run(go(server)) == 200
        assert server.url == before
        assert server.adapters == {}
        assert server.running == 0
        server.stop()
        server.stop()
