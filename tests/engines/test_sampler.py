"""The vectorised sampler against the library's logits processors, setting by setting."""

import pytest
import torch
from asking import ON
from pydantic import ValidationError
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from selflengthen.engines.embedded.sampler import Candidates, Sampler, Settings, candidates, draw, penalise
from selflengthen.records import Sampling

DEVICE = torch.device(ON["device"])
VOCABULARY = 300
SAMPLINGS = [
    Sampling(temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty)
    for temperature in (0.3, 0.7, 1.0, 1.5)
    for top_k in (0, 1, 5, 20)
    for top_p in (0.1, 0.8, 1.0)
    for penalty in (0.9, 1.0, 1.1)
]


def of_the_library(logits: torch.Tensor, tokens: list[int], sampling: Sampling) -> torch.Tensor:
    """Chances of one row as `generate` would have them."""
    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)])
    if sampling.temperature != 1:
        processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    return processors(torch.tensor([tokens]), logits[None].clone()).softmax(-1)[0]


def ours(logits: torch.Tensor, histories: list[list[int]], samplings: list[Sampling]) -> torch.Tensor:
    """Chances of all rows together, over the vocabulary."""
    sampler = Sampler(VOCABULARY, DEVICE)
    sampler.resize(len(samplings), 0)
    for slot, (history, sampling) in enumerate(zip(histories, samplings, strict=True)):
        sampler.put(slot, history, sampling)
    settings = Settings.of(samplings, VOCABULARY, DEVICE)
    choice = candidates(penalise(logits.to(DEVICE), sampler._factors, settings), settings)
    weights = choice.weights / choice.weights.sum(-1, keepdim=True)
    return torch.zeros_like(logits).scatter(1, choice.tokens.cpu(), weights.cpu())


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("group", ["all", "with top-k", "with penalties of 1 and more"])
def test_chances_are_the_library_s(ties, group):
    """Rows of all settings in one batch; and those that take a shorter way when they are among themselves."""
    samplings = SAMPLINGS
    if group == "with top-k":
        samplings = [sampling for sampling in SAMPLINGS if sampling.top_k]
    elif group == "with penalties of 1 and more":
        samplings = [sampling for sampling in SAMPLINGS if sampling.repetition_penalty >= 1]
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(len(samplings), VOCABULARY, generator=generator) * 3
    if ties:
        logits = (logits * 4).round() / 4
    histories = [torch.randint(0, VOCABULARY, (40,), generator=generator).tolist() for _ in samplings]
    found = ours(logits, histories, samplings)
    for row, (history, sampling) in enumerate(zip(histories, samplings, strict=True)):
        wanted = of_the_library(logits[row], history, sampling)
        if ties and sampling.top_p < 1:
            # Of equal tokens at the edge of top-p the library keeps whichever its sort put there: compare the chances, not who has them.
            wanted, mine = wanted.sort().values, found[row].sort().values
        else:
            mine = found[row]
        torch.testing.assert_close(mine, wanted, atol=1e-6, rtol=1e-5, msg=lambda text, sampling=sampling: f"{sampling}: {text}")


def test_a_token_is_left_when_top_p_is_next_to_nothing():
    logits = torch.randn(50, VOCABULARY, generator=torch.Generator().manual_seed(1))
    found = ours(logits, [[0]] * 50, [Sampling(top_k=top_k, top_p=1e-9, repetition_penalty=1.0) for top_k in (20, 0) * 25])
    assert (found.argmax(-1) == logits.argmax(-1)).all()
    assert (found.max(-1).values == 1).all()


def test_draws_follow_the_weights():
    choice = Candidates(torch.tensor([[7, 3, 1, 9]]), torch.tensor([[0.5, 0.3, 0.2, 0.0]]))
    steps = 1000
    drawn = torch.cat([draw(choice, torch.tensor([step / steps])) for step in range(steps)])
    counts = {token: int((drawn == token).sum()) for token in (7, 3, 9, 1)}
    assert counts[9] == 0
    assert all(abs(counts[token] - wanted) <= 1 for token, wanted in ((7, 500), (3, 300), (1, 200)))
    assert draw(choice, torch.tensor([1.0])).item() == 1, "the very end of the mass is the last token that has any"


def test_a_pick_remembers_its_token_and_greedy_rows_take_the_highest():
    sampler = Sampler(8, DEVICE)
    sampler.resize(3, 0)
    samplings = [Sampling(temperature=0, repetition_penalty=2.0), Sampling(temperature=0, repetition_penalty=1.0), Sampling(top_k=1)]
    for slot, sampling in enumerate(samplings):
        sampler.put(slot, [0], sampling)
    sampler.use(samplings)
    logits = torch.tensor([[9.0, 5.0, 4.0, 0, 0, 0, 0, 0]] * 3).to(DEVICE)
    assert sampler.pick(logits, [0.5] * 3).tolist() == [1, 0, 0]
    assert sampler.pick(logits, [0.5] * 3).tolist() == [0, 0, 0]
    sampler.swap(0, 1)
    assert sampler._factors[1].tolist()[:3] == [2.0, 2.0, 1.0]
    sampler.put(1, [5], samplings[0])
    assert sampler._factors[1].tolist() == [1, 1, 1, 1, 1, 2, 1, 1], "a new row forgets the old one's tokens"


@pytest.mark.parametrize("temperature", [1e-300, 1e-46, 1e-38, 1e-20])
def test_a_temperature_next_to_nothing_takes_the_highest(temperature):
    sampler = Sampler(8, DEVICE)
    sampler.resize(2, 0)
    sampler.use([Sampling(temperature=temperature, repetition_penalty=1.0), Sampling(top_k=1, repetition_penalty=1.0)])
    logits = torch.tensor([[1.0, 500.0, -3000.0, 499.0, 0, 0, 0, 0]] * 2).to(DEVICE)
    for chance in (0.0, 0.5, 0.999):
        assert sampler.pick(logits, [chance] * 2).tolist() == [1, 1]


@pytest.mark.parametrize("penalty", [1e-300, 0.0099, 101, 1e300])
def test_a_repetition_penalty_beyond_sense_is_no_setting(penalty):
    with pytest.raises(ValidationError, match="repetition_penalty"):
        Sampling(repetition_penalty=penalty)
