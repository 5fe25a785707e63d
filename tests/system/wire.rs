//! The protocol as a foreign client speaks it, without the SDK: raw messages on the socket.

use crate::support::{Home, PATIENCE, presented};
use forerun_proto::v1;
use forerun_proto::v1::agent_service_attach_request::Message as ToDaemon;
use forerun_proto::v1::agent_service_attach_response::Message as FromDaemon;
use forerun_types::{EventKind, ObservationStatus, Role};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// A user that is nobody's.
const OTHER_UID: u32 = 65_534;
/// Names the socket to the child process of a test.
const SOCKET_VARIABLE: &str = "FORERUN_TEST_SOCKET";

async fn channel(home: &Home) -> Channel {
    let uri = format!("unix://{}", home.path("run/forerun/forerun.sock").display());
    let endpoint = Endpoint::try_from(uri).expect("an address");
    endpoint.connect().await.expect("the daemon answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_own_token_is_not_good_for_what_outlives_the_session() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let session = home.client().await.session(&workspace).task("t").open();
    let session = session.await.expect("a session");
    let approve = |allow_for: v1::AllowFor| {
        use v1::session_service_interrupt_request::{Approve, Interrupt};
        let mut request = tonic::Request::new(v1::SessionServiceInterruptRequest {
            session: session.id().to_string(),
            idempotency_key: format!("{allow_for:?}"),
            interrupt: Some(Interrupt::Approve(Approve {
                approval: "apr_1".into(),
                allow_for: allow_for.into(),
            })),
        });
        let bearer = format!("Bearer {}", session.tokens().owner);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", bearer.parse().expect("text"));
        request
    };
    let mut client = v1::session_service_client::SessionServiceClient::new(channel(&home).await);
    for (allow_for, code) in [
        (v1::AllowFor::Session, tonic::Code::Aborted),
        (v1::AllowFor::Always, tonic::Code::PermissionDenied),
    ] {
        let refused = client.interrupt(approve(allow_for)).await;
        assert_eq!(refused.expect_err("refused").code(), code, "{allow_for:?}");
    }
}

/// Attaches as target and answers each call with the next of `actions`, whatever they are.
async fn answer_with(home: &Home, session: &forerun_sdk::Session, actions: &[(&str, &str)]) {
    let (send, requests) = mpsc::channel(16);
    let hello = v1::Hello {
        protocol: Some(forerun_proto::PROTOCOL),
        session: session.id().to_string(),
        agent: "foreign".into(),
        model: "none".into(),
        roles: vec![v1::RoleCapacity {
            role: v1::Role::from(Role::Target).into(),
            capacity: 1,
        }],
        ..v1::Hello::default()
    };
    let say = |message| v1::AgentServiceAttachRequest {
        message: Some(message),
    };
    send.send(say(ToDaemon::Hello(hello))).await.expect("open");
    let mut request = tonic::Request::new(ReceiverStream::new(requests));
    let bearer = format!("Bearer {}", session.tokens().target);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", bearer.parse().expect("text"));
    let mut client = v1::agent_service_client::AgentServiceClient::new(channel(home).await);
    let attached = client.attach(request).await.expect("attached");
    let mut stream = attached.into_inner();
    let mut answers = actions.iter();
    while let Ok(Some(message)) = stream.message().await {
        let Some(FromDaemon::Generate(call)) = message.message else {
            continue;
        };
        let Some((tool, arguments)) = answers.next() else {
            break;
        };
        let action = v1::Action {
            tool: (*tool).into(),
            arguments: (*arguments).into(),
        };
        let generated = v1::Generated {
            call: call.call,
            candidates: vec![v1::Candidate {
                action: Some(action),
                ..v1::Candidate::default()
            }],
            usage: None,
        };
        let sent = send.send(say(ToDaemon::Generated(generated))).await;
        sent.expect("the stream is open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_no_json_are_a_step_whose_observation_is_the_error() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let client = home.client().await;
    let opened = client.session(&workspace).task("t").depth(0).open().await;
    let session = opened.expect("a session");
    let actions = [
        ("read_file", r#"{"path": "README.md""#),
        ("read_file", "README.md"),
        ("read_file", "[1, 2"),
        ("list_dir", "{}"),
        (forerun_types::TERMINATE, r#"{"answer": "done"}"#),
    ];
    let (events, ()) = tokio::join!(presented(&session), answer_with(&home, &session, &actions));
    let observed: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Observed { observation, .. } => Some(observation),
            _ => None,
        })
        .collect();
    assert!(observed.len() >= 4, "{events:#?}");
    for observation in &observed[..3] {
        assert_eq!(observation.status, ObservationStatus::Invalid);
        assert!(observation.text.contains("JSON"), "{observation:?}");
    }
    assert_eq!(observed[3].status, ObservationStatus::Success);
    let info = session.info().await.expect("a session");
    assert_eq!(info.answer.as_deref(), Some("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_served() {
    let home = Home::new();
    let channel = channel(&home).await;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "forerun.v1.SessionService", "forerun.v1.AgentService"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let answer = health.check(request).await.expect("known").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .expect("served")
        .into_inner();
    let answer = answers.message().await.expect("an answer").expect("one");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list of services: {answer:?}");
    };
    let names: Vec<_> = list.service.into_iter().map(|found| found.name).collect();
    for name in ["SessionService", "AgentService", "DaemonService"] {
        assert!(names.contains(&format!("forerun.v1.{name}")), "{names:?}");
    }
}

/// Even where the modes of socket and directory let somebody in, the peer's uid does not.
#[test]
fn another_users_connection_is_closed_before_a_word_is_read() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let home = Home::new();
    for path in [".", "run", "run/forerun", "run/forerun/forerun.sock"] {
        let mode = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(home.path(path), mode).expect("mode");
    }
    // By descriptor: the other user may not be able to reach the directory of the build.
    let program = std::fs::File::open(std::env::current_exe().expect("path")).expect("program");
    let connect = |uid: u32| {
        let output = std::process::Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .args(["--exact", "wire::connects", "--ignored", "--nocapture"])
            .env(SOCKET_VARIABLE, home.path("run/forerun/forerun.sock"))
            .uid(uid)
            .output()
            .expect("runs");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        log
    };
    let own = connect(nix::unistd::geteuid().as_raw());
    assert!(own.contains("answered"), "{own}");
    let other = connect(OTHER_UID);
    assert!(other.contains("closed"), "{other}");
    home.wait_until("the daemon has said so", || {
        let log = std::fs::read_to_string(home.path("daemon.log")).expect("log");
        log.contains("refused another user's connection")
    });
}

/// The child of the test above: says whether the daemon talks to it.
#[test]
#[ignore = "is run as another user by the test above"]
fn connects() {
    let socket = std::env::var_os(SOCKET_VARIABLE).expect("set by the parent");
    let mut stream = UnixStream::connect(socket).expect("the modes allow it");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    // How HTTP/2 begins: the preface, and an empty SETTINGS frame.
    let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let sent = stream.write_all(greeting);
    match sent.and_then(|()| stream.read(&mut [0; 9])) {
        Ok(1..) => eprintln!("answered"),
        Ok(0) => eprintln!("closed"),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => eprintln!("closed"),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => eprintln!("closed"),
        Err(error) => panic!("{error}"),
    }
}
