"""The demo: classify brain MRI slices, compare models, look for leaks in a data set. Also the entry point of the Space.

    python app.py                                       # the runs in runs/, else a small model that it trains
    python app.py --models runs/A OWNER/NAME@REVISION   # these; also BRAINMRI_MODELS="runs/A OWNER/NAME"

Research software, not a medical device.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HOME = Path(__file__).resolve().parent
QUEUE = 200  # visitors who may wait; the next one is told that the demo is full


def parse_arguments() -> argparse.Namespace:
    from brainmri.command import Parser

    parser = Parser(description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=[], metavar="PLACE", help="run folders and Hub IDs, first is shown first"
    )
    parser.add_argument("--results", type=Path, default=HOME / "results", help="folder with the tables of compare.py")
    parser.add_argument("--host", help="address to serve on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port (default: 7860, or the next one that is free)")
    parser.add_argument("--keep", type=int, default=600, help="seconds until what a visitor uploaded is deleted")
    parser.add_argument("--inbrowser", action="store_true", help="open the page")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with TemporaryDirectory(prefix="brainmri-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # before gradio is imported: uploads lie there, and go with it
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the folder goes when the server is stopped
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        serve(arguments, Path(folder))


def serve(arguments: argparse.Namespace, folder: Path) -> None:
    import gradio as gr

    from brainmri.demo.forgetting import forget_uploads
    from brainmri.demo.models import open_models
    from brainmri.demo.pages import about, audit, classify, compare, endpoints
    from brainmri.demo.pages.theme import HEAD, css, theme
    from brainmri.demo.sample import examples
    from brainmri.demo.settings import model_places
    from brainmri.demo.uploads.limits import LIMITS

    models = open_models(model_places(arguments.models, HOME))
    results = arguments.results if (arguments.results / "comparison.csv").is_file() else None
    citation = HOME / "CITATION.cff"
    with gr.Blocks(
        title="brainmri", analytics_enabled=False, delete_cache=(min(60, arguments.keep), arguments.keep)
    ) as demo:
        gr.Markdown("# brainmri: brain MRI slices, with honest evidence")
        gr.Markdown(
            "**Research software, not a medical device.** It must not be used to diagnose or to decide on treatment.",
            elem_id="notice",
        )
        with gr.Tab("Classify"):
            classify.build(models, examples(folder / "examples"))
        with gr.Tab("Compare"):
            compare.build(models, results)
        with gr.Tab("Audit"):
            audit.build()
        with gr.Tab("About"):
            about.build(models, citation if citation.is_file() else None)
        endpoints.build(models)
    forget_uploads(folder, arguments.keep)
    demo.queue(max_size=QUEUE, api_open=False, default_concurrency_limit=2)
    demo.launch(
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
    from brainmri.command import call

    call(main)
