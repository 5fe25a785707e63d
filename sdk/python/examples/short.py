"""Two agents, a decision of yours, and all of it undone, in twenty lines."""

import asyncio
import sys

import forerun
from forerun import Action, Request, events

GUESS, MINE = (Action("write_file", {"path": "a", "content": text}) for text in ("guess", "mine"))
PLAN = [GUESS, Action.terminate("done")]


async def fast(request: Request) -> Action:
    """Run ahead."""
    return PLAN[request.step]


async def slow(request: Request) -> Action:
    """Have the last word, late."""
    await asyncio.sleep(0.5)
    return PLAN[request.step]


async def main(workspace: str) -> None:
    """Run, interrupt, undo."""
    async with forerun.connect() as daemon:
        session = await daemon.session(workspace, approximation=fast, target=slow)
        async for event in session.steps():
            if isinstance(event, events.Waiting) and event.step == 0:
                await session.replace(0, MINE)
            elif isinstance(event, events.Answer):
                print(event.step, event.source, event.action.tool)
        print("undone:", [step.changed[0].path for step in await session.undo()])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
