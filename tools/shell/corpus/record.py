#!/usr/bin/env python3
"""Runs every script of the corpus with the bash of this machine and writes down what it
printed and how it ended. The expected results in the files beside this were made by it
and by nothing else.

    ./record.py            record all
    ./record.py --check    fail if a result is not what is written down

Each topic is one file: first the files that all its cases start with, then the cases.
    %% file PATH     a file; what follows is its content
    %% case NAME     a case begins; files after it belong to it alone
    %% stdin         what the script can read
    %% script        the script
    %% stdout        what bash printed
    %% exit NUMBER   how it ended
A section that does not end with a newline has a last line `%% no newline`.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SECONDS_MAX = 20


def sections(text):
    """Yields (head, body) of each section."""
    head, body = None, []
    for line in text.splitlines(keepends=True) + ["%% end\n"]:
        if line == "%% no newline\n":
            body[-1] = body[-1].removesuffix("\n")
        elif line.startswith("%% "):
            if head is not None:
                yield head, "".join(body)
            head, body = line[3:].rstrip("\n"), []
        else:
            body.append(line)


def section(head, body):
    end = "" if body == "" or body.endswith("\n") else "\n%% no newline\n"
    return f"%% {head}\n{body}{end}"


def run(script, files, stdin):
    with tempfile.TemporaryDirectory() as root:
        workspace = pathlib.Path(root, "workspace")
        workspace.mkdir()
        for path, content in files.items():
            file = workspace / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=workspace,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            env={"PATH": os.environ["PATH"], "HOME": "/workspace", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        )
        return done.stdout, done.returncode


def record(text):
    shared, own, stdin, out = {}, None, "", []
    for head, body in sections(text):
        word, _, rest = head.partition(" ")
        if word in ("stdout", "exit"):
            continue
        if word == "case":
            own, stdin = dict(shared), ""
            if out and out[-1].startswith("%% exit"):
                out.append("\n")
        elif word == "file":
            (shared if own is None else own)[rest] = body
        elif word == "stdin":
            stdin = body
        if word == "script":
            body = body.rstrip("\n") + "\n"
        out.append(section(head, body))
        if word == "script":
            stdout, code = run(body, own, stdin)
            out += [section("stdout", stdout), f"%% exit {code}\n"]
    return "".join(out)


def main():
    version = subprocess.run(["bash", "--version"], capture_output=True, text=True).stdout
    if "version 5." not in version:
        sys.exit("the corpus is recorded with bash 5")
    wrong = []
    for path in sorted(HERE.glob("*.corpus")):
        before = path.read_text()
        after = record(before)
        if before != after:
            wrong.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(after)
    if "--check" in sys.argv and wrong:
        sys.exit("not what bash prints: " + ", ".join(wrong))


main()
