//! A set's table of examples: what must run, be held, asked or denied.

use crate::decide::By;
use crate::set::unprotect;
use crate::{
    CallRequest, CommitRequest, ConnectRequest, Counters, Decision, Outcome, PolicySet, Tested,
};
use forerun_types::{
    Action, Annotations, ChangeKind, Digest, PathChange, Source, Speculation, StepIndex,
    ToolDescription, Touch, fold,
};
use serde::Deserialize;

/// The table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Examples {
    /// Tools besides those of the toolbox, so that rules about kinds of tools show.
    #[serde(default, rename = "tool")]
    tools: Vec<ExampleTool>,
    #[serde(rename = "example")]
    pub(crate) examples: Vec<Example>,
}

/// A tool without arguments, described by what policies see of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExampleTool {
    name: String,
    speculation: Speculation,
    #[serde(default)]
    open_world: bool,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    destructive: bool,
    #[serde(default)]
    client: bool,
}

/// One line of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Example {
    /// What it shows.
    pub(crate) say: String,
    /// What must become of it.
    pub(crate) expect: Outcome,
    /// A policy that must be among those that decided.
    pub(crate) policy: Option<String>,
    /// Who acts.
    #[serde(default = "target")]
    pub(crate) by: Source,
    /// Whether the verdict is awaited; by default for the approximation agent.
    speculative: Option<bool>,
    /// What the user's configuration unprotects.
    #[serde(default)]
    pub(crate) unprotected: Vec<String>,
    /// A call of this tool.
    pub(crate) call: Option<String>,
    /// With these arguments.
    #[serde(default)]
    pub(crate) arguments: serde_json::Value,
    /// A request that a tool sends: method and address, such as `GET https://a.example/b`.
    pub(crate) connect: Option<String>,
    /// With a body of so many bytes.
    #[serde(default)]
    body: u64,
    /// Whether the configuration lists the host.
    #[serde(default)]
    listed: bool,
    /// Whether the configuration lets it be asked ahead.
    #[serde(default)]
    ahead: bool,
    /// Whether something sensitive was read before.
    #[serde(default)]
    read_sensitive: bool,
    /// A touch.
    pub(crate) touch: Option<Touch>,
    /// Of this path, as a sandbox sees it.
    pub(crate) path: Option<String>,
    /// A commit of these changes: `created a`, `renamed a b`, …
    pub(crate) commit: Option<Vec<String>>,
    /// And of so many deletions.
    #[serde(default)]
    deletions: usize,
    /// And of so many new paths.
    #[serde(default)]
    creations: usize,
    /// And of so many changed files.
    #[serde(default)]
    modifications: usize,
    /// And of so many moves.
    #[serde(default)]
    renames: usize,
    /// And of so many changes of permissions.
    #[serde(default)]
    permissions: usize,
    /// And with so many files that are shared with others.
    #[serde(default)]
    shared: usize,
    /// How many unverified steps a call stands on.
    depth: Option<u32>,
    /// How many calls there were before.
    #[serde(default)]
    calls: u64,
    /// How many bytes were sent before.
    #[serde(default)]
    bytes_out: u64,
    /// How many bytes were written before.
    #[serde(default)]
    bytes_written: u64,
}

fn target() -> Source {
    Source::Target
}

impl Examples {
    pub(crate) fn parse(text: &str) -> Result<Examples, String> {
        toml::from_str(text).map_err(|error| format!("the examples can not be read: {error}"))
    }

    /// The further tools.
    pub(crate) fn tools(&self) -> Vec<ToolDescription> {
        self.tools.iter().map(ExampleTool::describe).collect()
    }

    /// How the set decides each.
    pub(crate) fn test(&self, set: &PolicySet) -> Vec<Tested> {
        let tested = self.examples.iter().map(|example| Tested {
            say: example.say.clone(),
            asked: example.asked(),
            by: example.who(),
            expect: example.expect,
            failure: example.check(set).err(),
        });
        tested.collect()
    }
}

impl Example {
    /// Whether the verdict is awaited.
    pub(crate) fn is_speculative(&self) -> bool {
        self.speculative.unwrap_or(self.by == Source::Approximation)
    }

    /// Who asks, and whether the verdict is awaited.
    pub(crate) fn who(&self) -> String {
        match self.is_speculative() {
            true => format!("{}, unverified", self.by),
            false => self.by.to_string(),
        }
    }

    /// What is asked.
    pub(crate) fn asked(&self) -> String {
        let mut asked = match (&self.call, &self.touch, &self.path) {
            (Some(tool), _, _) if self.arguments.is_null() => format!("`{tool}`"),
            (Some(tool), _, _) => format!("`{tool} {}`", self.arguments),
            (_, Some(touch), Some(path)) => format!("{touch} `{path}`"),
            _ if let Some(connect) = &self.connect => format!("`{connect}`"),
            _ => {
                let mut changes = self.commit.clone().unwrap_or_default();
                for (count, what) in [
                    (self.shared, "of them shared"),
                    (self.creations, "creations"),
                    (self.modifications, "modifications"),
                    (self.renames, "renames"),
                    (self.permissions, "changes of permissions"),
                    (self.deletions, "deletions"),
                ] {
                    if count > 0 {
                        changes.push(format!("{count} {what}"));
                    }
                }
                format!("commit {}", changes.join(", "))
            }
        };
        for (count, what) in [
            (u64::from(self.depth.unwrap_or(0)), "unverified steps below"),
            (self.calls, "calls before"),
            (self.bytes_written, "bytes written before"),
            (self.body, "bytes of body"),
            (self.bytes_out, "bytes sent before"),
        ] {
            if count > 0 {
                asked.push_str(&format!(", {count} {what}"));
            }
        }
        for (is_so, what) in [
            (self.listed, "listed"),
            (self.ahead, "may be asked ahead"),
            (self.read_sensitive, "something sensitive was read"),
        ] {
            if is_so {
                asked.push_str(&format!(", {what}"));
            }
        }
        if !self.unprotected.is_empty() {
            let unprotected = self.unprotected.join("`, `");
            asked.push_str(&format!(" with `{unprotected}` unprotected"));
        }
        asked
    }

    fn check(&self, set: &PolicySet) -> Result<(), String> {
        let (outcome, policies) = self.decide(set)?;
        if outcome != self.expect {
            return Err(format!(
                "{outcome} instead of {} (policies {policies:?})",
                self.expect
            ));
        }
        match &self.policy {
            Some(policy) if !policies.contains(policy) => {
                Err(format!("decided by {policies:?} instead of {policy:?}"))
            }
            _ => Ok(()),
        }
    }

    fn decide(&self, set: &PolicySet) -> Result<(Outcome, Vec<String>), String> {
        if let Some(connect) = &self.connect {
            return self.decide_connect(set, connect);
        }
        match (&self.call, self.touch, &self.path, &self.commit) {
            (Some(tool), None, None, None) => self.decide_call(set, tool),
            (None, Some(touch), Some(path), None) => self.decide_touch(set, touch, path),
            (None, None, None, Some(changes)) => self.decide_commit(set, changes),
            _ => {
                Err("it has to have a call, a request, a touch with a path, or a commit".to_owned())
            }
        }
    }

    fn decide_call(&self, set: &PolicySet, tool: &str) -> Result<(Outcome, Vec<String>), String> {
        let arguments = if self.arguments.is_null() {
            "{}".to_owned()
        } else {
            self.arguments.to_string()
        };
        let action = Action::parse(tool, &arguments).map_err(|error| error.to_string())?;
        let call = CallRequest {
            principal: self.by,
            action: &action,
            step: StepIndex(0),
            depth: self.depth.unwrap_or(u32::from(self.is_speculative())),
            speculative: self.is_speculative(),
            counters: Counters {
                calls: self.calls,
                bytes_written: self.bytes_written,
                ..Counters::default()
            },
            read_sensitive: self.read_sensitive,
        };
        let decision = agreed(|by| set.decide_call_by(by, &call))?;
        if matches!(
            decision.code,
            "policy_unknown_tool" | "policy_arguments" | "policy_error"
        ) {
            return Err(decision.reason);
        }
        Ok((decision.outcome, decision.policies))
    }

    fn decide_connect(
        &self,
        set: &PolicySet,
        connect: &str,
    ) -> Result<(Outcome, Vec<String>), String> {
        let odd = || format!("{connect:?} is no method with an address");
        let (method, url) = connect.split_once(' ').ok_or_else(odd)?;
        let (scheme, rest) = url.split_once("://").ok_or_else(odd)?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let request = ConnectRequest {
            principal: self.by,
            tool: "example_fetch",
            step: StepIndex(0),
            depth: self.depth.unwrap_or(u32::from(self.is_speculative())),
            speculative: self.is_speculative(),
            counters: Counters {
                calls: self.calls,
                bytes_written: self.bytes_written,
                bytes_out: self.bytes_out,
                ..Counters::default()
            },
            scheme,
            host,
            port: if scheme == "http" { 80 } else { 443 },
            method,
            path,
            body_length: self.body,
            headers_length: 0,
            listed: self.listed,
            ahead: self.ahead,
            read_sensitive: self.read_sensitive,
        };
        let decision = agreed(|by| set.decide_connect_by(by, &request))?;
        match decision.code {
            "policy_error" => Err(decision.reason),
            _ => Ok((decision.outcome, decision.policies)),
        }
    }

    /// By the compiled rules and by Cedar, which have to agree.
    fn decide_touch(
        &self,
        set: &PolicySet,
        touch: Touch,
        path: &str,
    ) -> Result<(Outcome, Vec<String>), String> {
        let unprotected = self.unprotected.iter().map(|path| unprotect(path));
        let unprotected: Vec<String> = unprotected
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let speculative = self.is_speculative();
        let rules = set.0.compile(self.by, speculative, &unprotected);
        let denied = rules.decide(touch, path, &fold(path)).err();
        let cedar = set.cedar_allows(self.by, speculative, &unprotected, touch, path)?;
        if cedar == denied.is_some() {
            return Err("the path rules and Cedar do not agree".to_owned());
        }
        Ok(match denied {
            None => (Outcome::Run, Vec::new()),
            Some(denied) if denied.policy.is_empty() => (Outcome::Deny, Vec::new()),
            Some(denied) => (Outcome::Deny, vec![denied.policy]),
        })
    }

    fn decide_commit(
        &self,
        set: &PolicySet,
        changes: &[String],
    ) -> Result<(Outcome, Vec<String>), String> {
        let mut changed = changes
            .iter()
            .map(|text| change(text))
            .collect::<Result<Vec<_>, _>>()?;
        let moved = ChangeKind::Renamed {
            from: "from".to_owned(),
        };
        for (count, kind) in [
            (self.deletions, ChangeKind::Deleted),
            (self.creations, ChangeKind::Created),
            (self.modifications, ChangeKind::Modified),
            (self.permissions, ChangeKind::Attributes),
            (self.renames, moved),
        ] {
            changed.extend((0..count).map(|number| PathChange {
                path: format!("some/{number}"),
                kind: kind.clone(),
            }));
        }
        let commit = CommitRequest {
            principal: self.by,
            changed: &changed,
            shared: self.shared,
        };
        let decision = agreed(|by| set.decide_commit_by(by, &commit))?;
        Ok((decision.outcome, decision.policies))
    }
}

impl ExampleTool {
    fn describe(&self) -> ToolDescription {
        ToolDescription {
            name: self.name.clone(),
            title: self.name.clone(),
            description: String::new(),
            input_schema: serde_json::json!({ "type": "object" }),
            output_schema: None,
            annotations: Annotations {
                read_only: self.read_only,
                destructive: self.destructive,
                idempotent: false,
                open_world: self.open_world,
            },
            deterministic: false,
            speculation: self.speculation,
            component: Digest::of(&self.name),
            client: self.client,
        }
    }
}

/// What the rules and Cedar decide, if it is the same.
fn agreed(decide: impl Fn(By) -> Decision) -> Result<Decision, String> {
    let [rules, cedar] = [By::Rules, By::Cedar].map(decide);
    let same = (rules.outcome, &rules.policies) == (cedar.outcome, &cedar.policies);
    match same {
        true => Ok(rules),
        false => Err("the rules and Cedar do not agree".to_owned()),
    }
}

fn change(text: &str) -> Result<PathChange, String> {
    let words: Vec<_> = text.split(' ').collect();
    let (path, kind) = match words.as_slice() {
        ["created", path] => (path, ChangeKind::Created),
        ["modified", path] => (path, ChangeKind::Modified),
        ["deleted", path] => (path, ChangeKind::Deleted),
        ["attributes", path] => (path, ChangeKind::Attributes),
        ["renamed", from, path] => (
            path,
            ChangeKind::Renamed {
                from: (*from).to_owned(),
            },
        ),
        _ => return Err(format!("{text:?} is no change")),
    };
    Ok(PathChange {
        path: (*path).to_owned(),
        kind,
    })
}
