"""How every script begins and ends."""

from __future__ import annotations

import argparse
import logging
import os
import re
import select
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from brainmri.errors import did_you_mean, flags_like, lost_process, near, sentence

STOPPED, TERMINATED, BROKEN_PIPE = 128 + signal.SIGINT, 128 + signal.SIGTERM, 141  # as a shell tells of them
# The folder that torchrun and accelerate launch give each process lies in one that they all share.
SHARED = "TORCHELASTIC_ERROR_FILE"


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends the program as Ctrl-C does."""


class Parser(argparse.ArgumentParser):
    """argparse's, where a mistake is one sentence, and an unknown flag or choice says which was probably meant.

    elsewhere: what to say of flags (without dashes) that belong to another program or place.
    """

    elsewhere: dict[str, str]

    def __init__(self, *args: Any, elsewhere: dict[str, str] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)
        self.elsewhere = elsewhere or {}

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """argparse's, after a look at the flags: it would name what is missing first, and an unknown one never.

        Raises:
            ValueError: for a mistake in the arguments.
        """
        words: list[str] = []
        for word in sys.argv[1:] if args is None else args:
            if word.startswith("-=") and words and words[-1].startswith("--"):  # --map -=CLASS: no flag begins so
                words[-1] += f"={word}"
            else:
                words.append(word)
        self._check_flags(words)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        if "invalid choice: " in message and (action := self._named_in(message)) and action.choices:
            given = message.partition("invalid choice: ")[2].partition(" (")[0].strip("'\"")
            message += did_you_mean(near(given, map(str, action.choices)))
        raise ValueError(f"{message} ({self.prog} --help tells more)")

    def _named_in(self, message: str) -> argparse.Action | None:
        name = message.removeprefix("argument ").partition(":")[0]
        return next((a for a in self._actions if name in ("/".join(a.option_strings), a.metavar, a.dest)), None)

    def _check_flags(self, words: Sequence[str]) -> None:
        parsers: list[argparse.ArgumentParser] = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += [parser for name, parser in action.choices.items() if name in words]
        known = {option for parser in parsers for option in parser._option_string_actions}
        for word in words:
            flag = word.partition("=")[0]
            if flag == "--":
                return
            if not flag.startswith("--") or flag in known or " " in flag:
                continue
            name = flag.removeprefix("--").replace("-", "_").lower()
            if name in self.elsewhere:
                raise ValueError(f"unknown flag {flag}: {self.elsewhere[name]}")
            meant = [f"--{option}" for option in flags_like(name, (k[2:] for k in known if k.startswith("--")))]
            raise ValueError(f"unknown flag {flag}{did_you_mean(meant)} ({self.prog} --help lists all)")


def log_to_terminal(level: int = logging.INFO) -> None:
    """Show this package's messages from `level` on among what is printed, and of other libraries what they warn of."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[ToStandardOutput()])
    logging.getLogger("brainmri").setLevel(level)


def add_trust_remote_code(parser: argparse.ArgumentParser) -> None:
    """The flag of every command that loads models of others."""
    parser.add_argument(
        "--trust_remote_code",
        "--trust-remote-code",
        action="store_true",
        help="execute code that comes with the model (networks of this project need none where it is installed)",
    )


def smaller_batches(batch_size: int) -> str:
    """What to do where memory does not hold a batch."""
    return f"try --batch_size {max(1, batch_size // 2)} (it is {batch_size} now)"


class ToStandardOutput(logging.StreamHandler):
    """Log messages among what is printed; where nobody reads any more (`| head`), the program ends."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            raise
        super().handleError(record)


def call(main: Callable[[], int | None], *, again: str = "start again with") -> NoReturn:
    """Call `main` and exit with its status; what a user can mend becomes one line, "error: ...", and status 2.

    Ctrl-C and SIGTERM end it with one line and status 130 or 143, a reader who has gone (`| head`) without any and
    status 141. Any other exception keeps its traceback. Of the processes that a launcher started on this machine one
    speaks for all.

    The scripts' folder leaves the search path first, where Python put it: scripts/evaluate.py would hide the library
    of that name from every script. What a script needs of it is therefore imported in `main`.

    again: what the same command does after a stop, "continue with" or "start again with".
    """
    if sys.path[0] == str(Path(sys.argv[0]).resolve().parent):
        del sys.path[0]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as behind nohup
        signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        status = main() or 0
        sys.stdout.flush()
        sys.exit(status)
    except KeyboardInterrupt as stop:
        _hear_no_more()
        if lost := _behind(stop, lost_process):
            _say(f"error: {sentence(lost)}; {again}: {_command()}")
        else:
            _say(f"{' '.join(['stopped', *getattr(stop, '__notes__', [])])}; {again}: {_command()}")
        _leave(TERMINATED if isinstance(stop, Terminated) else STOPPED)
    except Exception as error:
        _hear_no_more()
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(BROKEN_PIPE)
        text = sentence(error)
        if text is None:
            _first()  # so that what the others say of a lost process does not hide it
            raise
        _say(f"error: {text}" + (f"; {again}: {_command()}" if lost_process(error) else ""))
        _leave(2)


def shown_arguments() -> list[str]:
    """The arguments of this program without a token of the Hub."""
    words = list(sys.argv[1:])
    for place, word in enumerate(words):
        flag, equals, _ = word.partition("=")
        if flag.replace("-", "_") == "__hub_token":
            words[place] = flag + equals + "TOKEN" * bool(equals)
            if not equals and place + 1 < len(words):
                words[place + 1] = "TOKEN"
    return words


def _command() -> str:
    """How this program was called, by its launcher where there was one; a run that goes on is not overwritten."""
    words = shlex.split(re.sub(r" --overwrite([ =](true|True|1))?(?= |$)", "", shlex.join(["", *shown_arguments()])))
    console = sys.argv[0].startswith("brainmri ")
    words = [*(sys.argv[0].split() if console else sys.argv[:1]), *words[1:]]
    local, total = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    starter = (
        "python" * (not console) if total == 1 else f"torchrun --nproc_per_node {local}" + " --no-python" * console
    )
    if total > local:
        return f"the same command on each machine ({shlex.join(words)})"
    return shlex.join([*starter.split(), *words])


def _hear_no_more() -> None:
    """While the program ends, a second Ctrl-C ends it at once; a launcher sends signals to what is ending anyway."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if SHARED in os.environ else signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    _hear_no_more()
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _behind(error: BaseException, is_it: Callable[[BaseException], bool]) -> BaseException | None:
    """The exception during whose handling `error` came, if `is_it`."""
    inner = error.__context__
    while inner is not None and not is_it(inner):
        inner = inner.__context__
    return inner


def _say(line: str) -> None:
    if not _first():
        return
    if tqdm := sys.modules.get("tqdm"):  # an open bar has left the cursor in its line
        for bar in list(getattr(tqdm.tqdm, "_instances", [])):
            bar.close()
    print(line, file=sys.stderr)


def _first() -> bool:
    """Whether no other process of this launch on this machine has spoken."""
    file = os.environ.get(SHARED)
    if not file or file == os.devnull:
        return True
    try:
        (Path(file).parents[1] / "ended").open("x").close()
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def _leave(status: int) -> NoReturn:
    """Exit; one of several processes at once, as taking down what torch set up between them took 24 s."""
    if SHARED in os.environ:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def _nobody_reads() -> bool:
    """Whether standard output is the pipe that broke; nothing more is written to it then."""
    try:
        place = sys.stdout.fileno()
    except (OSError, ValueError):  # no file of the system
        return False
    if hasattr(select, "poll") and not _errors(place):  # Windows has none
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), place)
    return True


def _errors(place: int) -> bool:
    """Whether the other end of a pipe is closed."""
    poll = select.poll()
    poll.register(place, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
