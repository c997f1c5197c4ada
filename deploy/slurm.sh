#!/usr/bin/env bash
# A verb on the nodes of a Slurm allocation:
#
#   sbatch deploy/slurm.sh jobs/screen.py --config /shared/screen.yaml
#
# Submit it in the project's folder, in an environment that has the package (a module, or a virtual
# environment on shared storage). Paths in the options lie on shared storage. A job that reaches its time
# limit or loses a node goes on where it stopped when it is submitted again; --requeue does that by itself
# where Slurm takes a node away.
#SBATCH --job-name=emrl-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --requeue
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: sbatch deploy/slurm.sh jobs/VERB.py [options of the verb]" >&2
    exit 2
fi

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
# Ports of this job's own: another job may share the node.
base=$((20000 + SLURM_JOB_ID % 4000 * 5))
address=$head:$base

# Only who has the token reaches this cluster. srun hands the environment on to the nodes.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

steps=()

# Ends the steps of this job alone; `ray stop` would end every Ray of this user on the node.
end_steps() {
    trap - EXIT
    kill "${steps[@]}" 2>/dev/null || true
    wait "${steps[@]}" 2>/dev/null || true
}
trap end_steps EXIT

on_node() {
    srun --nodes=1 --ntasks=1 --nodelist="$1" "${@:2}" &
    steps+=($!)
}

cpus=${SLURM_CPUS_PER_TASK:-1}
common=(--num-cpus="$cpus" --block --disable-usage-stats --min-worker-port=0 --max-worker-port=0)

on_node "$head" ray start --head --port="$base" --ray-client-server-port=$((base + 1)) \
    --dashboard-agent-listen-port=$((base + 2)) --include-dashboard=false \
    --temp-dir="/tmp/ray-$SLURM_JOB_ID" "${common[@]}"

tries=0
until ray health-check --address "$address" >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ] || ! kill -0 "${steps[0]}" 2>/dev/null; then
        echo "slurm.sh: the head of Ray on $head did not start" >&2
        exit 1
    fi
    sleep 2
done

for node in "${nodes[@]:1}"; do
    on_node "$node" ray start --address="$address" --dashboard-agent-listen-port=0 "${common[@]}"
done

# Work begins on the head's node and spreads as the others join.
RAY_ADDRESS=$address python "$@"
