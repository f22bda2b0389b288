#!/bin/sh
# All checks and benchmarks that need a GPU, in under ten minutes.
#
#   bench/first_gpu.sh [FOLDER]     from the repository; logs and tables go to FOLDER (gpu-report)
#
# It needs a CUDA build of torch in .venv, or PYTHON=… . Each step has a time limit. A step that
# fails does not stop the others; the last line names it. The tables are for bench/README.md.
# The tests of cuda:1 need two GPUs; with one they run on cuda:0.
set -u
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-.venv/bin/python}
out=${1:-gpu-report}
mkdir -p "$out"
failed=""

step() { # NAME SECONDS COMMAND…
    name=$1 seconds=$2
    shift 2
    printf '\n## %s\n' "$name"
    if timeout --kill-after=5 "$seconds" "$@" >"$out/$name.txt" 2>"$out/$name.log"; then
        cat "$out/$name.txt"
    else
        failed="$failed $name($?)"
        cat "$out/$name.txt"
        tail -n 15 "$out/$name.log"
    fi
}

"$python" - <<'PY' || exit 1
import sys
import torch
if not torch.cuda.is_available():
    sys.exit(f"torch {torch.__version__} sees no GPU: install a CUDA build, and check nvidia-smi")
for number in range(torch.cuda.device_count()):
    print(torch.cuda.get_device_name(number), torch.cuda.get_device_capability(number))
PY

step tests 150 "$python" -m pytest -q -p no:cacheprovider tests/unit/test_on_a_gpu.py \
    tests/unit/test_gpu.py tests/unit/test_cuda_races.py tests/unit/test_cuda_fake_tensors.py
# torch's own sanitizer checks the kernels of a few models for races; it is slow
step sanitizer 40 env TORCH_CUDA_SANITIZER=1 "$python" -m pytest -q -p no:cacheprovider \
    tests/unit/test_on_a_gpu.py -k "references and float16 and not bfloat16"
step parity 60 "$python" bench/gpu.py parity --texts 400
step curve-builtin 40 "$python" bench/gpu.py curve --seconds 0.7 --precisions float16,bfloat16
step curve-base 50 "$python" bench/gpu.py curve --shape base --seconds 0.7 --texts 1000 \
    --precisions float16,bfloat16
step processes 50 "$python" bench/gpu.py processes --seconds 4

# with MPS processes run on the GPU at the same time; without it they take turns
CUDA_MPS_PIPE_DIRECTORY=$(mktemp -d)
CUDA_MPS_LOG_DIRECTORY=$CUDA_MPS_PIPE_DIRECTORY
export CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
if command -v nvidia-cuda-mps-control >/dev/null && nvidia-cuda-mps-control -d; then
    step processes-mps 50 "$python" bench/gpu.py processes --seconds 4
    echo quit | nvidia-cuda-mps-control
    rm -r "$CUDA_MPS_PIPE_DIRECTORY"
else
    failed="$failed processes-mps(no nvidia-cuda-mps-control, or it may not run here)"
fi
unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY

step peers-builtin 50 "$python" bench/engine.py --device cuda --texts 2000 --rounds 3
step peers-base 50 "$python" bench/engine.py --device cuda --shape base --texts 1000 --rounds 3
step worker 50 "$python" bench/worker.py --device cuda --broker tansu --texts 6000 --rounds 1

printf '\nfailed:%s\n' "${failed:- nothing}"
[ -z "$failed" ]
