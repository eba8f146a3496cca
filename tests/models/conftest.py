"""Models of a few hundred weights."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Threads cost a model of this size more than they give, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
