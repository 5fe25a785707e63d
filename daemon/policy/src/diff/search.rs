//! Requests that may show a difference, made from what the policies compare.
//!
//! Two sets can only differ where one of the policies holds that they do not share. So each
//! of these is solved: its comparisons are made true, one way after the other, at the border
//! of what they allow. Around each solution, one thing at a time becomes every other value
//! that some policy compares it with, or one beside it, for everyone who may ask.
//!
//! Never says that there is no difference; tries at most [`REQUESTS_MAX`] requests.

use super::implies::{Worth, comparison};
use super::{Directions, Slices, Sought, Witness};
use crate::decide::By;
use crate::expression::Expression;
use crate::fact::Fact;
use crate::paths::WORKSPACE;
use crate::schema::{Field, Kind, LENGTH_SUFFIX};
use crate::{CallRequest, CommitRequest, ConnectRequest, Counters, Decision, PolicySet};
use forerun_types::{Action, ChangeKind, PathChange, Source, StepIndex};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};

/// Most requests that are tried for one action: stops large sets from taking minutes. Fewer
/// in tests, which compare thousands of sets.
const REQUESTS_MAX: usize = if cfg!(test) { 400 } else { 20_000 };
/// Most ways in which one policy is made to hold.
const SOLUTIONS_MAX: usize = 48;
/// Most values of a list that is compared which are tried.
const VALUES_MAX: usize = 6;
/// Longest text that is made up, in bytes; stops a policy about lengths from filling memory.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// What is written where a policy leaves it open.
const TEXT: &str = "x";

const COUNTS: [&str; 6] = [
    "created",
    "modified",
    "deleted",
    "renamed",
    "attributes",
    "shared",
];
const USED: [&str; 6] = [
    "step",
    "depth",
    "calls",
    "bytes_written",
    "commits",
    "bytes_out",
];
/// What numbers, texts and flags there are of a request to a host, besides those.
const SIZES: [&str; 4] = ["port", "path_length", "body_length", "headers_length"];
const TEXTS: [&str; 4] = ["scheme", "host", "method", "path"];
const FLAGS: [&str; 2] = ["listed", "ahead"];

/// A request that is being made up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Draft {
    principal: Source,
    speculative: bool,
    /// Of [`COUNTS`], [`USED`] or [`SIZES`].
    numbers: BTreeMap<&'static str, u64>,
    /// Of a call, in JSON; of a request to a host, its [`TEXTS`] and [`FLAGS`].
    arguments: BTreeMap<String, Value>,
    /// Of a call: there is an argument that policies do not see.
    partial: bool,
    read_sensitive: bool,
}

/// What drafts are made for.
struct Drafter<'s> {
    before: &'s PolicySet,
    after: &'s PolicySet,
    what: What<'s>,
}

/// The action.
enum What<'s> {
    Call(&'s str, &'s BTreeMap<String, Field>),
    Commit,
    /// By this tool.
    Connect(&'s str),
}

/// Offers requests that the sets may decide differently.
pub(super) fn witnesses(slices: &Slices<'_>, possible: Directions, sought: &mut Sought) {
    let Some(drafter) = Drafter::new(slices) else {
        return;
    };
    let mut tried = HashSet::new();
    let mut is_over = |draft: &Draft| {
        if tried.len() < REQUESTS_MAX && tried.insert(draft.clone()) {
            drafter.offer(draft, sought);
        }
        tried.len() >= REQUESTS_MAX || sought.wants(possible).none()
    };
    let differing = || slices.new.iter().chain(&slices.gone);
    let mut solutions = vec![drafter.empty()];
    for known in differing() {
        solutions.extend(drafter.solve(&known.condition, true, vec![drafter.empty()]));
    }
    let askers = solutions.iter().flat_map(Draft::askers);
    if askers.into_iter().any(|draft| is_over(&draft)) {
        return;
    }
    let mut values = Vec::new();
    for known in differing().chain(&slices.common) {
        collect(&known.condition, &mut values);
    }
    for solution in &solutions {
        for (of, value) in &values {
            let mut draft = solution.clone();
            if drafter.set(&mut draft, of, value) && draft.askers().iter().any(&mut is_over) {
                return;
            }
        }
    }
}

impl Draft {
    /// The same request, of everyone who may ask it: its own asker first.
    fn askers(&self) -> Vec<Draft> {
        let others = [Source::Target, Source::Approximation, Source::User]
            .into_iter()
            .flat_map(|principal| [false, true].map(|speculative| (principal, speculative)));
        let own = (self.principal, self.speculative);
        let all = std::iter::once(own).chain(others.filter(|other| *other != own));
        all.map(|(principal, speculative)| Draft {
            principal,
            speculative,
            ..self.clone()
        })
        .collect()
    }

    fn counters(&self) -> Counters {
        Counters {
            calls: self.number("calls"),
            bytes_written: self.number("bytes_written"),
            commits: self.number("commits"),
            bytes_out: self.number("bytes_out"),
        }
    }

    fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }
}

impl<'s> Drafter<'s> {
    /// `None` for an action that nobody knows how to ask for.
    fn new(slices: &Slices<'s>) -> Option<Drafter<'s>> {
        let what = match slices.action.strip_prefix("call:") {
            Some(tool) => match slices.before.0.schema.arguments.get(tool)? {
                Kind::Record(fields) => What::Call(tool, fields),
                _ => return None,
            },
            None if slices.action == "commit" => What::Commit,
            None if slices.action == "connect" => {
                let tools = slices.before.0.schema.tools.keys();
                What::Connect(tools.min()?)
            }
            None => return None,
        };
        Some(Drafter {
            before: slices.before,
            after: slices.after,
            what,
        })
    }

    /// A request with nothing in it that it need not have.
    fn empty(&self) -> Draft {
        let mut arguments = BTreeMap::new();
        if let What::Call(_, fields) = self.what {
            let required = fields.iter().filter(|(_, field)| field.required);
            arguments.extend(required.map(|(name, field)| (name.clone(), simplest(&field.kind))));
        }
        Draft {
            principal: Source::Target,
            speculative: false,
            numbers: BTreeMap::new(),
            arguments,
            partial: false,
            read_sensitive: false,
        }
    }

    /// Drafts, changed so that a condition is worth this, as far as it can be told how.
    fn solve(&self, condition: &Expression, wanted: bool, drafts: Vec<Draft>) -> Vec<Draft> {
        use Expression::{All, AnyOf, Has, If, Not};
        let each = |parts: &[Expression]| {
            let solve = |drafts, part: &Expression| self.solve(part, wanted, drafts);
            parts.iter().fold(drafts.clone(), solve)
        };
        let one = |parts: &[Expression]| {
            let parts = parts.iter();
            parts
                .flat_map(|part| self.solve(part, wanted, drafts.clone()))
                .collect()
        };
        let mut solved: Vec<Draft> = match condition {
            All(parts) if wanted => each(parts),
            AnyOf(parts) if !wanted => each(parts),
            All(parts) | AnyOf(parts) => one(parts),
            Not(inner) => self.solve(inner, !wanted, drafts),
            If(parts) => {
                let then = self.solve(&parts[0], true, drafts.clone());
                let or = self.solve(&parts[0], false, drafts);
                let then = self.solve(&parts[1], wanted, then);
                then.into_iter()
                    .chain(self.solve(&parts[2], wanted, or))
                    .collect()
            }
            Has(of, name) => {
                let path = path(of).map(|path| [path, vec![name]].concat());
                let change = |mut draft: Draft| {
                    if let Some([_, argument]) = path.as_deref() {
                        self.give(&mut draft, argument, wanted);
                    }
                    draft
                };
                drafts.into_iter().map(change).collect()
            }
            other => {
                let values = borders(other, wanted);
                let change = |draft: Draft| {
                    let changed: Vec<_> = values
                        .iter()
                        .filter_map(|(of, value)| {
                            let mut draft = draft.clone();
                            self.set(&mut draft, of, value).then_some(draft)
                        })
                        .collect();
                    if changed.is_empty() {
                        vec![draft]
                    } else {
                        changed
                    }
                };
                drafts.into_iter().flat_map(change).collect()
            }
        };
        solved.truncate(SOLUTIONS_MAX);
        solved
    }

    /// Sets what an expression names; says whether it could.
    fn set(&self, draft: &mut Draft, of: &Expression, value: &Fact<'_>) -> bool {
        let Some(path) = path(of) else {
            return false;
        };
        match (path.as_slice(), value) {
            (["role"], Fact::Entity(_, role)) => {
                let mut all = [Source::Approximation, Source::Target, Source::User].into_iter();
                let found = all.find(|source| source.as_str() == role);
                found.map(|source| draft.principal = source).is_some()
            }
            (["speculative"], Fact::Flag(flag)) => {
                draft.speculative = *flag;
                true
            }
            (["args_partial"], Fact::Flag(flag)) => {
                draft.partial = *flag;
                true
            }
            (["read_sensitive"], Fact::Flag(flag)) => {
                draft.read_sensitive = *flag;
                true
            }
            ([name] | ["counters", name], Fact::Whole(number)) => {
                let known = match self.what {
                    What::Call(..) => [USED.as_slice(), &[]],
                    What::Commit => [COUNTS.as_slice(), &[]],
                    What::Connect(_) => [USED.as_slice(), &SIZES],
                };
                let name = known.into_iter().flatten().find(|known| *known == name);
                let (Some(name), Ok(number)) = (name, u64::try_from(*number)) else {
                    return false;
                };
                let is_small = matches!(*name, "step" | "depth");
                if is_small && u32::try_from(number).is_err() {
                    return false;
                }
                draft.numbers.insert(name, number);
                true
            }
            (["args", rest @ ..], value) => match self.what {
                What::Call(_, fields) => set_argument(&mut draft.arguments, fields, rest, value),
                What::Commit | What::Connect(_) => false,
            },
            ([name], value) if matches!(self.what, What::Connect(_)) => {
                let value = match value {
                    Fact::Text(text) if TEXTS.contains(name) => json!(text),
                    Fact::Flag(flag) if FLAGS.contains(name) => json!(flag),
                    _ => return false,
                };
                draft.arguments.insert((*name).to_owned(), value);
                true
            }
            _ => false,
        }
    }

    /// Gives a call an argument, or takes it away.
    fn give(&self, draft: &mut Draft, argument: &str, wanted: bool) {
        let What::Call(_, fields) = self.what else {
            return;
        };
        let argument = match fields.contains_key(argument) {
            true => argument,
            false => argument.strip_suffix(LENGTH_SUFFIX).unwrap_or(argument),
        };
        match fields.get(argument) {
            Some(field) if wanted => {
                let simplest = || simplest(&field.kind);
                draft
                    .arguments
                    .entry(argument.to_owned())
                    .or_insert_with(simplest);
            }
            Some(field) if !field.required => drop(draft.arguments.remove(argument)),
            _ => {}
        }
    }

    /// Has both sets decide a request, and offers it.
    fn offer(&self, draft: &Draft, sought: &mut Sought) {
        match self.what {
            What::Call(tool, fields) => self.offer_call(draft, (tool, fields), sought),
            What::Commit => self.offer_commit(draft, sought),
            What::Connect(tool) => self.offer_connect(draft, tool, sought),
        }
    }

    fn offer_call(
        &self,
        draft: &Draft,
        (tool, fields): (&str, &BTreeMap<String, Field>),
        sought: &mut Sought,
    ) {
        let mut arguments: Map<String, Value> = draft.arguments.clone().into_iter().collect();
        if draft.partial {
            let mut unheard = "unheard".to_owned();
            while fields.contains_key(&unheard) {
                unheard.push('_');
            }
            arguments.insert(unheard, Value::Bool(true));
        }
        let arguments = Value::Object(arguments);
        let Ok(action) = Action::parse(tool, &arguments.to_string()) else {
            return;
        };
        let counters = draft.counters();
        let (step, depth) = (draft.number("step"), draft.number("depth"));
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let request = CallRequest {
            principal: draft.principal,
            action: &action,
            step: StepIndex(narrow(step)),
            depth: narrow(depth),
            speculative: draft.speculative,
            counters,
            read_sensitive: draft.read_sensitive,
        };
        let decisions = [self.before, self.after].map(|set| set.decide_call(&request));
        self.offer_decided(draft, decisions, sought, tool, || {
            json!({
                "step": step,
                "depth": depth,
                "speculative": draft.speculative,
                "counters": counters,
                "args": arguments,
                "args_partial": draft.partial,
                "read_sensitive": draft.read_sensitive,
            })
        });
    }

    fn offer_connect(&self, draft: &Draft, tool: &str, sought: &mut Sought) {
        let text = |name: &str, default: &str| {
            let text = draft.arguments.get(name).and_then(Value::as_str);
            text.unwrap_or(default).to_owned()
        };
        let flag = |name: &str| draft.arguments.get(name) == Some(&Value::Bool(true));
        let (scheme, host) = (text("scheme", "https"), text("host", "host.example"));
        let (method, mut path) = (text("method", "GET"), text("path", "/"));
        let length = usize::try_from(draft.number("path_length")).unwrap_or(usize::MAX);
        if length > TEXT_BYTES_MAX {
            return;
        }
        let missing = length.saturating_sub(path.len());
        path.extend(std::iter::repeat_n(TEXT, missing));
        let Ok(port) = u16::try_from(draft.numbers.get("port").copied().unwrap_or(443)) else {
            return;
        };
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let counters = draft.counters();
        let request = ConnectRequest {
            principal: draft.principal,
            tool,
            step: StepIndex(narrow(draft.number("step"))),
            depth: narrow(draft.number("depth")),
            speculative: draft.speculative,
            counters,
            scheme: &scheme,
            host: &host,
            port,
            method: &method,
            path: &path,
            body_length: draft.number("body_length"),
            headers_length: draft.number("headers_length"),
            listed: flag("listed"),
            ahead: flag("ahead"),
            read_sensitive: draft.read_sensitive,
        };
        let decisions = [self.before, self.after].map(|set| set.decide_connect(&request));
        self.offer_decided(draft, decisions, sought, tool, || {
            json!({
                "step": request.step,
                "depth": request.depth,
                "speculative": request.speculative,
                "counters": counters,
                "scheme": scheme,
                "host": host,
                "port": port,
                "method": method,
                "path": path,
                "path_length": path.len(),
                "body_length": request.body_length,
                "headers_length": request.headers_length,
                "listed": request.listed,
                "ahead": request.ahead,
                "read_sensitive": request.read_sensitive,
            })
        });
    }

    /// A commit is decided path by path before it is as a whole: what it changes has to be
    /// allowed by both sets, or touches differ, which is another's to find.
    fn offer_commit(&self, draft: &Draft, sought: &mut Sought) {
        if COUNTS.iter().any(|name| draft.number(name) > 0) && !self.allows_changes(draft.principal)
        {
            return;
        }
        let counts = COUNTS.map(|name| (name, draft.number(name)));
        let decide = |set: &PolicySet| set.decide_counts(By::Rules, draft.principal, counts);
        let decisions = [self.before, self.after].map(decide);
        self.offer_decided(draft, decisions, sought, WORKSPACE, || {
            counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), json!(count)))
                .collect()
        });
    }

    /// Whether both sets let some file, and so any number of its like, be changed.
    fn allows_changes(&self, principal: Source) -> bool {
        let change = |kind| PathChange {
            path: "other/changed".to_owned(),
            kind,
        };
        let from = "other/moved".to_owned();
        let changed = [
            change(ChangeKind::Modified),
            change(ChangeKind::Renamed { from }),
        ];
        let commit = CommitRequest {
            principal,
            changed: &changed,
            shared: 0,
        };
        let denied = |set: &PolicySet| set.denied_change(&commit).is_some();
        !denied(self.before) && !denied(self.after)
    }

    fn offer_decided(
        &self,
        draft: &Draft,
        [before, after]: [Decision; 2],
        sought: &mut Sought,
        resource: &str,
        context: impl FnOnce() -> Value,
    ) {
        if before.outcome == after.outcome {
            return;
        }
        let action = match self.what {
            What::Call(tool, _) => format!("call:{tool}"),
            What::Commit => "commit".to_owned(),
            What::Connect(_) => "connect".to_owned(),
        };
        sought.offer(Witness {
            principal: draft.principal,
            action,
            resource: resource.to_owned(),
            context: context(),
            before,
            after,
        });
    }
}

/// The names that lead from the context, or from the principal, to what an expression is.
fn path(of: &Expression) -> Option<Vec<&str>> {
    match of {
        Expression::Context | Expression::Principal => Some(Vec::new()),
        Expression::Attribute(of, name) => {
            let mut path = path(of)?;
            path.push(name);
            Some(path)
        }
        _ => None,
    }
}

/// The simplest value of a type.
fn simplest(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!(TEXT),
        Kind::Whole => json!(0),
        Kind::Flag => json!(false),
        Kind::Set(_) => json!([]),
        Kind::Record(fields) => {
            let required = fields.iter().filter(|(_, field)| field.required);
            let members = required.map(|(name, field)| (name.clone(), simplest(&field.kind)));
            Value::Object(members.collect())
        }
    }
}

/// Sets an argument, or the length of one.
fn set_argument(
    arguments: &mut BTreeMap<String, Value>,
    fields: &BTreeMap<String, Field>,
    path: &[&str],
    value: &Fact<'_>,
) -> bool {
    let [name, rest @ ..] = path else {
        return false;
    };
    match (fields.get(*name).map(|field| &field.kind), rest, value) {
        (Some(Kind::Record(fields)), [_, ..], _) => {
            let member = arguments.remove(*name);
            let members = match member {
                Some(Value::Object(members)) => members,
                _ => Map::new(),
            };
            let mut members: BTreeMap<_, _> = members.into_iter().collect();
            let is_set = set_argument(&mut members, fields, rest, value);
            let members = Value::Object(members.into_iter().collect());
            arguments.insert((*name).to_owned(), members);
            is_set
        }
        (Some(Kind::Text), [], Fact::Text(text)) => {
            arguments.insert((*name).to_owned(), json!(text));
            true
        }
        (Some(Kind::Whole), [], Fact::Whole(number)) => {
            arguments.insert((*name).to_owned(), json!(number));
            true
        }
        (Some(Kind::Flag), [], Fact::Flag(flag)) => {
            arguments.insert((*name).to_owned(), json!(flag));
            true
        }
        (None, [], Fact::Whole(length)) => {
            let text = name.strip_suffix(LENGTH_SUFFIX);
            match (text, usize::try_from(*length)) {
                (Some(text), Ok(length))
                    if fields.contains_key(text) && length <= TEXT_BYTES_MAX =>
                {
                    let written = arguments.get(text).and_then(Value::as_str).unwrap_or(TEXT);
                    let kept = &written[..written.floor_char_boundary(length)];
                    let more = TEXT.repeat(length - kept.len());
                    arguments.insert(text.to_owned(), json!(format!("{kept}{more}")));
                    true
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// What to set so that a comparison holds, or does not: values at its border.
fn borders(comparing: &Expression, wanted: bool) -> Vec<(&Expression, Fact<'static>)> {
    use Expression::{AtMost, Less, Literal};
    if let Less(left, right) | AtMost(left, right) = comparing
        && !matches!((&**left, &**right), (Literal(_), _) | (_, Literal(_)))
    {
        // Of two numbers, both 0 as yet.
        let larger = if wanted { right } else { left };
        return vec![(larger, Fact::Whole(1))];
    }
    let Some((of, worth)) = comparison(comparing) else {
        return Vec::new();
    };
    let (inside, outside) = values(&worth);
    let values = if wanted { inside } else { outside };
    values.into_iter().map(|value| (of, value)).collect()
}

/// Every value that conditions compare something with, and those beside it.
fn collect<'e>(condition: &'e Expression, found: &mut Vec<(&'e Expression, Fact<'static>)>) {
    use Expression::{All, AnyOf, If, Not};
    match condition {
        All(parts) | AnyOf(parts) => parts.iter().for_each(|part| collect(part, found)),
        Not(inner) => collect(inner, found),
        If(parts) => parts.iter().for_each(|part| collect(part, found)),
        other => {
            let values = [true, false]
                .into_iter()
                .flat_map(|wanted| borders(other, wanted));
            let new: Vec<_> = values.filter(|value| !found.contains(value)).collect();
            found.extend(new);
        }
    }
}

/// Values that are allowed, and values that are not.
fn values(worth: &Worth<'_>) -> (Vec<Fact<'static>>, Vec<Fact<'static>>) {
    let text = |text: String| Fact::Text(text.into());
    let owned = |facts: &[std::borrow::Cow<'_, Fact<'static>>]| {
        let facts = facts.iter().take(VALUES_MAX);
        facts
            .map(|fact| fact.clone().into_owned())
            .collect::<Vec<_>>()
    };
    let beside = |facts: &[Fact<'static>]| facts.iter().flat_map(neighbours).collect::<Vec<_>>();
    match worth {
        Worth::OneOf(facts) => {
            let facts = owned(facts);
            let beside = beside(&facts);
            (facts, beside)
        }
        Worth::NoneOf(facts) => {
            let facts = owned(facts);
            (beside(&facts), facts)
        }
        Worth::Between(least, most) => {
            let inside = [*least, *most]
                .into_iter()
                .filter(|end| end.unsigned_abs() < 1 << 62);
            let inside: Vec<_> = inside.map(Fact::Whole).collect();
            let outside = beside(&inside);
            let outside = outside.into_iter().filter(|fact| match fact {
                Fact::Whole(number) => !(least..=most).contains(&number),
                _ => false,
            });
            let outside = outside.collect();
            (inside, outside)
        }
        Worth::Like(pieces) => (
            vec![text(pieces.concat()), text(pieces.join(TEXT))],
            vec![
                text(TEXT.to_owned()),
                text(format!("{TEXT}{}{TEXT}", pieces.concat())),
            ],
        ),
        Worth::Unlike(pieces) => (
            vec![
                text(TEXT.to_owned()),
                text(format!("{TEXT}{}{TEXT}", pieces.concat())),
            ],
            vec![text(pieces.concat()), text(pieces.join(TEXT))],
        ),
    }
}

/// What is almost the same.
fn neighbours(fact: &Fact<'static>) -> Vec<Fact<'static>> {
    match fact {
        Fact::Flag(flag) => vec![Fact::Flag(!flag)],
        Fact::Whole(number) => {
            let beside = [number.checked_sub(1), number.checked_add(1)];
            beside.into_iter().flatten().map(Fact::Whole).collect()
        }
        Fact::Text(text) => {
            let mut shorter = text.to_string();
            let mut beside = vec![Fact::Text(format!("{text}{TEXT}").into())];
            if shorter.pop().is_some() {
                beside.push(Fact::Text(shorter.into()));
            }
            beside
        }
        Fact::Entity(kind, id) if kind == "Role" => {
            let roles = ["approximation", "target", "user"].into_iter();
            let others = roles.filter(|role| role != id);
            others
                .map(|role| Fact::Entity(kind.clone(), role.into()))
                .collect()
        }
        _ => Vec::new(),
    }
}
