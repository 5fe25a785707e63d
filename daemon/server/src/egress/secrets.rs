//! Credentials that tools may use and never see.
//!
//! A tool writes `{{secret:NAME}}` into a header. On the way to a host that the configuration
//! binds the secret to, its value is put there; to any other host such a request is not sent.
//! Where the value comes back in a response, the placeholder is put in its place, so that it
//! reaches neither the tool nor a model nor the log.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{HostPattern, Target};

/// Shortest value: what is shorter would be found in texts that have nothing to do with it.
const VALUE_BYTES_MIN: usize = 8;

/// A secret, as the configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSettings {
    /// The variable of the daemon's environment that holds it.
    pub env: String,
    /// The hosts that it may be sent to, over https.
    pub hosts: Vec<String>,
}

/// The secrets that there are.
#[derive(Default)]
pub(super) struct Secrets(Vec<Secret>);

struct Secret {
    placeholder: String,
    value: String,
    hosts: Vec<HostPattern>,
}

impl Secrets {
    /// Reads them from the environment; one that is not set is left out, and a request that
    /// needs it says so.
    ///
    /// # Errors
    /// One sentence, if a value is too short, or a host is none.
    pub(super) fn new(settings: &BTreeMap<String, SecretSettings>) -> Result<Secrets, String> {
        let mut secrets = Vec::new();
        for (name, secret) in settings {
            let hosts = secret.hosts.iter().map(|host| HostPattern::parse(host));
            let hosts = hosts.collect::<Result<_, _>>()?;
            let Ok(value) = std::env::var(&secret.env) else {
                tracing::warn!(secret = name, variable = secret.env, "a secret is not set");
                continue;
            };
            if value.len() < VALUE_BYTES_MIN {
                return Err(format!(
                    "the secret {name:?} has fewer than {VALUE_BYTES_MIN} bytes"
                ));
            }
            secrets.push(Secret {
                placeholder: placeholder(name),
                value,
                hosts,
            });
        }
        Ok(Secrets(secrets))
    }

    /// A header's value with the secrets in it that may go to a host; `None` if it names none.
    ///
    /// # Errors
    /// One sentence, if one of them may not, or is not known.
    pub(super) fn put_in(&self, value: &str, target: &Target) -> Result<Option<String>, String> {
        if !value.contains("{{secret:") {
            return Ok(None);
        }
        let mut put = value.to_owned();
        for secret in &self.0 {
            if !put.contains(&secret.placeholder) {
                continue;
            }
            let bound = secret.hosts.iter().any(|host| host.matches(target));
            if !bound || target.url.scheme() != "https" {
                return Err(format!(
                    "{} is not for {}://{}",
                    secret.placeholder,
                    target.url.scheme(),
                    target.host
                ));
            }
            put = put.replace(&secret.placeholder, &secret.value);
        }
        match put.contains("{{secret:") {
            true => Err(format!("{value:?} names a secret that is not known")),
            false => Ok(Some(put)),
        }
    }

    /// A text without the secrets.
    pub(super) fn scrub(&self, text: &str) -> String {
        let mut scrubbed = text.to_owned();
        for secret in &self.0 {
            if scrubbed.contains(&secret.value) {
                scrubbed = scrubbed.replace(&secret.value, &secret.placeholder);
            }
        }
        scrubbed
    }

    /// Bytes without the secrets.
    pub(super) fn scrub_bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for secret in &self.0 {
            let value = secret.value.as_bytes();
            let mut from = 0;
            while let Some(at) = find(&bytes[from..], value) {
                let at = from + at;
                bytes.splice(at..at + value.len(), secret.placeholder.bytes());
                from = at + secret.placeholder.len();
            }
        }
        bytes
    }
}

fn placeholder(name: &str) -> String {
    format!("{{{{secret:{name}}}}}")
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets(vec![Secret {
            placeholder: placeholder("forge"),
            value: "s3cret-value".to_owned(),
            hosts: vec![HostPattern::parse("api.example.org").expect("a host")],
        }])
    }

    fn target(address: &str) -> Target {
        Target::parse(address).expect("an address")
    }

    #[test]
    fn a_secret_goes_to_its_own_host_only_and_only_encrypted() {
        let secrets = secrets();
        let header = "Bearer {{secret:forge}}";
        let own = target("https://api.example.org/x");
        assert_eq!(
            secrets.put_in(header, &own),
            Ok(Some("Bearer s3cret-value".to_owned()))
        );
        for other in [
            "https://api.example.org.evil.example/",
            "https://evil.example/",
            "http://api.example.org/",
        ] {
            assert!(secrets.put_in(header, &target(other)).is_err(), "{other}");
        }
        assert!(secrets.put_in("{{secret:other}}", &own).is_err());
        assert_eq!(secrets.put_in("plain", &own), Ok(None));
    }

    #[test]
    fn what_comes_back_has_the_placeholder() {
        let secrets = secrets();
        let body = b"a s3cret-value, and s3cret-value\xff".to_vec();
        assert_eq!(
            secrets.scrub_bytes(body),
            b"a {{secret:forge}}, and {{secret:forge}}\xff"
        );
        assert_eq!(secrets.scrub("s3cret-value"), "{{secret:forge}}");
    }
}
