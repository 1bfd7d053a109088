#!/bin/sh
# All that docs/backend.md says of the speed of a GPU, measured: some minutes.
#
#   cargo build --release -p experiments --features wgpu
#   docs/race/device.sh > measured.txt
#
# Variables: EXPERIMENTS (the program), LARGEST (the largest cube), SIZES (of steps), SHARDS
# (of their batches of 8 sequences), STEPS, and FLAGS for the program, such as
# --software-adapter.
set -eu
cd "$(dirname "$0")/../.."
program=${EXPERIMENTS:-target/release/experiments}
shards=${SHARDS:-8}

said() {
    printf '\n$ %s\n' "$*"
    "$@" 2>&1 || printf 'failed: %s\n' "$?"
}

said "$program" --version
said "$program" backend list
# The first run of a product measures tiles; a warm cache is what users have.
said "$program" backend check ${FLAGS:-}
said "$program" backend bench --largest "${LARGEST:-8192}" ${FLAGS:-}
for size in ${SIZES:-l xl}; do
    said "$program" backend bench --step "$size" ${FLAGS:-}
done
if python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
    said python3 docs/race/torch_matmul.py
else
    printf '\nno PyTorch with CUDA: the rate of the vendor'\''s library is not measured\n'
fi
for size in ${SIZES:-l xl}; do
    for count in $shards; do
        micro=$((8 / count))
        steps="--steps ${STEPS:-9} --shards $count --micro-batch $micro"
        # In turn, so that both meet the same machine.
        for round in 1 2; do
            said "$program" bench --size "$size" $steps
            said "$program" bench --size "$size" $steps --backend wgpu --device-memory 16 ${FLAGS:-}
            said "$program" bench --size "$size" $steps --backend wgpu --device-memory 16 --fetch-results ${FLAGS:-}
        done
    done
done
