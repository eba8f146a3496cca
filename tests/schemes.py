"""What the tests of all tokenizers share: each conf/tokenizer, plain and with byte pairs, and a score with everything.

Not in conftest.py: its names decide how tests are parametrised, and `import conftest` finds whichever comes first.
"""

import importlib.util
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from symusic import Score

from midifactory.paths import conf_dir
from midifactory.tokens.tokenizer import Tokenizer

_spec = importlib.util.spec_from_file_location("root_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_conftest)
DRUMS, SCORES, make_score = _conftest.DRUMS, _conftest.SCORES, _conftest.make_score

MORE = 60  # byte pairs to learn
# What each conf/tokenizer can say beside notes: (tempos, metres). What it cannot, it decodes as 120 bpm and 4/4.
SAYS = {
    "remi": (True, False),
    "remi_plus": (True, True),
    "tsd": (True, True),
    "midi_like": (True, True),
    "structured": (False, False),  # nothing but notes and the time between them
    "per_tok": (False, False),  # MidiTok would misplace both, so they are refused
    "mmm": (True, True),
}


@cache
def tokenizer_of(name: str, *overrides: str) -> Tokenizer:
    """The tokenizer of conf/tokenizer/<name>.yaml, as a command composes it."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", [f"tokenizer={name}", *overrides]).tokenizer
    return instantiate(config, _convert_="all")


def everything() -> Score:
    """Two tracks of one program in unison, drums, triplets, a rest of four bars, 3/4, 6/8, and three tempos."""
    upper = [(i / 3, 1 / 3, 72 + i, 90) for i in range(9)] + [(20 + i, 1, 76 - i, 64) for i in range(3)]
    lower = [(0, 2.5, 48, 70), (20, 3, 72, 33), (23, 0.5, 50, 33), (25.5, 0.5, 52, 33)]
    kit = [(i / 4, 0.25, 36 + 2 * (i % 2), 100) for i in range(12)] + [(23 + i / 2, 0.5, 42, 99) for i in range(6)]
    return make_score(
        [(0, upper), (0, lower), (40, [(2.75, 0.25, 60, 80), (21, 2, 60, 80)]), (DRUMS, kit)],
        tempos=((0, 90), (2, 132), (21, 60)),
        metres=((0, 4, 4), (20, 3, 4), (23, 6, 8)),
    )


def training_ids(tokenizer: Tokenizer) -> list:
    """The base ids of the hand-made scores."""
    return [tokenizer.encode(make()).ids for make in SCORES.values()]


@cache
def learnt(name: str) -> Tokenizer:
    """conf/tokenizer/<name>.yaml with byte pairs of the hand-made scores."""
    size = tokenizer_of(name).base_vocab_size + MORE
    tokenizer = tokenizer_of(name, f"tokenizer.vocab_size={size}")
    return tokenizer.learn_bpe(training_ids(tokenizer))
