"""The `midifactory` command: finds the subcommand and starts it.

Imports nothing heavy, so that help answers at once; torch and Hydra load with the command that needs them.
"""

import difflib
import importlib
import sys
from importlib import metadata

# Command: (module under midifactory.cli, what it does). `all` would shadow a builtin as a module name.
COMMANDS = {
    "train": ("train", "learn a model from a folder of MIDI files"),
    "generate": ("generate", "compose new music with a trained model"),
    "styles": ("styles", "list the styles of generate, a line each"),
    "live": ("live", "play without an end, to a MIDI port or a file; answer a player"),
    "serve": ("serve", "answer requests over HTTP: compose, continue, fill in, stream notes"),
    "infill": ("infill", "fill some bars or tracks of a MIDI file anew"),
    "add_track": ("add_track", "add an instrument to a MIDI file"),
    "harmonise": ("harmonise", "add the other voices to a melody given as MIDI"),
    "prepare": ("prepare", "split, tokenize and segment a corpus, once for many trainings"),
    "analyze": ("analyze", "describe a corpus in numbers and pictures"),
    "all": ("everything", "analyze, prepare, train and generate, in this order"),
    "profile": ("profile", "record a few training steps: a trace for a viewer, the slowest operators"),
    "benchmark": ("benchmark", "measure how fast a checkpoint composes on this machine"),
    "evaluate": ("evaluate", "say how good a model is on held-out music, and how sure that is"),
    "obedience": ("obedience", "measure how well a model obeys when it is asked for attributes"),
    "compare": ("compare", "set evaluations side by side: who is better, and how sure that is"),
    "attention": ("attention", "draw where a trained transformer looks while it reads a file"),
    "originality": ("originality", "say how much of a MIDI file stands in what a model was trained on"),
    "interpolate": ("interpolate", "go from one MIDI file to another in steps, through a latent"),
    "continue": ("continuing", "let a MIDI file go on, after its last bar or from a bar"),
    "vary": ("vary", "change a MIDI file: keep its rhythm, harmony or contour, or move it in a latent"),
    "orchestrate": ("orchestrate", "give a MIDI file's notes to other instruments"),
    "reproduce": ("reproduce", "train and measure a row of the results anew: does it come out the same?"),
    "runs": ("run_table", "list all training runs: model, data, nats per note, time, checkpoint"),
    "sweep": ("sweep", "rank the jobs of a sweep, show the best one's command, draw a page"),
    "download": ("download", "list the corpora known by name, or fetch one of them"),
    "export": ("export", "write a trained model for the Hub, ONNX Runtime or torch.export"),
    "doctor": ("doctor", "check this installation and say how to mend it"),
}
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int | None:
    """Run one command; `argv` (default: the process's arguments) starts with its name. Returns the exit code.

    Commands that Hydra runs raise SystemExit themselves when they fail.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv[0] in ("-V", "--version", "version"):
        print(f"midifactory {metadata.version('midifactory')}")
        return 0
    command, arguments = argv[0], argv[1:]
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"commands are {', '.join(COMMANDS)}"
        print(f"midifactory: unknown command {command!r}; {hint}", file=sys.stderr)
        return EXIT_USER_ERROR
    try:
        module = importlib.import_module(f"midifactory.cli.{COMMANDS[command][0]}")
        return module.main(arguments)
    except KeyboardInterrupt:  # while torch loads; from then on hydra_app answers it
        print("midifactory: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _help() -> str:
    lines = ["usage: midifactory COMMAND [key=value ...]", ""]
    lines += [f"  {command:<11} {purpose}" for command, (_, purpose) in COMMANDS.items()]
    lines += ["", "midifactory COMMAND --help lists the options of a command."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
