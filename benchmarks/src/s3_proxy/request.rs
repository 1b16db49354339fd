//! What an S3 request asks for: its kind, the class of its object, and whether its `Range` is signed.

use std::io;

use super::framing::Framing;
use super::head::RequestHead;

/// What is done, as S3 bills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    List,
    Head,
    Put,
    Post,
    Delete,
    Other,
}

/// What an Iceberg table keeps in the object, by the end of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Data,
    Metadata,
    Other,
}

/// Query parameters of requests that list a bucket's objects, versions or uploads.
const LIST_PARAMETERS: [&str; 7] = ["list-type", "prefix", "delimiter", "marker", "max-keys", "versions", "uploads"];

/// A request, understood.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) head: RequestHead,
    pub(super) kind: Kind,
    pub(super) class: Class,
    pub(super) framing: Framing,
}

impl Request {
    pub(super) fn new(head: RequestHead) -> io::Result<Self> {
        let framing = Framing::of_request(&head)?;
        let (kind, class) = (kind(&head.method, &head.target), class(&head.target));
        Ok(Self { head, kind, class, framing })
    }

    pub(super) fn has_body(&self) -> bool {
        !self.framing.is_done()
    }

    pub(super) fn is_ranged_get(&self) -> bool {
        self.kind == Kind::Get && self.head.fields.get("range").is_some()
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) fn waits_to_send(&self) -> bool {
        self.has_body() && self.head.fields.lists("expect", "100-continue")
    }

    /// Whether asking twice is asking once: then a request may be sent again when a pooled connection proves dead.
    pub(super) fn may_be_repeated(&self) -> bool {
        !self.has_body() && matches!(self.kind, Kind::Get | Kind::List | Kind::Head | Kind::Delete)
    }

    /// Whether S3 would notice that the `Range` is gone (Signature Version 4, in the header or in the query).
    pub(super) fn signs_range(&self) -> bool {
        let authorization = self.head.fields.get("authorization").unwrap_or_default();
        let (_, query) = split(&self.head.target);
        let in_header = authorization.split([',', ' ']).filter_map(|part| part.strip_prefix("SignedHeaders="));
        let in_query = query.split('&').filter_map(|part| part.strip_prefix("X-Amz-SignedHeaders="));
        let mut names = in_header.chain(in_query).flat_map(|names| names.split([';', '%']));
        names.any(|name| name.trim_start_matches("3B").trim_start_matches("3b") == "range")
    }
}

fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

fn kind(method: &str, target: &str) -> Kind {
    match method {
        "GET" if is_list(target) => Kind::List,
        "GET" => Kind::Get,
        "HEAD" => Kind::Head,
        "PUT" => Kind::Put,
        "POST" => Kind::Post,
        "DELETE" => Kind::Delete,
        _ => Kind::Other,
    }
}

/// The path is a bucket (or nothing, where the bucket is in the host's name), and the query tells what of it to list.
fn is_list(target: &str) -> bool {
    let (path, query) = split(target);
    let names_bucket_only = !path.trim_matches('/').contains('/');
    let name = |parameter: &str| parameter.split('=').next().is_some_and(|name| LIST_PARAMETERS.contains(&name));
    names_bucket_only && query.split('&').any(name)
}

fn class(target: &str) -> Class {
    let (path, _) = split(target);
    if path.ends_with(".parquet") {
        Class::Data
    } else if path.ends_with(".json") || path.ends_with(".avro") {
        Class::Metadata
    } else {
        Class::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        Request::new(RequestHead::parse(text.as_bytes()).unwrap().unwrap().0).unwrap()
    }

    #[test]
    fn kinds_are_those_of_the_bill() {
        assert_eq!(kind("GET", "/b?list-type=2&prefix=x"), Kind::List);
        assert_eq!(kind("GET", "/?prefix=x/y"), Kind::List);
        assert_eq!(kind("GET", "/b/?uploads"), Kind::List);
        for target in ["/b/k?prefix=x", "/b?location", "/", "/b/k.parquet", "/b/k?versionId=1"] {
            assert_eq!(kind("GET", target), Kind::Get, "{target}");
        }
        assert_eq!(
            ["HEAD", "PUT", "POST"].map(|method| kind(method, "/b?prefix=x")),
            [Kind::Head, Kind::Put, Kind::Post]
        );
    }

    #[test]
    fn classes_are_those_of_iceberg() {
        let classes =
            ["/b/t/data/1.parquet?x-id=GetObject", "/b/t/metadata/v1.gz.metadata.json", "/b/m.avro", "/b/x.orc"];
        assert_eq!(classes.map(class), [Class::Data, Class::Metadata, Class::Metadata, Class::Other]);
    }

    #[test]
    fn a_signed_range_is_noticed() {
        let signed = |names: &str| {
            let scope = "AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/s3/aws4_request";
            request(&format!("GET /b/k HTTP/1.1\r\nAuthorization: {scope}, SignedHeaders={names}, Signature=0\r\n\r\n"))
        };
        assert!(signed("host;range;x-amz-date").signs_range());
        assert!(!signed("host;x-amz-date;x-range").signs_range());
        assert!(request("GET /b/k?X-Amz-SignedHeaders=host%3Brange HTTP/1.1\r\n\r\n").signs_range());
        assert!(!request("GET /b/k?X-Amz-SignedHeaders=host HTTP/1.1\r\nRange: bytes=0-1\r\n\r\n").signs_range());
    }
}
