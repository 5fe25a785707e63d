//! Requests to hosts: what is asked of a set about them.

use crate::decide::{By, modes};
use crate::fact::{Fact, Question};
use crate::{Counters, Decision, PolicySet};
use forerun_types::{Source, StepIndex};
use serde::Serialize;
use std::borrow::Cow;

/// Bytes of a path that policies see.
const PATH_BYTES_MAX: usize = 1 << 10;

/// May this tool send this request?
#[derive(Clone, Debug, Serialize)]
pub struct ConnectRequest<'a> {
    /// Who the action comes from.
    pub principal: Source,
    /// The tool that sends it.
    pub tool: &'a str,
    /// The action's position in the plan.
    pub step: StepIndex,
    /// How many unverified steps it stands on.
    pub depth: u32,
    /// Whether its verdict is still awaited.
    pub speculative: bool,
    /// What was used so far on the way to it.
    pub counters: Counters,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// In lower case, without the port.
    pub host: &'a str,
    /// Where it connects to.
    pub port: u16,
    /// In capitals.
    pub method: &'a str,
    /// With the query.
    pub path: &'a str,
    /// Bytes of the body.
    pub body_length: u64,
    /// Bytes of the headers that the tool set.
    pub headers_length: u64,
    /// Whether the user's configuration lists the host.
    pub listed: bool,
    /// Whether it may be asked ahead of the verdict, by the user's configuration.
    pub ahead: bool,
    /// Whether something sensitive was read on the way to it.
    pub read_sensitive: bool,
}

impl PolicySet {
    /// Decides a request to a host, as [`PolicySet::decide_call`] does a call.
    pub fn decide_connect(&self, request: &ConnectRequest<'_>) -> Decision {
        let decide = |set: &PolicySet| set.decide_connect_by(By::Rules, request);
        self.enforce_or_note(modes(request.principal, request.speculative), decide)
    }

    pub(crate) fn decide_connect_by(&self, by: By, request: &ConnectRequest<'_>) -> Decision {
        let text = |text| Fact::Text(Cow::Borrowed(text));
        let path = &request.path[..request.path.floor_char_boundary(PATH_BYTES_MAX)];
        let context = [
            ("step", Fact::count(u64::from(request.step.0))),
            ("depth", Fact::count(u64::from(request.depth))),
            ("speculative", Fact::Flag(request.speculative)),
            ("counters", request.counters.fact()),
            ("scheme", text(request.scheme)),
            ("host", text(request.host)),
            ("port", Fact::count(u64::from(request.port))),
            ("method", text(request.method)),
            ("path", text(path)),
            ("path_length", Fact::count(request.path.len() as u64)),
            ("body_length", Fact::count(request.body_length)),
            ("headers_length", Fact::count(request.headers_length)),
            ("listed", Fact::Flag(request.listed)),
            ("ahead", Fact::Flag(request.ahead)),
            ("read_sensitive", Fact::Flag(request.read_sensitive)),
        ];
        let attributes = self.0.schema.tools.get(request.tool);
        let attributes = attributes.map_or(&[][..], |attributes| attributes);
        let resource = Fact::entity("Tool", request.tool);
        let principal = request.principal;
        let question = Question::new(principal, "connect", resource, attributes, context);
        let (method, host, port) = (request.method, request.host, request.port);
        let what = format_args!("{method} to {host} on port {port}");
        self.decide(by, modes(principal, request.speculative), what, question)
    }
}
