"""Byte pairs: oracles are MidiTok's own decoding of learnt ids, pairs counted by hand, and merging written out."""

import json
import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from miditok import TokSequence

from midifactory.errors import UserError
from midifactory.tokens.tokenizer import Tokenizer
from schemes import MORE, SAYS, SCORES, everything, learnt, tokenizer_of, training_ids


@pytest.mark.parametrize("name", SAYS)
def test_model_ids_are_fewer_and_give_back_the_base_ids(name):
    tokenizer = learnt(name)
    unseen = tokenizer.encode(everything()).ids
    shares = []
    for ids in (*training_ids(tokenizer), unseen):
        model_ids = tokenizer.to_model_ids(ids)
        np.testing.assert_array_equal(tokenizer.to_base_ids(model_ids), ids)
        assert (model_ids[0], model_ids[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
        assert tokenizer.base_vocab_size <= model_ids.max() < tokenizer.vocab_size
        shares.append(len(model_ids) / len(ids))
    assert max(shares) < 0.95
    assert np.mean(shares) < 0.75


@pytest.mark.parametrize("name", SAYS)
def test_the_score_is_the_same_in_model_ids(name):
    tokenizer = learnt(name)
    ids = tokenizer.encode(everything()).ids
    merged, plain = tokenizer.decode(tokenizer.to_model_ids(ids)), tokenizer_of(name).decode(ids)
    assert merged.dumps_midi() == plain.dumps_midi()
    assert merged.note_num() == everything().note_num()


@pytest.mark.parametrize("name", SAYS)
def test_any_model_ids_expand_as_miditok_expands_them(name):
    """A model emits ids that no encoding would give; these too have one meaning."""
    tokenizer = learnt(name)
    emitted = np.random.default_rng(0).integers(0, tokenizer.vocab_size, 2000)
    sequence = TokSequence(ids=emitted.tolist(), are_ids_encoded=True)
    tokenizer.miditok.decode_token_ids(sequence)
    assert tokenizer.to_base_ids(emitted).tolist() == sequence.ids


@pytest.mark.parametrize("name", SAYS)
def test_a_segments_ids_do_not_depend_on_where_its_piece_was_cut(name):
    tokenizer = learnt(name)
    encoding = tokenizer.encode(everything())
    whole = tokenizer.to_model_ids(encoding.ids).tolist()
    for cut in encoding.group_token[1:]:
        parts = tokenizer.to_model_ids(encoding.ids[:cut]), tokenizer.to_model_ids(encoding.ids[cut:])
        assert np.concatenate(parts).tolist() == whole


def test_the_first_pair_is_the_commonest_one_within_onsets():
    tokenizer = learnt("remi_plus")
    pairs: Counter[tuple[int, ...]] = Counter()
    for make in SCORES.values():
        encoding = tokenizer.encode(make())
        borders = {*encoding.group_token.tolist(), len(encoding.ids) - 1, 1}
        pairs.update(pair for i, pair in enumerate(pairwise(encoding.ids.tolist()), 1) if i not in borders)
    first = tuple(tokenizer.to_base_ids([tokenizer.base_vocab_size]).tolist())
    assert pairs[first] == max(pairs.values())


def test_merging_follows_the_order_in_which_pairs_were_learnt():
    tokenizer = learnt("remi_plus")
    merges = json.loads(json.loads(tokenizer.to_json())["_model"])["model"]["merges"]
    assert len(merges) == MORE == tokenizer.vocab_size - tokenizer.base_vocab_size
    letters = [chr(33 + int(i)) for i in tokenizer.encode(everything()).ids]
    for left, right in merges:
        merged: list[str] = []
        for letter in letters:
            if merged and (merged[-1], letter) == (left, right):
                merged[-1] += letter
            else:
                merged.append(letter)
        letters = merged
    expected = [[ord(part) - 33 for part in letter] for letter in letters]
    got = tokenizer.to_model_ids(tokenizer.encode(everything()).ids)
    assert [tokenizer.to_base_ids([i]).tolist() for i in got] == expected


def test_equal_pieces_give_equal_merges_and_others_give_others():
    asked = tokenizer_of("remi_plus", "tokenizer.vocab_size=923")
    pieces = training_ids(asked)
    first, again, other = asked.learn_bpe(pieces), asked.learn_bpe(iter(pieces)), asked.learn_bpe(pieces[:2])
    assert first.to_json() == again.to_json()
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert asked.wants_bpe
    assert asked.vocab_size == asked.base_vocab_size == 863  # learning makes a new one


@pytest.mark.parametrize("name", SAYS)
def test_merges_are_saved_with_the_tokenizer(name):
    tokenizer = learnt(name)
    ids = tokenizer.encode(everything()).ids
    for again in (Tokenizer.from_json(tokenizer.to_json()), pickle.loads(pickle.dumps(tokenizer))):
        assert again.to_json() == tokenizer.to_json()
        assert (again.fingerprint, again.vocab_size) == (tokenizer.fingerprint, tokenizer.vocab_size)
        assert not again.wants_bpe
        np.testing.assert_array_equal(again.encode(everything()).ids, ids)
        np.testing.assert_array_equal(again.to_model_ids(ids), tokenizer.to_model_ids(ids))


def test_a_vocab_size_that_waits_to_be_learnt_is_saved_too():
    again = Tokenizer.from_json(tokenizer_of("tsd", "tokenizer.vocab_size=900").to_json())
    assert again.wants_bpe
    assert again.learn_bpe(training_ids(again)).vocab_size == 900


def test_one_store_serves_all_vocab_sizes():
    plain, asked, ready = tokenizer_of("mmm"), tokenizer_of("mmm", "tokenizer.vocab_size=2000"), learnt("mmm")
    assert {t.base_fingerprint for t in (plain, asked, ready)} == {plain.fingerprint}
    assert {t.to_json(with_bpe=False) for t in (plain, asked, ready)} == {plain.to_json()}
    assert len({t.fingerprint for t in (plain, asked, ready)}) == 3
    np.testing.assert_array_equal(plain.encode(everything()).ids, ready.encode(everything()).ids)


def test_without_byte_pairs_ids_pass_unchanged():
    tokenizer = tokenizer_of("remi_plus")
    ids = tokenizer.encode(everything()).ids
    assert not tokenizer.wants_bpe
    np.testing.assert_array_equal(tokenizer.to_model_ids(ids), ids)
    np.testing.assert_array_equal(tokenizer.to_base_ids(ids.tolist()), ids)
    with pytest.raises(UserError, match="vocab_size=null"):
        tokenizer.learn_bpe([ids])


def test_few_pieces_teach_fewer_pairs_than_asked():
    asked = tokenizer_of("remi_plus", "tokenizer.vocab_size=20000")
    ids = asked.encode(SCORES["long_rest"]()).ids
    ready = asked.learn_bpe([ids])
    assert ready.base_vocab_size < ready.vocab_size < 20_000
    np.testing.assert_array_equal(ready.to_base_ids(ready.to_model_ids(ids)), ids)


def test_ids_and_values_by_their_parts():
    tokenizer = learnt("remi_plus")
    parts = [tokenizer.to_base_ids([i]).tolist() for i in range(tokenizer.vocab_size)]
    bars = [i for i, part in enumerate(parts) if tokenizer.types[part[0]] == "Bar"]
    assert tokenizer.starting_with("Bar").tolist() == bars
    assert max(bars) >= tokenizer.base_vocab_size
    values = np.random.default_rng(0).normal(size=tokenizer.base_vocab_size)
    np.testing.assert_array_equal(tokenizer.worst_part(values), [min(values[part]) for part in parts])


@pytest.mark.parametrize("name", SAYS)
def test_every_model_id_has_a_length_and_a_type(name):
    tokenizer = learnt(name)
    lengths = tokenizer.summed_parts(np.ones(tokenizer.base_vocab_size, dtype=np.int64))
    types = tokenizer.model_types
    assert len(lengths) == len(types) == tokenizer.vocab_size
    for index in range(tokenizer.vocab_size):
        parts = tokenizer.to_base_ids([index])
        assert lengths[index] == len(parts)
        assert types[index] == ("merged" if len(parts) > 1 else tokenizer.types[parts[0]])
    assert types.count("merged") > 0
    plain = tokenizer_of(name)
    assert plain.model_types == plain.types


@pytest.mark.parametrize("name", SAYS)
def test_what_a_vocabulary_keeps(name):
    tempo, metre = SAYS[name]
    keeps = tokenizer_of(name).keeps
    assert {"duration", "velocity", "programs"} <= set(keeps)
    assert ("tempo" in keeps, "metre" in keeps) == (tempo, metre)
    if name == "remi_plus":
        assert "velocity" not in tokenizer_of(name, "tokenizer.use_velocities=false").keeps
