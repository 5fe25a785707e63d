"""Runs plain functions in threads, for a loop that must not wait for them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


async def in_thread(function: Callable[..., Result], *args: object, **kwargs: object) -> Result:
    """Call a function in a thread of its own, which nobody waits for when this is given up.

    A pool would let calls that are given up hold up those that are wanted, and the end of the
    program. What is no `Exception`, such as `SystemExit`, becomes a `RuntimeError`: it is the
    thread that it ends.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        result: Result | None = None
        failed: BaseException | None = None
        try:
            result = function(*args, **kwargs)
        except StopIteration as error:
            # No future takes it.
            failed = RuntimeError(f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            failed = error
        except BaseException as error:  # noqa: BLE001
            failed = RuntimeError(f"{type(error).__name__}: {error}")
        try:
            loop.call_soon_threadsafe(settle, result, failed)
        except RuntimeError:
            # The loop is closed: nobody waits.
            return

    threading.Thread(target=run, name="forerun-call", daemon=True).start()
    return await future
