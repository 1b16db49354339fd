//! Where the body of a message ends (RFC 9112, sections 6 and 7). The body's bytes pass as they are, chunk sizes included.

use std::io;

use super::head::{Fields, RequestHead, ResponseHead};

/// How the end of a body is known, and how much of it is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked(Chunk),
    UntilClose,
}

/// Where in a chunked body the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    Size(u64),
    /// What follows the size on its line.
    Extension(u64),
    /// The bytes of the chunk and the line end behind them.
    Data(u64),
    /// A line after the last chunk, of so many bytes until now.
    Trailer(u64),
    Done,
}

impl Framing {
    pub(super) fn of_request(head: &RequestHead) -> io::Result<Self> {
        Ok(Self::declared(&head.fields)?.unwrap_or(Self::Length(0)))
    }

    pub(super) fn of_response(head: &ResponseHead, request_method: &str) -> io::Result<Self> {
        let never = request_method == "HEAD" || head.status < 200 || [204, 304].contains(&head.status);
        if never { Ok(Self::Length(0)) } else { Ok(Self::declared(&head.fields)?.unwrap_or(Self::UntilClose)) }
    }

    fn declared(fields: &Fields) -> io::Result<Option<Self>> {
        if fields.get("transfer-encoding").is_some() {
            let chunked = fields.lists("transfer-encoding", "chunked");
            return if chunked { Ok(Some(Self::Chunked(Chunk::Size(0)))) } else { Err(bad("transfer encoding")) };
        }
        let mut lengths = fields.all("content-length");
        let Some(first) = lengths.next() else { return Ok(None) };
        if lengths.any(|other| other != first) {
            return Err(bad("content length"));
        }
        Ok(Some(Self::Length(first.parse().map_err(|_| bad("content length"))?)))
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// The bytes still to come, if known.
    pub(super) fn remaining(&self) -> Option<u64> {
        if let Self::Length(bytes) = self { Some(*bytes) } else { None }
    }

    /// How many of these bytes, which come next, belong to the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::UntilClose => Ok(bytes.len()),
            Self::Length(remaining) => {
                let taken = (*remaining).min(bytes.len() as u64);
                *remaining -= taken;
                Ok(taken as usize)
            }
            Self::Chunked(chunk) => {
                let mut taken = 0;
                while taken < bytes.len() && *chunk != Chunk::Done {
                    taken += chunk.step(&bytes[taken..])?;
                }
                Ok(taken)
            }
        }
    }
}

impl Chunk {
    /// Goes on by one byte, or by as much of a chunk's data as is there.
    fn step(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let byte = bytes[0];
        *self = match *self {
            Self::Size(size) | Self::Extension(size) if byte == b'\n' => {
                if size == 0 {
                    Self::Trailer(0)
                } else {
                    Self::Data(size.saturating_add(2))
                }
            }
            Self::Size(size) => match (byte as char).to_digit(16) {
                Some(digit) => Self::Size(size.checked_mul(16).ok_or_else(|| bad("chunk size"))? + u64::from(digit)),
                None if matches!(byte, b'\r' | b';' | b' ' | b'\t') => Self::Extension(size),
                None => return Err(bad("chunk size")),
            },
            Self::Data(remaining) => {
                let taken = remaining.min(bytes.len() as u64);
                *self = if taken == remaining { Self::Size(0) } else { Self::Data(remaining - taken) };
                return Ok(taken as usize);
            }
            Self::Trailer(0) if byte == b'\n' => Self::Done,
            Self::Trailer(_) if byte == b'\n' => Self::Trailer(0),
            Self::Trailer(length) if byte == b'\r' => Self::Trailer(length),
            Self::Trailer(length) => Self::Trailer(length + 1),
            extension_or_done => extension_or_done,
        };
        Ok(1)
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text in pieces of this size, and gives how many bytes the body took.
    fn taken(text: &str, piece_bytes: usize) -> io::Result<usize> {
        let mut framing = Framing::Chunked(Chunk::Size(0));
        let mut taken = 0;
        while !framing.is_done() && taken < text.len() {
            let end = text.len().min(taken + piece_bytes);
            taken += framing.take(&text.as_bytes()[taken..end])?;
        }
        assert!(framing.is_done(), "{text:?}");
        Ok(taken)
    }

    #[test]
    fn a_chunked_body_ends_where_its_last_chunk_does() {
        let signed = "5;chunk-signature=0a\r\nhello\r\n0;chunk-signature=0b\r\n\r\n";
        let trailed = "A\r\n0123\r\n6789\r\n0\r\nx-amz-checksum-crc32: AAAA\r\nOther: 1\r\n\r\n";
        for body in ["0\r\n\r\n", signed, trailed] {
            for piece_bytes in [1, 2, 3, 7, 1000] {
                assert_eq!(
                    taken(&format!("{body}GET /"), piece_bytes).unwrap(),
                    body.len(),
                    "{body:?} by {piece_bytes}"
                );
            }
        }
        assert!(taken("x\r\n", 3).is_err());
    }

    #[test]
    fn the_head_tells_how_the_body_ends() {
        let of = |text: &str, method: &str| {
            let head = ResponseHead::parse(text.as_bytes()).unwrap().unwrap().0;
            Framing::of_response(&head, method)
        };
        assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "GET").unwrap(), Framing::Length(7));
        assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "HEAD").unwrap(), Framing::Length(0));
        assert_eq!(of("HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\n", "GET").unwrap(), Framing::Length(0));
        assert_eq!(of("HTTP/1.1 200 OK\r\n\r\n", "GET").unwrap(), Framing::UntilClose);
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(of(both, "GET").unwrap(), Framing::Chunked(Chunk::Size(0)));
        assert!(of("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n", "GET").is_err());
    }
}
