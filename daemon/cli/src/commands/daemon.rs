//! The daemon: serve, status, shutdown, socket.

use super::{connect, with_causes};
use crate::args::{Global, ServeArgs};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use forerun_sdk::Locations;
use forerun_server::{Config, ConfigError, ServeError, Settings};
use nix::sys::resource::{Resource, setrlimit};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// `forerun serve`: everything is parsed before anything is opened.
pub(crate) async fn serve(global: &Global, args: ServeArgs) -> Result<(), Failure> {
    let locations = locations(global)?;
    if let Some(path) = args.config.as_ref().filter(|path| !path.exists()) {
        let message = format!("the configuration {} does not exist", path.display());
        return Err(Failure::new(Exit::NoInput, "CONFIG_NOT_FOUND", message)
            .hint("leave --config out to use the default place"));
    }
    let settings = match args.config.or_else(default_config_file) {
        Some(path) => Settings::load(&path).map_err(config_failure)?,
        None => Settings::default(),
    };
    log();
    let config = Config {
        state_dir: locations.state_dir,
        socket: locations.endpoint.path().to_owned(),
        // This very program, even if the file was replaced since.
        compiler: vec!["/proc/self/exe".into(), COMPILE.into()],
        policies: config_directory().map(|config| config.join("policies")),
        system_policy: SYSTEM_POLICY.into(),
        settings,
    };
    forerun_server::serve(config, |socket| {
        tracing::info!(socket = %socket.display(), "listening");
        let ready = [sd_notify::NotifyState::Ready];
        if let Err(error) = sd_notify::notify(&ready) {
            tracing::debug!(%error, "systemd was not told");
        }
    })
    .await
    .map_err(serve_failure)
}

/// What the system's administrator forbids, whatever users configure.
const SYSTEM_POLICY: &str = "/etc/forerun/policy.cedar";

/// The hidden command that [`compile`] is.
pub(crate) const COMPILE: &str = "compile-component";

/// `forerun compile-component`: what the daemon starts to compile a component, limited so
/// that the daemon is not.
pub(crate) fn compile() -> ExitCode {
    let limits = [
        (Resource::RLIMIT_CPU, forerun_server::COMPILE_CPU_SECONDS),
        (Resource::RLIMIT_DATA, forerun_server::COMPILE_BYTES),
        (Resource::RLIMIT_CORE, 0),
    ];
    let limited = limits
        .into_iter()
        .try_for_each(|(resource, limit)| setrlimit(resource, limit, limit));
    if limited.is_err() {
        return ExitCode::from(Exit::Software as u8);
    }
    let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
    match forerun_server::compile_process(input, output, std::io::stderr()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(Exit::Data as u8),
    }
}

/// Logs to stderr: for people on a terminal, as JSON otherwise. `RUST_LOG` says how much.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let result = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().try_init()
    };
    // Nobody else sets a subscriber in this program, and logging is not worth failing for.
    let _ = result;
}

/// The configuration of this user, which need not exist.
pub(super) fn default_config_file() -> Option<PathBuf> {
    Some(config_directory()?.join("config.toml"))
}

/// The user's directory for configuration and policies, which need not exist.
pub(super) fn config_directory() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("forerun"))
}

pub(super) fn locations(global: &Global) -> Result<Locations, Failure> {
    Locations::find(global.endpoint.as_deref(), None)
        .map_err(|error| Failure::from(forerun_sdk::Error::from(error)))
}

fn config_failure(error: ConfigError) -> Failure {
    let exit = match error {
        ConfigError::Read { .. } => Exit::NoInput,
        ConfigError::Parse { .. } | ConfigError::Range { .. } => Exit::Data,
    };
    Failure::new(exit, "CONFIG_INVALID", with_causes(&error))
}

fn serve_failure(error: ServeError) -> Failure {
    let (exit, code) = match &error {
        ServeError::SecondDaemon(_) => (Exit::NotNow, "DAEMON_RUNNING"),
        ServeError::Socket(forerun_server::SocketError::InUse(_)) => {
            (Exit::NotNow, "DAEMON_RUNNING")
        }
        ServeError::Socket(_) => (Exit::NotAllowed, "SOCKET_UNUSABLE"),
        ServeError::StateDir(..) | ServeError::Io(_) | ServeError::Tools(_) => {
            (Exit::Io, "STATE_UNUSABLE")
        }
        ServeError::Journal(_) | ServeError::Archive(_) => (Exit::Io, "JOURNAL_UNUSABLE"),
        ServeError::Policy { .. } => (Exit::Data, "POLICY_INVALID"),
        ServeError::Network(_) => (Exit::Data, "CONFIG_INVALID"),
        ServeError::Sandboxes(_) | ServeError::Transport(_) => (Exit::Software, "START_FAILED"),
    };
    let failure = Failure::new(exit, code, with_causes(&error));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// `forerun status`
pub(crate) async fn status(global: &Global, output: Output) -> Result<(), Failure> {
    let mut global = global.clone();
    global.no_spawn = true;
    let status = connect(&global).await?.status().await?;
    if output.json {
        output.value(&serde_json::json!({
            "version": status.version,
            "pid": status.pid,
            "endpoint": status.endpoint,
            "state_dir": status.state_dir,
            "sessions": status.sessions,
            "started_at_ms": status.started_at_ms,
        }));
    } else {
        output.line(&format!(
            "forerun {} (pid {}) on {}\nstate in {}\n{} sessions running",
            status.version,
            status.pid,
            status.endpoint,
            status.state_dir.display(),
            status.sessions
        ));
    }
    Ok(())
}

/// `forerun shutdown`
pub(crate) async fn shutdown(global: &Global, output: Output) -> Result<(), Failure> {
    let mut global = global.clone();
    global.no_spawn = true;
    connect(&global).await?.shutdown().await?;
    output.note("the daemon is stopping");
    Ok(())
}

/// `forerun socket`
pub(crate) async fn socket(global: &Global, output: Output, start: bool) -> Result<(), Failure> {
    let endpoint = locations(global)?.endpoint.to_string();
    if start {
        connect(global).await?;
    }
    if output.json {
        output.value(&serde_json::json!({ "endpoint": endpoint }));
    } else {
        output.line(&endpoint);
    }
    Ok(())
}
