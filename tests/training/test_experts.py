"""Expert use as counted by the callback, against a loop over the tokens of the validation."""

import csv
from collections import Counter

import pytest
import torch

from midifactory.data.batches import IGNORED
from midifactory.training.experts import ExpertUse, token_types
from training.conftest import TINY

MIXTURE = TINY | {"layers": 2, "experts": 3, "experts_per_token": 2}


@pytest.fixture
def run(new_run, tmp_path):
    return new_run("run", model=MIXTURE, epochs=1, callbacks=[ExpertUse(tmp_path)]).fit()


@torch.no_grad()
def counted(run, tokenizer) -> Counter:
    """(layer, type of token, expert) -> choices."""
    counts, model = Counter(), run.module.model.eval()
    for batch in run.validation:
        chosen = model(batch["inputs"]).statistics["experts"]
        for row, ids in enumerate(batch["inputs"].tolist()):
            for t, token in enumerate(ids):
                if batch["labels"][row, t] != IGNORED:
                    for layer in range(2):
                        counts.update((layer, tokenizer.types[token], int(expert)) for expert in chosen[layer, row, t])
    return counts


def test_shares_are_those_of_a_loop_over_all_real_tokens(run, tokenizer, tmp_path):
    expected = counted(run, tokenizer)
    with (tmp_path / "expert_use.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(int(row["layer"]), row["token_type"]) for row in rows} == {key[:2] for key in expected}
    for row in rows:
        choices = [expected[int(row["layer"]), row["token_type"], expert] for expert in range(3)]
        assert int(row["choices"]) == sum(choices)
        shares = [float(row[f"expert_{expert}"]) for expert in range(3)]
        assert shares == pytest.approx([choice / sum(choices) for choice in choices], abs=1e-4)
    for layer in range(2):
        loads = [sum(n for (i, _, expert), n in expected.items() if (i, expert) == (layer, e)) for e in range(3)]
        logged = run.trainer.callback_metrics
        assert float(logged[f"val/expert_share_greatest_{layer}"]) == pytest.approx(max(loads) / sum(loads))
        assert float(logged[f"val/expert_share_least_{layer}"]) == pytest.approx(min(loads) / sum(loads))
    assert (tmp_path / "expert_use.png").read_bytes().startswith(b"\x89PNG")


def test_balance_and_router_losses_are_logged_and_train_the_router(run):
    metrics = run.trainer.callback_metrics
    assert float(metrics["train/balance_loss"]) > 0
    assert float(metrics["train/router_z_loss"]) > 0


def test_a_merged_token_is_of_its_first_parts_type(tokenizer):
    class Merged:
        """Two tokens more, each of two parts."""

        types, vocab_size = tokenizer.types, tokenizer.vocab_size + 2

        def to_base_ids(self, ids):
            return [[7, 8], [9, 3]][ids[0] - tokenizer.vocab_size] if ids[0] >= tokenizer.vocab_size else ids

    types, type_of = token_types(Merged())
    assert [types[i] for i in type_of] == [*tokenizer.types, tokenizer.types[7], tokenizer.types[9]]


def test_without_experts_nothing_is_written_or_logged(new_run, tmp_path):
    run = new_run("run", epochs=1, callbacks=[ExpertUse(tmp_path / "use")]).fit()
    assert not (tmp_path / "use").exists()
    assert not [name for name in run.trainer.callback_metrics if "expert" in name]
