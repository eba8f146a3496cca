"""The grid against the published file's format, scores by hand, and its places against loops over the cells."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from symusic import Note, Score, Tempo, TimeSignature, Track

from midifactory.errors import UserError
from midifactory.music.registry import grid_score, read_layout
from midifactory.music.score import Limits, load_score
from midifactory.tokens.augment import Augmentation, Augmenter
from midifactory.tokens.grid import VoiceGrid, read_tokenizer
from midifactory.tokens.tokenizer import Tokenizer
from schemes import tokenizer_of

REACHES = {"motion": 14, "interval": 30, "chord": 24}
PASTS = (32, 24, 16, 12, 8, 4, 1)
P = 46  # pitches of the default range


def random_cells(seed: int, steps: int = 90) -> np.ndarray:
    """(S, 4): notes of one to six steps, some silence, the second half a variation of the first."""
    generator = np.random.default_rng(seed)
    cells = np.zeros((steps, 4), dtype=np.int64)
    for voice, middle in enumerate((70, 64, 58, 48)):
        pitches = []
        while len(pitches) < steps:
            pitch = -1 if generator.random() < 0.1 else middle + int(generator.integers(-6, 7))
            pitches += [pitch] * int(generator.integers(1, 7))
        cells[:, voice] = pitches[:steps]
    half = steps // 2 // 4 * 4
    cells[half : 2 * half] = cells[:half]
    cells[half + 8, 1] += 1
    cells[-1] = (70, 64, 58, 48)
    return cells


def ids_of(grid: VoiceGrid, cells: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(grid.encode(grid_score(cells.tolist())).ids)


def test_the_published_file_comes_back_cell_by_cell(tmp_path):
    chorales = {split: [random_cells(seed).tolist() for seed in seeds] for split, seeds in SPLITS.items()}
    (tmp_path / "Jsb16thSeparated.json").write_text(json.dumps(chorales))
    found = {(file.split, file.id): file.path for file in read_layout("jsb_chorales", tmp_path)}
    assert len(found) == 4
    grid = VoiceGrid()
    for (split, name), path in found.items():
        expected = chorales["valid" if split == "validation" else split][int(name[-7:-4])]
        encoding = grid.encode(load_score(path, Limits()))
        assert grid.cells(load_score(path, Limits())).tolist() == expected
        assert grid.cells(grid.decode(encoding.ids)).tolist() == expected
        assert len(encoding.ids) == 4 * len(expected) + 2


SPLITS = {"train": (0, 1), "valid": (2,), "test": (3,)}


def test_the_ids_of_two_steps_by_hand():
    cells = [[60, 55, -1, 36], [60, 57, -1, 81]]
    ids = VoiceGrid().encode(grid_score(cells)).ids.tolist()
    assert ids == [1, 60 - 32, 4, 55 - 32, 3, 60 - 32, 81 - 32, 57 - 32, 3, 2]
    ids = VoiceGrid(order=(0, 1, 2, 3), pitch_range=(30, 90)).encode(grid_score(cells)).ids.tolist()
    assert ids == [1, 34, 29, 3, 10, 34, 31, 3, 55, 2]


def test_vocabulary():
    grid = VoiceGrid()
    assert grid.vocab_size == grid.base_vocab_size == 50
    assert [grid.tokens[i] for i in (0, 1, 2, 3, 4, 49)] == [
        "PAD_None",
        "BOS_None",
        "EOS_None",
        "Silence_None",
        "Pitch_36",
        "Pitch_81",
    ]
    assert grid.starting_with("Pitch").tolist() == list(range(4, 50))
    assert (grid.monotonic, grid.is_fast, grid.has_grammar, grid.wants_bpe) == (True, True, True, False)


def test_groups_are_beats_on_the_score():
    score = grid_score([[60, 55, -1, 36]] * 3 + [[60, 57, -1, 36]] * 10)
    score.tempos = type(score.tempos)([Tempo(0, 60)])
    score.time_signatures.append(TimeSignature(0, 3, 4))
    encoding = VoiceGrid().encode(score)
    assert encoding.group_token.tolist() == [1, 17, 33, 49]
    assert encoding.group_seconds.tolist() == pytest.approx([0, 1, 2, 3])
    assert encoding.group_bar.tolist() == [0, 0, 0, 1]
    assert encoding.group_opens_bar.tolist() == [True, False, False, True]
    assert encoding.group_notes.tolist() == [0, 4, 4, 4]
    assert encoding.notes == 4


def test_one_note_at_a_time_on_the_nearest_step():
    score = Score(100)
    track = Track("", 0, False)
    for onset, duration, pitch in ((10, 90, 60), (49, 1, 62), (99, 100, 64), (101, 50, 67), (152, 30, 130 - 30)):
        track.notes.append(Note(onset, duration, pitch, 80))
    score.tracks.append(track)
    drums = Track("", 0, True)
    drums.notes.append(Note(0, 900, 40, 80))
    score.tracks.append(drums)
    cells = VoiceGrid().cells(score)
    # 62 ends 60 though it is short; of 64 and 67 at one step the higher counts; 100 is out of range.
    assert cells[:, 0].tolist() == [60, 60, 62, -1, 67, 67]
    assert (cells[:, 1:] == -1).all()
    quantised = VoiceGrid().quantise(score)
    assert VoiceGrid().cells(quantised).tolist() == cells.tolist()


def test_what_cannot_be_a_grid_is_told():
    five = Score(4)
    for program in range(5):
        five.tracks.append(Track("", program, False))
        five.tracks[-1].notes.append(Note(0, 4, 60, 80))
    with pytest.raises(UserError, match="5 tracks hold notes, a voice grid takes up to 4"):
        VoiceGrid().encode(five)
    five.tracks[2].notes.clear()
    assert VoiceGrid().cells(five).tolist() == [[60] * 4] * 4
    with pytest.raises(UserError, match="none of its 4 notes lies in the pitches 70 to 79"):
        VoiceGrid(pitch_range=(70, 80)).encode(five)
    for wrong in ({"order": (0, 1, 2)}, {"order": (0, 1, 1, 3)}, {"pitch_range": (60, 60)}, {"pitch_range": (0, 200)}):
        with pytest.raises(UserError, match=f"tokenizer.{next(iter(wrong))}="):
            VoiceGrid(**wrong)


def test_a_step_without_all_voices_is_silent_in_the_others():
    grid = VoiceGrid(order=(0, 1, 2, 3))
    assert grid.cells(grid.decode([1, 28, 23, 3, 9, 28, 24])).tolist() == [[60, 55, -1, 41], [60, 56, -1, -1]]
    assert grid.decode([1, 2]).note_num() == 0


def test_what_is_stored_makes_the_tokenizer_again():
    for made in (VoiceGrid(), VoiceGrid((3, 2, 1, 0), (20, 100)), tokenizer_of("remi")):
        again = read_tokenizer(made.to_json())
        assert type(again) is type(made)
        assert again.fingerprint == made.fingerprint
        assert again.tokens == made.tokens
    assert VoiceGrid().fingerprint != VoiceGrid((3, 2, 1, 0)).fingerprint
    assert isinstance(VoiceGrid(), Tokenizer)


def test_transposition_moves_every_pitch_and_no_silence():
    grid, cells = VoiceGrid(), random_cells(5)
    augmenter = Augmenter(grid, Augmentation(semitones=3))
    shifts = set()
    for seed in range(40):
        moved = grid.cells(grid.decode(augmenter.apply(ids_of(grid, cells).numpy(), np.random.default_rng(seed))))
        shift = moved[-1, 0] - cells[-1, 0]
        assert moved.tolist() == np.where(cells < 0, -1, cells + shift).tolist()
        shifts.add(int(shift))
    assert shifts == set(range(-3, 4))


# --- places ---


def distance(kind: str, a: int, b: int) -> int:
    """As GridPlaces tells it, of classes: P is silence, P + 1 none."""
    reach = REACHES[kind]
    if max(a, b) > P:
        return 2 * reach + 2
    return 2 * reach + 1 if max(a, b) == P else max(-reach, min(reach, a - b)) + reach


def naive_copy(past: list[list[int]], voices: list[int]) -> tuple[list[int], int]:
    """The frame after the latest place with the longest equal past at the same sixteenth of a beat; its rank."""
    now = len(past)
    for rank, length in enumerate(PASTS):
        for earlier in range(now - 1, length - 1, -1):
            same = all(
                past[earlier - back][voice] == past[now - back][voice]
                for back in range(1, length + 1)
                for voice in voices
            )
            if length <= now and same and (now - earlier) % 4 == 0:
                return past[earlier], len(PASTS) - rank
    return [P + 1] * 4, 0


def naive_places(classes: list[list[int]], step: int, voice: int) -> list[int]:
    """The features before the cell, by loops over all that was read; classes (S, 4) in the order of speaking."""
    past, spoken = classes[:step], classes[step][:voice] if step < len(classes) else []
    last = past[-1] if past else [P + 1] * 4
    held, before = [0] * 4, [P + 1] * 4
    for v in range(4):
        run = 0
        while run < step and past[step - 1 - run][v] == last[v]:
            run += 1
        held[v] = min(run, 32)
        before[v] = past[step - 1 - run][v] if run < step else P + 1
    whole, whole_rank = naive_copy(past, [0, 1, 2, 3])
    alone = [naive_copy(past, [v]) for v in range(4)]
    heard = [spoken[v] if v < voice else P + 1 for v in range(3)]
    copy = partial(distance, "motion")
    features = [last[voice], *heard, voice]
    for v in range(3):
        features += [copy(heard[v], last[v]), distance("interval", heard[v], last[voice])]
    features += [distance("interval", last[v], last[voice]) for v in range(4)]
    kept = 2 if voice == 0 else int(any(heard[v] != whole[v] for v in range(voice)))
    features += [held[voice], copy(last[voice], before[voice]), step % 16]
    features += [copy(whole[voice], last[voice]) + 31 * whole_rank + 31 * 8 * kept]
    features += [copy(alone[voice][0][voice], last[voice]) + 31 * alone[voice][1]]
    features += [*last, *held, *(copy(last[v], before[v]) for v in range(4))]
    features += [distance("chord", last[a], last[b]) for a in range(4) for b in range(a + 1, 4)]
    features += [step % 4, step % 16, step % 12, min(step // 4, 32)]
    features += [copy(whole[v], last[v]) + 31 * whole_rank for v in range(4)]
    features += [copy(alone[v][0][v], last[v]) + 31 * alone[v][1] for v in range(4)]
    return features


@pytest.mark.parametrize("seed", range(3))
def test_places_are_those_of_loops_over_all_that_was_read(seed):
    grid = VoiceGrid()
    ids = ids_of(grid, random_cells(seed))
    reader = grid.places()
    places = reader.read(ids[None], [reader.start()])[0]
    cells = ids[1:-1] - 4
    classes = torch.where(cells < 0, P, cells).view(-1, 4).tolist()
    for position in range(len(ids) - 1):  # what is read at a position is of the cell after it
        assert places[position].tolist() == naive_places(classes, position // 4, position % 4), position
    assert places.min() >= 0
    assert (places < torch.tensor(reader.sizes)).all()
    assert reader.frame_features == len(reader.sizes) - 20


@pytest.mark.parametrize("chunk", [1, 3, 4, 50])
def test_places_are_the_same_in_pieces(chunk):
    grid = VoiceGrid()
    reader = grid.places()
    ids = torch.stack([ids_of(grid, random_cells(seed)) for seed in (0, 1)])
    states = [reader.start(), reader.start()]
    parts = [reader.read(part, states) for part in ids.split(chunk, dim=1)]
    assert torch.equal(torch.cat(parts, 1), reader.read(ids, [reader.start(), reader.start()]))


def test_padding_leaves_places_as_they_are():
    grid = VoiceGrid()
    reader, ids = grid.places(), ids_of(grid, random_cells(0))[:30]
    padded = torch.cat([torch.zeros(3, dtype=torch.int64), ids, torch.zeros(5, dtype=torch.int64)])
    states = [reader.start()]
    assert torch.equal(reader.read(padded[None], states)[0, 3:33], reader.read(ids[None], [reader.start()])[0])
    after = torch.tensor([[20, 30]])
    whole = reader.read(torch.cat([ids, after[0]])[None], [reader.start()])
    assert torch.equal(reader.read(after, states), whole[:, 30:])


def test_only_pitches_change_under_transposition():
    grid, cells = VoiceGrid(), random_cells(4)
    reader = grid.places()
    here, higher = (
        reader.read(ids_of(grid, moved)[None], [reader.start()])[0]
        for moved in (cells, np.where(cells < 0, -1, cells + 2))
    )
    differs = (here != higher).any(0).nonzero().flatten().tolist()
    split = len(reader.sizes) - reader.frame_features
    assert set(differs) == {0, 1, 2, 3, *range(split, split + 4)}
