"""The engine over servers as they are: what it finds out about them, what it sends them, and what it tells people."""

import asyncio
import json

import pytest
from asking import Listener, ask
from openai_quirks import Fault, Kind, refused
from openai_server import OpenAIServer
from openai_tale import asked_about, befall, opened, tale, until, whole

from selflengthen.engines import Finish, RequestRefused
from selflengthen.errors import EngineError

MODES = ["chat", "completions"]


@pytest.fixture
def folder(models):
    """A model's folder, of which chat needs nothing and completions the tokenizer."""
    return models["qwen2"]


def serving(folder, **fields) -> OpenAIServer:
    return OpenAIServer(tale, tokenizer=folder, reads_turns=True, **fields)


def answer_of(folder, server, request=None, **settings):
    """One answer, what it was heard as, and what the engine said of the server."""
    notices = []

    async def go():
        async with opened(folder, server, on_notice=notices.append, **settings) as engine:
            heard = Listener()
            answer = await engine.generate(request or ask("anchor"), heard)
            assert "".join(heard.pieces) == answer.text
            return answer, engine.capabilities, notices

    return asyncio.run(go())


def refusal_of(folder, server, **settings) -> str:
    """Why the engine does not open."""

    async def go():
        async with opened(folder, server, **settings):
            pass

    with pytest.raises(EngineError) as caught:
        asyncio.run(go())
    return str(caught.value)


# -- how an answer is asked for ---------------------------------------------------------------------------------------------------------


def test_token_ids_are_sent_where_the_tokenizer_is_the_server_s(folder):
    with serving(folder) as server:
        answer_of(folder, server)
        body = server.asked[-1].body
    assert "messages" not in body
    assert all(isinstance(token, int) for token in body["prompt"])
    assert body["stop_token_ids"]
    assert (body["model"], body["max_tokens"], body["seed"], body["top_k"]) == ("base", 40, 1, 50)


def test_messages_are_sent_where_the_tokenizer_is_another(folder, models):
    """Its end tokens may be anything there, and are not sent."""
    with serving(models["llama"]) as server:
        answer_of(folder, server)
        body = server.asked[-1].body
    assert body["messages"] == [{"role": "user", "content": "anchor"}]
    assert not body["stop_token_ids"]


def test_a_server_that_closes_an_answer_is_asked_with_token_ids_or_not_at_all(folder, tmp_path):
    prefill = whole("anchor")[:20]
    with serving(folder, ignores_prefill=True) as server:
        answer, _, _ = answer_of(folder, server, ask("anchor", prefill=prefill))
        assert whole("anchor")[20:].startswith(answer.text)
        why = refusal_of(folder, server, prefill="chat")
        assert "cannot go on with an answer that has begun" in why
        assert "chat: the server closes the answer and begins another" in why
        assert "completions: model.path =" in refusal_of(tmp_path, server)


def test_a_server_without_completions_or_continuing_is_refused_with_both_reasons(folder):
    with serving(folder, no_completions=True, refuses_unknown_fields=True) as server:
        why = refusal_of(folder, server)
    assert "completions: token ids are not taken (404" in why
    assert "chat: continue_final_message is not taken (400: Unrecognized request argument" in why


# -- the context ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_has_what_the_context_leaves_and_a_prompt_that_leaves_nothing_is_refused(folder, mode):
    with serving(folder, context_tokens=300) as server:
        answer, can, _ = answer_of(folder, server, ask("anchor", tokens=5000), prefill=mode)
        assert answer.finish is Finish.LENGTH
        assert answer.prompt_tokens + answer.generated_tokens == can.context_tokens == 300
        assert whole("anchor").startswith(answer.text)
        answer, _, _ = answer_of(folder, server, ask("anchor", tokens=299), prefill=mode)
        assert answer.prompt_tokens + answer.generated_tokens == 300
        if mode == "completions":
            assert server.asked[-1].body["max_tokens"] == 300 - len(server.asked[-1].body["prompt"])
        else:
            assert [seen.body.get("max_tokens") for seen in asked_about(server, "anchor")] == [None, 299, None]
        with pytest.raises(RequestRefused) as caught:
            answer_of(folder, server, ask("anchor " * 400), prefill=mode)
        assert caught.value.context_full


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_was_cut_where_it_fills_the_context_is_at_its_end(folder, mode):
    """No server will go on with it, and it is not lost."""
    with serving(folder, context_tokens=300, no_context=True) as server:

        async def go():
            async with opened(folder, server, prefill=mode, context_tokens=300) as engine:
                full = refused(400, message="This model's maximum context length is 300 tokens.")
                befall(server, Fault(Kind.CLOSES, after=10), full, full)
                return await engine.generate(ask("anchor"))

        answer = asyncio.run(go())
    assert answer.finish is Finish.LENGTH
    assert answer.generated_tokens == 10
    assert whole("anchor").startswith(answer.text)


def test_a_context_that_is_not_told_is_taken_from_the_settings_or_the_model(folder, tmp_path):
    own = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    with serving(folder, no_context=True, context_tokens=own) as server:
        _, can, notices = answer_of(folder, server, context_tokens=300)
        assert can.context_tokens == 300
        assert not notices
        _, can, notices = answer_of(folder, server)
        assert can.context_tokens == own
        assert notices == [f"{server.url} does not tell its context; taken from model.path: {own} tokens (engine.context_tokens sets it)"]
        assert "say it in engine.context_tokens" in refusal_of(tmp_path, server, prefill="chat")


def test_a_context_that_is_set_anew_is_no_other_model(folder, tmp_path):
    memory = tmp_path / "server.json"
    with serving(folder, no_context=True, context_tokens=4096) as server:
        for tokens in (300, 400):
            answer_of(folder, server, memory=memory, context_tokens=tokens)
    with serving(folder, context_tokens=400) as server:
        answer_of(folder, server, memory=memory)


# -- what servers do otherwise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_ignores_seeds_is_told_of(folder, mode):
    with serving(folder, ignores_seed=True) as server:
        _, can, notices = answer_of(folder, server, prefill=mode)
        assert not can.seed
        assert notices == ["the server does not keep to a seed: a run that is done again will have other texts"]
        server.quirks.ignores_seed = False
        _, can, notices = answer_of(folder, server, prefill=mode)
        assert can.seed
        assert not notices


@pytest.mark.parametrize("mode", MODES)
def test_stop_strings_and_openings_are_seen_to_whatever_the_server_does(folder, mode):
    prefill = whole("anchor")[:20]
    stop = "/anchor/4，"
    wanted = whole("anchor")[20 : whole("anchor").index(stop)]
    with serving(folder) as server:
        for quirks in ({}, {"ignores_stop": True}, {"echoes_prefill": True}, {"tokens_per_event": 7}, {"cut_bytes": 3}, {"buffers": True}):
            for name, value in quirks.items():
                setattr(server.quirks, name, value)
            answer, _, _ = answer_of(folder, server, ask("anchor", prefill=prefill, stop=("never said", stop)), prefill=mode)
            assert (answer.text, answer.finish) == (wanted, Finish.STOP), quirks


def test_more_stop_strings_than_the_protocol_takes_are_looked_for_here(folder):
    stops = ("a1", "b2", "c3", "d4", "/anchor/4，")
    with serving(folder) as server:
        answer, _, _ = answer_of(folder, server, ask("anchor", stop=stops))
        assert len(server.asked[-1].body["stop"]) == 4
    assert answer.text == whole("anchor").partition("/anchor/4，")[0]


@pytest.mark.parametrize("mode", MODES)
def test_tokens_are_counted_here_where_the_server_tells_none(folder, mode):
    with serving(folder, no_usage=True) as server:
        answer, _, _ = answer_of(folder, server, prefill=mode)
    assert whole("anchor").startswith(answer.text)
    assert (answer.prompt_tokens, answer.generated_tokens, answer.finish) == (0, 40, Finish.LENGTH)


def test_a_chat_without_token_counts_is_taken_only_on_the_word_of_the_settings(tmp_path):
    with OpenAIServer(tale, no_usage=True) as server:
        assert "tells no token counts" in refusal_of(tmp_path, server)
        answer_of(tmp_path, server, prefill="chat")


def test_fields_that_a_server_does_not_take_are_left_out_and_told_of(folder):
    with serving(folder, refuses_unknown_fields=True) as server:
        answer, can, notices = answer_of(folder, server)
        body = server.asked[-1].body
    assert whole("anchor").startswith(answer.text)
    assert can.seed
    assert set(body) == {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stream", "stream_options"}
    assert body["stream_options"] == {"include_usage": True}
    assert notices == [f"the server takes no {name}: texts are drawn without it" for name in ("top_k", "repetition_penalty")]


@pytest.mark.parametrize("mode", MODES)
def test_a_server_without_probabilities_is_taken_as_it_is(folder, tmp_path, mode):
    memory = tmp_path / "server.json"
    with serving(folder, no_logprobs=True) as server:
        for server.model_seed in (0, 1):
            answer_of(folder, server, prefill=mode, memory=memory)
    assert json.loads(memory.read_text())["choices"] == []


def test_a_server_that_has_little_beside_answers_is_used_and_is_not_taken_for_dead(folder):
    """After a fault it is asked whether it lives, at doors that it does not have."""
    doors = frozenset({"/health", "/metrics", "/v1/models", "/v1/load_lora_adapter"})
    with serving(folder, missing=doors) as server:
        assert "name the one to use in engine.served_name" in refusal_of(folder, server, context_tokens=512)

        async def go():
            async with opened(folder, server, context_tokens=512, served_name="base", on_notice=notices.append) as engine:
                befall(server, refused(500), refused(500))
                return [await engine.generate(ask("anchor")) for _ in range(3)]

        notices = []
        answers = asyncio.run(go())
    assert all(whole("anchor").startswith(answer.text) for answer in answers)
    assert not [notice for notice in notices if "down" in notice]


def test_a_model_that_a_server_does_not_have_is_told_of(folder):
    with serving(folder) as server:
        assert f"{server.url} has no model 'other' (engine.served_name); it has base" in refusal_of(folder, server, served_name="other")


# -- the key ----------------------------------------------------------------------------------------------------------------------------

KEY = "sk-open-sesame-4711"


def test_the_key_is_sent_from_the_environment_and_told_nobody(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY", f" {KEY}\n")
    memory = tmp_path / "server.json"
    notices = []

    async def go(server):
        async with opened(folder, server, api_key_env="SOME_KEY", memory=memory, on_notice=notices.append) as engine:
            await engine.generate(ask("anchor"))
            server.quirks.stalls = True
            task = asyncio.create_task(engine.generate(ask("anchor")))
            await until(lambda: server.running == 1)
            told = f"{engine!r} {engine.capabilities} {engine.known} {engine._opened().endpoints}"
            await asyncio.to_thread(server.kill)
            server.quirks.stalls = False
            await until(lambda: not engine.is_up(server.url))
            await asyncio.to_thread(server.start)
            await task
            return told

    with serving(folder, api_key=KEY, ignores_seed=True) as server:
        told = asyncio.run(go(server))
        assert all(seen.headers["Authorization"] == f"Bearer {KEY}" for seen in server.asked)
    assert notices
    assert KEY not in told + "".join(notices) + memory.read_text()


def test_a_wrong_key_is_told_at_once_and_not_shown(folder, monkeypatch):
    monkeypatch.setenv("SOME_KEY", KEY)
    with serving(folder, api_key="another") as server:
        why = refusal_of(folder, server, api_key_env="SOME_KEY")
        assert "denies access (401: Unauthorized)" in why
        assert "engine.api_key_env" in why
        assert KEY not in why
        assert "denies access" in refusal_of(folder, server)


def test_a_key_that_is_taken_back_ends_all_requests_though_the_server_says_it(folder, monkeypatch):
    monkeypatch.setenv("SOME_KEY", KEY)

    async def go(server):
        async with opened(folder, server, api_key_env="SOME_KEY", concurrency=2) as engine:
            server.quirks.stalls = True
            tasks = [asyncio.create_task(engine.generate(ask("anchor"))) for _ in range(4)]
            await until(lambda: server.running == 2)
            befall(server, refused(401, message=f"Incorrect API key provided: {KEY}."))
            tasks[0].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    with serving(folder, api_key=KEY) as server:
        _, *outcomes = asyncio.run(go(server))
    for outcome in outcomes:
        assert isinstance(outcome, EngineError)
        assert "Incorrect API key provided: (the key)." in str(outcome)
