"""The adapters that servers are to have: loaded on all of them, and again on one that was restarted. What does not live here: who serves (`fleet`).

On servers of our own an adapter has its own name. A server that others use too may keep an adapter longer than a run lasts, and a name that came
back with other weights could be answered from what it has cached of the old ones: there the name carries a digest of the weights.
"""

import asyncio
import hashlib
from pathlib import Path

from selflengthen.engines.base import RequestRefused
from selflengthen.engines.served.endpoint import Endpoint
from selflengthen.engines.served.faults import Lost, ServerFault
from selflengthen.engines.served.fleet import Fleet
from selflengthen.engines.served.probe import patiently
from selflengthen.errors import EngineError
from selflengthen.records import Adapter


class Shelf:
    """Adapters by name. `own_servers`: nobody else loads adapters there."""

    def __init__(self, *, own_servers: bool) -> None:
        self._own_servers = own_servers
        self._fleet: Fleet | None = None
        self._loadable = False
        self._adapters: dict[str, tuple[Adapter, str]] = {}
        """By name: the adapter, and what the servers call it."""

    def stand_in(self, fleet: Fleet, *, loadable: bool) -> None:
        """The servers, and whether they load adapters while they run; those that do not must have them already."""
        self._fleet, self._loadable = fleet, loadable

    def clear(self) -> None:
        """Forget all; the servers are left as they are."""
        self._fleet = None
        self._adapters.clear()

    def served_name(self, name: str) -> str:
        """What the servers call it. Raises EngineError when it is not loaded."""
        if name not in self._adapters:
            raise EngineError(f"adapter {name!r} is not loaded; loaded: {', '.join(sorted(self._adapters)) or 'none'}")
        return self._adapters[name][1]

    async def load(self, adapter: Adapter) -> None:
        """Have it on every server that is up. Raises EngineError when one of them will not have it."""
        if adapter.name in self._adapters:
            raise EngineError(f"adapter {adapter.name!r} is already loaded; a name is used once")
        plain = self._own_servers or not self._loadable
        served = adapter.name if plain else await asyncio.to_thread(_name_with_weights, adapter)
        assert self._fleet is not None
        self._adapters[adapter.name] = (adapter, served)  # first of all: a server that comes back meanwhile has to have it too
        try:
            for endpoint in self._fleet.endpoints:
                if endpoint.up:
                    await self._load_or_fall(endpoint, adapter, served)
        except BaseException:
            del self._adapters[adapter.name]
            raise

    async def unload(self, name: str) -> None:
        """Take it off every server. One that forgot it already, or is down, needs nothing."""
        served = self.served_name(name)
        del self._adapters[name]
        assert self._fleet is not None
        for endpoint in self._fleet.endpoints:
            if endpoint.up and self._loadable:
                try:
                    await endpoint.post("unload_lora_adapter", {"lora_name": served})
                except (ServerFault, RequestRefused):
                    continue
                endpoint.adapters.discard(served)

    async def put_all_on(self, endpoint: Endpoint) -> None:
        """Have all adapters on a server that is up again. Raises ServerFault and EngineError."""
        while missing := [each for each in self._adapters.values() if each[1] not in endpoint.adapters]:
            await self._put(endpoint, *missing[0])  # one at a time: meanwhile others may be added

    async def _load_or_fall(self, endpoint: Endpoint, adapter: Adapter, served: str) -> None:
        assert self._fleet is not None
        try:
            await self._put(endpoint, adapter, served)
        except ServerFault as fault:
            self._fleet.fell(endpoint, str(fault))  # it gets its adapters when it is back

    async def _put(self, endpoint: Endpoint, adapter: Adapter, served: str) -> None:
        if served in endpoint.adapters:
            return
        if not self._loadable:
            raise EngineError(
                f"{endpoint.url} has no model {served!r} and does not load adapters while it runs (vLLM does with --enable-lora and "
                f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True): start it with {adapter.path} under that name"
            )
        body = {"lora_name": served, "lora_path": str(adapter.path.absolute())}
        await _insist(endpoint, body, adapter)
        endpoint.adapters.add(served)


async def _insist(endpoint: Endpoint, body: dict[str, str], adapter: Adapter) -> None:
    try:
        await patiently(endpoint, "load_lora_adapter", body)
    except RequestRefused as refused:
        if "already" not in refused.detail:
            raise EngineError(f"{endpoint.url} does not load adapter {adapter.name!r}: {refused.detail}") from None
    except Lost as lost:
        raise EngineError(
            f"{endpoint.url} does not find adapter {adapter.name!r} at {adapter.path} ({lost}): the server must be able to read that folder, "
            "at the same path"
        ) from None


def _name_with_weights(adapter: Adapter) -> str:
    digest = hashlib.sha256()
    files = sorted(Path(adapter.path).glob("adapter_*"))
    for file in files:
        digest.update(file.read_bytes())
    if not files:
        raise EngineError(f"adapter {adapter.name!r} has no weights in {adapter.path}")
    return f"{adapter.name}-{digest.hexdigest()[:8]}"
