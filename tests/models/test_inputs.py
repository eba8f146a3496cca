"""What a position reads: the sum of what it is given, and nothing for what it is not."""

import pytest
import torch

from midifactory.models.inputs import PlaceCodes, TokenInput
from midifactory.models.interface import Conditions

VOCAB, D, SIZES = 11, 8, (3, 5)


class Counter:
    """A PlaceReader: how many tokens a row has read (to 20), and the token itself; id 0 is PAD."""

    sizes = (21, VOCAB)

    def start(self):
        return [0]

    def read(self, ids, states):
        rows = []
        for row, state in zip(ids.tolist(), states, strict=True):
            rows.append([])
            for token in row:
                state[0] += token != 0
                rows[-1].append([state[0], token] if token else [0, 0])
        return torch.tensor(rows)


def build(**keywords) -> TokenInput:
    torch.manual_seed(0)
    return TokenInput(VOCAB, D, **keywords)


@pytest.fixture
def ids():
    return torch.tensor([[1, 2, 3, 4], [5, 5, 0, 0]])


@pytest.fixture
def labels():
    return torch.tensor([[1, 4], [2, 0]])


def test_plain_tokens_are_their_rows_of_the_table(ids):
    inputs = build()
    assert torch.equal(inputs(ids, inputs.start(2)), inputs.tokens.weight[ids])
    assert inputs.start(2) == []
    assert inputs.prefix(2, None) is None
    assert [name for name, _ in inputs.named_parameters()] == ["tokens.weight"]


def test_places_are_added_and_their_state_moves_on(ids):
    inputs = build(places=Counter())
    count, token = inputs.place_tables
    whole = inputs(ids, inputs.start(2))
    expected = inputs.tokens.weight[ids] + token.weight[ids]
    expected = expected + count.weight[torch.tensor([[1, 2, 3, 4], [1, 2, 0, 0]])]
    torch.testing.assert_close(whole, expected)
    readers = inputs.start(2)
    parts = [inputs(part, readers) for part in ids.split([1, 2, 1], dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    assert readers == [[4], [2]]


def test_rows_start_apart():
    first, second = build(places=Counter()).start(2)
    first[0] = 7
    assert second == [0]


def test_added_labels_stand_at_every_position(ids, labels):
    inputs = build(condition_sizes=SIZES)
    first, second = inputs.condition_tables
    added = inputs(ids, [], Conditions(labels)) - inputs.tokens(ids)
    expected = first.weight[labels[:, 0]] + second.weight[labels[:, 1]]
    torch.testing.assert_close(added, expected[:, None].expand(2, 4, D))
    assert inputs.prefix(2, Conditions(labels)) is None


def test_a_prefix_has_a_position_for_each_label_and_leaves_the_tokens_alone(ids, labels):
    inputs = build(condition_sizes=SIZES, condition_mode="prefix")
    first, second = inputs.condition_tables
    assert inputs.prefix_length == 2
    prefix = inputs.prefix(2, Conditions(labels))
    torch.testing.assert_close(prefix, torch.stack((first.weight[labels[:, 0]], second.weight[labels[:, 1]]), 1))
    assert torch.equal(inputs(ids, [], Conditions(labels)), inputs.tokens(ids))


@pytest.mark.parametrize("mode", ["added", "prefix"])
@pytest.mark.parametrize("conditions", [None, Conditions()])
def test_what_is_not_given_is_label_0_everywhere(ids, mode, conditions):
    inputs = build(condition_sizes=SIZES, condition_mode=mode)
    nothing = Conditions(torch.zeros(2, 2, dtype=torch.int64))
    torch.testing.assert_close(inputs(ids, [], conditions), inputs(ids, [], nothing))
    if mode == "prefix":
        torch.testing.assert_close(inputs.prefix(2, conditions), inputs.prefix(2, nothing))


def test_not_given_has_an_embedding_that_is_trained(ids):
    inputs = build(condition_sizes=SIZES)
    inputs(ids, []).sum().backward()
    for table in inputs.condition_tables:
        assert (table.weight.grad[0] != 0).all()
        assert (table.weight.grad[1:] == 0).all()


@torch.no_grad()
def test_without_places_a_latent_is_added_to_every_position_alike_and_none_adds_nothing(ids):
    inputs, latent = build(latent_size=6), torch.randn(2, 6)
    added = inputs(ids, [], Conditions(latent=latent)) - inputs.tokens(ids)
    torch.testing.assert_close(added, (latent @ inputs.latent.weight.T)[:, None].expand(2, 4, D))
    assert torch.equal(inputs(ids, []), inputs.tokens(ids))
    assert torch.equal(inputs(ids, [], Conditions(latent=torch.zeros(2, 6))), inputs.tokens(ids))


@torch.no_grad()
def test_with_places_each_reads_what_its_code_finds_in_the_latent(ids, labels):
    inputs, latent = build(places=Counter(), condition_sizes=SIZES, latent_size=6), torch.randn(2, 6)
    without = inputs(ids, inputs.start(2), Conditions(labels, torch.zeros(2, 6)))
    read = inputs(ids, inputs.start(2), Conditions(labels, latent)) - without
    places, phases = inputs.places(ids, inputs.start(2)), inputs.codes.phases
    for row in range(2):
        for t in range(4):
            count, token = places[row, t].tolist()
            code = 2**0.5 * torch.cos(phases[count] + phases[21 + token])
            torch.testing.assert_close(read[row, t], inputs.latent.weight @ (latent[row] * code))
    assert not torch.allclose(without, inputs.tokens(ids))


def test_what_is_written_at_one_of_many_places_is_found_there_and_nowhere_else():
    codes, generator = PlaceCodes((8, 50, 5), 2048), torch.Generator().manual_seed(1)
    rows = torch.tensor([[0, 7, 3], [1, 7, 3], [0, 8, 3], [0, 7, 4], [5, 20, 1], [0, 8, 4]])
    code = codes(rows[None])[0]  # (6, Z)
    values = torch.randn(5, 2048, generator=generator)
    latent = (values * code[:5]).sum(0)
    similarity = torch.nn.functional.cosine_similarity(latent * code[:, None], values[None], dim=-1)  # (6, 5)
    assert (similarity[:5].argmax(1) == torch.arange(5)).all()
    assert similarity[:5].diagonal().min() > 0.25
    assert (similarity - torch.nn.functional.pad(torch.diag(similarity.diagonal()), (0, 0, 0, 1))).abs().max() < 0.1
    torch.testing.assert_close(code.square().mean(1), torch.ones(6), rtol=0.1, atol=0.0)


def test_codes_are_the_same_in_every_model_and_travel_in_its_weights():
    one, other = (build(places=Counter(), latent_size=6) for _ in range(2))
    assert torch.equal(one.codes.phases, other.codes.phases)
    assert "codes.phases" in one.state_dict()
    assert not one.codes.phases.requires_grad


def test_hidden_tokens_leave_their_places_and_are_hidden_in_training_alone(ids):
    inputs = build(places=Counter())
    whole = inputs.eval()(ids, inputs.start(2))
    places = whole - inputs.tokens(ids)
    inputs.token_dropout = 0.5
    assert torch.equal(inputs(ids, inputs.start(2)), whole)
    torch.manual_seed(0)
    many = ids.repeat(200, 1)
    read = inputs.train()(many, inputs.start(400)) - places.repeat(200, 1, 1)
    hidden = (read.abs() < 1e-6).all(-1)
    assert 0.4 < hidden.float().mean() < 0.6
    torch.testing.assert_close(read[~hidden], inputs.tokens(many)[~hidden])


@pytest.mark.parametrize("mode", ["added", "prefix"])
def test_labels_of_another_number_are_an_error_with_both(ids, mode):
    with pytest.raises(ValueError, match="3 labels a row, but the model was made for 2"):
        build(condition_sizes=SIZES, condition_mode=mode)(ids, [], Conditions(torch.zeros(2, 3, dtype=torch.int64)))
    with pytest.raises(ValueError, match="2 labels a row, but the model was made for 0"):
        build()(ids, [], Conditions(torch.zeros(2, 2, dtype=torch.int64)))


def test_a_latent_of_another_size_is_an_error_with_both(ids):
    with pytest.raises(ValueError, match="a latent of 4 numbers, but the model was made for 6"):
        build(latent_size=6)(ids, [], Conditions(latent=torch.zeros(2, 4)))
    with pytest.raises(ValueError, match="a latent of 4 numbers, but the model was made for 0"):
        build()(ids, [], Conditions(latent=torch.zeros(2, 4)))


def test_an_unknown_mode_is_an_error():
    with pytest.raises(ValueError, match="condition_mode=beside: choose added or prefix"):
        build(condition_mode="beside")
