"""The Python SDK of Forerun.

It finds or starts the daemon, opens sessions, attaches agents, watches steps and interrupts; or
acts through a session, for an agent that keeps its own loop. Asynchronous; `forerun.sync` is the
same for programs that are not.

    async with forerun.connect() as daemon:
        async with daemon.session("./site", task="…", approximation=fast, target=slow) as session:
            async for event in session.steps():
                print(event)

No type that is generated from the protocol is part of what is public, nothing is printed, and no
configuration file is read.
"""

from forerun import errors, events, sync
from forerun._attach import Attachment
from forerun.agents import (
    Agent,
    AgentError,
    Proposal,
    RateLimitedError,
    Request,
    TransientError,
    agent,
)
from forerun.daemon import Forerun, connect
from forerun.errors import ForerunError, RefusedError, StalledError
from forerun.events import Event
from forerun.session import Acting, Session, TakenBack, Tokens
from forerun.tools import ClientTool, tool
from forerun.values import (
    Act,
    Action,
    AllowFor,
    Candidate,
    ChangeKind,
    CommitMode,
    DaemonStatus,
    DepthControl,
    Done,
    FileDiff,
    Finish,
    Finished,
    Hit,
    Observation,
    ObservationStatus,
    PathChange,
    Pending,
    PendingError,
    Role,
    SessionInfo,
    SessionState,
    Step,
    Suggestion,
    Tool,
    Undone,
    Usage,
    View,
    Window,
)

__all__ = [
    "Act",
    "Acting",
    "Action",
    "Agent",
    "AgentError",
    "AllowFor",
    "Attachment",
    "Candidate",
    "ChangeKind",
    "ClientTool",
    "CommitMode",
    "DaemonStatus",
    "DepthControl",
    "Done",
    "Event",
    "FileDiff",
    "Finish",
    "Finished",
    "Forerun",
    "ForerunError",
    "Hit",
    "Observation",
    "ObservationStatus",
    "PathChange",
    "Pending",
    "PendingError",
    "Proposal",
    "RateLimitedError",
    "RefusedError",
    "Request",
    "Role",
    "Session",
    "SessionInfo",
    "SessionState",
    "StalledError",
    "Step",
    "Suggestion",
    "TakenBack",
    "Tokens",
    "Tool",
    "TransientError",
    "Undone",
    "Usage",
    "View",
    "Window",
    "agent",
    "connect",
    "errors",
    "events",
    "sync",
    "tool",
]
