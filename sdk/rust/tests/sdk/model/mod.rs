//! Model agents against a strict server of both protocols.

mod ask;
mod cancel;
mod failures;
mod replies;
mod requests;
mod rules;
mod said;
mod server;
mod styles;
