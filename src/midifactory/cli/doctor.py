"""`midifactory doctor`: what of the installation works, and how to mend the rest. Asks nothing of the network."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from midifactory.paths import box_dir

MIN_FREE_GIB = 2.0  # a small corpus, its tokens and a few checkpoints
MIN_MEMORY_GIB = 4.0


@dataclass(frozen=True)
class Check:
    """One line of the table. Only a failed check that is `required` makes the doctor exit with 1."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    required: bool = True


def main(argv: list[str] | None = None) -> int:
    """Print the table; return 0 where everything required works, 1 where something does not, 2 for arguments."""
    if argv:
        known = argv[0] in ("-h", "--help")
        print("usage: midifactory doctor (no arguments)", file=sys.stdout if known else sys.stderr)
        return 0 if known else 2
    failed = []
    for check in checks():
        mark = "ok     " if check.ok else "MISSING" if check.required else "absent "
        print(f"{mark}  {check.name:<12} {check.found}{'' if check.ok else '; ' + check.remedy}", flush=True)
        if check.required and not check.ok:
            failed.append(check.name)
    print(f"\nnot ready: {', '.join(failed)}" if failed else "\nready")
    return 1 if failed else 0


def checks() -> Iterator[Check]:
    """All checks, one by one, as torch takes seconds to load."""
    version = platform.python_version()
    yield Check("Python", sys.version_info >= (3, 11), f"{version} on {platform.platform()}", "install Python 3.11+")
    yield from _packages()
    yield from _devices()
    yield from _sound()
    yield from _model()
    yield from _room()


def _packages() -> Iterator[Check]:
    """The package's own requirements (extras left out) against what is installed."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Check("packaging", False, "not installed", "pip install packaging")
        return
    for line in metadata.requires("midifactory") or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        remedy = f'pip install "{requirement.name}{requirement.specifier}"'
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Check(requirement.name, False, "not installed", remedy)
            continue
        # A pre-release or a local build (2.13.0+cpu) of a version within the bounds will do.
        inside = requirement.specifier.contains(version, prereleases=True)
        found = version if inside else f"{version}, outside {requirement.specifier}"
        yield Check(requirement.name, inside, found, remedy)


def _devices() -> Iterator[Check]:
    """What torch can compute on; only the CPU is required."""
    try:
        import torch
    except Exception as error:  # a broken binary raises OSError or worse; the doctor must go on
        yield Check("cpu", False, f"torch does not load: {error}", "reinstall torch")
        return
    working = float(torch.ones(2, 2).matmul(torch.ones(2, 2)).sum()) == 8.0
    yield Check("cpu", working, f"{torch.get_num_threads()} threads of {os.cpu_count()}", "reinstall torch")
    cuda = torch.cuda.is_available()
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())) if cuda else ""
    remedy = "a GPU is optional; it needs a driver and a CUDA build of torch"
    yield Check("cuda", cuda, names or "no NVIDIA GPU that torch can use", remedy, required=False)
    mps = torch.backends.mps.is_available()
    yield Check("mps", mps, "Apple GPU" if mps else "no Apple GPU", "optional", required=False)


def _sound() -> Iterator[Check]:
    """FluidSynth and its SoundFont; without them WAV files sound like plain oscillators."""
    binary = shutil.which("fluidsynth")
    remedy = "optional, for better sound: apt-get install fluidsynth, or brew install fluid-synth"
    yield Check("FluidSynth", binary is not None, binary or "not found", remedy, required=False)
    try:
        from midifactory.render.audio import soundfont_path

        font = soundfont_path()
    except Exception as error:  # pretty_midi missing or broken
        yield Check("SoundFont", False, f"pretty_midi does not load: {error}", "reinstall pretty_midi", required=False)
        return
    found = str(font) if font.is_file() else f"{font} does not exist"
    yield Check("SoundFont", font.is_file(), found, "reinstall pretty_midi", required=False)


def _model() -> Iterator[Check]:
    """The pretrained model, with which composing needs no training."""
    box = box_dir()
    there = (box / "hashes.json").is_file()
    remedy = "optional: train a model, or make one with scripts/make_box.py"
    yield Check("checkpoint=box", there, str(box) if there else "no pretrained model", remedy, required=False)


def _room() -> Iterator[Check]:
    """Disk and memory, and whether runs can write where they write: ./outputs."""
    outputs = Path("outputs").absolute()
    folder = outputs if outputs.is_dir() else outputs.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
        yield Check("writable", True, str(folder))
    except OSError as error:
        yield Check("writable", False, f"{folder}: {error.strerror}", "run from a folder you may write to")
    free_gib = shutil.disk_usage(folder).free / 2**30
    yield Check(
        "disk", free_gib >= MIN_FREE_GIB, f"{free_gib:.1f} GiB free at {folder}", f"free {MIN_FREE_GIB:g} GiB", False
    )
    try:
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        yield Check("memory", True, "unknown on this system")
        return
    remedy = "use a smaller model or batch"
    yield Check("memory", memory_gib >= MIN_MEMORY_GIB, f"{memory_gib:.1f} GiB", remedy, required=False)
