"""`midifactory benchmark generate` on a checkpoint of a tiny training."""

import re

import pytest

from .test_bad_input import assert_refused


def test_a_row_for_each_batch_and_kind_of_weights(in_studio):
    done = in_studio("benchmark", "generate", "batches=1,3", "tokens=24", "repeats=2", "device=cpu")
    assert done.code in (0, None), done
    rows = re.findall(r"^\| (\d+) \| (as they are|8 bits) \| ([\d,]+) \|", done.out, re.MULTILINE)
    assert [row[:2] for row in rows] == [(n, kind) for n in ("1", "3") for kind in ("as they are", "8 bits")]
    assert all(int(rate.replace(",", "")) > 0 for *_, rate in rows)
    assert re.search(r"a row takes \d+\.\d MB", done.out)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["benchmark nothing", "midifactory benchmark generate"]),
        (["generate", "batches=none"], ["batches=none", "whole number", "1,16"]),
        (["generate", "speed=9"], ["speed=9", "tokens=..."]),
        (["generate", "tokens=100000"], ["tokens=100000", "window"]),
    ],
)
def test_mistakes(in_studio, arguments, parts):
    assert_refused(in_studio("benchmark", *arguments), *parts)
