"""Command lines and environments of servers, and which GPUs they get."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from selflengthen.config import VllmSettings
from selflengthen.engines.served import gpus, launch
from selflengthen.engines.served.gpus import Gpu, plan_groups, visible_gpus
from selflengthen.errors import EngineError

GB = 10**9
COMMAND = ("/opt/vllm/bin/vllm", "serve")


def line(*args: str, command=COMMAND, **changes) -> list[str]:
    asked = {"model": "/models/a", "dtype": "auto", "port": 4711, "tensor_parallel": 2, "on_gpu": True, "rank": 9} | changes
    return list(launch.command_line(VllmSettings(command=command, args=args), **asked))


def value(words: list[str], flag: str) -> str:
    assert words.count(flag) == 1, words
    return words[words.index(flag) + 1]


# -- the command ----------------------------------------------------------------------------------------------------------------------------


def test_the_whole_command_of_a_gpu_server():
    words = line()
    assert words[:3] == [*COMMAND, "/models/a"]
    for flag, wanted in {
        "--served-model-name": "base",
        "--host": "127.0.0.1",
        "--port": "4711",
        "--dtype": "bfloat16",
        "--generation-config": "vllm",
        "--tensor-parallel-size": "2",
        "--max-loras": "2",
        "--max-lora-rank": "16",
        "--gpu-memory-utilization": "0.9",
    }.items():
        assert value(words, flag) == wanted
    assert {"--enable-lora", "--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-sleep-mode"} <= set(words)
    assert int(value(words, "--max-cpu-loras")) >= 2


def test_a_cpu_server_has_no_flags_of_gpus():
    words = line(on_gpu=False, tensor_parallel=1)
    assert not {"--gpu-memory-utilization", "--enable-sleep-mode"} & set(words)
    assert value(words, "--dtype") == "float32"
    assert value(line(dtype="float16", on_gpu=False), "--dtype") == "float16"
    assert value(words, "--kv-cache-memory-bytes") == str(4 << 30)
    for mine in (("--kv-cache-memory-bytes", "9"), ("--gpu-memory-utilization=0.5",)):
        assert str(4 << 30) not in line(*mine, on_gpu=False)
    assert "--kv-cache-memory-bytes" not in line()
    assert "--no-enable-chunked-prefill" in words
    assert "--no-enable-chunked-prefill" not in [*line(), *line("--enable-chunked-prefill", on_gpu=False)]


def test_adapters_in_32_bits_are_refused_on_a_gpu():
    with pytest.raises(EngineError, match="leave it at 'auto'"):
        line(dtype="float32")


def test_the_model_stands_where_the_command_takes_it():
    module = ("/opt/vllm/bin/python", "-m", "vllm.entrypoints.openai.api_server")
    assert line(command=module)[:5] == [*module, "--model", "/models/a"]
    assert "--model" not in line(command=("conda", "run", "-n", "v", "vllm", "serve"))


@pytest.mark.parametrize(
    ("args", "flag", "left"),
    [
        (("--generation-config", "auto"), "--generation-config", ["auto"]),
        (("--gpu_memory_utilization=0.5",), "--gpu-memory-utilization", []),
        (("--no-enable-prefix-caching",), "--enable-prefix-caching", []),
        (("--max-lora-rank", "64", "--enforce-eager"), "--max-lora-rank", ["64"]),
    ],
)
def test_a_flag_of_the_user_replaces_ours(args, flag, left):
    words = line(*args)
    assert words[-len(args) :] == list(args)
    assert [words[n + 1] for n, word in enumerate(words) if word == flag] == left


def test_other_flags_of_the_user_stand_at_the_end():
    assert line("--max-model-len", "4096")[:-2] == line()
    assert line("-q", "fp8")[:-2] == line()


@pytest.mark.parametrize(
    "args", [("--port", "1"), ("--host=0.0.0.0",), ("-tp", "2"), ("--tensor_parallel_size=2",), ("--model", "x"), ("--api-key", "x")]
)
def test_flags_that_the_run_decides_are_refused(args):
    with pytest.raises(EngineError, match=r"engine\.vllm\.args has --[a-z-]+, which is not to be given there \(.+\): drop it"):
        line(*args)


@pytest.mark.parametrize(("rank", "wanted"), [(1, 8), (8, 8), (9, 16), (100, 128), (257, 320), (512, 512)])
def test_ranks_are_rounded_up_to_one_that_vllm_takes(rank, wanted):
    assert launch.lora_rank(rank) == wanted


def test_a_rank_beyond_all_is_refused():
    with pytest.raises(EngineError, match=r"train\.rank = 513.*up to rank 512"):
        launch.lora_rank(513)


def test_the_vllm_of_this_environment_comes_first(tmp_path, monkeypatch):
    (tmp_path / "vllm").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(launch.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert launch.server_command(VllmSettings()) == ("/usr/bin/vllm", "serve")  # a folder of that name is no module
    (tmp_path / "vllm" / "__init__.py").write_text("raise RuntimeError('imported')")
    launch.importlib.invalidate_caches()
    assert launch.server_command(VllmSettings()) == (sys.executable, "-P", "-m", "vllm.entrypoints.cli.main", "serve")
    (tmp_path / "vllm" / "entrypoints" / "openai").mkdir(parents=True)
    (tmp_path / "vllm" / "entrypoints" / "openai" / "api_server.py").touch()
    assert launch.server_command(VllmSettings()) == (sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server")
    assert launch.server_command(VllmSettings(command=("mine",))) == ("mine",)


def test_no_vllm_at_all_is_said(monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(launch.shutil, "which", lambda _name: None)
    with pytest.raises(EngineError, match=r"pip install vllm.*engine\.vllm\.command"):
        launch.server_command(VllmSettings())


def test_the_environment():
    given = {"PATH": "/bin", "VLLM_API_KEY": "theirs", "CUDA_VISIBLE_DEVICES": "0,1,2,3", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    env = launch.environment(VllmSettings(env={"VLLM_LOGGING_LEVEL": "DEBUG"}), group=("2", "GPU-3"), key="secret", environ=given)
    assert env["PATH"] == "/bin"
    assert env["VLLM_API_KEY"] == "secret"
    assert env["CUDA_VISIBLE_DEVICES"] == "2,GPU-3"
    assert env["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    assert env["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert env["VLLM_SERVER_DEV_MODE"] == env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == "1"


def test_the_environment_on_a_cpu():
    env = launch.environment(VllmSettings(), group=(), key="secret", environ={})
    assert "VLLM_SERVER_DEV_MODE" not in env  # it opens doors that only sleeping needs
    assert "CUDA_VISIBLE_DEVICES" not in env
    assert "CUDA_DEVICE_ORDER" not in env
    assert launch.environment(VllmSettings(env={"VLLM_API_KEY": "mine"}), group=(), key="secret", environ={})["VLLM_API_KEY"] == "mine"


def test_the_order_of_gpus_is_that_of_nvidia_smi():
    assert launch.environment(VllmSettings(), group=("0",), key="", environ={})["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_ports_are_free_and_different():
    ports = launch.free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))


# -- GPUs -----------------------------------------------------------------------------------------------------------------------------------

SMI = "0, 81559, GPU-aaaa1111\n1, 81559, GPU-bbbb2222\n2, 24564, GPU-cccc3333\n3, [N/A], GPU-dddd4444\n"


@pytest.mark.parametrize(
    ("visible", "names", "numbers"),
    [
        (None, ["0", "1", "2", "3"], [0, 1, 2, 3]),
        ("2,0", ["2", "0"], [2, 0]),
        (" 1 , 3 ", ["1", "3"], [1, 3]),
        ("GPU-bbbb,GPU-cccc3333", ["GPU-bbbb", "GPU-cccc3333"], [1, 2]),
        ("MIG-x/1/0", ["MIG-x/1/0"], [None]),
        ("0,7,1", ["0"], [0]),
        ("", [], []),
        ("-1", [], []),
    ],
)
def test_visible_gpus(visible, names, numbers):
    found = visible_gpus({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}, lambda: SMI)
    assert [gpu.name for gpu in found] == names
    assert [gpu.number for gpu in found] == numbers


def test_memory_of_gpus():
    found = visible_gpus({}, lambda: SMI)
    assert [gpu.memory_bytes for gpu in found] == [81559 << 20, 81559 << 20, 24564 << 20, None]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "GPU-cccc"}, lambda: SMI)[0].memory_bytes == 24564 << 20


def test_a_machine_without_nvidia_smi_has_no_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(os.environ) == ()
    broken = tmp_path / "nvidia-smi"
    broken.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    broken.chmod(0o755)
    assert visible_gpus(os.environ) == ()
    broken.write_text("#!/bin/sh\necho '0, 1000, GPU-a'\n")
    assert visible_gpus(os.environ) == (Gpu("0", 0, 1000 << 20),)


def row(count: int, memory: int | None = 80 * GB) -> list[Gpu]:
    return [Gpu(str(n), n, memory) for n in range(count)]


@pytest.mark.parametrize(
    ("count", "asked", "groups"),
    [
        (1, {}, [["0"]]),
        (4, {}, [["0"], ["1"], ["2"], ["3"]]),
        (4, {"weight_bytes": 15 * GB}, [["0"], ["1"], ["2"], ["3"]]),
        (4, {"weight_bytes": 43 * GB}, [["0"], ["1"], ["2"], ["3"]]),  # 0.6 x 0.9 x 80 = 43.2
        (4, {"weight_bytes": 44 * GB}, [["0", "1"], ["2", "3"]]),
        (4, {"weight_bytes": 140 * GB}, [["0", "1", "2", "3"]]),
        (4, {"weight_bytes": 44 * GB, "gpu_memory": 0.5}, [["0", "1"], ["2", "3"]]),
        (4, {"weight_bytes": 50 * GB, "gpu_memory": 0.5}, [["0", "1", "2", "3"]]),
        (5, {"weight_bytes": 44 * GB}, [["0", "1"], ["2", "3"]]),
        (4, {"gpus": (3, 1)}, [["3"], ["1"]]),
        (4, {"gpus": (3, 3, 1)}, [["3"], ["1"]]),
        (4, {"tensor_parallel": 2}, [["0", "1"], ["2", "3"]]),
        (4, {"tensor_parallel": 4, "weight_bytes": 1}, [["0", "1", "2", "3"]]),
        (4, {"tensor_parallel": 1, "weight_bytes": 900 * GB}, [["0"], ["1"], ["2"], ["3"]]),  # said by the user: theirs to try
        (4, {"replicas": 2}, [["0"], ["1"]]),
        (4, {"replicas": 1, "weight_bytes": 44 * GB}, [["0", "1"]]),
        (8, {"weight_bytes": 150 * GB, "heads": 14}, [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"]]),
        (1, {"weight_bytes": 60 * GB}, [["0"]]),
        (0, {}, [[]]),
        (0, {"replicas": 3, "weight_bytes": 900 * GB}, [[], [], []]),
    ],
)
def test_plans(count, asked, groups):
    # Those with a number of heads are of 141 GB: 14 heads cannot be spread over 4 of the smaller ones.
    plan = plan_groups(row(count, 141 * GB if asked.get("heads") else 80 * GB), **asked)
    assert [list(group) for group in plan.groups] == groups
    assert plan.tensor_parallel == max(1, len(groups[0]))


def test_the_smallest_gpu_counts():
    mixed = [Gpu("0", 0, 80 * GB), Gpu("1", 1, 24 * GB)]
    assert plan_groups(mixed, weight_bytes=15 * GB).tensor_parallel == 2
    assert plan_groups(mixed, weight_bytes=15 * GB, gpus=(0,)).tensor_parallel == 1


@pytest.mark.parametrize(
    ("gpus_there", "asked", "note"),
    [
        (row(1), {"weight_bytes": None}, "the size of the model is not known"),
        (row(1, None), {"weight_bytes": 1}, "the memory of the GPUs is not known"),
        (row(1), {"weight_bytes": 60 * GB}, "83% of what a server may have"),
        (row(5), {"weight_bytes": 44 * GB}, "1 GPU of 5 stay unused"),
        (row(4), {"weight_bytes": 15 * GB}, ""),
        (row(4), {"weight_bytes": 15 * GB, "replicas": 2}, ""),
    ],
)
def test_what_is_said_of_a_plan(gpus_there, asked, note):
    said = plan_groups(gpus_there, **asked).note
    assert (note in said) if note else (said == "")


@pytest.mark.parametrize(
    ("count", "asked", "said"),
    [
        (2, {"gpus": (0, 5)}, r"engine\.vllm\.gpus names GPU 5; visible are 0, 1"),
        (0, {"gpus": (0,)}, r"engine\.vllm\.gpus = \[0\], but no GPU is visible"),
        (2, {"tensor_parallel": 4}, r"engine\.vllm\.tensor_parallel = 4, but 2 GPUs to be used"),
        (4, {"tensor_parallel": 4, "heads": 6}, r"tensor_parallel = 4 does not divide the model's 6 attention heads"),
        (4, {"replicas": 5}, r"engine\.vllm\.replicas = 5 servers of 1 GPU each need 5, but 4 GPUs"),
        (2, {"weight_bytes": 140 * GB}, r"weights have 140\.0 GB, and the 2 GPUs .* 2 x 80\.0 GB x engine\.vllm\.gpu_memory = 0\.9"),
        (4, {"weight_bytes": 140 * GB, "heads": 6}, r"the 2 GPUs that one server could have \(of a size that divides 6 attention heads\)"),
    ],
)
def test_plans_that_cannot_be(count, asked, said):
    with pytest.raises(EngineError, match=said):
        plan_groups(row(count), **asked)


# -- the size of a model --------------------------------------------------------------------------------------------------------------------

QWEN_7B = {
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "vocab_size": 152064,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "torch_dtype": "bfloat16",
}


def test_the_size_of_what_ships_with_the_package():
    seedling = Path(launch.__file__).parents[2] / "seedling"
    assert gpus.weight_bytes(str(seedling)) == (seedling / "model.safetensors").stat().st_size
    assert gpus.attention_heads(str(seedling)) == 8


def test_sizes_of_folders(tmp_path):
    where = str(tmp_path)
    assert gpus.weight_bytes(where) is None
    assert gpus.attention_heads(where) is None
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    assert gpus.weight_bytes(where) == pytest.approx(7.6e9 * 2, rel=0.02)
    assert gpus.attention_heads(where) == 28
    (tmp_path / "pytorch_model-1.bin").write_bytes(bytes(500))
    (tmp_path / "pytorch_model-2.bin").write_bytes(bytes(500))
    (tmp_path / "training_args.bin").write_bytes(bytes(7))
    assert gpus.weight_bytes(where) == 1000
    (tmp_path / "model.safetensors").write_bytes(bytes(300))
    (tmp_path / "consolidated.safetensors").write_bytes(bytes(300))  # the same weights once more
    assert gpus.weight_bytes(where) == 300
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 900}, "weight_map": {}}))
    assert gpus.weight_bytes(where) == 900


def test_estimates(tmp_path):
    def estimate(**settings):
        (tmp_path / "config.json").write_text(json.dumps(QWEN_7B | settings))
        return gpus.weight_bytes(str(tmp_path))

    plain = estimate()
    assert estimate(torch_dtype="float32") == 2 * plain
    assert plain - estimate(tie_word_embeddings=True) == 152064 * 3584 * 2
    assert estimate(num_experts=8) > 6 * plain
    assert estimate(num_experts=8, moe_intermediate_size=18944 // 8) == plain
    assert estimate(hidden_size=None) is None
    (tmp_path / "config.json").write_text(json.dumps({"text_config": QWEN_7B, "vision_config": {}}))
    assert gpus.weight_bytes(str(tmp_path)) == plain
    (tmp_path / "config.json").write_text("[]")
    assert gpus.weight_bytes(str(tmp_path)) is None


def test_models_of_the_hub_are_looked_up_in_its_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert gpus.weight_bytes("some/model") is None
    assert gpus.weight_bytes("/no/such/folder/at all") is None
    repo = tmp_path / "models--some--model"
    snapshot = repo / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text(json.dumps(QWEN_7B))
    assert gpus.weight_bytes("some/model") > 15e9
    (snapshot / "model.safetensors").write_bytes(bytes(40))
    assert gpus.weight_bytes("some/model") == 40
    assert gpus.attention_heads("some/model") == 28
