"""An agent that keeps its own loop, as one on chat completions does: its tools are Forerun's.

Every call of a tool becomes an act: it runs in a sandbox under policy, and can be undone. The
model is anything that answers messages with calls of tools; here it is a list.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import forerun

Message = dict[str, Any]
Model = Callable[[list[Message], list[Message]], Message]


def as_function(tool: forerun.Tool) -> Message:
    """Describe a tool as chat completions want it."""
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.schema(),
    }
    return {"type": "function", "function": function}


async def loop(session: forerun.Acting, tools: tuple[forerun.Tool, ...], model: Model) -> str:
    """Ask the model until it calls no more tools; return what it says."""
    messages: list[Message] = [{"role": "user", "content": "Say hello in hello.txt."}]
    functions = [as_function(tool) for tool in tools]
    while True:
        answer = model(messages, functions)
        messages.append(answer)
        calls = answer.get("tool_calls", [])
        if not calls:
            return str(answer["content"])
        for call in calls:
            function = call["function"]
            action = forerun.Action(function["name"], json.loads(function["arguments"]))
            # The call's id as key: a loop that is started again does nothing twice.
            act = await session.act(action, key=call["id"])
            while isinstance(act.outcome, forerun.Pending):
                print("waits for you:", act.outcome.reason)
                act = await session.act_result(act.key)
            said = "\n".join([*act.notices, act.observation.text])
            if act.outcome.instead is not None:
                said = f"The user did this instead: {act.outcome.instead}\n{said}"
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": said})


def call(index: int, tool: str, **arguments: str) -> Message:
    """Write the answer of a model that calls one tool."""
    function = {"name": tool, "arguments": json.dumps(arguments)}
    calls = [{"id": f"call_{index}", "type": "function", "function": function}]
    return {"role": "assistant", "tool_calls": calls}


ANSWERS: list[Message] = [
    call(0, "write_file", path="hello.txt", content="hello\n"),
    call(1, "shell", script="wc -c hello.txt"),
    {"role": "assistant", "content": "hello.txt says hello."},
]


def scripted(messages: list[Message], _functions: list[Message]) -> Message:
    """Answer as a model would that knows its lines."""
    answered = len([message for message in messages if message["role"] == "assistant"])
    return ANSWERS[answered]


async def main(workspace: str) -> None:
    """Run the loop on a workspace, and show what it did."""
    async with forerun.connect() as daemon, daemon.session(workspace) as session:
        print(await loop(session, await daemon.tools(), scripted))
        async for event in session.watch(follow=False):
            match event:
                case forerun.events.Committed(step=step, changed=changed):
                    print(step, *(f"{change.kind} {change.path}" for change in changed))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
