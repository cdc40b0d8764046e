"""The demo's tools as a language model's program meets them: every schema resolves, every tool is called."""

import ast
import asyncio
import base64
import json
import zipfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from .serving import Served

NAMES = {"classify", "classify_many", "list_models", "look_for_leaks", "leaderboard", "report_of"}
Use = Callable[[ClientSession], Coroutine[Any, Any, Any]]


def data_url(path: Path, kind: str = "application/octet-stream") -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def with_session(demo: Served, use: Use) -> Any:
    async def run() -> Any:
        address = f"{demo.url}gradio_api/mcp/"
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            return await use(session)

    return asyncio.run(run())


def calls(demo: Served, *wanted: tuple[str, dict[str, Any]]) -> list[tuple[bool, str]]:
    """Of each call: whether it failed, and its text."""

    async def use(session: ClientSession) -> list[tuple[bool, str]]:
        answers = [await session.call_tool(name, arguments) for name, arguments in wanted]
        return [(bool(one.isError), " ".join(part.text for part in one.content)) for one in answers]  # type: ignore[union-attr]

    return with_session(demo, use)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def schemas(demo: Served) -> dict[str, Any]:
    async def use(session: ClientSession) -> dict[str, Any]:
        return {tool.name: tool.inputSchema for tool in (await session.list_tools()).tools}

    return with_session(demo, use)  # type: ignore[no-any-return]


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [one for value in node.values() for one in references(value)]
    return [one for value in node for one in references(value)] if isinstance(node, list) else []


def test_every_schema_resolves_from_its_root(schemas: dict[str, Any]) -> None:
    assert schemas.keys() == NAMES
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
        resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
        for reference in references(schema):
            resolver.lookup(reference)


def test_what_has_a_default_may_be_null_and_the_default_is_told(schemas: dict[str, Any]) -> None:
    for name, schema in schemas.items():
        required = {one: value for one, value in EXAMPLES[name].items() if one in schema.get("required", ())}
        optional = dict.fromkeys(schema["properties"].keys() - required.keys())
        Draft202012Validator(schema).validate(required)
        Draft202012Validator(schema).validate(required | optional)


EXAMPLES: dict[str, dict[str, Any]] = {
    "classify": {"file": "data:,", "plane": "axial", "slice_number": "3", "with_map": "true"},
    "classify_many": {"files": ["data:,"]},
    "list_models": {},
    "look_for_leaks": {"data": "data:,"},
    "leaderboard": {"test_set": ""},
    "report_of": {"model": "a"},
}


def test_every_tool_answers(demo: Served, slice_png: Path, volume_nii: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for name in ("train/glioma/one.png", "test/glioma/same.png", "train/notumor/two.png"):
            file.write(slice_png, name)
    image, volume = data_url(slice_png, "image/png"), data_url(volume_nii)
    (_, models), *answers = calls(
        demo,
        ("list_models", {}),
        ("classify", {"file": image}),
        ("classify", {"file": image, "models_asked": None, "plane": None, "slice_number": None, "with_map": None}),
        ("classify", {"file": volume, "plane": "coronal", "slice_number": "3", "with_map": "true"}),
        ("classify_many", {"files": [image, volume], "models_asked": None}),
        ("classify_many", {"files": image}),
        ("classify_many", {"files": json.dumps([image])}),
        ("look_for_leaks", {"data": data_url(tmp_path / "set.zip"), "against": None}),
        ("leaderboard", {}),
        ("leaderboard", {"test_set": None}),
    )
    assert "glioma" in models
    assert [failed for failed, _ in answers] == [False] * len(answers), answers
    alone, nulls, turned, many, single, as_text, audit, board, everything = (text for _, text in answers)
    assert "'sentence': " in alone
    assert alone.split("'milliseconds'")[0] == nulls.split("'milliseconds'")[0]
    assert "data:image/webp;base64," in turned
    assert many.count("'probability': ") == 2
    assert single.count("'probability': ") == as_text.count("'probability': ") == 1
    assert "1 of 1 images (100.0 %)" in audit
    assert board == everything
    name = ast.literal_eval(models)[0]["name"]
    ((failed, report),) = calls(demo, ("report_of", {"model": name}))
    assert not failed
    assert "'calibration'" in report


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("classify", {"file": "/etc/passwd"}, "http or https URL"),
        ("classify", {"file": "data:image/png;base64,%%%"}, "se another"),
        ("classify", {"file": "data:text/plain;base64,PGI+bm8gcGljdHVyZTwvYj4="}, "Use an image"),
        ("classify", {"file": "http://127.0.0.1:9/a.png"}, "The address could not be read"),
        ("classify", {}, "file"),
        ("classify", {"file": "data:,", "slice_number": "many"}, "slice_number must be a number"),
        ("classify", {"file": "data:,", "with_map": "perhaps"}, "with_map must be true or false"),
        ("classify_many", {"files": "a.png"}, "A file must be given"),
        ("report_of", {"model": "<b>no such</b>"}, "Unknown model"),
        ("no_such_tool", {}, "Unknown tool"),
    ],
)
def test_what_cannot_be_is_told_in_plain_text(demo: Served, tool: str, arguments: dict[str, Any], says: str) -> None:
    ((failed, text),) = calls(demo, (tool, arguments))
    assert failed
    assert says in text
    assert "<b>" not in text.replace(json.dumps(arguments), "")
    assert "Traceback" not in text
