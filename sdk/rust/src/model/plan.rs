//! How a model is led to its next step, in each of the planning styles of *Interactive
//! Speculative Planning*, section 5.2. The words are in `prompts/`.
//!
//! A style that lets the model reason can not at the same time force it to call a tool:
//! a model that has only reasoned is asked once more, and has to act then.

use super::error::{CallError, said};
use super::http::Server;
use super::options::{Price, add};
use super::prompt;
use super::spec::Style;
use super::turn::{self, Answer, Speaker, Tool, ToolCall, ToolChoice, Turn};
use crate::agent::{Candidate, Request};
use forerun_types::{ASK_USER, Action, ActionKind, JsonError, TERMINATE, Usage};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const DIRECT: &str = include_str!("prompts/direct.txt");
const COT: &str = include_str!("prompts/cot.txt");
const ACT: &str = include_str!("prompts/act.txt");
const REACT_THOUGHT: &str = include_str!("prompts/react_thought.txt");
const DEBATE: [&str; 2] = [
    include_str!("prompts/debate_direct.txt"),
    include_str!("prompts/debate_careful.txt"),
];
const DEBATE_REVISE: &str = include_str!("prompts/debate_revise.txt");

/// Calls of a model for one step at most: those of a debate, each followed by one that has
/// to act.
const CALLS_MAX: usize = 8;
/// Most characters of a model's reasons in a note: it is for people.
const NOTE_CHARS_MAX: usize = 1_000;

/// One step that is asked for.
pub(super) struct Step<'a> {
    server: &'a Server,
    request: &'a Request,
    price: Option<&'a Price>,
    tools: Vec<Tool<'a>>,
    stable: Vec<String>,
    calls: AtomicUsize,
    /// Tokens that each call has generated so far, about.
    generated: [AtomicU64; CALLS_MAX],
}

/// What the user's side says last, and what is wanted in return.
struct Say<'a> {
    ask: &'a str,
    rest: &'a [(Speaker, String)],
    choice: ToolChoice,
    width: u32,
}

/// What a call, or several, brought.
struct Said {
    answers: Vec<Answer>,
    usage: Usage,
}

impl<'a> Step<'a> {
    pub(super) fn new(
        server: &'a Server,
        request: &'a Request,
        price: Option<&'a Price>,
    ) -> Step<'a> {
        Step {
            server,
            request,
            price,
            tools: turn::tools(request.tools()),
            stable: prompt::stable(request),
            calls: AtomicUsize::new(0),
            generated: Default::default(),
        }
    }

    /// Candidates, best first.
    pub(super) async fn propose(&self, style: Style) -> Result<Vec<Candidate>, CallError> {
        let said = match style {
            Style::Direct => self.direct().await?,
            Style::Cot => {
                let ask = prompt::ask(self.request, COT);
                self.reason_and_act(&ask, &[], self.request.width()).await?
            }
            Style::React => self.react().await?,
            Style::Debate => self.debate().await?,
        };
        candidates(said)
    }

    async fn direct(&self) -> Result<Said, CallError> {
        self.say(Say {
            ask: &prompt::ask(self.request, DIRECT),
            rest: &[],
            choice: ToolChoice::Required,
            width: self.request.width(),
        })
        .await
    }

    /// Reasons and a tool call in one answer.
    async fn reason_and_act(
        &self,
        ask: &str,
        rest: &[(Speaker, String)],
        width: u32,
    ) -> Result<Said, CallError> {
        let said = self
            .say(Say {
                ask,
                rest,
                choice: ToolChoice::Auto,
                width,
            })
            .await?;
        if said.answers.iter().any(|answer| !answer.calls.is_empty()) {
            return Ok(said);
        }
        self.act(ask, rest, said).await
    }

    async fn react(&self) -> Result<Said, CallError> {
        let ask = prompt::ask(self.request, REACT_THOUGHT);
        let thought = self
            .say(Say {
                ask: &ask,
                rest: &[],
                choice: ToolChoice::None,
                width: 1,
            })
            .await?;
        self.act(&ask, &[], thought).await
    }

    /// A second call, in which a model that has reasoned has to act.
    async fn act(
        &self,
        ask: &str,
        rest: &[(Speaker, String)],
        thought: Said,
    ) -> Result<Said, CallError> {
        let text = thought.answers.into_iter().next().unwrap_or_default().text;
        if text.trim().is_empty() {
            return Err(CallError::NoToolCall(said("")));
        }
        let mut rest = rest.to_vec();
        rest.push((Speaker::Model, text.clone()));
        rest.push((Speaker::User, ACT.trim().to_owned()));
        let mut acted = self
            .say(Say {
                ask,
                rest: &rest,
                choice: ToolChoice::Required,
                width: 1,
            })
            .await?;
        acted.usage = add(acted.usage, thought.usage);
        for answer in &mut acted.answers {
            answer.text = text.clone();
        }
        Ok(acted)
    }

    /// Two agents propose, each sees what the other proposed and proposes again. If they
    /// still differ, the first one's step counts: somebody has to decide, and it is the one
    /// that looks for the direct way.
    async fn debate(&self) -> Result<Said, CallError> {
        let asks = DEBATE.map(|part| prompt::ask(self.request, part));
        let (one, other) = tokio::try_join!(
            self.reason_and_act(&asks[0], &[], 1),
            self.reason_and_act(&asks[1], &[], 1),
        )?;
        let first_round = add(one.usage, other.usage);
        let (one, other) = (first(one)?, first(other)?);
        let rests = [revision(&one, &other), revision(&other, &one)];
        let (mut decided, other) = tokio::try_join!(
            self.reason_and_act(&asks[0], &rests[0], 1),
            self.reason_and_act(&asks[1], &rests[1], 1),
        )?;
        decided.usage = add(first_round, add(decided.usage, other.usage));
        Ok(decided)
    }

    /// One call of the model.
    async fn say(&self, say: Say<'_>) -> Result<Said, CallError> {
        let turn = Turn {
            system: prompt::SYSTEM.trim(),
            tools: &self.tools,
            choice: say.choice,
            stable: &self.stable,
            ask: say.ask,
            rest: say.rest,
            width: say.width,
        };
        let call = self.calls.fetch_add(1, Ordering::Relaxed) % CALLS_MAX;
        let progress = |tokens| {
            self.generated[call].fetch_max(tokens, Ordering::Relaxed);
            let all = self.generated.iter().map(|one| one.load(Ordering::Relaxed));
            self.request.progress(all.fold(0, u64::saturating_add));
        };
        let reply = self.server.ask(&turn, &progress).await?;
        Ok(Said {
            usage: reply.tokens.usage(self.price),
            answers: reply.answers,
        })
    }
}

fn first(said: Said) -> Result<Answer, CallError> {
    let answer = said.answers.into_iter().next().unwrap_or_default();
    match answer.calls.is_empty() {
        false => Ok(answer),
        true => Err(no_call(&answer)),
    }
}

/// What an agent of a debate has said, and what it is told of the other.
fn revision(own: &Answer, other: &Answer) -> Vec<(Speaker, String)> {
    let proposal = |answer: &Answer| {
        let call = answer.calls.first();
        call.map_or_else(String::new, |call| {
            format!("{} {}", call.tool, call.arguments)
        })
    };
    let told = DEBATE_REVISE
        .trim()
        .replace("{proposal}", &proposal(other))
        .replace("{reasons}", other.text.trim());
    vec![
        (
            Speaker::Model,
            format!("{}\n\nI propose: {}", own.text.trim(), proposal(own)),
        ),
        (Speaker::User, told),
    ]
}

/// The steps in a reply; what they cost is told once.
fn candidates(said: Said) -> Result<Vec<Candidate>, CallError> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut failure = None;
    for answer in &said.answers {
        match candidate(answer) {
            Ok(candidate) => {
                let key = candidate.action.key();
                if candidates.iter().all(|known| known.action.key() != key) {
                    candidates.push(candidate);
                }
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match (candidates.first_mut(), failure) {
        (Some(first), _) => first.usage = said.usage,
        (None, Some(error)) => return Err(error),
        (None, None) => return Err(CallError::Truncated),
    }
    Ok(candidates)
}

fn candidate(answer: &Answer) -> Result<Candidate, CallError> {
    let call = answer.calls.first().ok_or_else(|| no_call(answer))?;
    let mut candidate = Candidate::new(action(call)?);
    candidate.note = answer.text.trim().chars().take(NOTE_CHARS_MAX).collect();
    let ignored = answer.calls.len() - 1;
    if ignored > 0 {
        let note = format!("[of {} tool calls only the first counts]", ignored + 1);
        candidate.note = format!("{note} {}", candidate.note);
    }
    Ok(candidate)
}

fn no_call(answer: &Answer) -> CallError {
    CallError::NoToolCall(said(&answer.text))
}

/// The action of a tool call. Whether the tool exists and takes the arguments is for the
/// daemon to say: what can not run is a step whose observation is the error, from which the
/// model learns. So are arguments that are no JSON, kept as the text that they are.
fn action(call: &ToolCall) -> Result<Action, CallError> {
    let wrong = |error: JsonError| CallError::ToolCall(error.to_string());
    let arguments = match call.arguments.trim() {
        "" => "{}",
        arguments => arguments,
    };
    let action = match Action::parse(&call.tool, arguments) {
        Err(JsonError::ToolName { max, found }) => {
            return Err(wrong(JsonError::ToolName { max, found }));
        }
        Err(_) => {
            let text = serde_json::Value::from(arguments).to_string();
            Action::parse(&call.tool, &text).map_err(wrong)?
        }
        Ok(action) => action,
    };
    // These two are not executed, so nobody else would tell the model.
    let needs = match action.kind() {
        ActionKind::Tool => return Ok(action),
        ActionKind::Terminate => (TERMINATE, "answer"),
        ActionKind::AskUser => (ASK_USER, "question"),
    };
    match action.arguments.to_value().get(needs.1) {
        Some(serde_json::Value::String(_)) => Ok(action),
        _ => Err(CallError::ToolCall(format!(
            "{} without a text for {:?}",
            needs.0, needs.1
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tool: &str, arguments: &str) -> ToolCall {
        ToolCall {
            tool: tool.to_owned(),
            arguments: arguments.to_owned(),
            ..ToolCall::default()
        }
    }

    fn answer(calls: Vec<ToolCall>) -> Answer {
        Answer {
            text: "because".to_owned(),
            calls,
            ..Answer::default()
        }
    }

    #[test]
    fn what_can_not_run_stays_an_action() {
        let text = |tool, arguments| {
            let action = action(&call(tool, arguments)).expect("an action");
            format!("{action}")
        };
        assert_eq!(
            text("read_file", r#"{ "path" : "a" }"#),
            r#"read_file {"path":"a"}"#
        );
        assert_eq!(text("stat", " "), "stat {}");
        assert_eq!(text("unknown", "{}"), "unknown {}");
        assert_eq!(
            text("read_file", r#"{"path":"#),
            r#"read_file "{\"path\":""#
        );
        assert_eq!(
            text("terminate", r#"{"answer":"done"}"#),
            r#"terminate {"answer":"done"}"#
        );
    }

    #[test]
    fn what_says_nothing_is_none() {
        for (tool, arguments) in [
            ("", "{}"),
            ("terminate", "{}"),
            ("terminate", r#"{"answer":"cut"#),
            ("ask_user", r#"{"question":7}"#),
        ] {
            let error = action(&call(tool, arguments)).expect_err(tool);
            assert!(matches!(error, CallError::ToolCall(_)), "{error}");
        }
    }

    #[test]
    fn only_the_first_call_counts_and_the_note_says_so() {
        let calls = vec![call("one", "{}"), call("two", "{}")];
        let candidate = candidate(&answer(calls)).expect("a candidate");
        assert_eq!(candidate.action.tool, "one");
        assert_eq!(
            candidate.note,
            "[of 2 tool calls only the first counts] because"
        );
    }

    #[test]
    fn alternatives_are_told_once_and_their_cost_too() {
        let said = Said {
            answers: vec![
                answer(vec![call("one", "{}")]),
                answer(Vec::new()),
                answer(vec![call("one", " { } ")]),
                answer(vec![call("two", "{}")]),
            ],
            usage: Usage {
                output_tokens: 7,
                ..Usage::default()
            },
        };
        let candidates = candidates(said).expect("candidates");
        let told: Vec<_> = candidates
            .iter()
            .map(|one| (one.action.tool.as_str(), one.usage.output_tokens))
            .collect();
        assert_eq!(told, [("one", 7), ("two", 0)]);
    }
}
