"""A share of successes, and how far it can be trusted."""

import math

_NORMAL_95 = 1.959963984540054  # 95 % of a normal distribution lie within so many deviations


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share by its score test (Wilson 1927): good for few trials, never beyond 0 and 1.

    Raises ValueError for no trials.
    """
    if not 0 <= successes <= trials or not trials:
        raise ValueError(f"{successes} of {trials}: no share")
    share, square = successes / trials, _NORMAL_95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = math.sqrt(share * (1 - share) / trials + square / (4 * trials**2)) * _NORMAL_95 / (1 + square / trials)
    # Rounding must not take the share itself out.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
