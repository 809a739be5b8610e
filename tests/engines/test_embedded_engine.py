"""The embedded engine against the library it stands on: the same tokens, the same adapters, and plain words when something is wrong."""

import asyncio
import json
import shutil
import warnings
import weakref

import pytest
import torch
from asking import ON, Listener, adapter_record, ask, lora
from transformers import AutoModelForCausalLM, AutoTokenizer

from selflengthen.engines import Finish, RequestRefused, open_engine
from selflengthen.engines.embedded.dialogue import Dialogue
from selflengthen.engines.embedded.loading import load
from selflengthen.engines.transformers import TransformersEngine
from selflengthen.errors import EngineError
from selflengthen.records import Message
from tiny_models import CHATML, tiny_llama, tiny_qwen2


def answers(model, requests, rows=20, adapters=(), **settings):
    """All at once through the engine."""

    async def go():
        async with TransformersEngine(str(model), **ON, max_batch=rows, threads=1, **settings) as engine:
            for adapter in adapters:
                await engine.load(adapter)
            return await asyncio.wait_for(asyncio.gather(*(engine.generate(request) for request in requests)), 100)

    return asyncio.run(go())


def generated(model, request, loaded, **extra):
    """The library's own answer to one request, as tokens."""
    ids = torch.tensor([loaded.dialogue.encode(loaded.dialogue.prompt(request))], device=model.device)
    return model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        repetition_penalty=request.sampling.repetition_penalty,
        max_new_tokens=request.sampling.max_tokens,
        eos_token_id=sorted(loaded.ends),
        pad_token_id=0,
        **extra,
    )[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("family", ["qwen2", "llama", "mistral"])
def test_greedy_answers_are_the_library_s(models, family):
    """Unequal prompts and answers in more groups than one, so rows come, go and change places; Mistral's window slides."""
    requests = [
        ask("Write about " + "the harbour, " * (place * 5 % 13), tokens=10 + place * 17 % 60, temperature=0, repetition_penalty=penalty)
        for place, penalty in enumerate((1.0, 1.1) * 12)
    ]
    loaded = load(str(models[family]), "cpu", "auto")
    plain = AutoModelForCausalLM.from_pretrained(models[family]).to(ON["device"])
    for request, answer in zip(requests, answers(models[family], requests), strict=True):
        tokens = generated(plain, request, loaded)
        assert answer.generated_tokens == len(tokens)
        assert answer.text == loaded.dialogue.decode(tokens).rstrip("\ufffd")
    assert len({answer.text for answer in answers(models[family], requests[:6])}) > 3, "the models say too little to test anything"


def test_rows_that_find_no_storage_come_back_later(models):
    """A bound so small that rows must leave and be prefilled again: the answers are the same."""
    requests = [ask("The old boats. " * (place % 4), tokens=300, seed=place) for place in range(6)]
    small = answers(models["qwen2"], requests, rows=6, max_batch_tokens=900)
    assert small == answers(models["qwen2"], requests, rows=6)


def test_mixed_adapters_are_peft_s(models, adapters):
    from peft import PeftModel

    model = str(models["qwen2"])
    loaded = load(model, "cpu", "auto")
    records = [adapter_record(name, adapters["qwen2", name], model) for name in ("one", "two")]
    requests = [ask(f"Write {place}.", tokens=30, temperature=0, adapter=(None, "one", "two")[place % 3]) for place in range(9)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks transformers 5.23 in an old way
        plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model).to(ON["device"]), adapters["qwen2", "one"], adapter_name="one")
        plain.load_adapter(adapters["qwen2", "two"], adapter_name="two")
        said = {}
        for request, answer in zip(requests, answers(model, requests, adapters=records), strict=True):
            tokens = generated(plain, request, loaded, adapter_names=[request.adapter or "__base__"])
            assert answer.text == loaded.dialogue.decode(tokens).rstrip("\ufffd"), request.adapter
            said[request.adapter] = answer.text
    assert len(set(said.values())) == 3


@pytest.mark.parametrize("family", ["qwen2", "llama", "mistral"])
@pytest.mark.parametrize("prefill", ["Once.", "Once.\n\n", "  indented ", "\n\nA blank line first.\n"])
def test_a_prompt_ends_exactly_with_the_prefill(models, family, prefill):
    loaded = load(str(models[family]), "cpu", "auto")
    request = ask("Write.", prefill=prefill)
    rendered = loaded.dialogue.prompt(request)
    assert rendered.endswith(prefill)
    # The beginning is the template's own for an assistant's turn.
    tokenizer = AutoTokenizer.from_pretrained(models[family])
    turns = [{"role": "user", "content": "Write."}, {"role": "assistant", "content": "Once."}]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    assert whole.startswith(rendered.removesuffix(prefill) + "Once.")
    assert Dialogue(tokenizer).decode(loaded.dialogue.encode(rendered)).endswith(prefill)


@pytest.mark.parametrize(
    ("family", "ends"), [("qwen2", {"<|endoftext|>", "<|im_end|>"}), ("llama", {"<|end_of_text|>", "<|eot_id|>"}), ("mistral", {"</s>"})]
)
def test_end_tokens_come_from_settings_tokenizer_and_template(models, family, ends):
    tokenizer = AutoTokenizer.from_pretrained(models[family])
    assert set(tokenizer.convert_ids_to_tokens(sorted(load(str(models[family]), "cpu", "auto").ends))) == ends


def test_an_end_token_ends_the_answer_and_is_counted(models, tmp_path):
    """The fifth token of a greedy answer, declared an end token in a list."""
    request = ask(tokens=40, temperature=0)
    plain, loaded = AutoModelForCausalLM.from_pretrained(models["llama"]).to(ON["device"]), load(str(models["llama"]), "cpu", "auto")
    tokens = generated(plain, request, loaded)
    model = tmp_path / "model"
    shutil.copytree(models["llama"], model)
    settings = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [1, tokens[4]]}))
    (answer,) = answers(model, [request])
    until = tokens.index(tokens[4])
    assert answer.finish is Finish.STOP
    assert answer.generated_tokens == until + 1
    assert answer.text == loaded.dialogue.decode(tokens[:until]).rstrip("\ufffd")


def test_a_verdict_costs_no_further_token(models):
    """The verdict falls on the piece that a token completes; the count says that no step was made after it."""
    from selflengthen.records import Reason
    from selflengthen.text.verdict import Verdict

    async def go():
        async with TransformersEngine(str(models["qwen2"]), **ON, threads=1) as engine:
            heard = Listener(stop_at=15, verdict=Verdict(Reason.REPEATED, 0, 1))
            stopped = await engine.generate(ask(tokens=300), heard)
            return (
                stopped,
                await engine.generate(ask(tokens=stopped.generated_tokens)),
                await engine.generate(ask(tokens=stopped.generated_tokens - 1)),
            )

    stopped, as_many, one_less = asyncio.run(go())
    assert stopped.text == as_many.text
    assert len(one_less.text) < 15 <= len(stopped.text)


def test_a_crash_ends_all_requests_and_hangs_nothing(models, monkeypatch):
    async def go():
        async with TransformersEngine(str(models["qwen2"]), **ON, max_batch=2, threads=1) as engine:
            heard = Listener()
            tasks = [asyncio.create_task(engine.generate(ask(tokens=400, seed=seed), heard)) for seed in range(5)]
            await heard.fed.wait()
            monkeypatch.setattr(engine._loaded.model, "forward", None)
            outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
            with pytest.raises(EngineError, match="has died: TypeError"):
                await asyncio.wait_for(engine.generate(ask()), 20)
            with pytest.raises(EngineError, match="has died"):
                await asyncio.wait_for(engine.load(adapter_record("late", models["qwen2"], "x")), 20)
            return outcomes

    outcomes = asyncio.run(go())
    assert all(isinstance(outcome, EngineError) and "has died" in str(outcome) for outcome in outcomes), outcomes


@pytest.mark.parametrize("crash", ["put", "pick"])
def test_a_crash_on_the_way_in_hangs_nothing(models, monkeypatch, crash):
    """The rows are in neither the queue nor the batch while the batch lets them in."""

    def fail(*args):
        raise MemoryError

    monkeypatch.setattr(f"selflengthen.engines.embedded.sampler.Sampler.{crash}", fail)

    async def go():
        async with TransformersEngine(str(models["qwen2"]), **ON, max_batch=2, threads=1) as engine:
            tasks = [engine.generate(ask(seed=seed)) for seed in range(5)]
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)

    assert ["has died: MemoryError" in str(outcome) for outcome in asyncio.run(go())] == [True] * 5


def test_a_crash_of_a_step_hangs_no_row_that_just_left(models, monkeypatch):
    """Too little storage: a row leaves the batch, and the step it left for crashes."""
    from selflengthen.engines.embedded.batch import Batch

    remove = Batch.remove

    def leave_and_break(self, row):
        remove(self, row)
        if not row.done:
            self._model = None

    monkeypatch.setattr(Batch, "remove", leave_and_break)

    async def go():
        async with TransformersEngine(str(models["qwen2"]), **ON, max_batch=6, max_batch_tokens=900, threads=1) as engine:
            tasks = [engine.generate(ask("The old boats. " * (place % 4), tokens=300, seed=place)) for place in range(6)]
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)

    assert any("has died" in str(outcome) for outcome in asyncio.run(go()))


def test_a_prompt_of_no_tokens_is_refused(tmp_path):
    model = tiny_qwen2(tmp_path, template="{{ messages[0]['content'] }}{% if messages[1:] %}{{ messages[1]['content'] }}{% endif %}")
    with pytest.raises(RequestRefused, match="the prompt is empty"):
        answers(model, [ask("")])


@pytest.mark.parametrize("extreme", [{"temperature": 1e-300}, {"temperature": 1e-38}, {"repetition_penalty": 0.01}, {"repetition_penalty": 100}])
def test_extreme_settings_are_answered(models, extreme):
    (answer,) = answers(models["qwen2"], [ask(tokens=10, **extreme)])
    assert answer.generated_tokens > 0


def test_a_template_that_refuses_the_messages_refuses_the_request(models, tmp_path):
    model = tiny_qwen2(tmp_path, template="{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHATML)
    request = ask()
    refused = type(request)((Message(role="system", content="Be brief."), *request.messages), request.sampling, 1)

    async def go():
        async with TransformersEngine(str(model), **ON) as engine:
            with pytest.raises(RequestRefused, match="no system turn") as raised:
                await engine.generate(refused)
            await engine.generate(request)
            return raised.value

    assert not asyncio.run(go()).context_full


def test_leaving_frees_the_model(models):
    async def go():
        async with TransformersEngine(str(models["qwen2"]), **ON, threads=1) as engine:
            await engine.generate(ask(tokens=3))
            gone = weakref.ref(engine._loaded.model)
        return engine, gone

    engine, gone = asyncio.run(go())
    assert engine is not None
    assert gone() is None


# Errors


def opening(model, **settings) -> str:
    """What opening a model complains of."""

    async def go():
        async with open_engine("transformers", model=str(model), **ON | settings):
            pass

    with pytest.raises(EngineError) as error:
        asyncio.run(go())
    return str(error.value)


def test_a_missing_folder_is_named(tmp_path):
    assert opening(tmp_path / "none") == f"model folder '{tmp_path / 'none'}' does not exist"


def test_a_folder_without_a_model_is_named(tmp_path):
    assert "holds no config.json" in opening(tmp_path)


def test_a_model_without_a_chat_template_is_refused(tmp_path):
    assert "has no chat template" in opening(tiny_qwen2(tmp_path, template=None))


def test_a_model_without_weights_is_refused(models, tmp_path):
    shutil.copytree(models["qwen2"], tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    assert "model.safetensors" in opening(tmp_path / "model")


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: bytes(len(whole))])
def test_damaged_weights_are_named(models, tmp_path, damage):
    model = tmp_path / "model"
    shutil.copytree(models["qwen2"], model)
    (model / "model.safetensors").write_bytes(damage((model / "model.safetensors").read_bytes()))
    said = opening(model)
    assert said.startswith(f"model '{model}' has damaged weights (model.safetensors): ")
    assert said.endswith("copy or download it again")


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_a_file_of_another_shape_is_one_sentence(models, tmp_path, file):
    shutil.copytree(models["qwen2"], tmp_path / "model")
    (tmp_path / "model" / file).write_text("[]")
    assert opening(tmp_path / "model").startswith(f"model folder '{tmp_path / 'model'}' cannot be loaded: ")


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{% if x %}{{", "that fails (unexpected 'end of template')"),
        ("{{ raise_exception('not today') }}", "that fails (not today)"),
        ("{{ 1 + 'a' }}", "that fails (TypeError: "),
        ("{% if messages[1:] %}{{ raise_exception('one turn') }}{% endif %}{{ messages[0]['content'] }}", "that fails (one turn)"),
        (" ", "that leaves out what the user says"),
    ],
)
def test_a_broken_chat_template_is_named_at_opening(tmp_path, template, what):
    said = opening(tiny_qwen2(tmp_path, template=template))
    assert said.startswith(f"model '{tmp_path}' has a chat template {what}")
    assert "mend its chat_template.jinja" in said


@pytest.mark.parametrize(
    ("family", "said"), [("qwen2", "has no vocabulary: its tokenizer.json is missing or empty"), ("llama", "instantiate the backend tokenizer")]
)
def test_a_folder_without_tokenizer_files_is_refused_at_once(models, tmp_path, monkeypatch, family, said):
    """The library makes a tokenizer without a vocabulary for the one, and none for the other; nobody asks the hub."""
    asked = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *address, **how: asked.append(address))
    model = tmp_path / "model"
    shutil.copytree(models[family], model, ignore=shutil.ignore_patterns("tokenizer*"))
    assert said in opening(model)
    assert not asked


def test_a_model_that_lacks_some_weights_is_refused(models, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(models["llama"], tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    assert "lacks weights: model.layers.1.self_attn.q_proj.weight" in opening(tmp_path / "model")


def test_a_hub_name_without_a_network_says_so(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = opening("nobody/no-such-model")
    assert "model 'nobody/no-such-model' is no folder here" in said
    assert "is there a network?" in said


def test_a_hub_out_of_reach_is_asked_once_and_in_silence(monkeypatch, caplog, capfd):
    """No retries of the library's, and none of its lines about them."""
    from huggingface_hub.utils import logging as hub_logging

    asked = []

    class Unreachable:
        def head(self, url, **how):
            asked.append(url)
            hub_logging.get_logger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
            raise RuntimeError("Name or service not known")

    monkeypatch.setattr("selflengthen.engines.embedded.hub.get_session", Unreachable)
    before = hub_logging.get_verbosity()
    said = opening("nobody/no-such-model")
    assert len(asked) == 1
    assert "is there a network?" in said
    assert "cannot be reached: Name or service not known" in said
    assert "Retrying" not in caplog.text + "".join(capfd.readouterr())
    assert hub_logging.get_verbosity() == before


def test_a_failed_opening_gives_the_memory_back(models, monkeypatch):
    """Even while somebody holds on to the error."""
    models_seen, freed = [], []

    def full(self, *where):
        models_seen.append(weakref.ref(self))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate much")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append([seen() for seen in models_seen]))

    async def go():
        async with TransformersEngine(str(models["qwen2"]), device="cpu", dtype="float32"):
            pass

    with pytest.raises(EngineError, match="does not fit on cpu: CUDA out of memory") as error:
        asyncio.run(go())
    assert error.value is not None
    assert freed == [[None]]


def test_an_unknown_device_or_dtype_is_named(models):
    assert "device 'abacus' cannot be used" in opening(models["qwen2"], device="abacus")
    assert "dtype 'int7' is unknown" in opening(models["qwen2"], dtype="int7")


def loading(model, path) -> str:
    """What loading an adapter complains of; the engine must go on answering."""

    async def go():
        async with TransformersEngine(str(model), **ON, threads=1) as engine:
            with pytest.raises(EngineError) as error:
                await engine.load(adapter_record("it", path, str(model)))
            await engine.generate(ask(tokens=3))
            return str(error.value)

    return asyncio.run(go())


def test_an_adapter_of_another_model_is_refused(models, tmp_path):
    wide = lora(tiny_llama(tmp_path / "wide", hidden=64), tmp_path / "adapter", 0)
    assert "adapter 'it' was made for another model: its model.layers." in loading(models["llama"], wide)


def test_a_missing_or_broken_adapter_is_named(models, adapters, tmp_path):
    assert "adapter 'it' has no" in loading(models["qwen2"], tmp_path / "none")
    shutil.copytree(adapters["qwen2", "one"], tmp_path / "broken")
    (tmp_path / "broken" / "adapter_model.safetensors").write_bytes(b"not this")
    assert "cannot be read" in loading(models["qwen2"], tmp_path / "broken")


def test_an_adapter_of_another_kind_is_refused(models, adapters, tmp_path):
    shutil.copytree(adapters["qwen2", "one"], tmp_path / "dora")
    settings = json.loads((tmp_path / "dora" / "adapter_config.json").read_text())
    (tmp_path / "dora" / "adapter_config.json").write_text(json.dumps(settings | {"use_dora": True}))
    assert "uses use_dora" in loading(models["qwen2"], tmp_path / "dora")
