"""Write the demo that runs in a visitor's browser: no picture leaves the device, nothing is sent and nothing is kept.

    brainmri demo --static site --model runs/NAME [--data DIR]
    python -m http.server --directory site  # any web server does, or a double click on site/brain-mri.html

The folder holds the page, the model as ONNX, and ONNX Runtime as WebAssembly: it asks no other host for anything, and
works without a network after the first visit. The demo that runs on a server, for many models, is app.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from brainmri.cli.command import Parser


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--static", type=Path, required=True, metavar="OUT", help="folder to write the page into")
    parser.add_argument("--model", required=True, metavar="RUN", help="a run folder, or OWNER/NAME[@REVISION]")
    parser.add_argument(
        *("--data", "--data_dir", "--data-dir"),
        metavar="DIR",
        help="the prepared data of the run: weights of 8 bits, a quarter of the size, are made by its training images "
        "and used if its test images are answered as well by them",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what OUT holds of another model")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()

    # Imported late, so that --help and a mistake in the arguments do not wait for everything.
    from brainmri.data.dataset import open_prepared
    from brainmri.errors import writing
    from brainmri.evaluation.browser_int8 import int8_sentence
    from brainmri.evaluation.load import load_model
    from brainmri.evaluation.scored import weights_digest
    from brainmri.files import check_output, digest, output
    from brainmri.hub.static_demo import SINGLE, write_static_demo

    model = load_model(arguments.model)
    data = open_prepared(arguments.data) if arguments.data else None
    inputs, out = weights_digest(model), arguments.static
    if data:
        inputs = digest(inputs, data.info.fingerprint)
    check_output(out, "demo", {"all": inputs}, overwrite=arguments.overwrite)
    print(f"Writing the demo of {model.name} into {out}")
    with writing(out), output(out, "demo", inputs, overwrite=arguments.overwrite) as new:
        record = write_static_demo(model, new, data)
    if record.int8:
        print(int8_sentence(record.int8))
    megabytes = sum(file.stat().st_size for file in out.iterdir() if file.name != SINGLE) / 1e6
    print(f"{megabytes:.1f} MB. Serve {out} by any web server, or open {out / SINGLE} by a double click.")
