#!/bin/sh
# What this repository says of GPUs and could not try where it was written: `benchmarks/gpu_check.sh [WORK]`.
# Needs an NVIDIA GPU, wall-edge[onnxruntime-gpu,export] and torch for CUDA. Goes on after a failure; the exit
# code is the number of checks that failed. Bundles stay in WORK (10 GB with wall-oss-mini).
set -u
work=${1:-$HOME/.cache/wall-edge/gpu-check}
case $work in /*) ;; *) work=$PWD/$work ;; esac
shape=${SHAPE:-wall-oss-mini}
failed=0

check() {
    what=$1
    shift
    printf '\n== %s\n   %s\n' "$what" "$*"
    "$@" || { failed=$((failed + 1)); printf 'FAILED: %s\n' "$what"; }
}

latency() {
    python benchmarks/policy_latency.py --shape "$shape" --work "$work" --device cuda "$@"
}

cd "$(dirname "$0")/.." || exit 125
nvidia-smi --query-gpu=name,driver_version,clocks.sm,power.limit --format=csv 2>/dev/null
check "torch on CUDA, one graph a loop against launches, beside LeRobot in float32" \
    latency --engine reference --precision fp32
check "the same in bfloat16, LeRobot as it rounds itself" \
    latency --engine reference --precision bf16 --peer-dtype bfloat16
check "ONNX Runtime's CUDA provider, no peer" \
    latency --precision fp32 --precision bf16 --precision fp16 --peer none
for recipe in fp32 bf16 fp16; do
    check "every stage of $recipe within tolerance on ONNX Runtime's CUDA provider" \
        python -m wall_edge verify "$work/$shape/$recipe" --device cuda
done
printf '\n%s checks failed\n' "$failed"
exit "$failed"
