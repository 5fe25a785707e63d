//! Who may do what: tokens, the per-user owner key, and the check of the socket's peer.
//!
//! `Create` returns one owner token and one token per role; the journal keeps only their
//! hashes. The owner key (a file of mode 0600 in the state directory) counts as every
//! session's owner token. Honest limit: an unsandboxed process of the same user can read it.

use forerun_journal::TokenHashes;
use forerun_types::{Digest, Hasher, Role};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Random bytes of a token: 256 bits can not be guessed.
const TOKEN_BYTES: usize = 32;
/// Name of the owner key's file in the state directory.
pub(crate) const OWNER_KEY_FILE: &str = "owner.key";

/// What a caller has shown to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    /// May interrupt, decide and close; outranks the roles.
    Owner,
    /// May attach in this role, and watch.
    Role(Role),
}

impl Authority {
    /// Whether it may attach an agent in `role`: the role's own token, or the owner.
    pub(crate) fn may_attach(self, role: Role) -> bool {
        self == Authority::Owner || self == Authority::Role(role)
    }
}

/// The tokens of a new session, shown once.
pub(crate) struct Tokens {
    pub(crate) owner: String,
    pub(crate) approximation: String,
    pub(crate) target: String,
}

impl Tokens {
    /// Draws new ones from the system's random source.
    pub(crate) fn draw() -> io::Result<Tokens> {
        Ok(Tokens {
            owner: draw_token("own")?,
            approximation: draw_token("apx")?,
            target: draw_token("tgt")?,
        })
    }

    pub(crate) fn hashes(&self) -> TokenHashes {
        TokenHashes {
            owner: hash(&self.owner),
            approximation: hash(&self.approximation),
            target: hash(&self.target),
        }
    }
}

/// What `token` shows its bearer to be, in the session with these tokens.
pub(crate) fn authority(
    tokens: &TokenHashes,
    token: &str,
    owner_key: &OwnerKey,
) -> Option<Authority> {
    let found = hash(token);
    if found == tokens.owner || found == owner_key.hash {
        Some(Authority::Owner)
    } else if found == tokens.target {
        Some(Authority::Role(Role::Target))
    } else if found == tokens.approximation {
        Some(Authority::Role(Role::Approximation))
    } else {
        None
    }
}

/// The per-user key that counts as every session's owner token. Only its hash is kept.
#[derive(Clone, Debug)]
pub(crate) struct OwnerKey {
    hash: Digest,
}

impl OwnerKey {
    #[cfg(test)]
    pub(crate) fn of(key: &str) -> OwnerKey {
        OwnerKey { hash: hash(key) }
    }

    /// Reads the key, or makes one. Two daemons can not race: the state directory is
    /// locked before.
    ///
    /// # Errors
    /// If the file can not be read or written.
    pub(crate) fn load_or_create(state_dir: &Path) -> io::Result<OwnerKey> {
        let path: PathBuf = state_dir.join(OWNER_KEY_FILE);
        let key = match std::fs::read_to_string(&path) {
            Ok(key) if key.trim().len() >= TOKEN_BYTES * 2 => key,
            Ok(_) => Self::create(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(&path)?,
            Err(error) => return Err(error),
        };
        Ok(OwnerKey {
            hash: hash(key.trim()),
        })
    }

    fn create(path: &Path) -> io::Result<String> {
        use std::io::Write;
        let key = draw_token("key")?;
        let staged = path.with_extension("new");
        let _ = std::fs::remove_file(&staged);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&staged)?;
        file.write_all(key.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&staged, path)?;
        Ok(key)
    }

    /// Whether `token` is the owner key.
    pub(crate) fn is(&self, token: &str) -> bool {
        hash(token) == self.hash
    }
}

fn draw_token(prefix: &str) -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{prefix}_{}", Digest(bytes)))
}

/// Tokens are compared by hash, so the comparison's timing says nothing about a token.
fn hash(token: &str) -> Digest {
    Hasher::new("forerun token v1").field(token).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_shows_its_own_authority_and_no_other() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let key = OwnerKey::load_or_create(dir.path()).expect("key");
        let tokens = Tokens::draw().expect("random");
        let hashes = tokens.hashes();
        assert_eq!(
            authority(&hashes, &tokens.owner, &key),
            Some(Authority::Owner)
        );
        let shown = authority(&hashes, &tokens.approximation, &key);
        assert_eq!(shown, Some(Authority::Role(Role::Approximation)));
        assert!(!shown.is_some_and(|authority| authority.may_attach(Role::Target)));
        assert_eq!(authority(&hashes, "", &key), None);
        assert_eq!(authority(&hashes, "own_0", &key), None);
    }

    #[test]
    fn the_owner_key_is_private_and_stays() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().expect("temporary directory");
        OwnerKey::load_or_create(dir.path()).expect("key");
        let path = dir.path().join(OWNER_KEY_FILE);
        let text = std::fs::read_to_string(&path).expect("key file");
        assert_eq!(
            std::fs::metadata(&path).expect("metadata").mode() & 0o777,
            0o600
        );
        let again = OwnerKey::load_or_create(dir.path()).expect("key");
        assert!(again.is(&text));
    }
}
