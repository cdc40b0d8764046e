"""Publish a run, a data set, the results, the demo or the metric on the Hugging Face Hub.

    brainmri publish model runs/brain-tumor-resnet50-clean-seed42
    brainmri publish dataset DIR --license cc-by-4.0  # DIR: a prepared folder, or "phantom"
    brainmri publish results runs
    brainmri publish space --models OWNER/NAME ...
    brainmri publish space --static --models OWNER/NAME  # runs in the visitor's browser
    brainmri publish metric
    brainmri publish all runs                         # each of these, and a collection of them
    brainmri publish cards runs --out model_cards     # NAME.md of every recipe; no Hub

Everything is checked first: token and names at once, then metadata, licence, sizes, and that no file tells of this
machine or holds code as a pickle does. What is to be uploaded is shown; --dry-run DIR writes just that, uploads nothing
and needs no token. Repositories are private unless --public. A second run uploads what changed, one that broke off is
continued.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from brainmri.cli.command import Parser

if TYPE_CHECKING:
    from huggingface_hub import HfApi

UNNAMED = "OWNER"  # of repositories that are only written to a folder, without a token


def parse_arguments() -> argparse.Namespace:
    hub = Parser(add_help=False)
    hub.add_argument("--repo", metavar="OWNER/NAME", help="where to (default: the token's account, a name that fits)")
    hub.add_argument("--public", action="store_true", help="for everybody to see (default: private)")
    hub.add_argument(
        "--dry-run", "--dry_run", type=Path, metavar="DIR", help="only write what would go up to DIR; needs no token"
    )
    where = hub.add_mutually_exclusive_group()
    where.add_argument("--revision", help="a branch, made if need be (default: main)")
    where.add_argument("--create-pr", "--create_pr", action="store_true", help="propose it in a pull request")
    data = Parser(add_help=False)
    data.add_argument("--license", metavar="ID", help="of the images or of the weights, such as cc-by-4.0")
    data.add_argument("--license_name", "--license-name", help="of a licence without an identifier (--license other)")
    data.add_argument("--license_link", "--license-link", help="its text")
    data.add_argument("--cite", action="append", default=[], metavar="TEXT", help="source of the images")

    parser = Parser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    model = kinds.add_parser("model", parents=[hub], help="a finished run")
    model.add_argument("run", type=Path, metavar="RUN")
    model.add_argument("--license", metavar="ID", help="of the weights (default: that of the weights at the start)")
    model.add_argument("--data_id", "--data-id", metavar="OWNER/NAME", help="where its data set lies on the Hub")
    dataset = kinds.add_parser("dataset", parents=[hub, data], help="a prepared folder")
    dataset.add_argument("data_dir", metavar="DIR", help='a prepared folder, or "phantom"')
    results = kinds.add_parser("results", parents=[hub], help="a row for each run, and the leaderboard")
    space = kinds.add_parser("space", parents=[hub], help="the demo")
    space.add_argument("--models", nargs="+", default=[], metavar="ID", help="what it shows, the first at the start")
    space.add_argument(
        "--static", action="store_true", help="the demo that runs in the visitor's browser, of one model; sends nothing"
    )
    space.add_argument(
        "--data", metavar="DIR", help="with --static: the prepared data of the model, by which 8-bit weights are made"
    )
    space.add_argument("--datasets", nargs="+", default=[], metavar="ID", help="what these were trained on")
    kinds.add_parser("metric", parents=[hub], help="accuracy with an interval by group")
    everything = kinds.add_parser("all", parents=[hub, data], help="all of these; --repo OWNER/")
    everything.add_argument("--data_dir", "--data-dir", default="phantom", metavar="DIR", help="the data set")
    everything.add_argument("--skip", nargs="+", default=[], choices=["dataset", "results", "space", "metric"])
    cards = kinds.add_parser("cards", help="write the card of every recipe, trained or not")
    cards.add_argument("--out", type=Path, help="folder to write into (default: cards/RUNS-DIGEST)")
    cards.add_argument("--overwrite", action="store_true", help="replace what --out holds of other runs")
    cards.add_argument("--owner", default="OWNER", help="of the repositories that the cards name")
    for parser_of_runs in (results, everything, cards):
        parser_of_runs.add_argument(
            "runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders of them"
        )
    for parser_of_app in (space, everything):
        parser_of_app.add_argument(
            "--app_dir", "--app-dir", type=Path, default=Path(__file__).parents[3], help="where app.py is"
        )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.kind == "cards":
        from brainmri.files import default_output, digest, digest_of_files, output
        from brainmri.hub.recipe_cards import sources_of, write_recipe_cards

        inputs = digest(sorted(digest_of_files(file) for file in sources_of(arguments.runs)), arguments.owner)
        out = arguments.out or default_output(Path("cards"), arguments.runs[0].resolve().name, inputs)
        with output(out, "cards", inputs, overwrite=arguments.overwrite) as folder:
            chosen = write_recipe_cards(arguments.runs, folder, arguments.owner)
        for arch, run in chosen.items():
            print(f"{out / arch}.md: {run or 'no run folder of it'}")
        return

    from brainmri.hub.upload import use_plain_uploads

    use_plain_uploads()
    if not sys.stderr.isatty():
        for variable in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
            os.environ.setdefault(variable, "1")  # read when the libraries are imported

    from huggingface_hub import HfApi

    from brainmri.hub.build import build, check_empty, plan
    from brainmri.hub.checks import check, contents
    from brainmri.hub.place import check_name
    from brainmri.hub.shown_models import look_up
    from brainmri.hub.upload import bind, deliver, find_owner

    # ------------------------------------------------------------------ the names, before anything takes long
    api = HfApi()
    owner = _owner_of_dry_run(api, arguments.repo) if arguments.dry_run else find_owner(api, arguments.repo)
    if arguments.dry_run:
        check_empty(arguments.dry_run)
    planned = plan(arguments, owner)
    if not arguments.dry_run:
        for one in planned:
            check_name(api, one.repo_type, one.repo_id)
        if arguments.kind == "space" and not arguments.static:  # which holds its model, and may take it of a run folder
            for place in arguments.models:
                look_up(api, place)

    # ------------------------------------------------------------------ the trees
    with tempfile.TemporaryDirectory(prefix="brainmri-publish-") as scratch:
        publications = build(planned, arguments.dry_run or Path(scratch) / "tree")
        for publication in publications:
            check(publication)
            state = "public" if arguments.public else "private, if it is new"
            print(f"{publication.title} ({state}): {publication.what}\n{contents(publication)}")
        if arguments.dry_run:
            print(f"Nothing was uploaded; it is in {arguments.dry_run}")
            if any(publication.models for publication in publications):
                print("The models of the Space are looked up, and pinned to their commits, when it is published.")
            return

        # -------------------------------------------------------------- the Hub
        how = {"public": arguments.public, "revision": arguments.revision, "create_pr": arguments.create_pr}
        for outcome in deliver(api, publications, **how):
            print(f"{outcome.pull_request or outcome.url}: {outcome.summary}")
            if outcome.private_models:
                _give_secret(api, outcome.repo_id, outcome.private_models)
        if arguments.kind == "all" and (address := bind(api, owner, publications, public=arguments.public)):
            print(f"{address}: collection of all of them")


def _owner_of_dry_run(api: HfApi, repo: str | None) -> str:
    """The owner that --repo names, or that of the token where there is one that the Hub knows; else a stand-in."""
    from huggingface_hub import get_token

    from brainmri.hub.checks import PublishError
    from brainmri.hub.upload import account

    if given := (repo or "").rpartition("/")[0]:
        return given
    try:
        return str(account(api)["name"]) if get_token() else UNNAMED
    except PublishError as error:
        print(f"{UNNAMED} stands in the place of the owner: {error}")
        return UNNAMED


def _give_secret(api: HfApi, space: str, models: tuple[str, ...]) -> None:
    """Ask for the token with which a Space reads private models, or say how it is given."""
    from brainmri.hub.checks import PublishError
    from brainmri.hub.hub_errors import explained

    which = ", ".join(models)
    print(f"{space} reads private models ({which}): it starts with the secret HF_TOKEN, a token that may read them.")
    token = getpass.getpass("That token (nothing: later): ") if sys.stdin.isatty() and sys.stderr.isatty() else ""
    if token:
        try:
            with explained("keeping the Space's secret"):
                api.add_space_secret(space, "HF_TOKEN", token)
            print(f"{space} has the secret HF_TOKEN.")
            return
        except PublishError as error:
            print(error)
    print(f"To give it: HF_TOKEN=... hf spaces secrets add {space} -s HF_TOKEN, or the settings of the Space's page.")
