"""Rows by hand, of known cost."""

from selflengthen.records import Attempt, Kind, Made, Response, Sampling, Spent


def spent(tokens: int, **cut: int) -> Spent:
    """So many tokens generated, from a prompt twice as long of which half was cached, at ten a second."""
    return Spent(prompt=2 * tokens, cached=tokens, generated=tokens, cut=cut, seconds=tokens / 10)


def made(tokens: int = 100, *failed: Attempt, adapter: str | None = None, salvaged: int = 0, **cut: int) -> Made:
    cost = spent(tokens, **cut)
    return Made(model="seedling", adapter=adapter, sampling=Sampling(), recipe="en@1", seed=7, spent=cost, failed=failed, salvaged=salvaged)


def words(count: int) -> str:
    return " ".join(f"w{n}" for n in range(count))


def response(key: str, count: int, tokens: int = 100, *failed: Attempt) -> Response:
    parent = key.rpartition(".")[0]
    return Response(
        key=key, parent=parent, language="en", kind=Kind.PERSONAL, instruction="Tell.", text=words(count), words=count, made=made(tokens, *failed)
    )
