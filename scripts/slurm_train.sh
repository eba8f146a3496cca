#!/bin/bash
# One training on a SLURM cluster, for as long as it takes: sbatch scripts/slurm_train.sh data=maestro ...
# On several GPUs or nodes, one task for each GPU, which makes it trainer=ddp unless another is named:
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 scripts/slurm_train.sh data=maestro ...
#
# Two minutes before the time limit, and when the job is preempted, SLURM sends SIGTERM here. The training saves a
# checkpoint of its present step and exits with 143; the job is queued again and goes on from that step.
#SBATCH --job-name=midifactory
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120

nodes=${SLURM_JOB_NUM_NODES:-1}
tasks=${SLURM_NTASKS_PER_NODE:-1}
processes=()
if [ $((nodes * tasks)) -gt 1 ]; then
    processes=("trainer.num_nodes=$nodes" "trainer.devices=$tasks")
    [[ " $*" == *" trainer="* ]] || set -- trainer=ddp "$@"
fi
run="outputs/train/slurm_${SLURM_JOB_ID:?start this script with sbatch}"
if compgen -G "$run/checkpoints/*.ckpt*" > /dev/null; then
    arguments=("resume=$run")
else
    arguments=("$@" "hydra.run.dir=$run")
fi

srun --kill-on-bad-exit=1 midifactory train "${arguments[@]}" "${processes[@]}" trainer.enable_progress_bar=false &
training=$!
trap 'kill -TERM $training' TERM # srun hands it to the training's processes
wait $training
code=$?
if kill -0 $training 2> /dev/null; then # the first wait ended at the signal
    wait $training
    code=$?
fi
if [ $code -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
