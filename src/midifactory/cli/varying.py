"""`midifactory vary FILE keep=...`: a file composed anew from a bar on, its rhythm, contour or harmony kept."""

import difflib
import hashlib
from pathlib import Path

from omegaconf import DictConfig
from symusic import Score
from tqdm import tqdm

from midifactory.cli.building import default_device, plain
from midifactory.cli.continuing import check_bar, plain_tokens
from midifactory.cli.generate import read_prompt
from midifactory.cli.latent_pieces import check_plain_number, read_sampling, write_record, write_score
from midifactory.cli.originality import find_originality, report_copies
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.errors import UserError
from midifactory.generation.region import tracks_of
from midifactory.generation.varying import KEEPS, refuse_unless_told_in_order, vary
from midifactory.generation.wishes import bind_range, parse_wishes
from midifactory.music.joining import bar_lines, line_of_bar
from midifactory.music.score import last_note_end
from midifactory.training.checkpoint import load_trained
from midifactory.training.notes import holds_notes, load_trained_notes


def run(config: DictConfig) -> list[Path]:
    """Write variation_01.mid, variation_02.mid, ... and variation.json."""
    if config.keep not in KEEPS:
        near = difflib.get_close_matches(str(config.keep), KEEPS, n=1, cutoff=0.0)[0]
        raise UserError(f"keep={config.keep}: give one of {', '.join(KEEPS)} (nearest: {near})")
    check_plain_number(config, "num_samples", least=1, whole=True)
    check_plain_number(config, "seed", whole=True)
    check_bar(config.from_bar, "from_bar")
    if config.bars is not None:
        check_plain_number(config, "bars", least=1, whole=True)
    for name in ("attribute_with", "attribute_without"):
        if config[name] is not None:
            raise UserError(f"{name} needs a latent, keep={config.keep} has none; leave one of them out")
    sampling = read_sampling(config, top_k=0)
    score = read_source(config.prompt, "vary")
    begin, end = bars_asked(score, config.from_bar or 1, config.bars, Path(config.prompt).name)
    tracks = None
    if config.tracks is not None:
        if config.keep == "harmony":
            raise UserError(
                f"tracks={config.tracks}: keep=harmony composes all of them; keep=rhythm or contour takes some"
            )
        tracks = tracks_of({"tracks": config.tracks, "prompt": config.prompt}, score)
    path = checkpoint_in(config.checkpoint) if config.checkpoint else newest_checkpoint()
    load = load_trained_notes if holds_notes(path) else load_trained
    trained = plain_tokens(load(path, default_device(config.device, "device")), "vary")
    refuse_unless_told_in_order(trained, "vary")
    wishes = bind_range(parse_wishes(trained.profile, None, None, None, None), None, trained.tokenizer)
    with tqdm(desc="compose", unit="token") as bar:
        found = vary(
            *(trained, score, begin, end, config.keep, wishes, sampling, config.num_samples, config.seed),
            *(bar.update, tracks),
        )
    folder, rows, known = Path(config.run_dir), [], find_originality(trained)
    for number, variation in enumerate(found, start=1):
        midi = write_score(variation.piece.score, folder / f"variation_{number:02d}", config, begin)
        copied = report_copies(known, variation.piece.score, begin, end)
        rows.append({"file": midi.name, "broken": variation.broken, "originality": copied})
        if variation.broken:
            print(f"  {variation.broken} notes found no free pitch that keeps the contour")
    settings = {**plain(config), "from_tick": begin, "to_tick": end}
    write_record(folder / "variation.json", trained, settings, [Path(config.prompt).expanduser()], {"variations": rows})
    return [folder / str(row["file"]) for row in rows]


def read_source(prompt: str | None, command: str) -> Score:
    """The Score of the file a command is given. Raises UserError where there is none, or no music in it."""
    if not prompt:
        raise UserError(f"{command} needs a MIDI file; type midifactory {command} FILE.mid")
    path = Path(prompt).expanduser()
    if not path.is_file():
        raise UserError(f"prompt={prompt}: no such file; give the path of a .mid file")
    return read_prompt({"prompt": str(path), "prompt_sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


def bars_asked(score: Score, from_bar: int, bars: int | None, file: str) -> tuple[int, int]:
    """The ticks of the first of the bars asked and after the last of them; of None all that follow."""
    begin, lines = line_of_bar(score, from_bar, "from_bar", file), bar_lines(score)
    if bars is None:
        return begin, max(int(lines[-1]), last_note_end(score))
    if from_bar - 1 + bars > len(lines) - 1:
        raise UserError(
            f"bars={bars}: {file} has {len(lines) - 1} bars, so from bar {from_bar} on {len(lines) - from_bar}; "
            "give fewer, or null for all"
        )
    return begin, int(lines[from_bar - 1 + bars])
