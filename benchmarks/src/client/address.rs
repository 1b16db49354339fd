//! Where a Flight SQL server is: the URL forms that drivers accept.
//!
//! In: `grpc://host:port` and its relatives. Out: host, port, and whether the connection is encrypted.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// The port that `polynya serve` listens on unless told otherwise.
const DEFAULT_PORT: u16 = 50051;

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

impl Address {
    /// The same address as tonic wants it.
    pub(crate) fn http_uri(&self) -> String {
        format!("{}://{}:{}", if self.tls { "https" } else { "http" }, self.host, self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "grpc+tls" } else { "grpc" }, self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        let invalid = |reason| Error::Url { url: url.to_string(), reason };
        let (scheme, rest) = url.split_once("://").unwrap_or(("grpc", url));
        let tls = match scheme {
            "grpc" | "grpc+tcp" | "http" | "flightsql" => false,
            "grpc+tls" | "https" => true,
            _ => return Err(invalid("the scheme must be grpc or grpc+tls")),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(invalid("give the user and password separately, not in the URL"));
        }
        // The last colon parts host and port, unless it is inside the brackets of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| invalid("the port must be a number below 65536"))?)
            }
            _ => (authority, DEFAULT_PORT),
        };
        if host.is_empty() {
            return Err(invalid("the host is missing"));
        }
        Ok(Self { host: host.to_string(), port, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(url: &str, shown: &str, uri: &str) {
        let address: Address = url.parse().expect("the URL is valid");
        assert_eq!((address.to_string().as_str(), address.http_uri().as_str()), (shown, uri));
    }

    #[test]
    fn urls_of_all_drivers_are_read() {
        reads("grpc://127.0.0.1:50051", "grpc://127.0.0.1:50051", "http://127.0.0.1:50051");
        reads("grpc+tcp://host", "grpc://host:50051", "http://host:50051");
        reads("grpc+tls://host:443/", "grpc+tls://host:443", "https://host:443");
        reads("host:1234", "grpc://host:1234", "http://host:1234");
        reads("grpc://[::1]:77", "grpc://[::1]:77", "http://[::1]:77");
        reads("grpc://[::1]", "grpc://[::1]:50051", "http://[::1]:50051");
    }

    #[test]
    fn a_wrong_url_is_named_in_the_error() {
        for (url, part) in [
            ("ftp://host", "scheme"),
            ("grpc://:1", "host"),
            ("grpc://host:port", "port"),
            ("grpc://me:secret@host:1", "separately"),
        ] {
            let error = url.parse::<Address>().expect_err("the URL is wrong").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
