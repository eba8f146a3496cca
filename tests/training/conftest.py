"""Runs of seconds: a tiny model on the hand-made scores, with our callbacks and checkpoints."""

import functools
import logging
import warnings
from collections.abc import Callable

import lightning
import pytest
import torch

from midifactory.data.batches import BatchPlan, SegmentDataset, SegmentLoader
from midifactory.data.segments import SegmentCount, cut_segments
from midifactory.training.callbacks import KeepLast
from midifactory.training.checkpoint import build_model, make_card
from midifactory.training.checkpoint_folder import WholeCheckpointIO
from midifactory.training.module import SequenceTraining
from midifactory.training.schedules import cosine

TINY = {"_target_": "midifactory.models.transformer.Transformer", "d_model": 8, "heads": 2, "layers": 1}
SEED = 11


class Run:
    """Everything of one run; equal arguments give equal runs."""

    def __init__(
        self,
        store,
        tokenizer,
        folder,
        *,
        epochs=4,
        model=TINY,
        callbacks=(),
        last_callbacks=(),
        dropout=0.2,
        batch_size=8,
        workers=0,
        optimizer=None,
        schedule=None,
        loss=None,
        plugins=(),
        logger=False,
        **trainer,
    ):
        segments = []
        for piece in store.pieces.values():
            segments += cut_segments(
                piece.id, store.groups(piece.id), piece.tokens, piece.notes, "bars", 2, 256, SegmentCount()
            )
        lengths = [len(segment) for segment in segments]
        dataset = SegmentDataset(store, segments)
        self.train = SegmentLoader(
            dataset, BatchPlan(lengths, batch_size, SEED, shuffle=True), tokenizer.pad_id, workers
        )
        self.validation = SegmentLoader(dataset, BatchPlan(lengths, 8, SEED, shuffle=False), tokenizer.pad_id, 0)
        config = model | {"dropout": dropout}
        torch.manual_seed(SEED)
        self.module = SequenceTraining(
            build_model(config, tokenizer),
            optimizer or functools.partial(torch.optim.AdamW, lr=0.01),
            schedule or functools.partial(cosine, warmup_steps=2),
            loss,
            seed=SEED,
            card=make_card(config, tokenizer, 255, {"metre": "4/4"}, "hand"),
        )
        self.trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=logger,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[*callbacks, KeepLast(folder / "checkpoints"), *last_callbacks],
            plugins=[WholeCheckpointIO(), *plugins],
            default_root_dir=folder,
            **trainer,
        )
        self.tokenizer, self.last = tokenizer, folder / "checkpoints" / "last.ckpt"

    def fit(self, resume=None) -> "Run":
        self.trainer.fit(self.module, self.train, self.validation, ckpt_path=resume, weights_only=True)
        return self

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.module.state_dict().items()}


def equal_weights(left: Run, right: Run) -> bool:
    """Bit by bit."""
    one, other = left.weights, right.weights
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads cost a model of this size more than they give, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def new_run(store, tokenizer, tmp_path, monkeypatch) -> Callable[..., Run]:
    """Makes a Run in a folder of that name."""
    warnings.filterwarnings("ignore", module="lightning")
    monkeypatch.setattr(logging.getLogger("lightning.pytorch.utilities.rank_zero"), "level", logging.ERROR)
    return lambda name="run", **settings: Run(store, tokenizer, tmp_path / name, **settings)


@pytest.fixture
def same_weights() -> Callable[[Run, Run], bool]:
    """Whether two runs ended with the same bits."""
    return equal_weights
