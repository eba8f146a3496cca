"""Rearranged rows: surroundings and span together are the notes that MidiTok reads in the row as it was."""

from collections import Counter

import numpy as np
import pytest
import torch

from midifactory.data.infilling import Infilling
from midifactory.music.score import bar_starts, note_arrays
from midifactory.tokens.infill import Rearranger, Split, around
from midifactory.tokens.tokenizer import INFILL_TOKENS, Tokenizer
from schemes import MORE, SCORES, everything, tokenizer_of, training_ids

NAMES = ("remi_plus", "remi", "no_rests", "bare", "byte_pairs")
ALL = {**SCORES, "everything": everything}


@pytest.fixture(scope="module", params=NAMES)
def infilling_tokenizer(request) -> Tokenizer:
    more = {
        "no_rests": ("tokenizer.use_rests=false",),
        "bare": ("tokenizer.use_rests=false", "tokenizer.use_velocities=false", "tokenizer.use_chords=false"),
    }
    if request.param == "byte_pairs":
        size = tokenizer_of("remi_plus").with_infill().base_vocab_size + MORE
        tokenizer = tokenizer_of("remi_plus", f"tokenizer.vocab_size={size}").with_infill()
        return tokenizer.learn_bpe(training_ids(tokenizer))
    name = "remi" if request.param == "remi" else "remi_plus"
    return tokenizer_of(name, *more.get(request.param, ())).with_infill()


def special(tokenizer: Tokenizer, name: str) -> int:
    return tokenizer.tokens.index(f"{name}_None")


def heard(tokenizer: Tokenizer, ids, shift: int = 0) -> Counter:
    """The notes that MidiTok's decoder reads in base ids, `shift` ticks later."""
    notes = note_arrays(tokenizer.decode(tokenizer.to_model_ids(list(ids))))
    columns = (notes[key].tolist() for key in ("program", "pitch", "onset", "duration", "velocity"))
    return Counter(
        (program, pitch, onset + shift, *rest) for program, pitch, onset, *rest in zip(*columns, strict=True)
    )


@pytest.mark.parametrize("score_name", ALL)
def test_surroundings_and_span_are_the_notes_of_the_row(infilling_tokenizer, score_name):
    tokenizer = infilling_tokenizer
    ids = tokenizer.encode(ALL[score_name]()).ids
    whole = tokenizer.decode(tokenizer.to_model_ids(ids))
    lines = bar_starts(whole)
    rows = Infilling(tokenizer, 1.0, 10_000)
    generator, moved = np.random.default_rng(0), 0
    for _ in range(24):
        row, notes = rows.apply(ids, whole.note_num(), generator)
        # What the model reads, merged and taken apart again, is the row.
        assert tokenizer.to_base_ids(tokenizer.to_model_ids(row)).tolist() == row.tolist()
        if len(row) == len(ids) and (row == ids).all():
            continue
        moved += 1
        row = row.tolist()
        fill, gap, gap_end = (row.index(special(tokenizer, name)) for name in ("Fill", "Gap", "GapEnd"))
        bar = tokenizer.tokens.index("Bar_None")
        first, length = row[:gap].count(bar), row[gap:gap_end].count(bar)
        span = row[fill:]
        header = span.index(bar)
        asked = {int(tokenizer.tokens[i].partition("_")[2]) for i in span[1:header]}
        outside, inside = heard(tokenizer, row[:fill]), heard(tokenizer, span[header:], int(lines[first]))
        assert outside + inside == heard(tokenizer, ids)
        assert notes == whole.note_num() == outside.total() + inside.total()
        assert outside
        assert inside
        assert span[header:].count(bar) == length, "as many bars on both sides"
        end = lines[first + length] if first + length < len(lines) else np.inf
        assert all(program in asked and lines[first] <= onset < end for program, _, onset, *_ in inside)
        assert row[-1] == special(tokenizer, "FillEnd")
        assert not {"Rest"} & {tokenizer.types[i] for i in row}
    assert moved > (0 if score_name == "metre_after_rest" else 5)


def test_a_row_is_what_the_drawing_says():
    tokenizer = tokenizer_of("remi_plus", "tokenizer.use_velocities=false", "tokenizer.use_chords=false").with_infill()
    rows = Rearranger(tokenizer)
    passage = rows.read(tokenizer.encode(SCORES["drums"]()).ids)
    part = passage.part(0, 2)
    bass = [event for event in part.events if event.program == 33 and event.bar == 1]
    rest = [event for event in part.events if event not in bass]
    words = [tokenizer.tokens[i].removesuffix("_None") for i in rows.write(part, Split(rest, bass, (1, 2), (33,)))]
    assert words[:4] == ["BOS", "Infill", "Bar", "TimeSig_4/4"]
    assert words.index("Gap") < words.index("GapEnd") == words.index("Fill") - 1
    assert words[words.index("Gap") + 1 :][:2] == ["Bar", "TimeSig_4/4"]
    assert words[words.index("Fill") :] == [
        *("Fill", "Program_33", "Bar", "TimeSig_4/4", "Position_0", "Program_33", "Pitch_38", "Duration_1.6.12"),
        *("Position_24", "Program_33", "Pitch_39", "Duration_1.6.12", "FillEnd"),
    ]


def test_the_bars_of_the_span_have_the_numbers_of_those_they_fill(infilling_tokenizer):
    tokenizer = infilling_tokenizer
    ids = tokenizer.encode(SCORES["four_voices"]()).ids
    places, bar = tokenizer.places(), set(tokenizer.starting_with("Bar").tolist())
    rows, generator = Infilling(tokenizer, 1.0, 10_000), np.random.default_rng(1)
    for _ in range(12):
        row = tokenizer.to_model_ids(rows.apply(ids, 1, generator)[0])
        features = places.read(torch.from_numpy(row)[None], [places.start()])[0]  # (T, F)
        gap, gap_end, fill = (int(np.flatnonzero(row == special(tokenizer, n))[0]) for n in ("Gap", "GapEnd", "Fill"))
        numbers = {
            name: [int(features[i, 1]) for i in range(first, last) if row[i] in bar]
            for name, first, last in (("gap", gap, gap_end), ("span", fill, len(row)))
        }
        assert numbers["gap"] == numbers["span"]
        assert numbers["gap"]


def test_a_segment_cut_inside_a_bar_is_rearranged_behind_its_first_bar_line(infilling_tokenizer):
    tokenizer = infilling_tokenizer
    encoding = tokenizer.encode(SCORES["piano_chords"]())
    start = int(encoding.group_token[5])
    assert tokenizer.types[encoding.ids[start]] != "Bar"
    ids = encoding.ids[start:]
    passage = Rearranger(tokenizer).read(ids)
    assert tokenizer.tokens[ids[len(passage.lead)]] == "Bar_None"
    row, _ = Infilling(tokenizer, 1.0, 10_000).apply(ids, 1, np.random.default_rng(3))
    lead = row.tolist().index(special(tokenizer, "Infill")) + 1
    assert tuple(row[lead:][: len(passage.lead)]) == passage.lead
    notes = [i for i in ids if tokenizer.types[i] == "Pitch"]
    assert Counter(i for i in row.tolist() if tokenizer.types[i] == "Pitch") == Counter(notes)


def test_what_is_left_out_lies_farthest_from_the_gap():
    costs = np.array([10, 10, 10, 10, 10, 10, 10, 10])
    assert around(costs, 3, 4, 10) == (3, 4)
    assert around(costs, 3, 4, 9) is None
    assert around(costs, 3, 4, 30) == (2, 5)
    assert around(costs, 3, 4, 49) == (1, 5)
    assert around(costs, 0, 2, 45) == (0, 4)
    assert around(costs, 7, 8, 45) == (4, 8)
    assert around(costs, 3, 4, 1000) == (0, 8)
    assert around(np.array([99, 10, 10, 10]), 2, 3, 40) == (1, 4)


def test_only_a_tokenizer_made_for_it_has_the_tokens():
    plain = tokenizer_of("remi_plus")
    assert not plain.infills
    assert not any(token.startswith(INFILL_TOKENS) for token in plain.tokens)
    infills = plain.with_infill()
    assert infills.infills
    assert [token for token in infills.tokens if token not in plain.tokens] == [
        f"{name}_None" for name in INFILL_TOKENS
    ]
    again = Tokenizer.from_json(infills.to_json())
    assert again.tokens == infills.tokens
    assert again.fingerprint == infills.fingerprint != plain.fingerprint
    with pytest.raises(ValueError, match="no tokens for infilling"):
        Rearranger(plain)


@pytest.mark.parametrize("name", ["tsd", "midi_like", "structured", "per_tok", "mmm", "voice_grid"])
def test_other_schemes_are_refused(name):
    with pytest.raises(ValueError, match="does not tell bars and positions in one stream"):
        Rearranger(tokenizer_of(name))
