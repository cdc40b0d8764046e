"""The demo: classify brain MRI slices, compare models, look for leaks in a data set. Also the entry point of the Space.

    python app.py                                       # the runs in runs/, else a small model that it trains
    python app.py --models runs/A OWNER/NAME@REVISION   # these; also BRAINMRI_MODELS="runs/A OWNER/NAME"

Research software, not a medical device.
"""

import argparse
import os
import re
import signal
import socket
import sys
import tempfile
from pathlib import Path

HOME = Path(__file__).resolve().parent
LONGEST_KEPT = 7 * 24 * 3600  # seconds
QUEUE = 200  # visitors who may wait; the next one is told that the demo is full


def parse_arguments() -> argparse.Namespace:
    from brainmri.cli.command import Parser

    parser = Parser(description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=[], metavar="PLACE", help="run folders and Hub IDs, first is shown first"
    )
    parser.add_argument("--results", type=Path, help="folder with the tables of compare.py (default: results)")
    parser.add_argument("--host", help="address to serve on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port (default: 7860, or the next one that is free)")
    parser.add_argument("--keep", type=int, default=600, help="seconds until what a visitor uploaded is deleted")
    parser.add_argument(
        "--static-demo",
        "--static_demo",
        metavar="URL",
        default=os.environ.get("BRAINMRI_STATIC_DEMO"),
        help="where the demo that runs in the visitor's browser is (brainmri demo --static), to link to it; also "
        "BRAINMRI_STATIC_DEMO",
    )
    parser.add_argument("--inbrowser", action="store_true", help="open the page")
    arguments = parser.parse_args()
    if not all(place.strip() for place in arguments.models):
        raise ValueError("--models: a place is empty; name run folders and Hub IDs")
    if arguments.results and not (arguments.results / "comparison.csv").is_file():
        raise ValueError(f"--results {arguments.results}: there is no comparison.csv in it, which compare.py writes")
    if not 1 <= arguments.keep <= LONGEST_KEPT:
        raise ValueError(f"--keep {arguments.keep}: seconds from 1 to {LONGEST_KEPT:,} (a week) are possible")
    if arguments.static_demo and not re.fullmatch(r"https?://[^\s<>()\"]+", arguments.static_demo):
        raise ValueError(f"--static-demo {arguments.static_demo}: an address that begins with https:// is expected")
    if arguments.port is not None and not 1 <= arguments.port <= 65_535:
        raise ValueError(f"--port {arguments.port}: ports go from 1 to 65535")
    check_address(arguments.host, arguments.port)
    return arguments


def check_address(host: str | None, port: int | None) -> None:
    """Whether the demo can serve there.

    Raises:
        ValueError: if not, with the reason.
    """
    host = (host or "127.0.0.1").removeprefix("[").removesuffix("]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"the demo cannot serve on {host}{f', port {port}' if port else ''}: {reason}") from error


def main() -> None:
    arguments = parse_arguments()
    from brainmri.demo.upload_retention import UPLOADS, WORK, temporary_folder

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the folder goes when the server is stopped
    with temporary_folder() as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder / UPLOADS)  # before gradio is imported
        tempfile.tempdir = str(folder / WORK)
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")  # each request makes a table of all of them
        serve(arguments, folder / UPLOADS)


def serve(arguments: argparse.Namespace, uploads: Path) -> None:
    import gradio as gr

    from brainmri.data.phantom.examples import examples
    from brainmri.demo.app import Demo, launch
    from brainmri.demo.model import known_models
    from brainmri.demo.pages import about, audit, classify, compare, endpoints
    from brainmri.demo.pages.components import HEAD, css, theme
    from brainmri.demo.sample import model_places
    from brainmri.demo.upload_retention import forget_uploads
    from brainmri.io.limits import LIMITS

    models = known_models(model_places(arguments.models, HOME))

    def load() -> None:
        print("Loading the models; what is asked meanwhile waits for them.", flush=True)
        for model in models:
            model.open()

    results = arguments.results or HOME / "results"
    citation = HOME / "CITATION.cff"
    with Demo(title="brainmri", analytics_enabled=False) as demo:
        gr.Markdown("# brainmri: brain MRI slices, with honest evidence")
        gr.Markdown(
            "**Research software, not a medical device.** It must not be used to diagnose or to decide on treatment.",
            elem_id="notice",
        )
        gr.Markdown(about.retention(arguments.keep, arguments.static_demo), elem_id="retention")
        with gr.Tab("Classify"):
            classify.build(models, examples(uploads / "examples"))
        with gr.Tab("Compare"):
            compare.build(models, results if (results / "comparison.csv").is_file() else None)
        with gr.Tab("Audit"):
            audit.build()
        with gr.Tab("About"):
            about.build(models, citation if citation.is_file() else None, arguments.keep)
        endpoints.build(models)
    forget_uploads(uploads, arguments.keep)
    demo.queue(max_size=QUEUE, api_open=False, default_concurrency_limit=2)
    launch(
        demo,
        arguments.keep,
        load,
        server_name=arguments.host,
        server_port=arguments.port,
        inbrowser=arguments.inbrowser,
        theme=theme(),
        css=css(),
        head=HEAD,
        max_file_size=LIMITS.archive_bytes,
        mcp_server=True,
        run_history=False,
        show_error=False,
        ssr_mode=False,
        footer_links=["api", "settings"],
    )


try:  # ZeroGPU stops a Space in which no function asks for a GPU; the demo needs none
    import spaces

    @spaces.GPU
    def _none_needed() -> None: ...

except ImportError:
    pass

if __name__ == "__main__":
    from brainmri.cli.command import call

    call(main)
