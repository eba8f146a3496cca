"""The ensemble against its members."""

import pytest
import torch

from midifactory.errors import UserError
from midifactory.models.ensemble import Ensemble
from midifactory.models.interface import Conditions

VOCAB = 11
TRANSFORMER = "midifactory.models.transformer.Transformer"


def build(member: str = TRANSFORMER, members: int = 3, **keywords) -> Ensemble:
    torch.manual_seed(0)
    model = Ensemble(VOCAB, member, members, d_model=16, layers=1, **keywords)
    for parameter in model.parameters():
        parameter.data.mul_(4.0)
    return model.eval()


def random_ids(rows: int = 6) -> torch.Tensor:
    return torch.randint(VOCAB, (rows, 9), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_its_probabilities_are_the_members_average():
    model, ids = build(condition_sizes=(3,)), random_ids()
    told = Conditions(torch.ones(6, 1, dtype=torch.int64))
    each = torch.stack([member(ids, conditions=told).logits.softmax(-1) for member in model.members])
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(model(ids, conditions=told).logits.exp(), each.mean(0))


@torch.no_grad()
@pytest.mark.parametrize("member", [TRANSFORMER, "midifactory.models.recurrent.Recurrent"])
def test_with_a_state_the_logits_are_those_without(member):
    model, ids = build(member), random_ids()
    state, parts = model.new_state(6, 9), []
    for part in ids.split([4, 1, 1, 3], dim=1):
        output = model(part, state)
        state = output.state
        parts.append(output.logits)
    torch.testing.assert_close(torch.cat(parts, 1), model(ids).logits, rtol=1e-4, atol=1e-5)
    assert model.context == model.members[0].context


def test_in_training_each_row_is_of_one_member_drawn_anew():
    model, ids = build(dropout=0.0).train(), random_ids()
    each = torch.stack([member(ids).logits for member in model.members])  # (M, B, T, V)
    seen = set()
    for _ in range(5):
        found = model(ids).logits
        owners = [int((each[:, row] - found[row]).abs().amax((1, 2)).argmin()) for row in range(6)]
        for row, owner in enumerate(owners):
            torch.testing.assert_close(found[row], each[owner, row], rtol=1e-4, atol=1e-5)
        assert sorted(owners) == [0, 0, 1, 1, 2, 2]
        seen.add(tuple(owners))
    assert len(seen) > 1
    model(ids[:2]).logits.sum().backward()  # fewer rows than members: two of them learn
    learning = [any(parameter.grad is not None for parameter in member.parameters()) for member in model.members]
    assert sum(learning) == 2


def test_no_member_is_favoured_where_rows_do_not_divide():
    torch.manual_seed(0)
    model, ids, seen = build(dropout=0.0).train(), random_ids(), torch.zeros(3)
    with torch.no_grad():
        each = torch.stack([member(ids).logits for member in model.members])  # (M, B, T, V)
        for _ in range(90):
            found = model(ids[:4]).logits
            for row in range(4):
                owner = int((each[:, row] - found[row]).abs().amax((1, 2)).argmin())
                torch.testing.assert_close(found[row], each[owner, row], rtol=1e-4, atol=1e-5)
                seen[owner] += 1
    assert (seen / seen.sum()).tolist() == pytest.approx([1 / 3] * 3, abs=0.06)


def test_losses_and_annealing_are_the_members():
    model, ids = build(experts=2).train(), random_ids()
    losses = model(ids).losses
    assert set(losses) == {"balance_loss", "router_z_loss"}
    assert losses["balance_loss"] > 0
    steps = []
    for member in model.members:
        member.anneal = steps.append
    model.anneal(7)
    assert steps == [7, 7, 7]


def test_what_cannot_be_an_ensemble_is_told():
    with pytest.raises(ValueError, match="members=0"):
        build(members=0)
    with pytest.raises(ValueError, match=r"member=midifactory.models.vae.VAE: .* model=vae"):
        build("midifactory.models.vae.VAE")
    with pytest.raises(UserError, match=r"model.member._target_=os.path"):
        build("os.path")
    with pytest.raises(TypeError, match="colour"):
        build(colour="blue")
