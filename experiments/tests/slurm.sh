#!/usr/bin/env bash
# A sweep as a job array of a real Slurm on this machine: tasks are requeued, killed, cancelled and
# out of time in the middle; in the end every byte that does not tell the time is that of the same
# sweep without Slurm.
#
# Usage: slurm.sh PROGRAM. Needs slurmctld, slurmd and munged (Debian: slurm-wlm, munge) and the
# right to start them; where one is missing it says so and ends well.
set -euo pipefail

program=$(realpath "${1:?usage: slurm.sh PROGRAM}")
skip() {
    echo "slurm: skipped: $1"
    exit 0
}
for needed in slurmctld slurmd munged sbatch; do
    command -v "$needed" >/dev/null || skip "no $needed (Debian: apt-get install slurm-wlm munge)"
done
[ "$(id -u)" -eq 0 ] || skip "slurmd is started as root only"

place=$(mktemp -d)
chmod 755 "$place"
cd "$place"
munge_socket=$place/munge.socket
daemons=()
stop() {
    status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 20 slurmctld.log slurmd.log munged.log ./*-*.log 2>/dev/null >&2 || true
    fi
    scancel --user root 2>/dev/null || true
    for daemon in "${daemons[@]}"; do
        kill "$daemon" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$place"
    exit "$status"
}
trap stop EXIT
fail() {
    echo "slurm: $1" >&2
    exit 1
}
# Waits up to three minutes until a command succeeds.
until_true() {
    for _ in $(seq 900); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.2
    done
    fail "waited in vain for: $*"
}

# --- One node, this machine. ----------------------------------------------------------------
head -c 128 /dev/urandom >munge.key
chmod 400 munge.key
munged --foreground --force --key-file="$place/munge.key" --socket="$munge_socket" \
    --pid-file="$place/munged.pid" --log-file="$place/munged.log" \
    --seed-file="$place/munged.seed" >munged.out 2>&1 &
daemons+=($!)
until_true test -S "$munge_socket"

host=$(hostname -s)
mkdir state spool
cat >slurm.conf <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
# Requeued jobs wait until their credentials have expired.
AuthInfo=socket=$munge_socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
KillWait=10
MinJobAge=600
ReturnToService=2
MailProg=/bin/true
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=10 State=UP
CONF
export SLURM_CONF=$place/slurm.conf
slurmctld -D -c >slurmctld.out 2>&1 &
daemons+=($!)
slurmd -D >slurmd.out 2>&1 &
daemons+=($!)
node_is_idle() { sinfo --noheader --format=%t | grep -qx idle; }
until_true node_is_idle

# --- A sweep of six runs, alone. ------------------------------------------------------------
for i in $(seq 4000); do
    echo "$((i % 61)) times $((i % 53)) is $(((i % 61) * (i % 53)))."
done >text.txt
cat >tiny.toml <<'TOML'
preset = "smoke"
seeds = 2
baseline = { model.connection = { type = "pre_norm" } }
[set]
train.steps = 1500
train.checkpoint_every = 50
[grid]
model.connection = [{ type = "pre_norm" }, { type = "hyper", rate = 2 }, { type = "mhc" }]
TOML
sweep=("$program" sweep tiny.toml --data text.txt)
"${sweep[@]}" --out alone 2>/dev/null >alone.txt

# --- The same as a job array. ---------------------------------------------------------------
# Four tasks for six runs: two do a second one. Each waits until it is its turn, so that no run has
# ended before it is looked at.
"${sweep[@]}" --emit slurm --array-limit 4 >array.sh
job=$(sbatch --parsable --hold --chdir="$place" array.sh)
begin() {
    scontrol release "${job}_$1"
    until_true is "$1" partial
}
run_of() { "${sweep[@]}" --list | awk -F'\t' -v n="$1" '$1 == n {print $5}'; }
state_of() { "${sweep[@]}" --list | awk -F'\t' -v n="$1" '$1 == n {print $2}'; }
is() { [ "$(state_of "$1")" = "$2" ]; }
job_is() { [ "$(squeue --noheader --format=%T --jobs="${job}_$1" 2>/dev/null)" = "$2" ]; }
gone() { [ -z "$(squeue --noheader --format=%T --jobs="$1" 2>/dev/null)" ]; }

# Requeued by its owner: Slurm terminates it and starts it anew.
begin 0
scontrol requeue "${job}_0"
echo "slurm: task 0 requeued at: $(tail -n 1 "$(run_of 0)/metrics.jsonl" | cut -c -40)"

# Killed, as by a machine that fails; then started anew.
begin 1
pid=$(awk '{print $2}' "$(run_of 1)/.lock")
kill -9 "$pid"
echo "slurm: task 1 killed at: $(tail -n 1 "$(run_of 1)/metrics.jsonl" | cut -c -40)"
ended() { ! job_is 1 RUNNING && ! job_is 1 COMPLETING; }
until_true ended
scontrol requeue "${job}_1"

# Cancelled for good: it saves its state, and a new array does the rest.
begin 2
scancel "${job}_2"
until_true gone "${job}_2"
is 2 partial || fail "a cancelled task is not resumable"

# Told that its time is over, as Slurm does before the limit: it queues itself again.
begin 3
scancel --signal=USR1 --batch "${job}_3"
until_true grep -q 'stopped; everything is saved' tiny-3.log

until_true gone "$job"
is 3 done || fail "a task that was out of time did not queue itself again"
again=$(sbatch --parsable --chdir="$place" array.sh)
until_true gone "$again"
left=$("${sweep[@]}" --list | awk -F'\t' '$2 != "done"')
[ -z "$left" ] || fail "runs are left: $left"
grep -q 'goes on from step' tiny-0.log || fail "the requeued task began afresh"
grep -q 'goes on from step' tiny-1.log || fail "the killed task began afresh"
grep -q 'goes on from step' tiny-3.log || fail "the task that was out of time began afresh"
grep -q 'goes on from step' tiny-2.log || fail "the cancelled task began afresh"

# --- Bit for bit. ---------------------------------------------------------------------------
"${sweep[@]}" 2>table.err >table.txt
grep -q '6 of 6 runs have ended before' table.err || fail "the table trained something"
timeless() { sed -E 's/,"ms":[0-9.e+-]+//' "$1"; }
for number in 0 1 2 3 4 5; do
    run=$(run_of "$number")
    other=alone/${run#runs/}
    cmp "$run/model.safetensors" "$other/model.safetensors" || fail "weights differ in $run"
    cmp <(timeless "$run/metrics.jsonl") <(timeless "$other/metrics.jsonl") ||
        fail "metrics differ in $run"
done
echo "slurm: 6 runs in 4 tasks, one requeued, killed, cancelled and out of time each: every byte as without"
