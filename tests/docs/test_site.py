"""The documents say what is so: flags, files, messages, links, sizes."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.docs.command_line import flags_of, names, page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if path.name != "LOG.md")]
CALLED = re.compile(r"(?:brainmri |(?:python|accelerate launch|torchrun)\s(?:.*\s)?scripts/)(\w+)(?:\.py)?(?=\s|$)(.*)")
FLAG = re.compile(r"(?<!\S)--[A-Za-z][\w-]*")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _blocks(text: str) -> Iterator[str]:
    """The lines of the blocks of shell commands, and the commands inside the text."""
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from re.findall(r"`((?:brainmri|python scripts/|accelerate launch)[^`]*)`", prose)


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 10_000


def test_the_page_of_the_command_line_is_what_the_commands_take() -> None:
    made = "python -m tests.docs.command_line docs/command-line.md"
    assert (DOCS / "command-line.md").read_text(encoding="utf-8") == page(), f"make it again: {made}"


def test_every_command_of_the_documents_exists_with_its_flags() -> None:
    flags = {name: flags_of(name) for name in names()}
    wrong, seen = [], 0
    for path in PAGES:
        for line in _blocks(path.read_text(encoding="utf-8")):
            for command in re.split(r"&&|  #", line):
                if not (found := CALLED.search(command)) or found[1] in ("COMMAND", "XXX"):
                    continue
                seen += 1
                if found[1] not in flags:
                    wrong.append(f"{_name(path)}: no command {found[1]}")
                    continue
                given = {"--" + flag[2:].replace("-", "_") for flag in FLAG.findall(found[2])} - {"--help"}
                wrong += [f"{_name(path)}: {found[1]} takes no {flag}" for flag in sorted(given - flags[found[1]])]
    assert not wrong
    assert seen > 60


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_links_lead_to_files(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [link for link in links if link and "://" not in link and not (path.parent / link).exists()]
    assert not missing


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": ([\w/-]+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def _texts() -> list[str]:
    """Every text of the code, with … for what is put in."""

    def text(node: ast.AST) -> str:
        if isinstance(node, ast.JoinedStr):
            return "".join(map(text, node.values))
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"

    found = []
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found += [text(node) for node in nodes if isinstance(node, ast.JoinedStr | ast.Constant)]
    return [" ".join(re.sub(r"%s|%d", "…", one).split()) for one in found]


@pytest.mark.integration
def test_the_messages_that_are_explained_are_those_of_the_code() -> None:
    lines = (DOCS / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
    messages = [line.strip("`") for line, after in itertools.pairwise(lines) if after.startswith(":   ")]
    messages = [line for line in messages if not line.startswith("**")]
    texts = _texts()
    assert len(messages) > 30
    for message in messages:
        like = re.compile(".*".join(re.escape(part.strip()) for part in message.split("…")))
        assert any(like.search(text) for text in texts), message


@pytest.mark.parametrize("path", sorted((DOCS / "samples").glob("*.csv")), ids=lambda path: path.stem)
def test_every_column_of_a_sample_is_described(path: Path) -> None:
    described = (DOCS / "file-formats.md").read_text(encoding="utf-8")
    for column in pd.read_csv(path, nrows=1).columns:
        shown = "p_CLASS" if column.startswith("p_") and column != "p_group" else column
        assert f"`{shown}`" in described, column


def test_the_keys_of_a_recipe_that_are_described_exist() -> None:
    from pydantic import BaseModel

    from brainmri import recipe

    schemas = [one for one in vars(recipe).values() if isinstance(one, type) and issubclass(one, BaseModel)]
    known = {name for schema in schemas for name in schema.model_fields}
    section = (DOCS / "guides" / "train.md").read_text(encoding="utf-8").partition("## Changing a recipe")[2]
    keys = [key for row in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE) for key in re.findall(r"`(.+?)`", row)]
    assert len(keys) > 15
    assert not [key for key in keys if set(re.findall(r"[a-z_]+", key)) - known - {"stages"}]


def test_the_files_of_the_repository_that_are_named_exist() -> None:
    named = {
        (file, _name(path))
        for path in PAGES
        for file in re.findall(
            r"`((?:src|tests|scripts|benchmarks|findings|results)/[\w./-]+)`", path.read_text("utf-8")
        )
    }
    assert named
    assert not [one for one in sorted(named) if "NAME" not in one[0] and not (ROOT / one[0]).exists()]


@pytest.mark.parametrize("record", ["RunResult", "DataPart", "TrainingPart", "Scores", "DatasetInfo"])
def test_the_keys_of_the_json_files_are_described(record: str) -> None:
    from brainmri import schemas

    described = (DOCS / "file-formats.md").read_text(encoding="utf-8")
    keys = [field.alias or name for name, field in getattr(schemas, record).model_fields.items()]
    assert not [key for key in keys if f"`{key}`" not in described]
