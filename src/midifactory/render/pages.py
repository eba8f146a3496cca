"""Pages of one file that ask nothing of any network: templates, their common looks, and how numbers are written."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from midifactory import files


def write_page(path: str | os.PathLike[str], template: str, **values: Any) -> None:
    """Write `template`, a file beside this one, filled with `values`, every text in them escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, command=shlex.join, clock=clock, percent=percent, listing=listing)
    text = environment.get_template(template).render(**values)
    # Names of files may hold bytes that are no UTF-8.
    files.write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def listing(value: Any) -> str:
    """JSON for a script element, which markup in a name would end."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def number(value: float | None) -> str:
    """Three digits that matter, thousands with commas; nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def percent(share: float) -> str:
    """12.3 %."""
    return f"{100 * share:.1f} %"


def clock(seconds: float) -> str:
    """45 s, 2:30, 1:05:00."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
