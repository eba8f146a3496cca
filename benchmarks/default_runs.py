"""Held-out nats per note of the default run, per model: `python train.py model=NAME`, with minutes and parameters.

Runs one after another (alone on the machine, or the minutes mean nothing), each in outputs/benchmarks/NAME; a finished
one is only read. Further arguments go to every run. Prints a Markdown row per model.

    python benchmarks/default_runs.py transformer lstm gru
"""

import json
import subprocess
import sys
from pathlib import Path

from omegaconf import OmegaConf


def main() -> None:
    """Run and print."""
    models = [argument for argument in sys.argv[1:] if "=" not in argument] or ["transformer", "lstm", "gru"]
    overrides = [argument for argument in sys.argv[1:] if "=" in argument]
    print(
        "| model | parameters | learning rate | epochs | minutes | validation | test | test, unigram | test / unigram |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for model in models:
        folder = Path("outputs/benchmarks") / model
        if not (folder / "result.json").is_file():
            command = [sys.executable, "train.py", f"model={model}", f"hydra.run.dir={folder}", *overrides]
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "output.log").open("w") as log:
                subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
        result = json.loads((folder / "result.json").read_text())
        rate = OmegaConf.load(folder / ".hydra" / "config.yaml").optimizer.lr
        test = result["test"]
        print(
            f"| {model} | {result['parameters']:,} | {rate:g} | {result['epochs']} | {result['minutes']:.1f} "
            f"| {result['validation']['nats_per_note']:.3f} | {test['nats_per_note']:.3f} "
            f"| {test['unigram_nats_per_note']:.2f} | {test['nats_per_note'] / test['unigram_nats_per_note']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
