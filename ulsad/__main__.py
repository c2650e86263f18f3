"""ULSAD: structural and logical anomaly detection, from photos of good parts alone."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from ulsad.commands import COMMANDS
from ulsad.errors import Differs, InputError, Stopped


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 if `verify` finds a difference, 2 for errors that the
    user can fix, 130 when stopped."""
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    options = _parser(arguments).parse_args(arguments)
    try:
        options.run(options)
    except (InputError, OSError) as error:  # users can fix disk errors, such as a full disk
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Differs:
        return 1
    except (Stopped, KeyboardInterrupt):
        print("stopped; finished results are kept", file=sys.stderr)
        return 130
    return 0


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    """A parser with the names of all commands, and the options of the chosen one only."""
    name = "ulsad" if Path(sys.argv[0]).stem == "ulsad" else "python -m ulsad"
    parser = argparse.ArgumentParser(prog=name, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, purpose in COMMANDS.items():
        options = commands.add_parser(command, help=purpose, description=purpose)
        if command in arguments[:1]:
            module = import_module(f"ulsad.commands.{command}")
            module.add_options(options)
            options.set_defaults(run=module.run)
            options.epilog = f"example: {options.prog} {module.EXAMPLE}"
    return parser


if __name__ == "__main__":
    sys.exit(main())
