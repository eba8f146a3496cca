"""scripts/slurm_train.sh with stand-ins for srun, scontrol and the training: stop, queue again, go on."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "slurm_train.sh"
PROGRAMS = {
    "srun": """echo "srun $1" >> srun_options
[[ $1 == --* ]] && shift
exec "$@\"""",
    "scontrol": 'echo "scontrol $*" >> calls',
    # Saves when it is told to stop, as the training does; the second time it ends by itself.
    "midifactory": """echo "midifactory $*" >> calls
trap 'mkdir -p outputs/train/slurm_42/checkpoints/last.ckpt; exit 143' TERM
[[ "$*" == *resume=* ]] && exit ${ENDS_WITH:-0}
while true; do sleep 0.05; done""",
}

pytestmark = pytest.mark.skipif(os.name == "nt" or not shutil.which("bash"), reason="needs bash")


@pytest.fixture
def job(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "42"}
    calls = tmp_path / "calls"

    def start(*arguments, **more):
        command = ["bash", str(SCRIPT), *(arguments or ("data=maestro", "model=gru"))]
        return subprocess.Popen(command, cwd=tmp_path, env=environment | more)

    return tmp_path, start, lambda: calls.read_text().splitlines() if calls.exists() else []


def test_a_stopped_job_is_queued_again_and_resumes(job):
    _, start, calls = job
    process = start()
    limit = time.monotonic() + 60
    while not calls():
        assert time.monotonic() < limit
        time.sleep(0.05)
    time.sleep(0.5)  # the stand-in sets its trap
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    run, quiet = "outputs/train/slurm_42", "trainer.enable_progress_bar=false"
    first = f"midifactory train data=maestro model=gru hydra.run.dir={run} {quiet}"
    assert calls() == [first, "scontrol requeue 42"]
    assert start(SLURM_RESTART_COUNT="1").wait(60) == 0
    assert calls() == [first, "scontrol requeue 42", f"midifactory train resume={run} {quiet}"]


def test_a_failed_job_is_not_queued_again(job):
    folder, start, calls = job
    (folder / "outputs/train/slurm_42/checkpoints/last.ckpt").mkdir(parents=True)
    assert start(ENDS_WITH="2").wait(60) == 2
    assert len(calls()) == 1


def test_one_process_for_each_task_of_all_nodes(job):
    """Dry: the stand-in of the training ends at once, since a checkpoint is there, or is told to."""
    folder, start, calls = job
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    several = {"SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "4"}
    run, quiet = "outputs/train/slurm_42", "trainer.enable_progress_bar=false"
    share = "trainer.num_nodes=2 trainer.devices=4"
    # A pattern of the stand-in's, which then ends at once.
    assert start("note=resume=no", **several).wait(60) == 0
    assert start("note=resume=no", "trainer=fsdp", **several).wait(60) == 0
    (folder / run / "checkpoints/last.ckpt").mkdir(parents=True)
    assert start("data=maestro", **several).wait(60) == 0
    assert calls() == [
        f"midifactory train trainer=ddp note=resume=no hydra.run.dir={run} {share} {quiet}",
        f"midifactory train note=resume=no trainer=fsdp hydra.run.dir={run} {share} {quiet}",
        f"midifactory train resume={run} {share} {quiet}",
    ]
    assert set((folder / "srun_options").read_text().split("\n")) == {"srun --kill-on-bad-exit=1", ""}
