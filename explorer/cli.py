"""The command line: the app, or one of the commands. Imports nothing heavy.

Exit codes: 0 done, 1 it failed on the way (a full disk, a broken GPU), 2 wrong usage or bad input,
130 Ctrl-C. An error is one line on stderr; set SCALESPACE_DEBUG=1 to see its traceback too.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from explorer.shipped import PAINTING, shipped
from model.latent import Seed, parse_seed

PROGRAM = "scalespace-explorer"
COMMANDS = {
    "render": "a still of one view",
    "record": "a film of a flight",
    "export": "the whole field, or a box of it, as one picture",
    "inspect": "what a training set holds, and what is wrong with it",
    "patches": "an unregistered training set cut from an image",
    "place": "where every patch belongs",
    "train": "a scale space from images",
    "evaluate": "how good a scale space is, level by level",
    "bench": "measure this machine",
}
"""Command to what it makes; each is a module of `explorer.commands`."""
DEVICES = ("auto", "cpu", "cuda")


class UsageError(Exception):
    """The command line asks for something that cannot be; the message says what to do."""


def run(argv: Sequence[str]) -> int:
    """Parse `argv` (without the program's name) and do what it says.

    Returns:
        The exit code; argparse's own exits (help, usage errors) are turned into codes too.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name is no reason to fail
    try:
        command = argv[0] if argv else None
        if command in COMMANDS:
            return _run_command(command, argv)
        return _run_app(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: stopped by Ctrl-C.", file=sys.stderr)
        return 130
    except (UsageError, ValueError, ArithmeticError) as error:
        return _fail(error, 2)
    except OSError as error:
        return _fail(error, 2 if isinstance(error, _INPUT_ERRORS) else 1)
    except MemoryError as error:
        return _fail(error, 1, "there is not enough memory; ask for a smaller size.")
    except (RuntimeError, ImportError) as error:
        return _fail(error, 1)


_INPUT_ERRORS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def _fail(error: Exception, code: int, message: str | None = None) -> int:
    """Say in one line what went wrong."""
    if os.environ.get("SCALESPACE_DEBUG"):
        traceback.print_exc()
    if message is None:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, OSError) and error.filename is not None:
            text = f"{error.filename}: {text}"
        message = " ".join(text.split()) or type(error).__name__
    print(f"{PROGRAM}: error: {message}", file=sys.stderr)
    return code


def _run_command(command: str, argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog=PROGRAM)
    module = importlib.import_module(f"explorer.commands.{command}")
    module.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args([_plain_number(word) for word in argv])
    return int(module.run(args))


def _run_app(argv: Sequence[str]) -> int:
    args = _app_parser().parse_args(argv)
    if args.version:
        from importlib import metadata

        print(PROGRAM, metadata.version(PROGRAM))
        return 0
    from explorer.view_links import is_link

    linked = args.scene is not None and is_link(args.scene)
    path = shipped(PAINTING) if args.scene is None or linked else Path(args.scene)
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a checkpoint, an image or a folder.")
    from explorer.display import why_no_display

    reason = why_no_display()
    if reason is not None:
        from explorer.commands.no_display import record_flight

        return record_flight(path, args.device, reason)
    from explorer.app import run_app

    return run_app(args.scene, args.device, new_window=args.new_window)


def _app_parser() -> argparse.ArgumentParser:
    lines = [f"  {name:8} {text}" for name, text in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Fall into a picture, at any scale. With no command the app opens.",
        epilog="commands (COMMAND --help tells more):\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "scene",
        nargs="?",
        metavar="CHECKPOINT | IMAGE | FOLDER | LINK",
        help="what to open: a trained scale space, a picture of any size, or the folder of a "
        "training run, a scalespace: link; without it, the painting that ships",
    )
    parser.add_argument("--version", action="store_true", help="say which version this is")
    parser.add_argument(
        "--new-window", action="store_true", help="also where a window is open already"
    )
    add_device(parser)
    return parser


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option that all commands share."""
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="where the generator runs (default: auto)"
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """The option of everything that renders."""
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="names the latent: 12; 12~37@0.25 is a quarter of the way from 12 to 37; "
        "12~37@0.25~psi0.7 is that, nearer to the mean by a truncation of 0.7 (default: 0)",
    )


def seed(text: str) -> Seed:
    """argparse type: a latent, as `model.latent` writes it."""
    try:
        return parse_seed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive_int(text: str) -> int:
    """argparse type: a whole number of 1 or more."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text!r}")
    return value


def finite_float(text: str) -> float:
    """argparse type: a number that is neither inf nor nan."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """argparse type: a finite number above 0."""
    value = finite_float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text!r}")
    return value


def _plain_number(word: str) -> str:
    """'-1e-3' as '-0.001': argparse takes the former for an option."""
    if word[:1] != "-" or word[1:2] not in "0123456789.":
        return word
    try:
        return format(Decimal(word), "f")
    except InvalidOperation:
        return word
