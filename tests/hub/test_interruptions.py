"""Uploads of large files that break off, in this process, so that each needs no second."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi

from brainmri.hub.checks import Publication, PublishError
from brainmri.hub.upload import upload

from .conftest import MakeHub
from .loopback import LoopbackHub

REPO = ("dataset", "anna/large")
CARD = "---\nlicense: cc-by-4.0\ntags: [brainmri]\n---\n"


@pytest.fixture
def shards(tmp_path: Path) -> Publication:
    folder = tmp_path / "tree"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    generator = np.random.default_rng(0)
    for k in range(3):  # the last one is sent in parts
        content = generator.bytes(1000 if k < 2 else 3_000_000)
        (folder / f"data/train-{k:05d}-of-00003.parquet").write_bytes(content)
    return Publication("dataset", REPO[1], folder, "large", tags=("fingerprint",), own_folders=("data",))


def api(hub: LoopbackHub) -> HfApi:
    return HfApi(endpoint=hub.url, token="hf_anna")


def test_an_upload_that_broke_off_goes_on_without_sending_again(hub: LoopbackHub, shards: Publication) -> None:
    hub.fault = lambda method, path: "drop" if "/commit/" in path else None
    with pytest.raises(PublishError, match="the network broke down: run the same command again, it goes on"):
        upload(api(hub), shards, public=False)
    assert sorted(hub.files(*REPO)) == [".gitattributes"]  # no half of a data set is ever to be seen
    sent = len(hub.sent("PUT", "/lfs/"))
    assert sent == 5
    hub.fault = lambda method, path: None
    outcome = upload(api(hub), shards, public=False)
    assert len(hub.sent("PUT", "/lfs/")) == sent
    assert outcome.changed
    assert hub.commits == [shards.files]
    assert {name: hub.files(*REPO)[name] for name in shards.files} == {
        name: (shards.folder / name).read_bytes() for name in shards.files
    }


def test_a_tag_that_is_missing_after_a_break_is_made(hub: LoopbackHub, shards: Publication) -> None:
    hub.fault = lambda method, path: 500 if "/tag/" in path else None
    with pytest.raises(PublishError, match=r"the Hub failed \(500\)"):
        upload(api(hub), shards, public=False, version="v1")
    hub.fault = lambda method, path: None
    outcome = upload(api(hub), shards, public=False, version="v1")
    assert not outcome.changed
    assert len(hub.commits) == 1
    assert hub.repos[REPO].tags == {"fingerprint": outcome.commit, "v1": outcome.commit}


def test_one_shard_more_or_less(hub: LoopbackHub, shards: Publication) -> None:
    first = upload(api(hub), shards, public=False, version="v1")
    (shards.folder / "data/train-00002-of-00003.parquet").rename(shards.folder / "data/train-00002-of-00002.parquet")
    second = upload(api(hub), shards, public=False, version="v1")
    # The old name goes, else it would be loaded twice; the other shards and the card are not sent again.
    assert hub.commits[1:] == [["-data/train-00002-of-00003.parquet", "data/train-00002-of-00002.parquet"]]
    assert sorted(hub.files(*REPO)) == [".gitattributes", *shards.files]
    # The fingerprint is that of the newest tree; a version stays where it is.
    assert hub.repos[REPO].tags == {"v1": first.commit, "fingerprint": second.commit, "v1.2": second.commit}


def test_no_room_for_large_files(hub: LoopbackHub, shards: Publication) -> None:
    hub.quota = 10_000
    with pytest.raises(PublishError, match="no room: the Hub refuses more of this account's storage"):
        upload(api(hub), shards, public=False)


@pytest.mark.parametrize("habit", ["flat tree", "bare info", "relative urls"])
def test_what_is_there_is_told_on_other_servers_too(
    make_hub: MakeHub, shards: Publication, habit: str, caplog: pytest.LogCaptureFixture
) -> None:
    hub = make_hub(habit)
    logging.getLogger("huggingface_hub").addHandler(caplog.handler)
    first = upload(api(hub), shards, public=False)
    again = upload(api(hub), shards, public=False)
    logging.getLogger("huggingface_hub").removeHandler(caplog.handler)
    assert (again.changed, again.commit) == (False, first.commit)
    assert "empty commit" not in caplog.text  # "nothing new" is said already
    assert len(hub.commits) == 1


@pytest.mark.slow
def test_the_network_breaks_down_within_a_file(hub: LoopbackHub, shards: Publication) -> None:
    """The client itself tries five times more, which takes half a minute."""
    lost = hashlib.sha256((shards.folder / "data/train-00001-of-00003.parquet").read_bytes()).hexdigest()
    hub.fault = lambda method, path: "drop" if method == "PUT" and lost in path else None
    with pytest.raises(PublishError, match="the network broke down: run the same command again"):
        upload(api(hub), shards, public=False)
    hub.fault = lambda method, path: None
    kept = list(hub.objects)

    def sent() -> list[str]:
        return [path for path in hub.sent("PUT", "/lfs/") if any(oid in path for oid in kept)]

    before = sent()
    upload(api(hub), shards, public=False)
    assert sent() == before  # what had arrived is not sent again
    assert hub.files(*REPO).keys() > set(shards.files)
