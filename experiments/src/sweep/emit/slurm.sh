#!/bin/bash
# Submit with: sbatch [--time=... --partition=...] THIS_FILE
# When all tasks are done, the table: {program}{options}{files}
#SBATCH --job-name={sweep}
#SBATCH --array=0-{last}{at_once}
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%a.log
#SBATCH --signal=B:USR1@120
cd {directory} || exit 1
run=
stop=
status=0
tell() {{
    stop=$1
    [ -z "$run" ] || kill -TERM "$run" 2>/dev/null
}}
trap 'tell out-of-time' USR1
trap 'tell cancelled' TERM
for ((number = ${{SLURM_ARRAY_TASK_ID:?submit this file with sbatch}}; number < {runs}; number += {tasks})); do
    [ -z "$stop" ] || break
    {program} --threads "${{SLURM_CPUS_PER_TASK:-1}}"{options} --task "$number"{files} &
    run=$!
    [ -z "$stop" ] || tell "$stop"
    wait "$run"
    ended=$?
    # A signal ends the first wait, not the run.
    while kill -0 "$run" 2>/dev/null; do
        wait "$run"
        ended=$?
    done
    run=
    [ "$ended" -eq 0 ] || status=$ended
done
if [ "$stop" = out-of-time ] && {{ [ "$status" -ne 0 ] || [ "$number" -lt {runs} ]; }}; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
