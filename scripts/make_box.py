"""Put a trained model into the box: what `checkpoint=box` names, and what commands take where there is no run yet.

    python train.py experiment=infill_chorales seed=0
    python train.py experiment=infill_chorales_longer init_from=latest seed=0
    python scripts/make_box.py outputs/train/RUN [--dtype float16] [--to FOLDER]

Writes an exported model (export/hub.py), the index of its training pieces, so that copies are reported at once, and
CARD.md with data, terms, command, seed, numbers and limits. The held-out pieces are measured with the weights as they
were trained and as they are kept; where nats per note differ by more than --tolerance, nothing is written. Run it where
the training ran, since it needs the run's data.
"""

import argparse
import json
import re
import shutil
import tempfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from midifactory import files
from midifactory.cli import hydra_app  # noqa: F401 - registers the resolvers that the configs name
from midifactory.cli.building import build_datamodule
from midifactory.cli.held_out import held_out_pieces, nats_per_note
from midifactory.cli.originality import require_originality
from midifactory.cli.runs import checkpoint_in, stored_overrides
from midifactory.data.datamodule import MidiDataModule
from midifactory.export.hub import README, save_folder, write_files
from midifactory.paths import box_dir, conf_dir
from midifactory.training.checkpoint import Trained, load_trained
from midifactory.training.checkpoint_folder import EXPORTED_WEIGHTS, HASHES, read_card

INDEX = "originality"
MOST_INDEX_BYTES = 1_000_000
# Of a run's options, those that change nothing that is learnt.
_IDLE = re.compile(r"(hydra\.|trainer\.enable_progress_bar=|logger=|run_dir=)")

CARD = """# The model in the box

{parameters:,} parameters, {megabytes:.1f} MB of {dtype} weights. It composes, continues, infills and harmonises
chorales for four voices: it is what `checkpoint=box` names, and what every command takes while there is no run.

## Data and terms

Trained on {training} of the chorales by J. S. Bach that the music21 package carries, chosen by `data=bach_chorales`
(validation {validation}, test {test} others). The compositions are in the public domain. The encodings are those of
music21 {music21}: its corpus/license.txt says that they "are distributed with the permission of the encoders", that
"the music21 creators assume no copyright or change in licensing for content distributed in the corpus", and that
some encodings of the corpus "may not be used for commercial uses or have other restrictions", for which one is to see
the licences embedded in individual compositions or directories. The chorales' files and their directory name none. The
notes of the training pieces are in `{index}`, as an index in which copies are looked up. The weights come under this
package's licence, as far as they are ours to license.

## How it was made

{commands}
    python scripts/make_box.py RUN --dtype {dtype}

Seed {seed}; {steps:,} steps, {minutes:.0f} minutes on {cores}.
Packages: {versions}. The checkpoint was chosen by validation alone.

## Numbers

Nats per note of held-out pieces, windows of {window} tokens that advance by half:

| split | pieces | as trained, 32 bits | as kept, {dtype} | unigram |
|---|---|---|---|---|
{rows}

`midifactory evaluate checkpoint=box` measures the rest. SHA-256 of {hashes}: `{sha256}`.

## Limits

- Chorales for soprano, alto, tenor and bass, within the voices' ranges, in the metres of the training pieces. Of other
  music it knows nothing: train a model on yours.
- One loudness: velocities are not modelled. It looks back over {window} tokens; it was trained on {segment} at once.
- {training} pieces are few: it can repeat passages of them. Each command says how much of a piece is copied;
  `max_copy_beats` forbids more.
"""


def main() -> None:
    """Measure, write, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished training")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16")
    parser.add_argument("--to", type=Path, default=box_dir())
    parser.add_argument("--tolerance", type=float, default=0.001, help="in nats per note")
    parser.add_argument("--cores", default="one core", help="what it was trained on, for CARD.md")
    arguments = parser.parse_args()
    make_box(arguments.run, arguments.to, arguments.dtype, arguments.tolerance, arguments.cores)


def make_box(run: Path, target: Path, dtype: str, tolerance: float, cores: str) -> None:
    """Put the best checkpoint of `run` into `target`. Raises SystemExit where 16 bits change what it knows."""
    source = checkpoint_in(str(run))
    trained = load_trained(source)
    own, kind = replace(trained, originality=(INDEX,)), getattr(torch, dtype)
    data = open_data(run)
    with tempfile.TemporaryDirectory() as folder:
        kept = load_trained(save_folder(own, Path(folder) / "box", dtype=kind))
        measured = {
            split: [nats_per_note(model.model, data, pieces, model.window) for model in (trained, kept)]
            for split, pieces in held_out_pieces(data).items()
        }
    for split, (before, after) in measured.items():
        print(f"{split}: {before:.5f} nats per note as trained, {after:.5f} with {dtype}")
        if abs(after - before) > tolerance:
            raise SystemExit(f"{dtype} changes {split} by {after - before:+.5f} nats per note, more than {tolerance}")
    with files.replacing_folder(target) as fresh:
        write_files(own, fresh, dtype=kind)
        (fresh / README).unlink()  # CARD.md says more of this one
    copy_index(trained, target / INDEX)
    files.write_text(target / "CARD.md", described(run, target, trained, measured, dtype, cores))
    for path in sorted(target.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:>10,}  {path}")


def open_data(run: Path) -> MidiDataModule:
    """The data of a run, as it was trained on."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", [*stored_overrides(run), f"run_dir={run}", "resume=null"])
    data = build_datamodule(config)
    assert isinstance(data, MidiDataModule), "the box is of tokens"
    data.setup()
    return data


def copy_index(trained: Trained, target: Path) -> None:
    """The index of the training pieces. Raises SystemExit where there is more than one, or it is large."""
    indexes = require_originality(trained).indexes
    size = sum(path.stat().st_size for index in indexes for path in index.folder.iterdir())
    if len(indexes) != 1 or size > MOST_INDEX_BYTES:
        raise SystemExit(f"{len(indexes)} indexes of {size:,} bytes: the box holds one of {MOST_INDEX_BYTES:,} at most")
    with files.replacing_folder(target) as folder:
        for path in indexes[0].folder.iterdir():
            shutil.copyfile(path, folder / path.name)


def earlier_runs(run: Path) -> list[Path]:
    """The trainings that a run went on from (init_from), the first one first."""
    given = [option.partition("=")[2].strip("'") for option in stored_overrides(run) if option.startswith("init_from=")]
    if not given:
        return []
    before = checkpoint_in(given[0]).resolve().parents[1]
    return [*earlier_runs(before), before]


def command(run: Path) -> str:
    """What started a run, without what changes nothing and without folders of this machine."""
    words = ["python train.py"]
    for option in stored_overrides(run):
        key, _, value = option.partition("=")
        if key == "init_from":
            words.append("init_from=latest")
        elif not _IDLE.match(option):
            words.append(f"{key}={Path(value.strip(chr(39))).name}" if value.startswith(("/", "'/")) else option)
    return " ".join(words)


def described(
    run: Path, target: Path, trained: Trained, measured: dict[str, list[float]], dtype: str, cores: str
) -> str:
    """CARD.md."""
    corpus = json.loads((run / "corpus.json").read_text(encoding="utf-8"))
    card = read_card(trained.path)
    splits = [piece["split"] for piece in corpus["pieces"]]
    runs = [*earlier_runs(run), run]
    results = [json.loads((each / "result.json").read_text(encoding="utf-8")) for each in runs]
    rows = [
        f"| {split} | {results[-1][split]['pieces']} | {before:.4f} | {after:.4f} "
        f"| {results[-1][split]['unigram_nats_per_note']:.2f} |"
        for split, (before, after) in measured.items()
    ]
    return CARD.format(
        parameters=trained.model.parameters_count,
        megabytes=(target / EXPORTED_WEIGHTS).stat().st_size / 1e6,
        dtype=dtype,
        **{split: splits.count(split) for split in ("validation", "test")},
        training=splits.count("train"),
        music21=metadata.version("music21"),
        index=INDEX,
        commands="\n".join(f"    {command(each)}" for each in runs),
        seed=card["settings"]["seed"],
        steps=sum(result["steps"] for result in results),
        minutes=sum(result["minutes"] for result in results),
        cores=cores,
        versions=", ".join(f"{name} {version}" for name, version in card["versions"].items()),
        window=trained.window,
        segment=f"{trained.segment.get('length', '?')} {trained.segment.get('unit', 'tokens')}",
        rows="\n".join(rows),
        hashes=HASHES,
        sha256=load_trained(target).sha256,
    )


if __name__ == "__main__":
    main()
