//! Stable names of errors: the `reason` of google.rpc.ErrorInfo in [`DOMAIN`]. The server
//! writes them, the SDK hands them out as an error's code; they never change meaning.

/// The `domain` of every ErrorInfo.
pub const DOMAIN: &str = "forerun";
/// The key in ErrorInfo's metadata under which the remedy stands, if there is one.
pub const METADATA_HINT: &str = "hint";
/// The key in ErrorInfo's metadata for the state that a refused call would have needed.
pub const METADATA_NEEDED: &str = "needed";
/// The key in ErrorInfo's metadata for the path that is concerned.
pub const METADATA_PATH: &str = "path";

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* pub const $name: &str = stringify!($name);)*

        /// Every reason there is.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

reasons! {
    /// A field of the request is not valid; BadRequest names it. INVALID_ARGUMENT.
    REQUEST_INVALID;
    /// No token, or none that can be read. UNAUTHENTICATED.
    TOKEN_MISSING;
    /// The token belongs to nothing, or to another session. UNAUTHENTICATED.
    TOKEN_INVALID;
    /// The token may not do that. PERMISSION_DENIED.
    TOKEN_NOT_ALLOWED;
    /// The peer is another user. PERMISSION_DENIED.
    PEER_NOT_ALLOWED;
    /// The key was used before with other content. ALREADY_EXISTS.
    IDEMPOTENCY_KEY_REUSED;
    /// The two sides speak different major versions. FAILED_PRECONDITION.
    PROTOCOL_MISMATCH;
    /// A message came where the protocol does not allow it. INVALID_ARGUMENT.
    PROTOCOL_VIOLATION;

    /// There is no such session. NOT_FOUND.
    SESSION_NOT_FOUND;
    /// The session is over. FAILED_PRECONDITION.
    SESSION_OVER;
    /// The session's state does not allow it. FAILED_PRECONDITION.
    SESSION_STATE;
    /// There are as many sessions as the daemon takes. RESOURCE_EXHAUSTED.
    SESSIONS_LIMIT;
    /// The role has an agent already. ALREADY_EXISTS.
    ROLE_TAKEN;
    /// The interrupt is not allowed in this state. FAILED_PRECONDITION.
    INTERRUPT_REFUSED;
    /// What the user saw has changed since. ABORTED.
    SEEN_CHANGED;
    /// No Act has that key, or its answer is forgotten. NOT_FOUND.
    ACT_NOT_FOUND;
    /// The owner took the plan elsewhere before the Act was done. ABORTED.
    ACT_SUPERSEDED;
    /// An Act could not be done, and nothing of it is in the workspace: its commit was refused, or
    /// somebody changed what it changes. FAILED_PRECONDITION.
    ACT_NOT_DONE;
    /// As many Acts of the session are open as it takes. RESOURCE_EXHAUSTED.
    ACTS_LIMIT;

    /// The workspace does not exist. NOT_FOUND.
    WORKSPACE_NOT_FOUND;
    /// The workspace is no directory. INVALID_ARGUMENT.
    WORKSPACE_NOT_A_DIRECTORY;
    /// The workspace lies in the daemon's state. INVALID_ARGUMENT.
    WORKSPACE_INSIDE_STATE;
    /// Another daemon works on the workspace. FAILED_PRECONDITION.
    WORKSPACE_LOCKED;
    /// The workspace can not be used for another reason. FAILED_PRECONDITION.
    WORKSPACE_UNUSABLE;

    /// The component is none, or needs what no sandbox has. INVALID_ARGUMENT.
    COMPONENT_INVALID;

    /// No such component was added. NOT_FOUND.
    TOOL_NOT_FOUND;
    /// Another component has that name. ALREADY_EXISTS.
    TOOL_EXISTS;
    /// The component is not the one that was wanted. FAILED_PRECONDITION.
    TOOL_CHANGED;
    /// There are as many components as the daemon takes. RESOURCE_EXHAUSTED.
    TOOLS_LIMIT;

    /// There is no policy set of that name. NOT_FOUND.
    POLICY_NOT_FOUND;
    /// The policy set is not valid. INVALID_ARGUMENT.
    POLICY_INVALID;

    /// A file was changed by somebody else; nothing was written. ABORTED.
    COMMIT_CONFLICT;
    /// The changes could not be written; nothing was. FAILED_PRECONDITION.
    COMMIT_FAILED;

    /// The reader was too slow and was cut off; it can resume. RESOURCE_EXHAUSTED.
    WATCHER_TOO_SLOW;
    /// The daemon is stopping. UNAVAILABLE.
    SHUTTING_DOWN;
    /// The journal can not be written. INTERNAL.
    JOURNAL_FAILED;
    /// A fault of the daemon's own. INTERNAL.
    INTERNAL;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn reasons_are_distinct_and_spelled_as_google_rpc_wants() {
        let distinct: BTreeSet<_> = ALL.iter().collect();
        assert_eq!(distinct.len(), ALL.len());
        for reason in ALL {
            assert!(reason.len() <= 63, "{reason}");
            assert!(
                reason
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
                "{reason}"
            );
        }
    }
}
