"""scripts/publish.py as a user runs it, on the smallest thing there is: what goes up, and what goes wrong."""

import re
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from ..scripts import run_here
from .conftest import ROOT, MakeHub, Run
from .loopback import HABITS, LoopbackHub

METRIC = ["LICENSE", "README.md", "app.py", "bootstrap.py", "grouped_accuracy.py", "requirements.txt"]
SPACE = ("space", "anna/grouped_accuracy")


def commits(hub: LoopbackHub) -> list[str]:
    return hub.sent("POST", "/commit/")


@pytest.mark.integration
def test_it_is_private_tagged_and_just_what_a_dry_run_wrote(hub: LoopbackHub, run: Run, tmp_path) -> None:
    dry = run(hub, "publish.py", "metric", "--dry-run", tmp_path / "dry")
    assert dry.returncode == 0, dry.stderr
    assert "Nothing was uploaded" in dry.stdout
    assert not hub.repos
    done = run(hub, "publish.py", "metric")
    assert done.returncode == 0, done.stderr
    for name in METRIC:
        assert re.search(rf"^ +[\d,]+  {re.escape(name)}$", done.stdout, flags=re.MULTILINE)
    files = hub.files(*SPACE)
    assert sorted(files) == [".gitattributes", *METRIC]
    assert {name: (tmp_path / "dry" / name).read_bytes() for name in METRIC} == {name: files[name] for name in METRIC}
    repo = hub.repos[SPACE]
    assert repo.private
    assert repo.sdk == "gradio"
    assert len(repo.tags) == 1
    tag, commit = repo.tags.popitem()
    assert re.fullmatch(r"v\d+\.\d+\.\d+(-g[0-9a-f]{7}(-changed)?)?", tag)
    assert commit == repo.branches["main"]
    assert f"now at {commit}" in done.stdout


def test_a_second_run_uploads_nothing_new(hub: LoopbackHub, publish: Run) -> None:
    publish(hub, "metric")
    before, tags = list(commits(hub)), dict(hub.repos[SPACE].tags)
    again = publish(hub, "metric")
    assert again.returncode == 0
    assert "nothing new" in again.stdout
    assert commits(hub) == before
    assert hub.repos[SPACE].tags == tags


def test_what_changed_goes_up_alone_and_gets_a_tag_of_its_own(hub: LoopbackHub, publish: Run) -> None:
    publish(hub, "metric")
    first = dict(hub.repos[SPACE].tags)
    HfApi(endpoint=hub.url, token="hf_anna").upload_file(
        path_or_fileobj=b"old", path_in_repo="app.py", repo_id="anna/grouped_accuracy", repo_type="space"
    )
    again = publish(hub, "metric")
    assert f"uploaded, now at {hub.repos[SPACE].branches['main']}" in again.stdout
    assert "public" not in again.stdout.splitlines()[-1]
    assert hub.commits == [METRIC, ["app.py"], ["app.py"]]
    tags = hub.repos[SPACE].tags
    assert first.items() < tags.items()
    (name,) = tags.keys() - first.keys()
    assert name == f"{next(iter(first))}.2"
    assert tags[name] == hub.repos[SPACE].branches["main"]


def test_public_when_asked_and_made_public_later(hub: LoopbackHub, publish: Run) -> None:
    publish(hub, "metric", "--public", "--repo", "lab/one")
    assert not hub.repos["space", "lab/one"].private
    publish(hub, "metric")
    assert hub.repos[SPACE].private
    assert "the repository was private, and is public now" in publish(hub, "metric", "--public").stdout
    assert not hub.repos[SPACE].private
    publish(hub, "metric")  # what others pull already is not taken from them
    assert not hub.repos[SPACE].private


def test_a_branch_or_a_pull_request_leaves_main_alone(hub: LoopbackHub, publish: Run) -> None:
    proposed = publish(hub, "metric", "--create-pr")
    assert f"{hub.url}/spaces/anna/grouped_accuracy/discussions/1" in proposed.stdout
    on_branch = publish(hub, "metric", "--revision", "next")
    assert on_branch.returncode == 0, on_branch.stderr
    assert f"uploaded to branch next, now at {hub.repos[SPACE].branches['next']}" in on_branch.stdout
    assert "nothing new, branch next is at" in publish(hub, "metric", "--revision", "next").stdout
    assert sorted(hub.files(*SPACE)) == [".gitattributes"]
    for revision in ("refs/pr/1", "next"):
        assert sorted(hub.files(*SPACE, revision)) == [".gitattributes", *METRIC]
    assert list(hub.repos[SPACE].tags.values()) == [hub.repos[SPACE].branches["next"]]  # a proposal has no version yet


@pytest.mark.integration
@pytest.mark.parametrize("habit", sorted(HABITS))
def test_servers_of_other_habits(make_hub: MakeHub, publish: Run, habit: str) -> None:
    hub = make_hub(habit)
    first = publish(hub, "metric")
    assert first.returncode == 0, first.stderr
    assert sorted(hub.files(*SPACE)) == [".gitattributes", *METRIC]
    assert hub.repos[SPACE].private
    before, tags = list(commits(hub)), dict(hub.repos[SPACE].tags)
    again = publish(hub, "metric")
    assert again.returncode == 0, again.stderr
    assert "nothing new" in again.stdout
    assert commits(hub) == before
    assert hub.repos[SPACE].tags == tags


KOHAKU = ("conflicts are failures", "long commit ids", "no revision errors", "not implemented", "visibility ignored")


def test_a_second_publication_of_changes_goes_on_where_a_conflict_is_a_failure(make_hub: MakeHub, publish: Run) -> None:
    hub = make_hub(*KOHAKU)
    assert publish(hub, "metric", "--revision", "next").returncode == 0
    HfApi(endpoint=hub.url, token="hf_anna").upload_file(
        path_or_fileobj=b"old", path_in_repo="app.py", repo_id=SPACE[1], repo_type="space", revision="next"
    )
    again = publish(hub, "metric", "--revision", "next")
    assert again.returncode == 0, again.stderr
    assert "uploaded to branch next" in again.stdout
    first, second = sorted(hub.repos[SPACE].tags)
    assert second == f"{first}.2"
    assert hub.repos[SPACE].tags[second] == hub.repos[SPACE].branches["next"]
    assert len(hub.repos[SPACE].tags[second]) == 64


def test_files_that_a_server_leaves_out_of_a_commit_are_noticed(make_hub: MakeHub, publish: Run) -> None:
    hub = make_hub("skips files")
    assert publish(hub, "metric").returncode == 0
    HfApi(endpoint=hub.url, token="hf_anna").create_branch(
        SPACE[1], repo_type="space", branch="next", revision=next(iter(hub.repos[SPACE].commits))
    )
    message = failed(publish, hub, "metric", "--revision", "next")
    assert "6 of its 6 files are not there as they were sent (LICENSE, README.md, app.py, ...)" in message
    assert "publish to main, or under another --repo" in message
    assert "next" not in hub.repos[SPACE].tags


def test_a_server_that_makes_everything_public_gets_nothing_private(make_hub: MakeHub, publish: Run) -> None:
    hub = make_hub("visibility ignored", "no settings")
    message = failed(publish, hub)
    assert "this server makes new repositories public, and space anna/grouped_accuracy was to be private" in message
    assert not hub.repos and not commits(hub)
    assert publish(hub, "metric", "--public").returncode == 0


def test_a_repository_that_stays_private_is_not_called_public(make_hub: MakeHub, publish: Run) -> None:
    hub = make_hub("no settings")
    publish(hub, "metric")
    assert "this server does not do that" in failed(publish, hub, "metric", "--public")


def failed(publish: Run, hub: LoopbackHub, *arguments: str, **how: str | None) -> str:
    return only_line(publish(hub, *(arguments or ("metric",)), **how))


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a user sees."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("habit", ["no pull requests", "not implemented"])
def test_a_server_without_pull_requests_is_told_and_keeps_no_empty_repository(
    make_hub: MakeHub, publish: Run, habit: str
) -> None:
    hub = make_hub(habit)
    message = failed(publish, hub, "metric", "--create-pr")
    assert "this server has no pull requests: leave out --create-pr, or give --revision BRANCH" in message
    assert not hub.repos
    publish(hub, "metric")
    assert "this server has no pull requests" in failed(publish, hub, "metric", "--create-pr")
    assert sorted(hub.files(*SPACE)) == [".gitattributes", *METRIC]


def test_errors_of_the_token_come_before_anything_is_sent(hub: LoopbackHub, publish: Run) -> None:
    assert failed(publish, hub, token=None).startswith("error: no token: run `hf auth login`, or set HF_TOKEN")
    assert failed(publish, hub, token="hf_wrong").startswith("error: wrong token: the Hub does not know it")
    assert failed(publish, hub, token="hf_reader").startswith("error: this token may only read")
    assert "no right: the token of anna cannot write to bert (only to anna, lab)" in failed(
        publish, hub, "metric", "--repo", "bert/metric"
    )
    assert not hub.repos


def test_errors_of_the_server_say_what_to_do(hub: LoopbackHub, publish: Run) -> None:
    def refuse(status: int, part: str) -> str:
        hub.fault = lambda method, path: status if part in path else None
        return failed(publish, hub)

    assert "no right: this token may not do that" in refuse(403, "repos/create")
    assert "no room" in refuse(402, "repos/create")
    assert "no room" in refuse(413, "/commit/")
    assert "too many requests: wait" in refuse(429, "/commit/")
    assert "the repository changed meanwhile: run the same command again" in refuse(412, "/commit/")
    assert "the Hub failed (500): run the same command again, it goes on" in refuse(500, "/commit/")
    assert "the name is taken, or another upload is at work" in refuse(409, "/commit/")


def test_nobody_answers(make_hub: MakeHub, run: Run) -> None:
    hub = make_hub()
    hub.close()
    message = only_line(run(hub, "publish.py", "metric"))  # in a process of its own, where nothing else is said either
    assert message.startswith("error: the Hub cannot be reached, or the network broke down")


def test_a_repository_of_somebody_else_is_not_overwritten(hub: LoopbackHub, publish: Run) -> None:
    api = HfApi(endpoint=hub.url, token="hf_anna")
    for name, content in (("one", b"mine"), ("two", b"---\ntags: [other]\n---\n")):
        api.create_repo(f"anna/{name}", repo_type="space", space_sdk="gradio")
        api.upload_file(
            path_or_fileobj=content,
            path_in_repo="README.md" if name == "two" else "app.py",
            repo_id=f"anna/{name}",
            repo_type="space",
        )
        before = hub.files("space", f"anna/{name}")
        message = failed(publish, hub, "metric", "--repo", name)
        assert f"the name is taken: space anna/{name} holds files that were not published from here" in message
        assert hub.files("space", f"anna/{name}") == before


def test_a_card_that_the_hub_refuses_stops_it_before_anything_is_made(hub: LoopbackHub, publish: Run) -> None:
    hub.fault = lambda method, path: 400 if "validate-yaml" in path else None
    assert "the Hub refuses the metadata of README.md" in failed(publish, hub)
    assert not hub.repos


def test_names_that_the_hub_does_not_take(hub: LoopbackHub, publish: Run) -> None:
    assert "Repo id must use alphanumeric chars" in failed(publish, hub, "metric", "--repo", "no good")


def test_there_is_no_demo_without_an_app(hub: LoopbackHub, publish: Run, tmp_path) -> None:
    message = failed(publish, hub, "space", "--models", "anna/x", "--app_dir", str(tmp_path))
    assert "has no app.py, so there is no demo to publish" in message


def test_the_demo_of_the_checkout_is_published_unless_another_is_named(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    done = run_here("publish.py", "space", "--models", "anna/x", "--repo", "anna/demo", "--dry-run", tree)
    assert done.returncode == 0, done.stderr
    assert (tree / "app.py").read_bytes() == (ROOT / "app.py").read_bytes()


def test_a_dry_run_needs_no_token_and_names_no_owner(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    done = run_here("publish.py", "metric", "--dry-run", tmp_path / "tree")
    assert done.returncode == 0, done.stderr
    assert "OWNER/" in done.stdout
    assert (tmp_path / "tree" / "README.md").is_file()


def test_a_dry_run_needs_an_empty_folder(hub: LoopbackHub, publish: Run) -> None:
    assert "is not an empty folder" in failed(publish, hub, "metric", "--dry-run", str(ROOT))
