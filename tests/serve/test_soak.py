"""What takes long: requests made of the schema, and hours of work."""

import gc
import json
import os
import random
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from serve.clients import serving

MINUTES = float(os.environ.get("MIDIFACTORY_SOAK_MINUTES", "60"))
REQUESTS = 1000


@pytest.mark.slow
def test_a_thousand_requests_made_of_the_schema_meet_no_mistake_of_the_server(make_app):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    with serving(make_app(tokens=200, seconds=20)) as (_, url):
        operations = [found.ok() for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations()]
        asked = []

        for operation in operations:

            @given(case=operation.as_strategy())
            @settings(
                max_examples=-(-REQUESTS // len(operations)), deadline=None, database=None, derandomize=True,
                suppress_health_check=list(HealthCheck), phases=[Phase.generate],
            )  # fmt: skip
            def ask(case) -> None:
                answer = case.call()
                asked.append(answer.status_code)
                assert answer.status_code < 500, (case, answer.content[:500])
                if answer.status_code >= 400:
                    assert "application/problem+json" in str(answer.headers["content-type"])

            ask()
    assert len(asked) > REQUESTS / 2  # of an operation without parameters there is one request alone


def private_bytes() -> int:
    """Memory that is this process's alone."""
    fields = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return 1024 * sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from /proc")
def test_memory_stays_flat_for_an_hour(make_app, song):
    """MIDIFACTORY_SOAK_MINUTES sets how long; what the first tenth needs is what later work is measured by."""
    generator, begin, measured = random.Random(0), time.monotonic(), list[tuple[float, int]]()
    with TestClient(make_app()) as client:
        asked = 0
        while (minutes := (time.monotonic() - begin) / 60) < MINUTES:
            body = {"bars": generator.randint(1, 4), "num_samples": generator.randint(1, 4)}
            kind = asked % 4
            if kind == 0:
                assert client.post("/v1/generate", json=body).status_code == 200
            elif kind == 1:
                assert client.post("/v1/stream", json=body).status_code == 200
            elif kind == 2:
                files, settings = {"file": ("s.mid", song)}, {"settings": json.dumps({"bars": 1})}
                assert client.post("/v1/continue", files=files, data=settings).status_code == 200
            else:
                assert client.post("/v1/generate", json={"bars": "x"}).status_code == 422
            asked += 1
            if asked % 20 == 0:
                gc.collect()
                measured.append((minutes, private_bytes()))
    first = [size for minutes, size in measured if MINUTES * 0.1 < minutes < MINUTES * 0.2]
    last = [size for minutes, size in measured if minutes > MINUTES * 0.9]
    assert first, "too few requests were answered to say anything"
    growth = min(last) / min(first) - 1
    print(f"{asked} requests in {MINUTES:g} minutes: {min(first) / 1e6:.1f} MB, then {min(last) / 1e6:.1f} MB")
    assert growth < 0.05
