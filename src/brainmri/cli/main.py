"""`brainmri COMMAND ...`: one program for everything; `scripts/COMMAND.py` is the same command."""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import NoReturn

from brainmri.cli.command import Parser, call

COMMANDS = {
    "prepare_data": "turn a folder of slices into a prepared data set: checked, grouped, split",
    "audit": "look for leaks and shortcuts in a data set",
    "train": "train one recipe and write its run folder",
    "evaluate": "score a model, or anybody's predictions, on a prepared data set",
    "predict": "classify images, volumes, folders and ZIP files",
    "compare": "compare finished runs: table, paired tests, figures",
    "leak_plot": "draw what is left of each recipe's accuracy as less leaks",
    "reproduce": "run the table of results again from a raw folder, and compare",
    "explain": "look inside one model: layers, feature maps, saliency maps",
    "demo": "write the demo that runs in a visitor's browser and sends nothing",
    "export": "write a model as ONNX, OpenVINO or torch.export, checked against torch",
    "publish": "publish a run, a data set, the results or the demo on the Hugging Face Hub",
}
CONTINUES = {"train", "predict", "publish", "reproduce"}  # given again after a stop, they go on


def run(command: str) -> NoReturn:
    """Run one command on the arguments of this program, and exit with its status."""

    def main() -> int | None:
        status: int | None = import_module(f"brainmri.cli.{command}").main()
        return status

    call(main, again="continue with" if command in CONTINUES else "start again with")


def main() -> NoReturn:
    """The console command `brainmri`."""
    name = sys.argv[1].replace("-", "_") if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        sys.argv[:2] = [f"brainmri {name}"]
        run(name)
    call(_overview)


def _overview() -> None:
    """What `brainmri` says where no command is named."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:{width}}  {text}" for name, text in COMMANDS.items())
    parser = Parser(
        prog="brainmri",
        usage="brainmri COMMAND [arguments]",
        description="Train, compare and publish classifiers of brain-tumour MRI slices. Research software, not a "
        "medical device.",
        epilog=f"commands:\n{lines}\n\n`brainmri COMMAND --help` tells more of each.",
    )
    parser.add_argument("--version", action="version", version=f"brainmri {metadata.version('brainmri')}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.parse_args(sys.argv[1:] or ["--help"])


if __name__ == "__main__":
    main()
