"""Places against MidiTok's decoder: the notes of the Score that comes out, and probes into the middle of a row."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch

from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.music.score import bar_starts, note_arrays
from midifactory.tokens.tokenizer import ONSET_TYPES, Tokenizer
from schemes import DRUMS, SAYS, SCORES, everything, learnt, make_score, tokenizer_of

SEEDS = range(4)
BARS = 16
METRES = ((4, 4), (3, 4), (6, 8), (5, 8), (7, 4), (12, 8))
BARLINES = {"remi", "remi_plus", "per_tok", "mmm"}  # with Bar tokens


def random_score(seed: int):
    """Twenty bars and more of metres that change, notes and pauses of all lengths, four programs of which one drums."""
    generator = np.random.default_rng(seed)
    metres, beat = [], 0.0
    for _ in range(6):
        numerator, denominator = METRES[generator.integers(len(METRES))]
        metres.append((beat, numerator, denominator))
        beat += float(generator.integers(2, 6)) * numerator * 4 / denominator
    onsets = (
        np.cumsum(generator.choice([0, 1, 3, 4, 6, 12, 24, 60, 150], size=120, p=[0.3, *[0.1] * 6, 0.06, 0.04])) / 12
    )
    tracks = {0: [], 33: [], 73: [], DRUMS: []}
    for onset in onsets:
        program = [0, 33, 73, DRUMS][generator.integers(4)]
        pitch = int(generator.integers(36, 80))
        if all((onset, pitch) != note[::2][:2] for note in tracks[program]):
            tracks[program].append((float(onset), int(generator.integers(1, 40)) / 12, pitch, 80))
    tempos = [(float(onset), 60 + 2 * index) for index, onset in enumerate(onsets[::30])]
    return make_score(tracks.items(), tempos=((0, 100), *tempos[1:]), metres=metres)


MUSIC = {**SCORES, "everything": everything, **{f"random {seed}": partial(random_score, seed) for seed in SEEDS}}


def both(name: str) -> list[Tokenizer]:
    """conf/tokenizer/<name>.yaml, plain and with byte pairs."""
    return [tokenizer_of(name), learnt(name)]


def read(tokenizer: Tokenizer, ids, chunks=None) -> torch.Tensor:
    """(T, F) of one row."""
    places = tokenizer.places()
    state = [places.start()]
    ids = torch.as_tensor(np.asarray(ids, dtype=np.int64))[None]
    return torch.cat([places.read(part, state) for part in ids.split(chunks or ids.shape[1], dim=1)], 1)[0]


def grain(tokenizer: Tokenizer) -> int:
    """Ticks of the decoded score in one position."""
    inner = tokenizer.miditok
    return inner.tpq // inner.config.max_num_pos_per_beat if tokenizer.scheme == "PerTok" else 1


def voice(tokenizer: Tokenizer, program: int) -> int:
    return 1 + sorted(tokenizer.miditok.config.programs).index(program)


def said(tokenizer: Tokenizer, ids: np.ndarray) -> Counter:
    """(bar, position, voice, pitch) of every note token."""
    found = Counter()
    for token, (_, bar, position, speaker) in zip(ids, read(tokenizer, ids).tolist(), strict=True):
        if tokenizer.types[token] in ONSET_TYPES:
            found[bar, position, speaker, int(tokenizer.tokens[token].split("_")[1])] += 1
    return found


def on_the_beat(tokenizer: Tokenizer, ids: np.ndarray) -> np.ndarray:
    """PerTok moves notes off their place by MicroTiming tokens; here by none."""
    if tokenizer.scheme != "PerTok":
        return ids
    moved = np.array([type_ == "MicroTiming" for type_ in tokenizer.types])
    return np.where(moved[ids], tokenizer.miditok["MicroTiming_0"], ids)


def heard(tokenizer: Tokenizer, ids: np.ndarray) -> Counter:
    """The same of every note that MidiTok decodes; positions are counted from 1."""
    score = tokenizer.decode(on_the_beat(tokenizer, ids))
    notes = note_arrays(score)
    if not len(notes["onset"]):
        return Counter()
    starts = bar_starts(score, int(notes["onset"].max()) + 1)
    bars = np.searchsorted(starts, notes["onset"], side="right") - 1
    positions = 1 + (notes["onset"] - starts[bars]) // grain(tokenizer)
    speakers = [voice(tokenizer, int(program)) for program in notes["program"]]
    return Counter(zip((bars % BARS).tolist(), positions.tolist(), speakers, notes["pitch"].tolist(), strict=True))


@pytest.mark.parametrize("music", list(MUSIC))
@pytest.mark.parametrize("name", list(SAYS))
def test_every_note_has_the_place_of_the_decoded_note(name, music):
    tokenizer = tokenizer_of(name)
    ids = tokenizer.encode(MUSIC[music]()).ids
    expected = heard(tokenizer, ids)
    assert said(tokenizer, ids) == expected
    assert expected.total() >= 10


def test_bars_and_positions_by_hand(tokenizer):
    """A quarter is 24 ticks: an upbeat in 4/4, a bar of 3/4, two of 6/8 with their second eighth."""
    score = make_score(
        [
            (73, [(3, 1, 60, 80), (4, 1, 62, 80), (6.5, 0.5, 64, 80)]),
            (DRUMS, [(7.5, 0.5, 36, 80), (10.5, 0.5, 38, 80)]),
        ],
        metres=((0, 4, 4), (4, 3, 4), (7, 6, 8)),
    )
    flute, drums = voice(tokenizer, 73), voice(tokenizer, DRUMS)
    assert said(tokenizer, tokenizer.encode(score).ids) == Counter(
        [(0, 73, flute, 60), (1, 1, flute, 62), (1, 61, flute, 64), (2, 13, drums, 36), (3, 13, drums, 38)]
    )


@pytest.mark.parametrize("music", ["everything", "long_rest", "metres", "random 0", "random 1"])
@pytest.mark.parametrize("name", list(SAYS))
def test_a_row_from_the_middle_of_a_piece_finds_the_places_of_the_piece(name, music):
    """Positions are 0 until the row has shown where its bars begin; from there on all is as in the piece.

    But for rests in the random music, which wait for notes that the row does not know: their own places may be others.
    """
    tokenizer = tokenizer_of(name)
    encoding = tokenizer.encode(MUSIC[music]())
    types = np.array(tokenizer.types)[encoding.ids]
    restarts = np.isin(encoding.ids, [i for i, token in enumerate(tokenizer.tokens) if token == "Track_Start"])
    shown = restarts | (types == ("Bar" if name in BARLINES else "TimeSig"))
    sure = np.isin(types, list(ONSET_TYPES)) if music.startswith("random") else np.ones(len(types), bool)
    whole = read(tokenizer, encoding.ids)
    for first in encoding.group_token[1 :: max(1, len(encoding.group_token) // 12)]:
        part, expected = read(tokenizer, encoding.ids[first:]), whole[first:]
        assert torch.equal(part[:, 0], expected[:, 0])
        speaks = np.append(np.flatnonzero(types[first:] == "Program"), len(part))[0]
        assert (part[:speaks, 3] == 0).all()
        assert torch.equal(part[speaks:, 3], expected[speaks:, 3])
        begins = np.append(np.flatnonzero(shown[first:]), len(part))[0]
        assert (part[:begins, 2] == 0).all()
        known = sure[first:] & (np.arange(len(part)) >= begins)
        assert torch.equal(part[known, 2], expected[known, 2])
        if sure.all():  # bars are counted from the row's begin
            anew = np.append(np.flatnonzero(restarts[first:]), len(part))[0]
            assert ((part - expected)[begins:anew, 1] % BARS).unique().numel() <= 1
            assert torch.equal(part[anew:, 1], expected[anew:, 1])


class Prober:
    """Asks MidiTok where it stands after any ids, by a note of a pitch that occurs nowhere else."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        on = "NoteOn" if tokenizer.scheme == "MIDILike" else "Pitch"
        self.pitch = max(int(token.split("_")[1]) for token in tokenizer.tokens if token.startswith(f"{on}_"))
        moved = ["MicroTiming_0"] if tokenizer.scheme == "PerTok" else []
        velocity = ["Velocity_127"] if tokenizer.miditok.config.use_velocities else []
        duration = next((token for token in tokenizer.tokens if token.startswith("Duration_1.0.")), None)
        words = [f"{on}_{self.pitch}", *moved, *velocity, *([duration] if duration else [])]
        self.note = [tokenizer.miditok[word] for word in words]

    def onset(self, ids: list[int], *more: str):
        """The Score, and the probe's onset and program."""
        score = self.tokenizer.decode([*ids, *(self.tokenizer.miditok[word] for word in more), *self.note])
        ((onset, program),) = (
            (note.time, -1 if track.is_drum else track.program)
            for track in score.tracks
            for note in track.notes
            if note.pitch == self.pitch
        )
        return score, onset, program

    def place(self, ids: list[int]) -> tuple[int, int]:
        """Bar and ticks in it; a bar of REMI, which the Score may lack, from its Bar tokens."""
        score, onset, _ = self.onset(ids)
        if "Bar_None" not in self.tokenizer.tokens:
            starts = bar_starts(score, onset + 1)
            return len(starts) - 1, onset - int(starts[-1])
        next_bar, after = (self.onset(ids, *["Bar_None"] * count)[1] for count in (1, 2))
        return -1, onset - (2 * next_bar - after)


OTHER_SETTINGS = [
    "tokenizer.use_velocities=false",
    "tokenizer.pitch_range=[60,80]",
    "tokenizer.use_key_signatures=true",
]


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(
    ("name", "settings"), [*((name, None) for name in SAYS), *(("remi_plus", setting) for setting in OTHER_SETTINGS)]
)
def test_any_tokens_are_read_as_the_decoder_reads_them(name, settings, seed):
    """Whatever an untrained model says: broken notes, positions beyond the bar, metres in the middle of it."""
    tokenizer, generator = tokenizer_of(name, *([settings] if settings else [])), np.random.default_rng(seed)
    inner, prober = tokenizer.miditok, Prober(tokenizer)
    types = np.array(tokenizer.types)
    kinds = [kind for kind in dict.fromkeys(tokenizer.types) if kind not in {"PAD", "BOS", "EOS", "Track"}]
    pitches = [i for i, token in enumerate(tokenizer.tokens) if token.startswith("Pitch_")]
    rest_of_note = [token for token in ("Velocity_127", "Duration_2.0.12") if token in tokenizer.tokens]
    bar = ["Bar_None"] if "Bar" in kinds else []
    metre = ["TimeSig_4/4"] if "TimeSig" in kinds else []  # the decoder looks ahead for the first
    track = ["Track_Start", "Program_0"] if name == "mmm" else []
    ids = [tokenizer.bos_id, *(inner[word] for word in (*track, *bar, *metre))]
    for step in range(25):
        if name == "mmm" and step % 9 == 8:
            ids += [inner["Track_End"], inner["Track_Start"], inner["Bar_None"]]
        if pitches and generator.random() < 0.5:  # a whole note
            ids += [int(generator.choice(pitches[:-1])), *(inner[word] for word in rest_of_note)]
        token = int(generator.choice(np.flatnonzero(types == generator.choice(kinds))))
        if tokenizer.tokens[token].endswith(f"_{prober.pitch}"):
            continue
        ids.append(token)
        _, found_bar, position, speaker = read(tokenizer, ids)[-1].tolist()
        expected_bar, ticks = prober.place(on_the_beat(tokenizer, np.array(ids)).tolist())
        last = tokenizer.places().sizes[2] - 1
        assert position == min(1 + max(0, ticks) // grain(tokenizer), last), [tokenizer.tokens[i] for i in ids]
        if expected_bar >= 0:
            assert found_bar == expected_bar % BARS
        if name != "mmm" and "Program" in {tokenizer.types[i] for i in ids}:
            assert speaker == voice(tokenizer, prober.onset(ids)[2])


@pytest.mark.parametrize(
    ("row", "position"),
    [
        ("Position_20 Tempo_100.0 Position_0 Rest_0.1.12", 1 + 42),  # from the tempo on (40), 2 ticks
        ("PitchDrum_30 Velocity_127 Duration_2.0.12 Rest_0.1.12", 1 + 2),  # below the pitch range: no note
        ("PitchDrum_70 Velocity_127 Duration_2.0.12 Rest_0.1.12", 1 + 50),  # two quarters, 2 ticks
        ("Pitch_70 Velocity_127 Program_0 Duration_2.0.12 Rest_0.1.12", 1 + 2),  # no note either
        ("Position_20 Bar_End Rest_0.1.12", 1 + 42),  # the bar goes on
    ],
)
def test_rests_wait_for_what_the_decoder_takes_for_a_note(row, position):
    settings = ("tokenizer.pitch_range=[60,80]", "tokenizer.additional_params={use_bar_end_tokens:true}")
    tokenizer = tokenizer_of("remi_plus", *settings)
    ids = [tokenizer.miditok[word] for word in ("Bar_None", "TimeSig_4/4", *row.split())]
    assert read(tokenizer, ids)[-1, 2] == position == 1 + Prober(tokenizer).place(ids)[1]


@pytest.mark.parametrize("index", [0, 1], ids=["plain", "byte pairs"])
@pytest.mark.parametrize("name", list(SAYS))
def test_in_chunks_a_row_is_read_as_whole(name, index):
    tokenizer = both(name)[index]
    ids = tokenizer.to_model_ids(tokenizer.encode(everything()).ids)
    whole = read(tokenizer, ids)
    for chunks in (1, 2, 7):
        assert torch.equal(read(tokenizer, ids, chunks), whole)


@pytest.mark.parametrize("name", list(SAYS))
def test_a_byte_pair_has_the_type_of_its_first_token_and_the_place_of_its_last(name):
    tokenizer, base = learnt(name), tokenizer_of(name)
    base_ids = tokenizer.encode(everything()).ids
    ids = tokenizer.to_model_ids(base_ids)
    of_base, ours = read(base, base_ids).tolist(), read(tokenizer, ids).tolist()
    lengths = [len(tokenizer.to_base_ids([i])) for i in ids]
    ends = np.cumsum(lengths)
    assert max(lengths) > 1
    for place, length, end in zip(ours, lengths, ends, strict=True):
        assert place == [of_base[end - length][0], *of_base[end - 1][1:]]


@pytest.mark.parametrize("index", [0, 1], ids=["plain", "byte pairs"])
@pytest.mark.parametrize("name", list(SAYS))
def test_padding_has_no_place_and_changes_none(name, index):
    tokenizer = both(name)[index]
    ids = tokenizer.to_model_ids(tokenizer.encode(everything()).ids)
    plain, pad = read(tokenizer, ids), tokenizer.pad_id
    padded = np.concatenate([[pad] * 3, ids[:20], [pad], ids[20:], [pad] * 2])
    real = padded != pad
    places = read(tokenizer, padded)
    assert torch.equal(places[real], plain)
    assert (places[~real] == 0).all()
    assert (plain[:, 0] > 0).all()


@pytest.mark.parametrize("name", list(SAYS))
def test_rows_of_a_batch_are_read_apart_and_every_value_has_its_row_in_the_table(name):
    tokenizer = tokenizer_of(name)
    rows = [tokenizer.encode(make()).ids[:60] for make in (everything, SCORES["drums"], SCORES["long_rest"])]
    size = min(map(len, rows))
    places = tokenizer.places()
    ids = torch.from_numpy(np.stack([row[:size] for row in rows]))
    together = places.read(ids, [places.start() for _ in rows])
    for row, found in zip(ids, together, strict=True):
        assert torch.equal(read(tokenizer, row), found)
    assert together.shape == (3, size, len(places.sizes))
    assert together.dtype == torch.int64
    assert (together >= 0).all()
    assert (together < torch.tensor(places.sizes)).all()


@torch.no_grad()
@pytest.mark.parametrize("index", [0, 1], ids=["plain", "byte pairs"])
@pytest.mark.parametrize("kind", ["transformer", "lstm"])
@pytest.mark.parametrize("name", ["remi_plus", "tsd", "mmm"])
def test_a_model_with_places_says_the_same_cached_and_uncached(name, kind, index):
    tokenizer = both(name)[index]
    torch.manual_seed(0)
    keywords = {"d_model": 16, "layers": 1, "places": tokenizer.places()}
    if kind == "transformer":
        model = Transformer(tokenizer.vocab_size, heads=2, context=80, **keywords).eval()
    else:
        model = Recurrent(tokenizer.vocab_size, **keywords).eval()
    for parameter in model.parameters():
        parameter.mul_(4.0)
    whole = tokenizer.to_model_ids(tokenizer.encode(everything()).ids)
    ids = torch.from_numpy(np.stack([whole[:70], whole[20:90]]))
    expected = model(ids).logits
    for chunks in ([1] * 70, [30, *[1] * 40], [13, 27, 30]):
        state, parts = model.new_state(2, 80), []
        for part in ids.split(chunks, dim=1):
            output = model(part, state)
            state = output.state
            parts.append(output.logits)
        torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=1e-4, atol=1e-4)
    model.inputs.place_tables[2].weight.zero_()  # the places are heard at all
    assert not torch.allclose(model(ids).logits, expected, atol=1e-3)
