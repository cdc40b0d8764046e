"""The demo's endpoints as tools of language models (MCP): schemas that resolve, and what clients send understood.

Gradio 6.31 gives an endpoint of several files a `$ref` to a definition that is not there, so that no client can call
it, and takes no null where a default stands.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

from gradio.mcp import GradioMCPServer
from pydantic import BaseModel

FILE = {
    "type": "string",
    "format": "Gradio File Input - a http or https url to a file",  # how Gradio marks files, for clients that know it
    "description": "A file: its http or https URL, or its bytes, up to 3 MB, as a data URL (data:...;base64,...).",
}
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0", "")


class Tools(GradioMCPServer):
    """Gradio's server of tools, with schemas of this project."""

    def get_input_schema(
        self, tool_name: str, parameters: dict[str, str] | None = None
    ) -> tuple[dict[str, Any], list[list[str | int]]]:
        """The input schema of a tool, in which nothing is a `$ref`, and a parameter with a default may be null.

        Returns:
            The schema, and where files stand in it, as Gradio counts it.
        """
        schema, places = super().get_input_schema(tool_name, parameters)
        optional = set(schema["properties"]) - set(schema.get("required", ()))
        properties = {}
        for name, given in schema["properties"].items():
            if [name] in places:
                own = _described(FILE, given)
            elif [name, "items"] in places:
                own = _described({"type": ["array", "string"], "items": FILE}, given)
            else:
                own = {
                    key: value
                    for key, value in given.items()
                    if key not in ("$defs", "title", "additional_description")
                }
                if own.get("type") in ("number", "integer", "boolean"):
                    own["type"] = [own["type"], "string"]  # as which some clients send them
            properties[name] = _or_null(own) if name in optional else own
        return {**schema, "properties": properties, "additionalProperties": False}, places

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        """The arguments of a call, with files in the place of their texts.

        Raises:
            ValueError: for a text that stands for no file.
        """
        found = {}
        for name, given in value.items():
            if [name, "items"] in filedata_positions and given is not None:
                found[name] = [self._file(one) for one in _as_list(given)]
            else:
                found[name] = self._file(given) if [name] in filedata_positions and given is not None else given
        return found

    def _file(self, text: Any) -> Any:
        if not isinstance(text, str) or not text.startswith(("data:", "http://", "https://")):
            raise ValueError("A file must be given as its http or https URL, or as a data URL (data:...;base64,...).")
        try:
            return super().convert_strings_to_filedata({"file": text}, [["file"]])["file"]
        except ValueError:  # of base64
            raise ValueError("The data URL of a file is broken.") from None

    def postprocess_output_data(self, data: Any, root_url: str) -> Any:
        """As Gradio; answers that did not wait in the queue are plain values too, and not "root=..."."""
        values = [one.model_dump() if isinstance(one, BaseModel) else one for one in data]
        return super().postprocess_output_data(values, root_url)

    def _prepare_tool_call_args(self, name: str, arguments: dict[str, Any]) -> Any:
        endpoint = self.tool_to_endpoint.get(name)
        endpoints: Any = self.api_info["named_endpoints"]
        types = (
            {one["parameter_name"]: one for one in endpoints[endpoint]["parameters"]} if endpoint in endpoints else {}
        )
        given = {}
        for parameter, value in arguments.items():
            described = types.get(parameter, {})
            if value is None and described.get("parameter_has_default"):
                continue
            given[parameter] = _typed(parameter, value, described.get("type", {}).get("type"))
        return super()._prepare_tool_call_args(name, given)


def _as_list(files: Any) -> list[Any]:
    """Several files, one, or a list that came as text."""
    if isinstance(files, list):
        return files
    if str(files).lstrip().startswith("["):
        with suppress(ValueError):
            listed = json.loads(files)
            return listed if isinstance(listed, list) else [files]
    return [files]


def _described(schema: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """With what the endpoint says of this parameter in front."""
    texts = [one["description"] for one in (given, FILE) if "description" in one]
    return {**schema, "description": " ".join(texts)}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if kind is None or kind == "null" or "null" in kind:
        return schema
    nullable = {**schema, "type": [*([kind] if isinstance(kind, str) else kind), "null"]}
    if "enum" in schema and None not in schema["enum"]:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _typed(name: str, value: Any, kind: str | None) -> Any:
    """A number or a truth value that came as text."""
    if not isinstance(value, str) or kind not in ("number", "integer", "boolean"):
        return value
    text = value.strip().lower()
    if kind == "boolean" and text in TRUE + FALSE:
        return text in TRUE
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if kind == "boolean" or not math.isfinite(number):
        raise ValueError(f"{name} must be {'true or false' if kind == 'boolean' else 'a number'}.")
    return int(number) if number.is_integer() else number
