"""`midifactory orchestrate`: other instruments for a MIDI file, its notes kept and moved into what they can play."""

import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path

from omegaconf import DictConfig

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import plain
from midifactory.cli.latent_pieces import write_score
from midifactory.cli.varying import read_source
from midifactory.errors import UserError
from midifactory.music.instruments import listed, parse_instruments
from midifactory.music.orchestrate import chosen_tracks, describe_tracks, reorchestrated, revoiced


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("orchestrate", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> Path:
    """Write orchestrated.mid, its picture and sound, and orchestrated.json."""
    settings = plain(config)
    names, tracks = settings["instruments"], settings["tracks"]
    if isinstance(tracks, (str, int)):
        tracks = [int(name) if name.isdigit() else name for name in listed(tracks)]
    score = read_source(config.prompt, "orchestrate")
    if not isinstance(names, list) or not names or any(type(name) not in (str, int) for name in names):
        raise UserError(
            f"instruments={names}: give names or programs, such as [flute,cello]; the file has {describe_tracks(score)}"
        )
    if type(config.revoice) is not bool:
        raise UserError(f"revoice={config.revoice}: give true or false")
    programs = [parse_instruments([name])[0] for name in names]
    chosen = chosen_tracks(score, tracks)
    if not chosen:
        raise UserError(f"prompt={config.prompt}: drums alone; there are no pitches to give to other instruments")
    made, moved = (revoiced if config.revoice else reorchestrated)(score, chosen, programs)
    stem = Path(config.run_dir) / "orchestrated"
    midi = write_score(made, stem, config)
    print(f"  {moved} notes moved by octaves into the instruments' ranges")
    source = Path(config.prompt).expanduser()
    record = {
        "midifactory": metadata.version("midifactory"),
        "settings": {**settings, "command": "orchestrate"},
        "programs": programs,
        "moved_notes": moved,
        "sources_sha256": {str(source.resolve()): hashlib.sha256(source.read_bytes()).hexdigest()},
        "midi_sha256": hashlib.sha256(midi.read_bytes()).hexdigest(),
    }
    files.write_text(stem.with_suffix(".json"), json.dumps(record, ensure_ascii=False, indent=1))
    print(f"record      {stem.with_suffix('.json').resolve()}")
    return midi
