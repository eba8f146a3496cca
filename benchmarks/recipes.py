"""Held-out nats per note of a recipe, seed by seed: `python train.py experiment=NAME seed=N`.

Runs one after another (alone on the machine, or the minutes mean nothing), each in outputs/benchmarks/NAME-N; a
finished one is only read. Further arguments go to every run. Prints a Markdown row per seed, and the means of several.

    python benchmarks/recipes.py nottingham --seeds 0,1,2 data.root=FOLDER
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAD = "| recipe | seed | parameters | steps | minutes | validation | test | test, unigram | test / unigram |"


def finished(name: str, seed: int, overrides: list[str]) -> dict[str, Any]:
    """result.json of a run, which is made here where it is not there yet."""
    folder = Path("outputs/benchmarks") / f"{name.strip('[]').replace(',', '-')}-{seed}"
    if not (folder / "result.json").is_file():
        command = [sys.executable, "train.py", f"experiment={name}", f"seed={seed}", f"hydra.run.dir={folder}"]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "output.log").open("w") as log:
            subprocess.run([*command, *overrides], check=True, stdout=log, stderr=subprocess.STDOUT)
    return json.loads((folder / "result.json").read_text())


def row(name: str, seed: str, result: dict[str, Any]) -> str:
    """One line of the table."""
    validation, test = result["validation"], result["test"]
    unigram = test["unigram_nats_per_note"]
    return (
        f"| {name} | {seed} | {result['parameters']:,} | {result['steps']:,} | {result['minutes']:.1f} "
        f"| {validation['nats_per_note']:.3f} | {test['nats_per_note']:.3f} | {unigram:.2f} "
        f"| {test['nats_per_note'] / unigram:.3f} |"
    )


def mean(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of every number that is in all of the results."""
    first = results[0]
    parts = {key: [result[key] for result in results] for key in first if all(key in result for result in results)}
    return {
        key: mean(values) if isinstance(first[key], dict) else statistics.mean(values)
        for key, values in parts.items()
        if isinstance(first[key], (dict, int, float))
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a file of conf/experiment, or several as [pop909_cl,large]")
    parser.add_argument("--seeds", default="0", help="with commas between them")
    arguments, overrides = parser.parse_known_args()
    print(HEAD)
    print("|---" * (HEAD.count("|") - 1) + "|")
    results = []
    for seed in map(int, arguments.seeds.split(",")):
        results.append(finished(arguments.recipe, seed, overrides))
        print(row(arguments.recipe, str(seed), results[-1]), flush=True)
    if len(results) > 1:
        print(
            row(
                arguments.recipe,
                "mean",
                mean(results) | {key: round(mean(results)[key]) for key in ("parameters", "steps")},
            )
        )


if __name__ == "__main__":
    main()
