#!/usr/bin/env bash
# What only a GPU with vLLM shows: the contract suite and the faults on the real server, the seedling's whole loop over it, how full the flow keeps a
# server of a 7B model's size, and the flow against the published one. See README.md beside this file.
#
#     bash bench/gpu/vllm.sh [PART ...]         without PART: all of them
#
# SELFLENGTHEN_VLLM: the command that starts a server (default: python3 -m vllm.entrypoints.openai.api_server). Results: $OUT (default: runs/gpu).
set -u
cd "$(dirname "$0")/../.." || exit
OUT=${OUT:-$PWD/runs/gpu}
PYTHON=${PYTHON:-python3}
WORK=${WORK:-$(mktemp -d)}
PARTS=${*:-contract wire die loop saturation flow client}
export SELFLENGTHEN_VLLM=${SELFLENGTHEN_VLLM:-$PYTHON -m vllm.entrypoints.openai.api_server}
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH}
export HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
mkdir -p "$OUT"
# shellcheck disable=SC2086 # words of a command
COMMAND="engine.vllm.command=$("$PYTHON" -c 'import json, sys; print(json.dumps(sys.argv[1:]))' $SELFLENGTHEN_VLLM)"
"$PYTHON" -c 'import sys, torch, transformers, vllm
print("python", sys.version.split()[0], "torch", torch.__version__, "transformers", transformers.__version__, "vllm", vllm.__version__)
print(torch.cuda.get_device_name())' 2>/dev/null | tee "$OUT/vllm.log"

# part NAME SECONDS COMMAND...: its output goes to vllm.log, its last lines to the screen.
part() {
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    [[ " $PARTS " == *" $name "* ]] || return 0
    timeout -k 10 "$limit" "$@" >"$WORK/$name.log" 2>&1
    local code=$?
    { echo "=== $name: exit $code after $((SECONDS - start)) s"; cat "$WORK/$name.log"; } >>"$OUT/vllm.log"
    echo "=== $name: exit $code after $((SECONDS - start)) s"
    tail -n "${TAIL:-14}" "$WORK/$name.log"
}

tests() { "$PYTHON" -m pytest -p pytest_timeout -p no:cacheprovider -W default -rfEs -s --tb=short --durations=5 "$@"; }
export -f tests
export PYTHON

part contract 240 bash -c 'tests tests/vllm/test_contract_on_vllm.py'
part wire 120 bash -c 'tests tests/vllm/test_on_the_wire.py'
part die 400 bash -c 'tests tests/vllm/test_servers_die.py'
part loop 420 "$PYTHON" -m selflengthen demo "$WORK/demo" -o engine.kind=vllm -o "$COMMAND" -o engine.vllm.gpu_memory=0.5 \
    -o 'engine.vllm.args=["--enforce-eager"]'
if [ -d "$WORK/demo" ]; then
    "$PYTHON" -m selflengthen status "$WORK/demo" | tee -a "$OUT/vllm.log" | tail -n 60
    tar -C "$WORK" --exclude='*.safetensors' --exclude='*.pt' --exclude='*.partial' -czf "$OUT/demo-vllm.tar.gz" demo
fi
if [[ " $PARTS " == *" saturation "* ]]; then
    "$PYTHON" bench/gpu/saturation.py model "$WORK/model7b"
    part saturation 420 "$PYTHON" bench/gpu/saturation.py run "$WORK/model7b" --count "${COUNT:-200}" --seconds "${SATURATION_SECONDS:-75}" -o "$COMMAND"
    cp "$WORK/saturation.log" "$OUT/"
fi
part flow 420 "$PYTHON" bench/flow.py --count 256 -o engine.kind=vllm -o "$COMMAND" -o engine.vllm.gpu_memory=0.6
part client 90 "$PYTHON" bench/client.py --rounds 2
