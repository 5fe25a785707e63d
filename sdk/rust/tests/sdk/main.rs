//! The SDK against an in-process daemon on a real Unix socket.

mod attach;
mod connect;
mod fake;
mod model;
mod session;
mod watch;
