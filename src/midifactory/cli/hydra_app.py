"""The one place where Hydra is started, for every command.

Of several processes that train together, the first does all that a single one would; the others only train, and leave
folders, logs and stdout to it.

Exit codes: 0 done; 1 a bug of ours, with its traceback; 2 a mistake the user can mend (UserError, an unknown key
or option); 3 the training diverged; 74 (EX_IOERR) disk full; 128 + the signal's number when stopped by one (130 for
Ctrl-C, 143 for SIGTERM). Only a bug prints a traceback, unless the user has set HYDRA_FULL_ERROR=1, which prints it
for everything.
"""

import contextlib
import difflib
import errno
import itertools
import logging
import netrc
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from midifactory.cli.arguments import to_overrides
from midifactory.errors import Diverged, Interrupted, Pruned, UserError
from midifactory.paths import conf_dir

EXIT_BUG = 1
EXIT_USER_ERROR = 2
EXIT_DIVERGED = 3
EXIT_DISK_FULL = 74
EXIT_INTERRUPTED = 130

# What ends all processes of a training after the same step.
_SEEN_BY_ALL = (EXIT_DIVERGED, EXIT_INTERRUPTED, 128 + signal.SIGTERM)

_FULL_ERROR = "HYDRA_FULL_ERROR"
_FURTHER_PROCESS = ("hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "hydra.output_subdir=null")
_log = logging.getLogger(__name__)


def new_run_dir(command: str) -> str:
    """Make a fresh `outputs/COMMAND/DATE_TIME` below the working folder and return its path.

    mkdir decides who owns a name, so that two runs started in one second get two folders (`-2`, `-3`, ...).
    """
    parent = Path("outputs", command)
    parent.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder.as_posix()
    raise AssertionError("unreachable: the count has no end")


def process_rank() -> int:
    """The number of this process among those that train together, as torchrun, SLURM or Lightning has set it."""
    given = (os.environ.get(name, "") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return next((int(number) for number in given if number.isdigit()), 0)


def study_dir(name: str | None, n_trials: int | None = None) -> str:
    """The folder of the sweep `name`; for one without a name a new one, which is made here.

    n_trials: of a search, which goes on with a folder. Raises UserError where a grid would overwrite one.
    """
    if name is None:
        return new_run_dir("sweeps")
    folder = Path("outputs", "sweeps", str(name))
    if n_trials is None and folder.exists():
        raise UserError(f"study={name}: {folder} holds a sweep; name another one (search=optuna alone goes on with it)")
    return folder.as_posix()


def wandb_offline() -> bool:
    """Whether W&B finds no key to log in with: neither in the environment nor where `wandb login` writes it."""
    try:
        known = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        known = {}
    return not (os.environ.get("WANDB_API_KEY") or "api.wandb.ai" in known)


# Registered at import, so that the worker processes of a parallel launcher know it too. Cached, because a
# sweep reads it once for each job and must find the same folder; Hydra copies the cache to its jobs.
OmegaConf.register_new_resolver("run_dir", new_run_dir, use_cache=True, replace=True)
OmegaConf.register_new_resolver("study_dir", study_dir, use_cache=True, replace=True)
OmegaConf.register_new_resolver("wandb_offline", wandb_offline, replace=True)


class _Job:
    """`task`, with its errors reported here. A class and not a closure: a parallel launcher must pickle it.

    In a single run errors end the process from the inside, as Hydra would add lines of its own to an
    exception. In a sweep they propagate, so that the remaining jobs run and Hydra raises at the end. A signal
    ends a sweep whose jobs run in this process, too: Hydra's launcher would start the next job.
    """

    def __init__(self, task: Callable[[DictConfig], object], full_error: bool, command_line: list[str]) -> None:
        self.__wrapped__ = task  # Hydra unwraps it to name the job after the task's module
        self.full_error = full_error
        self.command_line = command_line

    def __call__(self, config: DictConfig) -> object:
        sys.argv = self.command_line  # what Lightning starts a training's further processes with
        _log.info("configs from %s", conf_dir())
        try:
            return self.__wrapped__(config)
        except Pruned as stop:
            _log.info("job %s pruned: %s", HydraConfig.get().job.num, stop)
            raise
        except Exception as error:
            here = HydraConfig.get().launcher._target_.endswith(".BasicLauncher")
            if HydraConfig.get().mode == RunMode.MULTIRUN and not (here and isinstance(error, Interrupted)):
                _log.error("job %s failed: %s", HydraConfig.get().job.num, explain(error)[0] or repr(error))
                raise
            raise SystemExit(report(error, self.full_error)) from error


def run(config_name: str, task: Callable[[DictConfig], object], argv: list[str]) -> None:
    """Compose `config_name` with the user's arguments and call `task` with it, or whatever Hydra's flags ask.

    Returns None on success and raises SystemExit with one of this module's codes otherwise.
    """
    environment_before = os.environ.get(_FULL_ERROR)
    argv_before = sys.argv
    full_error = environment_before == "1"
    quiet = contextlib.ExitStack()
    try:
        overrides = to_overrides(config_name, argv)
        by_name = sys.argv[1:2] == [config_name] and Path(sys.argv[0]).stem != config_name  # midifactory train ...
        program = sys.argv[: 2 if by_name else 1]
        if process_rank():
            if not any(override.startswith("hydra.run.dir=") for override in overrides):
                raise UserError(
                    "processes that torchrun or srun has started write into one folder: give all of them the same "
                    "hydra.run.dir=outputs/train/NAME"
                )
            nowhere = quiet.enter_context(Path(os.devnull).open("w"))  # noqa: SIM115
            quiet.enter_context(contextlib.redirect_stdout(nowhere))
            overrides = [*_FURTHER_PROCESS, *overrides]
        sys.argv = [sys.argv[0], *overrides]
        # Without it Hydra prints exceptions in its own way and exits with 1 before they reach us.
        os.environ[_FULL_ERROR] = "1"
        start = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)
        start(_Job(task, full_error, [*program, *overrides]))()
    except (Exception, KeyboardInterrupt) as error:
        raise SystemExit(report(error, full_error)) from error
    finally:
        quiet.close()
        sys.argv = argv_before
        if environment_before is None:
            os.environ.pop(_FULL_ERROR, None)
        else:
            os.environ[_FULL_ERROR] = environment_before


def report(error: BaseException, full_error: bool = False) -> int:
    """Print `error` to stderr, as one line where the user can mend it, and return the exit code."""
    message, code = explain(error)
    if process_rank() and code in _SEEN_BY_ALL:
        return 0  # the first process says it
    sys.stdout.flush()
    if message is None or full_error:
        traceback.print_exception(error)
    if message is not None:
        print(f"midifactory: {message}", file=sys.stderr)
    return code


# Hydra's many lines for a file that a config group does not have.
_GROUP_FILE = re.compile(
    r"Could not find '(?:[^']*?/)?([\w@]+)/([^'/]+)'.*?Available options in '[^']+':\n(.*?)\n(?:Config search path|\Z)",
    re.DOTALL,
)


def explain(error: BaseException) -> tuple[str | None, int]:
    """The message for the user and the exit code; no message for a bug.

    Looks through the causes, because Hydra's instantiate and OmegaConf's resolvers wrap what they catch.
    """
    chain = list(_causes(error))
    for link in chain:
        if isinstance(link, KeyboardInterrupt):
            return "interrupted; every file that was finished is whole", EXIT_INTERRUPTED
        if isinstance(link, Interrupted):
            return str(link), link.exit_code
        if isinstance(link, Diverged):
            return str(link), EXIT_DIVERGED
        if isinstance(link, UserError):
            return str(link), EXIT_USER_ERROR
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            place = link.filename2 or link.filename or os.getcwd()
            return f"disk full: {place} could not be written; free space and run again", EXIT_DISK_FULL
    if isinstance(error, HydraException | OmegaConfBaseException):
        message = str(error).strip()
        if plugin := re.search(r"Could not find 'hydra/launcher/(joblib|ray|submitit)", message):
            extra = "ray" if plugin[1] == "ray" else "sweep"
            return f'launcher={plugin[1]}: its package is missing; pip install "midifactory[{extra}]"', EXIT_USER_ERROR
        if missing := _GROUP_FILE.search(message):
            known = [line.strip() for line in missing[3].strip().splitlines()]
            near = difflib.get_close_matches(missing[2], known, n=1, cutoff=0.0)[0]
            text = f"{missing[1]}={missing[2]}: no such config; choose one of {', '.join(known)} (nearest: {near})"
            return text, EXIT_USER_ERROR
        if isinstance(error.__cause__, OmegaConfBaseException):
            message += "\n" + str(error.__cause__).strip()
        if message.startswith("Could not override"):
            message = " ".join(message.splitlines()[:2])  # OmegaConf's lines behind it say nothing to users
        return message, EXIT_USER_ERROR
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, ValueError) and frames and frames[-1].name == "_run_hydra":
        return str(error), EXIT_USER_ERROR  # Hydra's own flags in a combination that it refuses
    return None, EXIT_BUG


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, what caused it, what caused that, and so on; each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
