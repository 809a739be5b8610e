#!/usr/bin/env bash
# Checks every path that only a GPU takes, on a machine that has one and may have no network. See README.md beside this file.
#
#     bash bench/gpu/check.sh [PART ...]        without PART: all, those that are not timed side by side
#
# If the repository has a folder wheels/ (git ignores it), its wheels are put before the machine's own packages; torch, transformers, accelerate,
# pandas and pyarrow are expected to be there. Each part has a time limit, none stops another. Results: $OUT (default: runs/gpu).
set -u
cd "$(dirname "$0")/../.." || exit
OUT=${OUT:-$PWD/runs/gpu}
PYTHON=${PYTHON:-python3}
WORK=${WORK:-$(mktemp -d)}
PARTS=${*:-engines contract learn lora model demo memory step training bench bench_large}
mkdir -p "$OUT"

if compgen -G 'wheels/*.whl' >/dev/null && [ ! -d "$WORK/site" ]; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$WORK/site" wheels/*.whl || exit
fi
export PYTHONPATH=$WORK/site:$PWD/src${PYTHONPATH:+:$PYTHONPATH}
export HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The machine's own pytest plugins may not fit the pytest of the wheels.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
DEVICE=$("$PYTHON" -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")') || exit
export SELFLENGTHEN_TEST_DEVICE=$DEVICE
"$PYTHON" - <<'PY' | tee "$OUT/checks.log"
import sys, torch, transformers, peft, trl, accelerate
print("python", sys.version.split()[0], *(f"{m.__name__} {m.__version__}" for m in (torch, transformers, peft, trl, accelerate)))
print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")
PY

# part NAME SECONDS COMMAND...: its output goes to checks.log in one piece when it is over, its last lines to the screen.
part() {
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    [[ " $PARTS " == *" $name "* ]] || return 0
    timeout -k 5 "$limit" "$@" >"$WORK/$name.log" 2>&1
    local code=$?
    {
        flock 9
        { echo "=== $name: exit $code after $((SECONDS - start)) s"; cat "$WORK/$name.log"; } >>"$OUT/checks.log"
        echo "=== $name: exit $code after $((SECONDS - start)) s"
        tail -n "${TAIL:-12}" "$WORK/$name.log"
    } 9>"$WORK/lock"
}

# The suite turns warnings into errors for the versions it is developed with; here other versions run.
tests() { "$PYTHON" -m pytest -p pytest_timeout -p _hypothesis_pytestplugin -p no:cacheprovider -W default -rfEs --tb=short --durations=5 "$@"; }
export -f tests
export PYTHON

part engines 170 bash -c 'tests tests/engines' &
part contract 170 bash -c 'tests tests/trainers/test_contract.py' &
part learn 170 bash -c 'tests tests/trainers/test_learn.py tests/trainers/test_render.py' &
part lora 170 bash -c 'tests tests/trainers/test_lora.py' &
part model 60 "$PYTHON" bench/gpu/training.py model "$WORK/model" &
part demo 300 "$PYTHON" -m selflengthen demo "$WORK/demo" &
wait
if [ -d "$WORK/demo" ]; then
    tar -C "$WORK" --exclude='*.safetensors' --exclude='*.pt' --exclude='*.partial' -czf "$OUT/demo.tar.gz" demo
    find "$WORK/demo" -name training.json | sort | while read -r file; do "$PYTHON" bench/gpu/training.py history "$file"; done | tee -a "$OUT/checks.log"
fi
# These want the GPU for themselves.
part memory 80 "$PYTHON" bench/gpu/training.py memory "$WORK/model" "$WORK/memory"
part step 40 "$PYTHON" bench/gpu/step.py src/selflengthen/seedling "$WORK/model"
part training 75 "$PYTHON" bench/gpu/training.py speed "$WORK/model" "$WORK/training"
part bench 60 "$PYTHON" bench/engine.py --requests 32 --rounds 1 --longest 300
part bench_large 60 "$PYTHON" bench/engine.py --model "$WORK/model" --requests 64 --rounds 1 --longest 300
