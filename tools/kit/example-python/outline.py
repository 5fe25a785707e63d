"""A whole tool component in Python, as an example: the outline of a Python file."""

import ast
import json
from pathlib import Path

from componentize_py_types import Err
from wit_world.exports import tools


WORKSPACE = Path("/workspace")

OUTLINE = tools.Tool(
    name="outline_python",
    title="Outline of a Python file",
    description="Lists the classes and functions of a Python file with their lines. Use it "
    'to find your way in a file before you read parts of it. Example: {"path": "app.py"}.',
    input_schema=json.dumps(
        {
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "The file, relative to /workspace."}
            },
            "required": ["path"],
            "additionalProperties": False,
        }
    ),
    output_schema=None,
    annotations=tools.Annotations(
        read_only=True, destructive=False, idempotent=True, open_world=False
    ),
    deterministic=True,
    speculation=tools.Speculation.PURE,
)


class Tools:
    """What the component exports; the name is that of the interface."""

    def list(self) -> list[tools.Tool]:
        return [OUTLINE]

    def call(self, name: str, arguments: str) -> tools.Output:
        if name != OUTLINE.name:
            raise Err(f"there is no tool {name}")
        # The arguments were checked against the schema already.
        path = json.loads(arguments)["path"]
        try:
            text, is_error = outline((WORKSPACE / path).read_text()), False
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            text, is_error = f"cannot outline {path}: {error}", True
        return tools.Output([tools.Content_Text(text)], None, is_error)


def outline(source: str) -> str:
    """One line for each class and function, indented as they are nested."""
    lines: list[str] = []

    def visit(node: ast.AST, depth: int) -> None:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.ClassDef():
                    kind = "class"
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    kind = "def"
                case _:
                    visit(child, depth)
                    continue
            lines.append(f"{child.lineno}: {'  ' * depth}{kind} {child.name}")
            visit(child, depth + 1)

    visit(ast.parse(source), 0)
    return "\n".join(lines) or "[no classes and no functions]"
