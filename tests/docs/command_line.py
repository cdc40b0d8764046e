"""The page of the command line, from the parsers themselves. To make it again:

python -m tests.docs.command_line docs/command-line.md
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from unittest import mock

from tests.scripts import SCRIPTS, run_here

HEAD = """# Command line

Made by `python -m tests.docs.command_line docs/command-line.md`; a test checks that it still holds.

`brainmri COMMAND` is the same program as `python scripts/COMMAND.py`. Flags may be written with `_` or `-`. An unknown
flag stops the command before any work, and says which one was probably meant. A mistake is one line, `error: ...`, and
exit status 2; Ctrl-C ends with 130 and says which command goes on.
"""
OUTPUT = "| `--output_dir DIR` | the run folder (default: runs/DATA-ARCH-PROTOCOL-seedN) |"
EVERY = (
    "Every field of [transformers.TrainingArguments]"
    "(https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments) is a flag too, and "
    "wins over the recipe."
)


class _CapturedError(BaseException):
    """Goes through whatever catches exceptions."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def names() -> list[str]:
    """The commands: the scripts, in the order of the alphabet, and the demo."""
    return [path.stem for path in sorted(SCRIPTS.glob("*.py"))] + ["app"]


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser that a command makes."""

    def capture(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _CapturedError(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_known_args", capture):
        try:
            run_here("../app.py" if name == "app" else f"{name}.py")
        except _CapturedError as found:
            return found.parser
    raise AssertionError(f"{name} has no parser")


def parts_of(name: str) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a command by what calls them: itself, or its sub-commands."""
    parser = parser_of(name)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {f"{name} {sub}": choice for sub, choice in action.choices.items()}
    return {name: parser}


def flags_of(name: str) -> set[str]:
    """Every flag of a command and its sub-commands, written with _."""
    return {
        "--" + option.removeprefix("--").replace("-", "_")
        for parser in (parser_of(name), *parts_of(name).values())
        for option in parser._option_string_actions
        if option.startswith("--")
    }


def page() -> str:
    """The page in Markdown."""
    lines = [HEAD]
    for name in names():
        for called, parser in parts_of(name).items():
            lines += [*_section(name, called, parser), ""]
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, called: str, parser: argparse.ArgumentParser) -> list[str]:
    from transformers import TrainingArguments

    theirs = {field.name for field in fields(TrainingArguments)} if name == "train" else set()
    heading = f"python {called}.py" if name == "app" else f"python scripts/{called}.py"
    heading = heading if name in ("app", "benchmark") else f"brainmri {called}"
    lines = [f"## {heading}", ""]
    if text := (parser.description or "").partition("\n")[0]:
        lines += [text, ""]
    lines += ["| Argument | What it is |", "|---|---|"]
    for action in parser._actions:
        if action.dest == "help" or action.help == argparse.SUPPRESS or action.dest.removeprefix("no_") in theirs:
            continue
        said = parser._get_formatter()._expand_help(action) if action.help else ""
        if action.choices is not None and action.option_strings:
            said = f"{said}{': ' if said else ''}{', '.join(f'`{choice}`' for choice in action.choices)}"
        lines.append(f"| {_shown(action)} | {said.replace('|', chr(92) + '|').replace('<', '&lt;')} |")
    return [*lines, OUTPUT, "", EVERY] if name == "train" else lines


def _shown(action: argparse.Action) -> str:
    """A flag or argument as one writes it; of two spellings the one with _."""
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return f"`{metavar}`" + " ..." * (action.nargs in ("*", "+"))
    written = [
        option
        for option in action.option_strings
        if "-" not in option.lstrip("-") or option.replace("-", "_").replace("__", "--", 1) not in action.option_strings
    ]
    takes = "" if action.nargs == 0 or action.choices is not None else f" {metavar}"
    if action.nargs == "?":
        takes = f" [{metavar}]"
    return ", ".join(_code(f"{option}{takes}") for option in written) + " ..." * (action.nargs in ("*", "+"))


def _code(text: str) -> str:
    """In a table a | ends the cell, also in code."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
