//! Tools that a client executes itself: offered over a stream, called over it, gone with it.
//!
//! **Invariants**
//! - A session has the tools of the registrations that it was opened with, and no others.
//! - A call is sent once. If its client goes away meanwhile, what is said of it is that
//!   nobody knows whether it was done.
//! - Whatever an offer says of its tools, they reach beyond the workspace: they run outside
//!   of every sandbox, and policy decides on that.

use crate::daemon::{locked, random};
use forerun_proto::conversions::ConversionError;
use forerun_types::{
    Action, Digest, Observation, ObservationStatus, SessionId, StepIndex, ToolDescription,
};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Registrations at once; stops a client that does not end its streams from filling memory.
const REGISTRATIONS_MAX: usize = 256;
/// Tools of one offer; stops one from filling every agent's context.
const TOOLS_MAX: usize = 256;
/// How long a client may take to answer a call: enough for a build, not for ever.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(600);
/// Calls that may wait for a client that does not read.
const CALLS_MAX: usize = 64;

/// The registrations of all clients.
#[derive(Default)]
pub(crate) struct ClientTools {
    registrations: Mutex<HashMap<String, Arc<Registration>>>,
}

/// Tools that one stream offers.
pub(crate) struct Registration {
    id: String,
    tools: Vec<ToolDescription>,
    calls: mpsc::Sender<ToClient>,
    next: AtomicU64,
}

/// What a client is told.
pub(crate) enum ToClient {
    /// A tool is to be executed.
    Call {
        call: u64,
        what: ClientCall,
        reply: oneshot::Sender<Observation>,
    },
    /// The answer is not wanted any more.
    Cancel { call: u64 },
}

/// One call of a client's tool.
#[derive(Debug)]
pub(crate) struct ClientCall {
    pub(crate) session: SessionId,
    pub(crate) step: StepIndex,
    pub(crate) action: Action,
    pub(crate) speculative: bool,
}

impl ClientTools {
    /// Takes an offer; its calls come out of the receiver.
    pub(crate) fn register(
        &self,
        mut tools: Vec<ToolDescription>,
    ) -> Result<(Arc<Registration>, mpsc::Receiver<ToClient>), OfferError> {
        if tools.len() > TOOLS_MAX {
            return Err(OfferError::TooManyTools(tools.len()));
        }
        for tool in &mut tools {
            tool.client = true;
            tool.annotations.open_world = true;
            tool.component = description_digest(tool);
        }
        let id: [u8; 16] = random()?;
        let mut id = Digest::of(id).to_string();
        id.truncate(32);
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        let registration = Arc::new(Registration {
            id: format!("reg_{id}"),
            tools,
            calls,
            next: AtomicU64::new(1),
        });
        let mut registrations = locked(&self.registrations);
        if registrations.len() >= REGISTRATIONS_MAX {
            return Err(OfferError::TooMany);
        }
        registrations.insert(registration.id.clone(), Arc::clone(&registration));
        Ok((registration, receiver))
    }

    /// Forgets a registration whose stream has ended.
    pub(crate) fn remove(&self, registration: &Registration) {
        locked(&self.registrations).remove(&registration.id);
    }

    /// The registrations that a session names.
    pub(crate) fn find(&self, ids: &[String]) -> Result<Vec<Arc<Registration>>, ConversionError> {
        let registrations = locked(&self.registrations);
        ids.iter()
            .map(|id| {
                registrations.get(id).cloned().ok_or_else(|| {
                    let problem = format!("{id:?} is none, or its stream has ended");
                    ConversionError::new("registrations", problem)
                })
            })
            .collect()
    }
}

/// Why an offer was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferError {
    #[error("{REGISTRATIONS_MAX} registrations are there, as many as are taken")]
    TooMany,
    #[error("{0} tools are offered at once; at most {TOOLS_MAX} are taken")]
    TooManyTools(usize),
    #[error("no id could be drawn")]
    Random(#[from] io::Error),
}

/// What stands for the component of a tool that has none: an agent that is shown a tool that
/// says something else of itself is asked another question.
fn description_digest(tool: &ToolDescription) -> Digest {
    let said = serde_json::json!({
        "title": tool.title,
        "output_schema": tool.output_schema,
        "annotations": tool.annotations,
        "deterministic": tool.deterministic,
        "speculation": tool.speculation,
    });
    Digest::of(said.to_string())
}

impl Registration {
    /// What it is known by.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What it offers.
    pub(crate) fn tools(&self) -> &[ToolDescription] {
        &self.tools
    }

    /// Has the client execute a tool. Giving this up tells the client.
    ///
    /// # Errors
    /// What is to be said if there is no answer.
    pub(crate) async fn call(&self, what: ClientCall) -> Result<Observation, String> {
        let tool = what.action.tool.clone();
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let sent = self.calls.send(ToClient::Call { call, what, reply }).await;
        if sent.is_err() {
            return Err(format!("the program that executes {tool} has gone away"));
        }
        let mut guard = CancelOnDrop {
            calls: &self.calls,
            call: Some(call),
        };
        let answer = tokio::time::timeout(CALL_TIMEOUT, answer).await;
        match answer {
            Ok(answered) => {
                guard.call = None;
                answered.map_err(|_| {
                    format!(
                        "the program that executes {tool} went away before it answered; whether \
                         it was done is not known"
                    )
                })
            }
            Err(_) => Err(format!(
                "{tool} took more than {} s; whether it was done is not known",
                CALL_TIMEOUT.as_secs()
            )),
        }
    }
}

/// Tells the client that an answer is not wanted any more.
struct CancelOnDrop<'a> {
    calls: &'a mpsc::Sender<ToClient>,
    call: Option<u64>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            // A client that reads nothing does the call in vain.
            let _ = self.calls.try_send(ToClient::Cancel { call });
        }
    }
}

/// The registrations of a session, by the names of their tools.
pub(crate) fn by_tool(registrations: &[Arc<Registration>]) -> BTreeMap<String, Arc<Registration>> {
    let tools = registrations.iter().flat_map(|registration| {
        let tools = registration.tools().iter();
        tools.map(|tool| (tool.name.clone(), Arc::clone(registration)))
    });
    tools.collect()
}

/// What a client may answer: a result, or an error of the tool's own, cut at `bytes`.
pub(crate) fn accept(mut observation: Observation, bytes: u64) -> Result<Observation, String> {
    match observation.status {
        ObservationStatus::Success | ObservationStatus::ToolError => {}
        _ => return Err("a client answers with a result or an error of the tool".to_owned()),
    }
    let most = usize::try_from(bytes).unwrap_or(usize::MAX);
    if observation.text.len() > most {
        let end = observation.text.floor_char_boundary(most);
        observation.text.truncate(end);
        observation.truncated = true;
    }
    if observation
        .structured
        .as_ref()
        .is_some_and(|json| json.len() > most)
    {
        observation.structured = None;
        observation.truncated = true;
    }
    Ok(observation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_types::{Annotations, Speculation};

    fn tool(name: &str) -> ToolDescription {
        ToolDescription {
            name: name.to_owned(),
            title: String::new(),
            description: String::new(),
            input_schema: serde_json::json!({ "type": "object" }),
            output_schema: None,
            annotations: Annotations::default(),
            deterministic: false,
            speculation: Speculation::Never,
            component: Digest::of("what the client says"),
            client: false,
        }
    }

    fn call() -> ClientCall {
        ClientCall {
            session: SessionId::from_random([1; 10]),
            step: StepIndex(0),
            action: Action::parse("look_up", "{}").expect("valid"),
            speculative: false,
        }
    }

    #[tokio::test]
    async fn what_is_offered_reaches_outside_whatever_it_says() {
        let clients = ClientTools::default();
        let (registration, _calls) = clients.register(vec![tool("look_up")]).expect("taken");
        let described = &registration.tools()[0];
        assert!(described.client && described.annotations.open_world);
        assert_ne!(described.component, Digest::of("what the client says"));
        let id = registration.id().to_owned();
        clients.find(std::slice::from_ref(&id)).expect("there");
        clients.remove(&registration);
        let gone = clients.find(&[id]).err().expect("gone");
        assert_eq!(gone.path(), "registrations");
        let many = (0..=TOOLS_MAX).map(|n| tool(&format!("t{n}"))).collect();
        assert!(clients.register(many).is_err());
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_is_cancelled_and_one_that_is_answered_is_not() {
        let clients = ClientTools::default();
        let (registration, mut calls) = clients.register(vec![tool("look_up")]).expect("taken");
        let answering = async {
            let Some(ToClient::Call { reply, .. }) = calls.recv().await else {
                panic!("a call");
            };
            let observation = Observation::new(ObservationStatus::Success, "found");
            reply.send(observation).expect("awaited");
        };
        let (observation, ()) = tokio::join!(registration.call(call()), answering);
        assert_eq!(observation.expect("answered").text, "found");
        assert!(calls.try_recv().is_err());

        tokio::select! {
            _ = registration.call(call()) => panic!("nobody answers"),
            () = tokio::task::yield_now() => {}
        }
        assert!(matches!(
            calls.try_recv(),
            Ok(ToClient::Call { call: 2, .. })
        ));
        assert!(matches!(calls.try_recv(), Ok(ToClient::Cancel { call: 2 })));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_it_open_whether_a_call_was_done() {
        let clients = ClientTools::default();
        let (registration, mut calls) = clients.register(vec![tool("look_up")]).expect("taken");
        let leaving = async {
            drop(calls.recv().await);
            drop(calls);
        };
        let (said, ()) = tokio::join!(registration.call(call()), leaving);
        assert!(said.expect_err("no answer").contains("not known"));
        let said = registration.call(call()).await.expect_err("gone");
        assert!(said.contains("gone away") && !said.contains("not known"));
    }

    #[test]
    fn an_answer_is_cut_between_characters_and_can_not_pose_as_a_refusal() {
        let long = Observation::new(ObservationStatus::Success, "éé");
        let cut = accept(long, 3).expect("accepted");
        assert_eq!((cut.text.as_str(), cut.truncated), ("é", true));
        let denied = Observation::new(ObservationStatus::Denied, "");
        accept(denied, 3).expect_err("not the client's to say");
    }
}
