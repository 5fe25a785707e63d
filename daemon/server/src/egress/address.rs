//! Where a request goes: which addresses no tool may reach, and which hosts the user's
//! configuration names.

use reqwest::Url;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host with a port, or every host below a domain, as the configuration names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPattern {
    /// In lower case; of `*.example.org`, what follows the star, with its dot.
    host: String,
    below: bool,
    /// None: any.
    port: Option<u16>,
}

/// Where a request goes, taken from its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: Url,
    /// In lower case; addresses in their usual form, those of version 6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    /// Takes an address apart. Every odd spelling of an address of version 4 (decimal, octal,
    /// hexadecimal, short) becomes the usual one.
    ///
    /// # Errors
    /// One sentence, if it is no absolute `http` or `https` address, or names a user.
    pub(crate) fn parse(address: &str) -> Result<Target, String> {
        let url = Url::parse(address).map_err(|error| format!("{address:?}: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{} is not http or https", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the address names a user; send an authorization header instead".into());
        }
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let port = url.port_or_known_default().unwrap_or_default();
        if host.is_empty() {
            return Err(format!("{address:?} has no host"));
        }
        Ok(Target { url, host, port })
    }

    /// The address, if the host is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Path and query.
    pub(crate) fn path(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }
}

impl HostPattern {
    /// Reads `host`, `host:port`, `*.domain` or `*.domain:port`.
    ///
    /// # Errors
    /// One sentence, if it is none of these.
    pub(crate) fn parse(text: &str) -> Result<HostPattern, String> {
        let (below, rest) = match text.strip_prefix('*') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let odd = || format!("{text:?} is no host; write host, host:port or *.domain");
        let target = match below {
            true => rest.strip_prefix('.').ok_or_else(odd)?,
            false => rest,
        };
        let target = Target::parse(&format!("http://{target}")).map_err(|_| odd())?;
        let plain = target.url.path() == "/" && target.url.query().is_none();
        if !plain || target.host.contains('*') || below && target.ip().is_some() {
            return Err(odd());
        }
        // A port that is the scheme's is not kept by the parser.
        let port = match rest.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !port.ends_with(']') => {
                Some(port.parse().map_err(|_| odd())?)
            }
            _ => None,
        };
        let host = match below {
            true => format!(".{}", target.host),
            false => target.host,
        };
        Ok(HostPattern { host, below, port })
    }

    /// Whether a request goes there.
    pub(crate) fn matches(&self, target: &Target) -> bool {
        let host = match self.below {
            true => target.host.ends_with(&self.host) && target.host.len() > self.host.len(),
            false => target.host == self.host,
        };
        host && self.port.is_none_or(|port| port == target.port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.below { "*" } else { "" };
        write!(f, "{star}{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Whether an address is one of the internet's: not of this machine, this network, a cloud's
/// metadata service, or one that only wraps such an address.
///
/// The registries of special-purpose addresses (RFC 6890 and what updates it), without those
/// that are reachable by all.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_4(address),
        IpAddr::V6(address) => is_public_6(address),
    }
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        // This network; private; loopback.
        (0 | 10 | 127, _, _)
            // Shared between a provider and its customers.
            | (100, 64..=127, _)
            // Link-local, with the metadata services of clouds.
            | (169, 254, _)
            | (172, 16..=31, _)
            // Protocol assignments and documentation.
            | (192, 0, 0 | 2)
            // The old relays of 6to4.
            | (192, 88, 99)
            | (192, 168, _)
            // Benchmarks.
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            // Multicast, reserved, broadcast.
            | (224..=255, _, _)
    );
    // The metadata service of a cloud that is at a public address.
    !special && address != Ipv4Addr::new(168, 63, 129, 16)
}

fn is_public_6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let four = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Unspecified, loopback, IPv4-compatible, IPv4-mapped, IPv4-translated.
        [0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, ..] => match segments[5] {
            0xffff => four(segments[6], segments[7]),
            _ => false,
        },
        // NAT64, the well-known prefix; the local one could lead anywhere.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0x64, 0xff9b, ..] => false,
        // Discard-only; protocol assignments, Teredo and ORCHID among them; documentation.
        [0x100, 0, 0, 0..=1, ..] | [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] => false,
        // 6to4.
        [0x2002, high, low, ..] => four(high, low),
        // Documentation; segment routing.
        [0x3fff, 0..=0xfff, ..] | [0x5f00, ..] => false,
        // Only this eighth is given out: unique local, link-local, site-local and multicast
        // addresses are above it.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_spellings_of_an_address_become_the_usual_one() {
        for spelling in [
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://LOCALHOST%2e/",
            "http://１２７.0.0.1/",
        ] {
            let target = Target::parse(spelling).expect(spelling);
            let loopback = target.ip().is_some_and(|ip| !is_public(ip));
            assert!(
                loopback || target.host == "localhost",
                "{spelling}: {target:?}"
            );
        }
        let mapped = Target::parse("http://[::ffff:169.254.169.254]/").expect("an address");
        assert!(mapped.ip().is_some_and(|ip| !is_public(ip)));
    }

    #[test]
    fn what_is_no_address_of_the_internet_is_known() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().expect(address)), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
            "2001:4860::8888",
        ] {
            assert!(is_public(address.parse().expect(address)), "{address}");
        }
    }

    #[test]
    fn patterns_are_hosts_and_domains() {
        let matches = |pattern: &str, address: &str| {
            let pattern = HostPattern::parse(pattern).expect(pattern);
            pattern.matches(&Target::parse(address).expect(address))
        };
        assert!(matches("Docs.example.org", "https://docs.example.org/a"));
        assert!(matches(
            "docs.example.org",
            "https://docs.example.org.:8443/a"
        ));
        assert!(!matches(
            "docs.example.org",
            "https://docs.example.org.evil.example/"
        ));
        assert!(!matches("docs.example.org:443", "http://docs.example.org/"));
        assert!(matches("docs.example.org:443", "https://docs.example.org/"));
        assert!(matches("*.example.org", "https://a.b.example.org/"));
        assert!(!matches("*.example.org", "https://example.org/"));
        assert!(!matches("*.example.org", "https://badexample.org/"));
        assert!(matches("[::1]:8080", "http://[::1]:8080/"));
        assert!(matches("127.0.0.1", "http://2130706433/"));
        for odd in [
            "",
            "*",
            "a b",
            "http://a",
            "a/b",
            "*.127.0.0.1",
            "a:x",
            "u@a",
            "a.*.b",
        ] {
            assert!(HostPattern::parse(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_address_with_a_user_or_another_scheme_is_refused() {
        for odd in [
            "ftp://a/",
            "file:///etc/passwd",
            "http://u:p@a/",
            "http://u@a/",
            "a/b",
            "",
        ] {
            assert!(Target::parse(odd).is_err(), "{odd}");
        }
    }
}
