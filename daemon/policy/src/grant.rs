//! What the user allows for more than once: for a session, which remembers the [`Grant`], or
//! always, which adds a permit to a layer of their own.
//!
//! - **Invariant:** a permit is for verified actions: nothing runs ahead because of it.
//! - **Invariant:** a permit takes effect only where nothing forbids; so it can not give free
//!   what a set, or what lies under it, forbids.

use crate::source::Source;
use crate::{Layer, PolicyError};
use std::fmt;

/// Actions that are alike enough to be allowed together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// Calls of a tool.
    Call {
        /// Its name.
        tool: String,
        /// Whether a program of the owner's executes it.
        client: bool,
    },
    /// Requests to a host.
    Connect {
        /// In lower case, without the port.
        host: String,
        /// Its port.
        port: u16,
        /// In capitals; none for all that only read (GET, HEAD and OPTIONS).
        method: Option<String>,
    },
    /// Commits.
    Commit,
}

impl Grant {
    /// The permit that allows these always, as it is written.
    pub fn permit(&self) -> String {
        let (scope, condition) = match self {
            Grant::Call { tool, client } => (
                format!("action in Action::\"call\", resource == Tool::{tool:?}"),
                format!("resource.client == {client} && !context.speculative"),
            ),
            Grant::Connect { host, port, method } => {
                let method = match method {
                    Some(method) => format!("context.method == {method:?}"),
                    None => "[\"GET\", \"HEAD\", \"OPTIONS\"].contains(context.method)".to_owned(),
                };
                (
                    "action == Action::\"connect\", resource".to_owned(),
                    format!(
                        "context.host == {host:?} && context.port == {port} && {method} && \
                         !context.speculative"
                    ),
                )
            }
            Grant::Commit => (
                "action == Action::\"commit\", resource".to_owned(),
                "true".to_owned(),
            ),
        };
        let (id, reason) = (self.id(), format!("you allowed {self} always"));
        format!(
            "@id({id:?})\n@reason({reason:?})\npermit (principal, {scope})\n\
             when {{ {condition} && context.mode == Mode::\"run\" }};\n"
        )
    }

    fn id(&self) -> String {
        match self {
            Grant::Call { tool, client: true } => format!("always:program:{tool}"),
            Grant::Call { tool, .. } => format!("always:tool:{tool}"),
            Grant::Connect { host, port, method } => {
                let method = method.as_deref().unwrap_or("read");
                format!("always:{method}:{host}:{port}")
            }
            Grant::Commit => "always:commit".to_owned(),
        }
    }
}

impl Layer {
    /// The layer's source with a permit added; `None` if it has it, by its name.
    ///
    /// # Errors
    /// If the layer, or the permit, can not be read.
    pub fn with(&self, permit: &str) -> Result<Option<String>, PolicyError> {
        let names = |source: &str| -> Result<Vec<String>, PolicyError> {
            let policies = Source(source).parse();
            let policies = policies.map_err(|problems| PolicyError::Invalid {
                set: self.name.clone(),
                problems,
            })?;
            Ok(policies.into_iter().map(|named| named.id).collect())
        };
        let known = names(&self.source)?;
        if names(permit)?.iter().all(|name| known.contains(name)) {
            return Ok(None);
        }
        Ok(Some(format!("{}\n\n{permit}", self.source.trim_end())))
    }
}

/// As a part of a sentence: `calls of deploy`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::Call { tool, .. } => write!(f, "calls of {tool}"),
            Grant::Connect { host, port, method } => match method {
                Some(method) => write!(f, "{method} to {host}:{port}"),
                None => write!(f, "reading from {host}:{port}"),
            },
            Grant::Commit => f.write_str("commits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::toolbox;
    use crate::{
        CallRequest, CommitRequest, ConnectRequest, Counters, LoadOptions, Outcome, PolicySet,
    };
    use forerun_types::{Action, Source as Principal, StepIndex};
    use proptest::prelude::*;

    /// Asks for everything, and forbids one host.
    const ASKS: &str = "
        @id(\"ask\") permit (principal, action in Action::\"call\", resource)
        when { context.mode == Mode::\"ask\" || context.mode == Mode::\"hold\" };
        @id(\"ask-requests\") permit (principal, action == Action::\"connect\", resource)
        when { context.mode == Mode::\"ask\" || context.mode == Mode::\"hold\" };
        @id(\"ask-commits\") permit (principal, action == Action::\"commit\", resource)
        when { context.mode == Mode::\"ask\" };
        @id(\"not-there\") forbid (principal, action == Action::\"connect\", resource)
        when { context.host == \"evil.example\" && context.mode == Mode::\"run\" };";

    fn with(grants: &[Grant]) -> PolicySet {
        let mut layer = Layer {
            name: "always".to_owned(),
            source: "// What is always allowed.".to_owned(),
        };
        for grant in grants {
            let added = layer.with(&grant.permit()).expect("reads");
            layer.source = added.expect("is new");
            assert_eq!(layer.with(&grant.permit()).expect("reads"), None);
        }
        let options = LoadOptions {
            granting: Some(layer),
            ..LoadOptions::default()
        };
        PolicySet::load_with("asks", ASKS, &toolbox(), &options)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn call(set: &PolicySet, tool: &str, speculative: bool) -> (Outcome, bool) {
        let action = Action::parse(tool, r#"{"path":"a","content":""}"#).expect("an action");
        let decision = set.decide_call(&CallRequest {
            principal: Principal::Target,
            action: &action,
            step: StepIndex(3),
            depth: 0,
            speculative,
            counters: Counters::default(),
            read_sensitive: false,
        });
        (decision.outcome, decision.grantable)
    }

    fn connect(set: &PolicySet, method: &str, host: &str, port: u16) -> (Outcome, bool) {
        let decision = set.decide_connect(&ConnectRequest {
            principal: Principal::Target,
            tool: "fetch",
            step: StepIndex(3),
            depth: 0,
            speculative: false,
            counters: Counters::default(),
            scheme: "https",
            host,
            port,
            method,
            path: "/",
            body_length: 0,
            headers_length: 0,
            listed: false,
            ahead: false,
            read_sensitive: false,
        });
        (decision.outcome, decision.grantable)
    }

    fn to(host: &str, method: Option<&str>) -> Grant {
        Grant::Connect {
            host: host.to_owned(),
            port: 443,
            method: method.map(str::to_owned),
        }
    }

    #[test]
    fn a_grant_lets_verified_actions_of_its_kind_run_and_no_others() {
        use Outcome::{Ask, Hold, Run};
        let none = with(&[]);
        assert_eq!(call(&none, "write_file", false), (Ask, true));
        assert_eq!(connect(&none, "GET", "a.example", 443), (Ask, true));
        let tool = Grant::Call {
            tool: "write_file".to_owned(),
            client: false,
        };
        let set = with(&[
            tool,
            to("a.example", Some("POST")),
            to("b.example", None),
            Grant::Commit,
        ]);
        assert_eq!(call(&set, "write_file", false).0, Run);
        assert_eq!(call(&set, "write_file", true).0, Hold);
        assert_eq!(call(&set, "edit_file", false).0, Ask);
        assert_eq!(connect(&set, "POST", "a.example", 443).0, Run);
        assert_eq!(connect(&set, "GET", "a.example", 443).0, Ask);
        assert_eq!(connect(&set, "POST", "a.example", 8443).0, Ask);
        assert_eq!(connect(&set, "HEAD", "b.example", 443).0, Run);
        assert_eq!(connect(&set, "POST", "b.example", 443).0, Ask);
        let commit = set.decide_commit(&CommitRequest {
            principal: Principal::Target,
            changed: &[],
            shared: 0,
        });
        assert_eq!(commit.outcome, Run);
    }

    #[test]
    fn what_is_forbidden_is_not_to_be_had() {
        let evil = to("evil.example", Some("POST"));
        let (outcome, grantable) = connect(&with(&[]), "POST", "evil.example", 443);
        assert_eq!((outcome, grantable), (Outcome::Ask, false));
        let (outcome, _) = connect(&with(&[evil]), "POST", "evil.example", 443);
        assert_eq!(outcome, Outcome::Ask);
    }

    #[test]
    fn a_permit_of_a_tool_that_is_not_there_harms_nothing() {
        let other = Grant::Call {
            tool: "deploy".to_owned(),
            client: true,
        };
        assert_eq!(call(&with(&[other]), "write_file", false).0, Outcome::Ask);
    }

    proptest! {
        #[test]
        fn every_name_is_written_so_that_it_is_read_as_it_was(tool in ".{1,40}", host in ".{0,40}") {
            let grants = [
                Grant::Call { tool, client: true },
                to(&host, Some("PUT")),
            ];
            let mut layer = Layer { name: "always".to_owned(), source: String::new() };
            for grant in grants {
                layer.source = layer.with(&grant.permit()).expect("reads").expect("is new");
                prop_assert_eq!(layer.with(&grant.permit()).expect("reads"), None);
            }
        }
    }
}
