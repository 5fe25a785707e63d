//! Requests to hosts: what is asked of a set about them.

use crate::decide::{long, modes, with_mode};
use crate::paths::uid;
use crate::{Counters, Decision, PolicySet};
use cedar_policy::RestrictedExpression;
use forerun_types::{Source, StepIndex};

/// Bytes of a path that policies see.
const PATH_BYTES_MAX: usize = 1 << 10;

/// May this tool send this request?
#[derive(Clone, Debug)]
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
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let flag = RestrictedExpression::new_bool;
        let path = &request.path[..request.path.floor_char_boundary(PATH_BYTES_MAX)];
        let context = [
            ("step", long(u64::from(request.step.0))),
            ("depth", long(u64::from(request.depth))),
            ("speculative", flag(request.speculative)),
            ("counters", request.counters.record()),
            ("scheme", text(request.scheme)),
            ("host", text(request.host)),
            ("port", long(u64::from(request.port))),
            ("method", text(request.method)),
            ("path", text(path)),
            ("path_length", long(request.path.len() as u64)),
            ("body_length", long(request.body_length)),
            ("headers_length", long(request.headers_length)),
            ("listed", flag(request.listed)),
            ("ahead", flag(request.ahead)),
            ("read_sensitive", flag(request.read_sensitive)),
        ];
        let what = format!(
            "{} to {} on port {}",
            request.method, request.host, request.port
        );
        let modes = modes(request.principal, request.speculative);
        self.decide(modes, &what, |mode| {
            let resource = uid("Tool", request.tool);
            let context = with_mode(mode, &context);
            self.ask(
                &self.0.schema.entities,
                request.principal,
                "connect",
                resource,
                context,
            )
        })
    }
}
