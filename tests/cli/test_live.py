"""`midifactory live` as it is typed: what is written, what may be typed meanwhile, and ports that are not there."""

import io
import json
import signal
import sys
from types import SimpleNamespace

import pytest
from symusic import Score

from cli.conftest import run_command
from midifactory.cli import ports
from midifactory.cli.desk import COMMANDS, Desk
from midifactory.cli.live import hear
from midifactory.errors import UserError
from midifactory.generation.listening import Listener
from midifactory.generation.sampling import Sampling
from midifactory.generation.sinks import FileSink
