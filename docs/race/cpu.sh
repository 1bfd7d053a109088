#!/bin/sh
# The tables of docs/performance.md, measured: this engine and PyTorch in turn, and every
# connection in turn with pre-norm. About a quarter of an hour.
#
#   cargo build --release
#   docs/race/cpu.sh > measured.txt
#
# Variables: EXPERIMENTS (the program), PYTHON (one with torch), SIZES, CONNECTIONS (kind:rate),
# ROUNDS, STEPS and THREADS.
set -eu
cd "$(dirname "$0")/../.."
program=${EXPERIMENTS:-target/release/experiments}
python=${PYTHON:-python3}
threads=${THREADS:-2}
steps=${STEPS:-14}
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT

for round in $(seq "${ROUNDS:-5}"); do
    for size in ${SIZES:-small s m}; do
        for connection in ${CONNECTIONS:-pre_norm:1 dhc:4}; do
            what="--size $size --connection ${connection%:*} --rate ${connection#*:} --steps $steps --threads $threads"
            race=$("$program" bench $what --json --rounds 1 \
                --compare "$python docs/race/torch_step.py $what")
            printf '{"size":"%s","connection":"%s","race":%s}\n' "$size" "$connection" "$race" >> "$lines"
        done
    done
done

"$program" --version
grep -m 1 'model name' /proc/cpuinfo || true
printf '%s threads; load of the machine now: %s\n\n' "$threads" "$(uptime | sed 's/.*load average: //')"
"$python" - "$lines" << 'END'
import collections, json, statistics, sys

rounds = collections.defaultdict(list)
for line in open(sys.argv[1]):
    line = json.loads(line)
    rounds[line["size"], line["connection"]].append(line["race"])
median = lambda of, key: statistics.median(of(race) for race in rounds[key])
print("| step | ours, ms | PyTorch, ms | times faster | ours, % of the FMA peak | PyTorch, % | losses differ by |")
print("|---|---|---|---|---|---|---|")
for key in rounds:
    ours, theirs = (median(lambda race: race["median_ms"][side], key) for side in (0, 1))
    peaks = [100 * median(lambda race: race["fraction_of_peak"][side], key) for side in (0, 1)]
    faster = median(lambda race: race["times_faster"], key)
    losses = max(race["largest_loss_difference"] for race in rounds[key])
    print(f"| {' '.join(key)} | {ours:.1f} | {theirs:.1f} | {faster:.2f} | {peaks[0]:.0f} | {peaks[1]:.0f} | {losses:.0e} |")
print("\nTime over that of pre-norm, round by round, median (smallest to largest):\n")
print("| step | ours | PyTorch |\n|---|---|---|")
for size, connection in rounds:
    base = rounds.get((size, "pre_norm:1"))
    if base is None or connection == "pre_norm:1":
        continue
    cells = []
    for side in (0, 1):
        pairs = zip(rounds[size, connection], base)
        ratios = sorted(race["median_ms"][side] / pre["median_ms"][side] for race, pre in pairs)
        cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(f"| {size} {connection} | {cells[0]} | {cells[1]} |")
END
