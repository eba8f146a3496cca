"""Held-out nats per note after equal CPU time and with equal parameters: a recipe of ours, and MidiTok's own tutorial.

The peer is the notebook "Example HuggingFace Mistral Transformer" of MidiTok's repository: Hugging Face's Mistral and
Trainer, MidiTok's file splitting, DatasetMIDI and DataCollator (sequences of up to 1024 tokens), batches of 16 with 3
accumulated, AdamW at 1e-4 with decay 0.01, a cosine with restarts after 30 % of warm-up, gradients clipped at 3. What
differs from the notebook: the model is made as wide as ours, and its feed-forward so that the parameters are as many;
byte pairs are left out and the tokenizer's settings are ours, so that both tell the same notes in the same tokens; the
number of steps, and so the schedule's length, is what the CPU time allows; neither activation checkpointing nor
evaluation on the way, which would cost it time. `--peer tuned` gives it our batch and learning rate and a tenth of
warm-up instead. Splitting and tokenising, ours and theirs, are not counted.

Both read the same pieces of one split, and are measured as `midifactory evaluate` does: over the same held-out pieces,
by a sliding window as long as the training showed each at once, with 95 % intervals over the pieces; the difference is
of the same pieces, one by one. CPU time is that of the process, over all its threads; ours holds its validations too.
One contender after the other, or each in a process of its own with --only; a finished one is only read. Prints Markdown
rows.

    python benchmarks/equal_time.py pop909_cl --minutes 20 [--only ours|peer] [--peer tutorial|tuned] data.root=FOLDER
"""

import argparse
import copy
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from miditok.pytorch_data import DataCollator, DatasetMIDI
from miditok.utils import split_files_for_training
from omegaconf import DictConfig
from transformers import MistralConfig, MistralForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed

from midifactory.cli import hydra_app  # noqa: F401 - registers the resolver that the configs name
from midifactory.cli.held_out import held_out_pieces
from midifactory.cli.prepare import prepare
from midifactory.cli.train import token_training, train
from midifactory.data.datamodule import MidiDataModule
from midifactory.evaluation.bootstrap import Interval, interval_of, interval_of_difference
from midifactory.evaluation.likelihood import CausalModel, evaluating, token_nats
from midifactory.models.interface import Conditions, Output
from midifactory.paths import conf_dir
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.checkpoint import load_trained

LENGTH = 1024
PEERS: dict[str, dict[str, Any]] = {
    "tutorial": {
        "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 3,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "cosine_with_restarts",
        "warmup_steps": 0.3,
    },
    "tuned": {
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "learning_rate": 3e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
    },
}
HEAD = "| corpus | contender | parameters | steps | CPU minutes | validation | test | test, less ours |"


class Measured(torch.nn.Module):
    """A Hugging Face model as midifactory.evaluation.likelihood wants one."""

    def __init__(self, model: MistralForCausalLM) -> None:
        super().__init__()
        self.model, self.context = model, LENGTH

    def forward(self, ids: torch.Tensor, conditions: Conditions | None = None) -> Output:
        """ids (B, T) -> logits (B, T, V)."""
        return Output(self.model(input_ids=ids, use_cache=False).logits)


class StopAfter(TrainerCallback):
    """Ends the training after a CPU time in seconds, and knows how long it took."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.start, self.spent = seconds, 0.0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The clock starts."""
        self.start = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Once an optimiser step."""
        self.spent = time.process_time() - self.start
        control.should_training_stop = self.spent >= self.seconds


def mistral(tokenizer: Tokenizer, like: DictConfig, parameters: int) -> MistralForCausalLM:
    """The tutorial's proportions (half as many key and value heads, windows of 256) at our width and our parameters."""

    def build(inner: int) -> MistralForCausalLM:
        return MistralForCausalLM(
            MistralConfig(
                vocab_size=tokenizer.vocab_size,
                hidden_size=like.d_model,
                intermediate_size=inner,
                num_hidden_layers=like.layers,
                num_attention_heads=like.heads,
                num_key_value_heads=like.heads // 2,
                sliding_window=256,
                max_position_embeddings=8192,
                pad_token_id=tokenizer.pad_id,
                bos_token_id=tokenizer.bos_id,
                eos_token_id=tokenizer.eos_id,
            )
        )

    smallest = build(8).num_parameters()
    each = (build(16).num_parameters() - smallest) / 8
    return build(8 + 8 * round(max(0, parameters - smallest) / each / 8))


def peer(data: MidiDataModule, like: DictConfig, parameters: int, kind: str, minutes: float) -> dict[str, Any]:
    """Train the tutorial's model on the training pieces of `data`, and measure it on the others."""
    set_seed(777)
    tokenizer = data.tokenizer
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(piece.path) for piece in data.corpus.of("train")]
        chunks = split_files_for_training(paths, tokenizer.miditok, Path(folder), LENGTH, parallel_workers_size=1)
        # With more workers each sequence comes as an open file, of which MAESTRO has more than a process may have.
        sequences = DatasetMIDI(
            chunks,
            tokenizer.miditok,
            LENGTH,
            tokenizer.bos_id,
            tokenizer.eos_id,
            pre_tokenize=True,
            parallel_workers_size=1,
        )
    model = mistral(tokenizer, like, parameters)

    def training(model: MistralForCausalLM, steps: int, clock: StopAfter) -> Trainer:
        arguments = TrainingArguments(
            output_dir=tempfile.mkdtemp(),
            max_steps=steps,
            weight_decay=0.01,
            max_grad_norm=3.0,
            optim="adamw_torch",
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            logging_steps=20,
            seed=444,
            **PEERS[kind],
        )
        collator = DataCollator(tokenizer.pad_id, copy_inputs_as_labels=True)
        return Trainer(model=model, args=arguments, data_collator=collator, train_dataset=sequences, callbacks=[clock])

    probe = StopAfter(60)
    made = training(copy.deepcopy(model), 8, probe).train()
    steps = max(2, int(minutes * 60 / (probe.spent / made.global_step)))
    clock = StopAfter(minutes * 60)
    result = training(model, steps, clock).train()
    about = {"parameters": model.num_parameters(), "steps": result.global_step, "cpu_minutes": clock.spent / 60}
    return about | measured(Measured(model), data, LENGTH)


def ours(run: Path, config: DictConfig, data: MidiDataModule) -> dict[str, Any]:
    """Train our recipe, unless that is done, and measure it likewise."""
    if not (run / "result.json").is_file():
        train(config, data)
    result = json.loads((run / "result.json").read_text())
    about = {name: result[name] for name in ("parameters", "steps", "cpu_minutes")}
    trained = load_trained(result["checkpoint"])
    return about | measured(trained.model, data, trained.window)


def measured(model: CausalModel, data: MidiDataModule, window: int) -> dict[str, Any]:
    """Nats and notes of each held-out piece, by split."""
    found = {}
    for split, pieces in held_out_pieces(data).items():
        with evaluating(model):
            nats = token_nats(model, [(piece, ids) for piece, ids, _ in pieces], window)
        found[split] = {
            "nats": [float(each.sum()) for each in nats],
            "notes": [notes for _, _, notes in pieces],
            "pieces": [piece for piece, _, _ in pieces],
        }
    return found


def figure(result: dict[str, Any], split: str) -> Interval:
    """Nats per note of a split."""
    return interval_of(result[split]["nats"], result[split]["notes"])


def difference(result: dict[str, Any], other: dict[str, Any]) -> Interval:
    """Nats per note of test less those of `other`. Raises ValueError where the two read other pieces."""
    mine, theirs = result["test"], other["test"]
    if mine["pieces"] != theirs["pieces"]:
        raise ValueError("the two contenders were measured on other pieces; remove their folders and run both anew")
    return interval_of_difference(mine["nats"], mine["notes"], theirs["nats"], theirs["notes"])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a file of conf/experiment with a transformer")
    parser.add_argument("--minutes", type=float, default=20.0, help="of CPU time for the peer; ours has its max_steps")
    parser.add_argument("--only", choices=("ours", "peer"))
    parser.add_argument("--peer", choices=PEERS, default="tutorial")
    arguments, overrides = parser.parse_known_args()
    folder = Path("outputs/benchmarks").resolve()
    files = {"ours": folder / f"{arguments.recipe}-0", "peer": folder / f"{arguments.recipe}-{arguments.peer}"}
    results = {}
    for name in [arguments.only] if arguments.only else files:
        file = files[name] / "equal_time.json"
        if not file.is_file():
            files[name].mkdir(parents=True, exist_ok=True)
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                config = compose(
                    "train",
                    [
                        f"experiment={arguments.recipe}",
                        "seed=0",
                        f"run_dir={files[name]}",
                        "prepare.workers=0",
                        *overrides,
                    ],
                )
            data = prepare(config)
            assert isinstance(data, MidiDataModule)
            if name == "ours":
                found = ours(files[name], config, data)
            else:
                parameters = token_training(config, data, None).model.parameters_count
                found = peer(data, config.model, parameters, arguments.peer, arguments.minutes)
            file.write_text(json.dumps(found, indent=1))
        results[name] = json.loads(file.read_text())
    print(HEAD, "|---" * (HEAD.count("|") - 1) + "|", sep="\n")
    for name, result in results.items():
        beside = difference(result, results["ours"]).text() if "ours" in results and name != "ours" else "-"
        print(
            f"| {arguments.recipe} | {'ours' if name == 'ours' else arguments.peer} | {result['parameters']:,} "
            f"| {result['steps']:,} | {result['cpu_minutes']:.1f} | {figure(result, 'validation').text()} "
            f"| {figure(result, 'test').text()} | {beside} |"
        )


if __name__ == "__main__":
    main()
