"""A tool that runs Python: CPython itself, with its standard library, in a sandbox.

What a component can import is what was imported when it was built: it has no library on disk.
"""

import ast
import contextlib
import importlib
import io
import json
import os
import pkgutil
import sys
import traceback

from componentize_py_types import Err
from wit_world.exports import tools

# Needs a screen, runs on import, or is about developing Python itself.
LEFT_OUT = {"antigravity", "ensurepip", "idlelib", "lib2to3", "test", "this", "tkinter", "turtledemo"}
TEXT_MAX = 64 << 10

RUN_PYTHON = tools.Tool(
    name="run_python",
    title="Run Python",
    description="Runs Python 3 (CPython, with its standard library) in /workspace and returns what "
    "it printed and the value of its last expression. Use it for calculation, data conversion and "
    "generated files that are awkward in a shell. Example: "
    '{"code": "import csv\\nsum(int(row[1]) for row in csv.reader(open(\'sales.csv\')))"}. No '
    "processes, threads, network or packages of others; no variable lasts until the next call, "
    "files do. Output is cut after 64 Ki characters. An uncaught exception is an error of the "
    "tool; what was written before it stays.",
    input_schema=json.dumps(
        {
            "type": "object",
            "properties": {"code": {"type": "string", "minLength": 1, "description": "The program."}},
            "required": ["code"],
            "additionalProperties": False,
        }
    ),
    output_schema=None,
    annotations=tools.Annotations(
        read_only=False, destructive=True, idempotent=False, open_world=False
    ),
    deterministic=True,
    speculation=tools.Speculation.CONTAINED,
)


def import_library() -> None:
    """Imports all of the standard library that can be, submodules too."""
    for name in sorted(sys.stdlib_module_names - LEFT_OUT):
        with contextlib.suppress(BaseException):
            module = importlib.import_module(name)
            for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
                if not found.name.endswith(("__main__", ".tests")):
                    with contextlib.suppress(BaseException):
                        importlib.import_module(found.name)


class Tools:
    """What the component exports; the name is that of the interface."""

    def list(self) -> list[tools.Tool]:
        return [RUN_PYTHON]

    def call(self, name: str, arguments: str) -> tools.Output:
        if name != RUN_PYTHON.name:
            raise Err(f"there is no tool {name}")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            is_error = not run(json.loads(arguments)["code"])
        text = printed.getvalue()
        if len(text) > TEXT_MAX:
            text = text[:TEXT_MAX] + "\n[cut]"
        return tools.Output([tools.Content_Text(text or "[no output]")], None, is_error)


def run(code: str) -> bool:
    """Runs a program and prints the value of its last expression; whether all went well."""
    scope = {"__name__": "__main__"}
    try:
        os.chdir("/workspace")
        body = ast.parse(code).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "<code>", "exec"), scope)
        if last:
            value = eval(compile(ast.Expression(last.value), "<code>", "eval"), scope)
            if value is not None:
                print("=>", repr(value))
    except SystemExit as stop:
        return stop.code in (None, 0)
    except BaseException:
        traceback.print_exc(limit=-8)
        return False
    return True


import_library()
