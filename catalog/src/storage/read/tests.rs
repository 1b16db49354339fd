//! Reads of a store whose answers are bad, late, or none.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const OBJECT: &[u8] = b"0123456789abcdef";
const LOCATION: &str = "s3://lake/metadata.json";

/// What the store does with a request.
#[derive(Clone)]
enum Does {
    Says(String),
    /// Says something, and nothing more.
    Stalls(String),
    /// Says the object byte by byte, with a pause before each.
    Trickles(Duration),
}

fn head(status: &str, length: usize, headers: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"e\"\r\nLast-Modified: Sat, 28 Nov 2026 00:00:00 GMT\r\n{headers}\r\n"
    )
}

fn says(status: &str, headers: &str, body: &str) -> Does {
    Does::Says(head(status, body.len(), headers) + body)
}

fn good() -> Does {
    says("200 OK", "", std::str::from_utf8(OBJECT).expect("text"))
}

/// A store that does these things, one with each request, and the last with all that follow.
async fn store(does: Vec<Does>) -> (Arc<Storage>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let (asked, asks) = (Arc::new(AtomicUsize::new(0)), Arc::new(does));
    let count = Arc::clone(&asked);
    tokio::spawn(serve(listener, asks, count));
    (at(port), asked)
}

fn at(port: u16) -> Arc<Storage> {
    let properties = [
        ("s3.endpoint", format!("http://127.0.0.1:{port}")),
        ("s3.access-key-id", "AKIDEXAMPLE".to_owned()),
        ("s3.secret-access-key", "wJalrXUtnFEMI".to_owned()),
        ("s3.path-style-access", "true".to_owned()),
        ("s3.request-timeout", "0.4".to_owned()),
    ];
    let properties: HashMap<String, String> = properties.map(|(key, value)| (key.to_owned(), value)).into();
    Storage::new(&properties).expect("properties")
}

async fn serve(listener: TcpListener, does: Arc<Vec<Does>>, asked: Arc<AtomicUsize>) {
    while let Ok((connection, _)) = listener.accept().await {
        let (does, asked) = (Arc::clone(&does), Arc::clone(&asked));
        tokio::spawn(async move { answer(connection, &does, &asked).await });
    }
}

async fn answer(mut connection: TcpStream, does: &[Does], asked: &AtomicUsize) {
    let mut request = vec![0; 16 << 10];
    if connection.read(&mut request).await.unwrap_or(0) == 0 {
        return;
    }
    let number = asked.fetch_add(1, Relaxed);
    let _ = match &does[number.min(does.len() - 1)] {
        Does::Says(text) => connection.write_all(text.as_bytes()).await,
        Does::Stalls(text) => {
            let _ = connection.write_all(text.as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(())
        }
        Does::Trickles(pause) => {
            let _ = connection.write_all(head("200 OK", OBJECT.len(), "").as_bytes()).await;
            for byte in OBJECT {
                tokio::time::sleep(*pause).await;
                let _ = connection.write_all(&[*byte]).await;
            }
            Ok(())
        }
    };
}

async fn read(does: Vec<Does>) -> (Result<Bytes>, usize, Duration) {
    let (storage, asked) = store(does).await;
    let begun = Instant::now();
    let got = storage.read(LOCATION).await;
    (got, asked.load(Relaxed), begun.elapsed())
}

#[tokio::test]
async fn a_bad_answer_is_asked_for_again() {
    let half = head("200 OK", OBJECT.len(), "") + "0123";
    let bad = vec![
        says("500 Internal Server Error", "", "<Error><Code>InternalError</Code></Error>"),
        says("503 Slow Down", "Retry-After: 1\r\n", "<Error><Code>SlowDown</Code></Error>"),
        says("429 Too Many Requests", "", ""),
        Does::Says(half.clone()),
        Does::Says("\u{16}\u{3}\u{1} this is no HTTP\r\n\r\n".to_owned()),
        Does::Says(String::new()),
    ];
    for answer in bad {
        let (got, asked, took) = read(vec![answer, good()]).await;
        assert_eq!((got.expect("the object"), asked), (Bytes::from_static(OBJECT), 2));
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"e\"\r\nLast-Modified: Sat, 28 Nov 2026 00:00:00 GMT\r\n\r\n\
                  a\r\n0123456789\r\n6\r\nabcdef\r\n0\r\n\r\n";
    let (got, asked, _) = read(vec![Does::Says(chunks.to_owned())]).await;
    assert_eq!((got.expect("the object"), asked), (Bytes::from_static(OBJECT), 1));
}

#[tokio::test]
async fn what_stalls_is_given_up_and_what_comes_slowly_is_not() {
    for stalled in [String::new(), head("200 OK", OBJECT.len(), "") + "0123"] {
        let (got, asked, _) = read(vec![Does::Stalls(stalled), good()]).await;
        assert_eq!((got.expect("the object"), asked), (Bytes::from_static(OBJECT), 2));
    }
    // In all it takes much longer than nothing may come.
    let (got, asked, took) = read(vec![Does::Trickles(Duration::from_millis(60)), good()]).await;
    assert_eq!((got.expect("the object"), asked), (Bytes::from_static(OBJECT), 1));
    assert!(took > Duration::from_millis(800), "{took:?}");
}

#[tokio::test]
async fn a_store_that_begins_to_listen_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let storage = at(port);
    let read = tokio::spawn(async move { storage.read(LOCATION).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free still");
    tokio::spawn(serve(listener, Arc::new(vec![good()]), Arc::default()));
    assert_eq!(read.await.expect("no panic").expect("the object"), OBJECT);
}

#[tokio::test]
async fn what_no_other_request_would_change_is_said_at_once() {
    let body = |code: &str, message: &str| format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let expired = body("ExpiredToken", "The provided token has expired.");
    let (got, asked, _) = read(vec![says("400 Bad Request", "", &expired)]).await;
    assert!(matches!(got, Err(Error::AccessDenied { .. })), "{got:?}");
    assert_eq!(asked, 1);

    let region = body("AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-3'");
    let elsewhere = [
        says("400 Bad Request", "", &region),
        says("301 Moved Permanently", "x-amz-bucket-region: eu-west-3\r\n", &body("PermanentRedirect", "elsewhere")),
    ];
    for answer in elsewhere {
        let (got, asked, _) = read(vec![answer]).await;
        assert!(
            matches!(&got, Err(Error::Settings { setting, message }) if setting == "s3.region" && message.contains("eu-west-3")),
            "{got:?}"
        );
        assert_eq!(asked, 1);
    }

    let around = says("307 Temporary Redirect", "Location: /lake/metadata.json\r\n", "");
    let (got, _, took) = read(vec![around]).await;
    assert!(matches!(&got, Err(Error::Unavailable { service, .. }) if service.contains("lake")), "{got:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");

    for status in ["404 Not Found", "403 Forbidden", "405 Method Not Allowed"] {
        let (got, asked, _) = read(vec![says(status, "", "")]).await;
        assert_eq!((got.is_err(), asked), (true, 1), "{status}");
    }
}

#[tokio::test]
async fn a_checksum_that_the_store_sends_is_verified() {
    for (name, other) in
        [("x-amz-checksum-crc32", "AAAAAA==".to_owned()), ("x-amz-checksum-sha256", "A".repeat(43) + "=")]
    {
        let wrong = says("200 OK", &format!("{name}: {other}\r\n"), "0123456789abcdeX");
        let (got, asked, _) = read(vec![wrong.clone(), good()]).await;
        assert_eq!((got.expect("the object"), asked), (Bytes::from_static(OBJECT), 2), "{name}");
        let (got, asked, took) = read(vec![wrong]).await;
        assert!(matches!(got, Err(Error::Malformed { .. })), "{got:?}");
        assert!((2..8).contains(&asked) && took < Duration::from_secs(3), "{asked} requests, {took:?}");
    }
    // That of a part proves nothing of the whole, nor that of the whole of a part; nor does one of another length.
    for headers in ["x-amz-checksum-crc32: AAAAAA==\r\nx-amz-checksum-type: COMPOSITE\r\n", "content-md5: AAAA\r\n"] {
        let (got, asked, _) = read(vec![says("200 OK", headers, "0123456789abcdef")]).await;
        assert_eq!((got.expect("the object"), asked), (Bytes::from_static(OBJECT), 1), "{headers}");
    }
}

#[test]
fn checksums_are_those_of_the_standards() {
    use super::super::checksum::sum_of;
    let check = b"123456789";
    assert_eq!(sum_of("x-amz-checksum-crc32", check), Some(0xcbf4_3926_u32.to_be_bytes().to_vec()));
    assert_eq!(sum_of("x-amz-checksum-crc32c", check), Some(0xe306_9283_u32.to_be_bytes().to_vec()));
    assert_eq!(sum_of("x-amz-checksum-crc64nvme", check), Some(0xae8b_1486_0a79_9888_u64.to_be_bytes().to_vec()));
    assert_eq!(sum_of("content-md5", b"").map(|sum| sum[..4].to_vec()), Some(vec![0xd4, 0x1d, 0x8c, 0xd9]));
    assert_eq!(sum_of("x-amz-checksum-sha256", b"").map(|sum| sum[..4].to_vec()), Some(vec![0xe3, 0xb0, 0xc4, 0x42]));
}

#[tokio::test]
async fn another_size_of_the_object_is_believed_only_if_it_is_said_again() {
    let part = |total: u64| says("206 Partial Content", &format!("Content-Range: bytes 4-7/{total}\r\n"), "4567");
    let (storage, _) = store(vec![part(17), part(16)]).await;
    let first = storage.read_range_once(LOCATION, 4..8, 16, &Arrived::default()).await.expect_err("another size");
    assert_eq!(first.kind, ReadFailureKind::Doubtful);
    let (bytes, progress) = storage.read_range_once(LOCATION, 4..8, 16, &Arrived::default()).await.expect("the range");
    assert_eq!((bytes, progress.bytes), (Bytes::from_static(b"4567"), 4));
}
