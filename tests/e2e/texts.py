"""The texts that an API takes, as its OpenAPI document says: where they are, and requests that are full of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]
Say = Callable[[], str]

_DEPTH: Final = 6
_BRANCHES: Final = ("anyOf", "oneOf", "allOf")
_NO_TEXTS: Final = ("enum", "const", "pattern")
"""What a schema with one of these takes is a word of ours or a code."""
_FORM: Final = "multipart/form-data"


class Texts:
    """Of one OpenAPI document.

    Args:
        document: The document.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def places(self) -> set[str]:
        """Where a text can be written: ``POST /v1/search query``. Of a body, its members at the top."""
        return {
            f"{operation} {name}"
            for operation, described in self._operations()
            for name, schema in self._inputs(described)
            if self._takes_text(schema, _DEPTH)
        }

    def requests(self, say: Say) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """A request for each operation and kind of body: method, path, and the rest as httpx wants it.

        Args:
            say: Makes the texts, of which there is another in each place.
        """
        for operation, described in self._operations():
            method, path = operation.split(" ")
            parts: dict[str, dict[str, Any]] = {"query": {}, "header": {}, "path": {}}
            for parameter in described.get("parameters", ()):
                filled = self._fill(parameter["schema"], say, _DEPTH)
                parts[parameter["in"]][parameter["name"]] = filled
            for name in parts["path"]:
                path = path.replace(f"{{{name}}}", say().replace(" ", "%20"))
            headers = {name: str(text) for name, text in parts["header"].items()}
            bodies = described.get("requestBody", {}).get("content", {"": {"schema": {}}})
            for kind, body in bodies.items():
                asked = {"params": parts["query"], "headers": headers}
                yield method, path, asked | self._body(kind, body.get("schema", {}), say)

    def _body(self, kind: str, schema: Schema, say: Say) -> dict[str, Any]:
        filled = self._fill(schema, say, _DEPTH)
        if not kind:
            return {}
        if kind == _FORM:
            fields = {name: text for name, text in filled.items() if isinstance(text, str)}
            return {"data": fields, "files": {"file": (say(), say().encode(), "text/plain")}}
        if kind.endswith("urlencoded"):
            return {"data": filled}
        return {"json": filled} if kind.endswith("json") else {"content": say().encode()}

    def _operations(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for path, methods in self._document["paths"].items():
            for method, described in methods.items():
                yield f"{method.upper()} {path}", described

    def _inputs(self, described: Mapping[str, Any]) -> Iterator[tuple[str, Schema]]:
        for parameter in described.get("parameters", ()):
            if parameter["in"] != "path":
                yield parameter["name"], parameter["schema"]
        for body in described.get("requestBody", {}).get("content", {}).values():
            yield from self._members(body.get("schema", {}))

    def _members(self, schema: Schema) -> Iterator[tuple[str, Schema]]:
        schema = self._resolve(schema)
        yield from schema.get("properties", {}).items()
        for branch in self._branches(schema):
            yield from self._members(branch)
        if "properties" not in schema and not self._branches(schema):
            yield "body", schema

    def _takes_text(self, schema: Schema, depth: int) -> bool:
        schema = self._resolve(schema)
        branches = self._branches(schema)
        if branches:
            return depth > 0 and any(self._takes_text(branch, depth - 1) for branch in branches)
        match schema.get("type"):
            case "string":
                return schema.get("format") != "date-time" and not any(
                    key in schema for key in _NO_TEXTS
                )
            case "array":
                return depth > 0 and self._takes_text(schema.get("items", {}), depth - 1)
            case "object":
                others = schema.get("additionalProperties")
                members = [*schema.get("properties", {}).values()]
                members += [others] if isinstance(others, dict) else []
                is_open = others is True or not members
                return depth > 0 and (
                    is_open or any(self._takes_text(member, depth - 1) for member in members)
                )
            case None:
                return not any(key in schema for key in _NO_TEXTS)
            case _:
                return False

    def _fill(self, schema: Schema, say: Say, depth: int) -> Any:  # noqa: ANN401 - JSON
        """Something of about that shape: every text in it is what is said."""
        schema = self._resolve(schema)
        choices = [schema["const"]] if "const" in schema else schema.get("enum")
        if choices:
            return choices[0]
        branches = self._branches(schema)
        if branches:
            return self._fill(branches[0], say, depth)
        match schema.get("type"):
            case "array":
                return [self._fill(schema.get("items", {}), say, depth - 1)] if depth else []
            case "object":
                members = schema.get("properties", {}) if depth else {}
                filled = {name: self._fill(members[name], say, depth - 1) for name in members}
                return filled or {say(): say()}
            case "integer" | "number" | "boolean" as kind:
                return kind != "boolean" and schema.get("minimum", 1)
            case _:
                return say()

    def _resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def _branches(self, schema: Schema) -> list[Schema]:
        return [branch for key in _BRANCHES for branch in schema.get(key, ())]
