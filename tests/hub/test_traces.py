import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainmri.hub.leak_scan import leaks, without_paths

NO_TRACES = [
    "scripts/train.py --data_dir data/kaggle --output_dir runs/one",
    "text/html; images/s; and/or; 1/2/3; a/b/c.png",
    "[data](https://huggingface.co/datasets/anna/brain) and hf-hub:anna/brain@v1",
    '<td>1</td></tr> src="data:image/png;base64,/9j/4AAQSkZJRgABAQ/abc/def"',
    'Path("/proc/cpuinfo") #!/usr/bin/env python',
    "first:\\nsecond",
]
TRACES = [
    "--data_dir /home/anna/data",
    "--data_dir=/mnt/disk2/brains",
    '{"a": "/srv/models/x.bin"}',
    "file_name,label\n1,/data/anna/1.png",
    "file:///tmp/x",
    "C:\\Users\\anna\\brains",
    "C:\\\\Users\\\\anna\\\\brains",
    "(/Users/anna/x.py)",
    "<code>/root/brains/</code>",
]


@pytest.mark.parametrize("text", NO_TRACES)
def test_what_only_looks_like_a_path_passes(tmp_path, text) -> None:
    (tmp_path / "a.md").write_text(text)
    assert leaks(tmp_path / "a.md") == []
    assert without_paths(text) == text


@pytest.mark.parametrize("text", TRACES)
def test_absolute_paths_are_found_and_cut_down_to_their_last_part(tmp_path, text) -> None:
    (tmp_path / "a.md").write_text(text)
    assert leaks(tmp_path / "a.md")
    clean = without_paths({"key": [text, 3, None]})["key"][0]
    (tmp_path / "b.md").write_text(clean)
    assert leaks(tmp_path / "b.md") == []
    assert without_paths(clean) == clean


@given(st.lists(st.from_regex(r"[a-z0-9_]{4,8}", fullmatch=True), min_size=2, max_size=5))
def test_a_path_leaves_its_name(parts) -> None:
    assert without_paths(f"--data_dir /{'/'.join(parts)} --x") == f"--data_dir {parts[-1]} --x"


def test_the_user_is_found_unless_the_account_has_that_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("USER", "annabel")
    (tmp_path / "a.json").write_text(json.dumps({"who": "annabel", "what": "annabelle"}))
    assert leaks(tmp_path / "a.json") == ["the user name annabel"]
    assert leaks(tmp_path / "a.json", allowed="annabel") == []
    (tmp_path / "a.md").write_text("annabel")  # a card's own words come from a template
    assert leaks(tmp_path / "a.md") == []
    monkeypatch.setenv("USER", "ubuntu")  # says nothing of anybody
    (tmp_path / "a.json").write_text("ubuntu 24.04")
    assert leaks(tmp_path / "a.json") == []


def test_texts_in_other_files(tmp_path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x01" + b"/home/anna/site-packages/torch/nn.py" + b"\x00")
    assert leaks(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(bytes(range(256)) * 99)
    assert leaks(tmp_path / "a.onnx") == []
    pd.DataFrame({"n": [1, 2], "source": ["a/b.png", "/srv/brains/b.png"]}).to_parquet(tmp_path / "a.parquet")
    assert leaks(tmp_path / "a.parquet") == ["/srv/brains/b.png"]  # which the compressed bytes do not show
