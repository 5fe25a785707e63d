"""Two agents work on a directory; a person decides one step, looks, commits and undoes."""

import asyncio
import sys

import forerun
from forerun import Action, events

PLAN = [
    Action("write_file", {"path": "index.html", "content": "<h1>Forerun</h1>\n"}),
    Action("write_file", {"path": "style.css", "content": "h1 { color: red }\n"}),
    Action("read_file", {"path": "index.html"}),
    Action.terminate("a page with a heading"),
]


async def fast(request: forerun.Request) -> Action:
    """Propose the next step: soon, and not always the right one."""
    step = PLAN[request.step]
    return step if step.tool != "read_file" else Action("list_dir", {"path": "."})


async def slow(request: forerun.Request) -> Action:
    """Decide the next step, late."""
    await asyncio.sleep(0.8)
    return PLAN[request.step]


async def main(workspace: str) -> None:
    """Run, interrupt, commit and undo."""
    async with (
        forerun.connect() as daemon,
        daemon.session(workspace, task="A page", approximation=fast, target=slow) as session,
    ):
        async for event in session.steps():
            match event:
                case events.Waiting(step=0):
                    mine = {"path": "index.html", "content": "<h1>Mine</h1>\n"}
                    await session.replace(0, Action("write_file", mine))
                case events.Answer(step=step, source=source, action=action, matched=matched):
                    print(step, source, action.tool, "as proposed" if matched else "corrected")
                case events.Committed(step=step, changed=changed):
                    print(step, "committed", *(change.path for change in changed))
                case events.Stalled(reason=reason, hint=hint):
                    print("waits for you:", reason, hint)
                    await session.stop()
                case events.Ended(answer=answer):
                    print("answer:", answer)
        for undone in await session.undo():
            print(undone.step, "undone", *(change.path for change in undone.changed))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
