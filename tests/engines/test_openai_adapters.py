"""Adapters of the engine over servers: how they get there, what they are called there, and servers that load none."""

import asyncio
import hashlib

import pytest
from asking import adapter_record, ask
from openai_server import OpenAIServer
from openai_tale import adapter_in, asked_about, opened, tale, until, whole

from selflengthen.errors import EngineError

LOAD = "/v1/load_lora_adapter"


@pytest.fixture
def empty(tmp_path):
    """A model's folder without a tokenizer."""
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


@pytest.mark.parametrize("ours", [True, False])
def test_adapters_come_to_all_servers_and_go_again(empty, tmp_path, ours):
    one, two = adapter_in(tmp_path, "one"), adapter_in(tmp_path, "two", b"others")
    names = {each.name: each.name if ours else f"{each.name}-{digest}" for each, digest in ((one, sha(b"weights")), (two, sha(b"others")))}

    async def go(left, right):
        async with opened(empty, left, right, own_servers=ours) as engine:
            assert engine.capabilities.adapters
            await engine.load(one)
            await engine.load(two)
            assert left.adapters == right.adapters == {names["one"]: one.path, names["two"]: two.path}
            said = [await asyncio.gather(*(engine.generate(ask("anchor", adapter=name)) for _ in range(4))) for name in ("one", "two", None)]
            await engine.unload("one")
            with pytest.raises(EngineError, match="'one' is not loaded; loaded: two"):
                await engine.generate(ask("anchor", adapter="one"))
            return said

    with OpenAIServer(tale) as left, OpenAIServer(tale) as right:
        said = asyncio.run(go(left, right))
        assert left.adapters == right.adapters == {names["two"]: two.path}
        assert asked_about(left, names["one"])
        assert asked_about(right, names["one"])
    for name, answers in zip(("one", "two", None), said, strict=True):
        assert all(whole("anchor", 1, name).startswith(answer.text) for answer in answers)


def sha(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()[:8]


def test_a_server_that_loads_no_adapters_may_have_them_already(empty, tmp_path):
    one, two = adapter_in(tmp_path, "one"), adapter_in(tmp_path, "two")

    async def go(server):
        async with opened(empty, server) as engine:
            assert engine.capabilities.adapters
            await engine.load(one)
            with pytest.raises(EngineError, match=rf"has no model 'two' and does not load adapters while it runs.*start it with {two.path}"):
                await engine.load(two)
            with pytest.raises(EngineError, match="'two' is not loaded; loaded: one"):
                await engine.generate(ask("anchor", adapter="two"))
            answer = await engine.generate(ask("anchor", adapter="one"))
            await engine.unload("one")
            return answer

    with OpenAIServer(tale, no_lora=True, adapters={"one": one.path}) as server:
        answer = asyncio.run(go(server))
        assert server.adapters == {"one": one.path}
    assert whole("anchor", 1, "one").startswith(answer.text)


def test_an_adapter_that_a_server_cannot_read_is_told_of(empty, tmp_path):
    missing = adapter_record("one", tmp_path / "nowhere", "base")

    async def go(server, ours):
        async with opened(empty, server, own_servers=ours) as engine:
            await engine.load(missing)

    with OpenAIServer(tale) as server:
        with pytest.raises(EngineError, match="must be able to read that folder, at the same path"):
            asyncio.run(go(server, ours=True))
        with pytest.raises(EngineError, match="has no weights in"):
            asyncio.run(go(server, ours=False))


def test_a_server_that_is_busy_while_it_should_load_is_asked_again(empty, tmp_path):
    one = adapter_in(tmp_path, "one")

    def loads():
        return [seen for seen in server.seen if seen.path == LOAD]

    async def go(server):
        async with opened(empty, server) as engine:
            before = len(loads())
            server.quirks.busy = frozenset({LOAD})
            loading = asyncio.create_task(engine.load(one))
            await until(lambda: len(loads()) >= before + 2)
            server.quirks.busy = frozenset()
            await loading
            assert engine.is_up(server.url)
            return await engine.generate(ask("anchor", adapter="one"))

    with OpenAIServer(tale) as server:
        answer = asyncio.run(go(server))
    assert whole("anchor", 1, "one").startswith(answer.text)
