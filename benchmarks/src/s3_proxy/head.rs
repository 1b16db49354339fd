//! Heads of HTTP/1.1 messages (RFC 9112): what the proxy needs to know of them, and the bytes as they came.

use std::io;

/// More headers than this are refused.
const HEADERS_MAX: usize = 128;

/// The headers of a message, and all of the head's bytes.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    /// From the first line to the empty one.
    pub(super) bytes: Vec<u8>,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    http_1_0: bool,
}

/// The head of a request.
#[derive(Debug, Clone)]
pub(super) struct RequestHead {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) fields: Fields,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) fields: Fields,
}

/// A head and its length, once all of it is there.
pub(super) type Parsed<T> = io::Result<Option<(T, usize)>>;

impl RequestHead {
    pub(super) fn parse(bytes: &[u8]) -> Parsed<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(malformed)? else { return Ok(None) };
        let fields = Fields::new(&bytes[..length], parsed.headers, parsed.version);
        let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
        Ok(Some((Self { method: method.to_string(), target: target.to_string(), fields }, length)))
    }
}

impl ResponseHead {
    pub(super) fn parse(bytes: &[u8]) -> Parsed<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(malformed)? else { return Ok(None) };
        let fields = Fields::new(&bytes[..length], parsed.headers, parsed.version);
        Ok(Some((Self { status: parsed.code.unwrap_or_default(), fields }, length)))
    }

    /// Whether another answer to the same request follows, as after `100 Continue`.
    pub(super) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

impl Fields {
    fn new(bytes: &[u8], headers: &[httparse::Header<'_>], version: Option<u8>) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value))).collect();
        Self { bytes: bytes.to_vec(), headers, http_1_0: version == Some(0) }
    }

    /// The values of a header, whose name is given in lower case.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.trim())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// Whether a header whose value is a list has this element, in any case.
    pub(super) fn lists(&self, name: &str, element: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(element))
    }

    /// Whether the connection takes no other message after this one.
    pub(super) fn closes(&self) -> bool {
        self.http_1_0 || self.lists("connection", "close")
    }

    /// The bytes without these headers (names in lower case), with another first line if one is given, and with these lines added.
    pub(super) fn rewritten(&self, first_line: Option<&str>, without: &[&str], added: &str) -> Vec<u8> {
        let mut lines = self.bytes.split_inclusive(|&byte| byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let mut bytes = first_line.map_or(first, str::as_bytes).to_vec();
        for line in lines {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            if without.iter().any(|unwanted| name.eq_ignore_ascii_case(unwanted.as_bytes())) {
                continue;
            }
            if line == b"\r\n" || line == b"\n" {
                bytes.extend_from_slice(added.as_bytes());
            }
            bytes.extend_from_slice(line);
        }
        bytes
    }
}

fn malformed(error: httparse::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_whole_or_not_at_all() {
        let bytes = b"GET /b/k?x=1 HTTP/1.1\r\nHost: here:1\r\nRange: bytes=0-3\r\n\r\nrest";
        assert!(RequestHead::parse(&bytes[..40]).unwrap().is_none());
        let (head, length) = RequestHead::parse(bytes).unwrap().unwrap();
        assert_eq!((&bytes[length..], head.method.as_str(), head.target.as_str()), (&b"rest"[..], "GET", "/b/k?x=1"));
        assert_eq!((head.fields.get("host"), head.fields.closes()), (Some("here:1"), false));
        let rewritten = head.fields.rewritten(None, &["range"], "X: 1\r\n");
        assert_eq!(rewritten, b"GET /b/k?x=1 HTTP/1.1\r\nHost: here:1\r\nX: 1\r\n\r\n");
        assert!(RequestHead::parse(b"\x00\x01 nonsense\r\n\r\n").is_err());
    }

    #[test]
    fn an_answer_tells_whether_its_connection_goes_on() {
        let closes = |text: &str| ResponseHead::parse(text.as_bytes()).unwrap().unwrap().0.fields.closes();
        assert!(!closes("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(closes("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n"));
        assert!(closes("HTTP/1.0 200 OK\r\n\r\n"));
    }
}
