//! The TCP port: not there unless it is asked for, and then for nobody without TLS, a token,
//! and a name of ours; for no web page at all.

use crate::support::{Home, PATIENCE};
use forerun_proto::v1;
use forerun_proto::v1::daemon_service_client::DaemonServiceClient;
use forerun_proto::v1::session_service_client::SessionServiceClient;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// A daemon with a port, which is returned.
async fn with_port() -> (Home, u16) {
    let mut home = Home::without_daemon();
    let (certificate, key) = home.certificate();
    let free = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    home.configure(&format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\ncertificate = {certificate:?}\nkey = {key:?}\n"
    ));
    home.start_daemon();
    (home, port)
}

fn endpoint(home: &Home, port: u16) -> Endpoint {
    let root = fs::read_to_string(home.path("cert.pem")).expect("reads");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(root))
        .domain_name("localhost");
    let endpoint = Endpoint::try_from(format!("https://localhost:{port}")).expect("an address");
    endpoint.tls_config(tls).expect("a root")
}

/// A request with a token, and perhaps more headers.
fn asking<T>(message: T, token: &str, more: &[(&'static str, &'static str)]) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let metadata = request.metadata_mut();
    if !token.is_empty() {
        let bearer = format!("Bearer {token}");
        metadata.insert("authorization", bearer.parse().expect("text"));
    }
    for (name, value) in more {
        metadata.insert(*name, value.parse().expect("text"));
    }
    request
}

fn owner_key(home: &Home) -> String {
    let key = fs::read_to_string(home.path("state/forerun/owner.key")).expect("reads");
    key.trim().to_owned()
}

async fn status(channel: Channel, token: &str, more: &[(&'static str, &'static str)]) -> Code {
    let request = asking(v1::DaemonServiceStatusRequest {}, token, more);
    let answer = DaemonServiceClient::new(channel).status(request).await;
    answer.map_or_else(|refused| refused.code(), |_| Code::Ok)
}

#[tokio::test]
async fn the_port_is_for_who_has_tls_a_token_and_a_name_of_ours() {
    let (home, port) = with_port().await;
    let key = owner_key(&home);
    let endpoint = endpoint(&home, port);
    let ours = endpoint.connect().await.expect("connects");
    assert_eq!(status(ours.clone(), &key, &[]).await, Code::Ok);
    assert_eq!(status(ours.clone(), "", &[]).await, Code::Unauthenticated);
    assert_eq!(
        status(ours.clone(), "guess", &[]).await,
        Code::PermissionDenied
    );
    let sessions = v1::SessionServiceListRequest::default();
    let mut client = SessionServiceClient::new(ours.clone());
    let list = client.list(asking(sessions, "guess", &[]));
    let refused = list.await.expect_err("refused").code();
    assert!(matches!(
        refused,
        Code::PermissionDenied | Code::Unauthenticated
    ));

    // A page of the web: it says where it is from, or comes by a name that leads here.
    let page = [("origin", "https://evil.example")];
    assert_eq!(
        status(ours.clone(), &key, &page).await,
        Code::PermissionDenied
    );
    let rebound = endpoint
        .clone()
        .origin("https://evil.example".parse().expect("an address"));
    let rebound = rebound.connect().await.expect("connects");
    assert_eq!(status(rebound, &key, &[]).await, Code::PermissionDenied);
    let host = [("host", "evil.example")];
    assert_eq!(status(ours, &key, &host).await, Code::PermissionDenied);
    let log = fs::read_to_string(home.path("daemon.log")).expect("reads");
    let told = log.matches("turned a request away at the port").count();
    assert_eq!(told, 5, "each is told: {log}");
}

#[tokio::test]
async fn without_tls_or_as_http_1_nobody_is_answered() {
    let (home, port) = with_port().await;
    let page = "POST /forerun.v1.SessionService/List HTTP/1.1\r\nhost: localhost\r\n\
                origin: https://evil.example\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n";
    let mut plain = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connects");
    let answer = exchange(&mut plain, page).await;
    assert!(!answer.contains("HTTP/"), "{answer}");

    let mut roots = rustls::RootCertStore::empty();
    let root = Path::new(&home.path("cert.pem")).to_owned();
    use rustls::pki_types::pem::PemObject;
    let root = rustls::pki_types::CertificateDer::from_pem_file(root).expect("PEM");
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connects");
    let name = "localhost".try_into().expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut secured = connector.connect(name, stream).await.expect("TLS");
    let answer = exchange(&mut secured, page).await;
    assert!(!answer.contains("200"), "{answer}");
}

/// Sends a text, and returns what comes until the end.
async fn exchange(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // How it ends is the daemon's business.
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn without_its_configuration_the_daemon_listens_on_no_port() {
    let mut home = Home::new();
    let process = home.daemon().id();
    let mut listening = Vec::new();
    for table in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        let lines = table.lines().skip(1).map(str::split_whitespace);
        let of_state = lines.map(|line| line.collect::<Vec<_>>());
        // State 0A is LISTEN; the tenth column is the socket's inode.
        let open = of_state.filter(|columns| columns.get(3) == Some(&"0A"));
        listening.extend(open.map(|columns| format!("socket:[{}]", columns[9])));
    }
    let held = fs::read_dir(format!("/proc/{process}/fd")).expect("lists");
    let held = held
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    let held: Vec<_> = held.map(|link| link.display().to_string()).collect();
    assert!(
        held.iter().any(|link| link.starts_with("socket:")),
        "{held:?}"
    );
    let ports: Vec<_> = held
        .iter()
        .filter(|link| listening.contains(link))
        .collect();
    assert!(ports.is_empty(), "{ports:?}");
}

#[test]
fn a_port_without_a_certificate_is_not_opened() {
    let home = Home::without_daemon();
    home.configure("[listen]\naddress = \"127.0.0.1:0\"\n");
    let told = home.fail(65, &["serve"]);
    assert!(told.contains("listen.certificate"), "{told}");
    home.configure(
        "[listen]\naddress = \"127.0.0.1:0\"\ncertificate = \"/nowhere\"\nkey = \"/nowhere\"\n",
    );
    let told = home.fail(65, &["serve"]);
    assert!(told.contains("/nowhere"), "{told}");
}
