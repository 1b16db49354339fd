//! The control endpoint, as run scripts use it.

use polynya_bench::s3_proxy::{Counters, FaultScope, Faults, Proxy, ProxyOptions};

use super::client::Client;
use super::stand_in::StandIn;
use super::{connect, get};

async fn controlled() -> (StandIn, Proxy) {
    let server = StandIn::start().await;
    let options = ProxyOptions::new(server.url());
    let control = Some(options.listen);
    let proxy = Proxy::start(ProxyOptions { control, ..options }).await.unwrap();
    (server, proxy)
}

async fn ask(proxy: &Proxy, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    let mut client = Client::connect(&proxy.control_url().unwrap()).await;
    let length = body.len();
    let answer =
        client.ask(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")).await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[tokio::test]
async fn reading_the_counters_begins_them_anew_and_peeking_does_not() {
    let (_server, proxy) = controlled().await;
    connect(&proxy).await.ask(&get("/b/9.parquet", "Range: bytes=0-1\r\n")).await;
    let expected = proxy.counters();
    for path in ["/peek", "/"] {
        let (status, json) = ask(&proxy, "GET", path, "").await;
        for key in ["gets", "heads", "puts", "others", "bytes_down", "bytes_up", "conns", "peak"] {
            assert!(json[key].is_u64(), "{key}");
        }
        assert_eq!((status, serde_json::from_value::<Counters>(json).unwrap()), (200, expected.clone()));
    }
    let (_, json) = ask(&proxy, "GET", "/peek", "").await;
    assert_eq!(serde_json::from_value::<Counters>(json).unwrap(), Counters::default());
}

#[tokio::test]
async fn settings_change_one_by_one_while_the_proxy_runs() {
    let (_server, proxy) = controlled().await;
    let mut client = connect(&proxy).await;
    let request = get("/b/9.json", "");
    assert_eq!(client.ask(&request).await.status, 200);
    let (status, json) = ask(&proxy, "POST", "/faults", r#"{"fault_503": 1, "faults_only_on": "all"}"#).await;
    assert_eq!((status, &json["fault_503"], &json["down"]), (200, &1.0.into(), &false.into()));
    assert_eq!(client.ask(&request).await.status, 503);
    ask(&proxy, "POST", "/faults", r#"{"fault_503": 0, "latency_ms": 1}"#).await;
    assert_eq!(client.ask(&request).await.status, 200);
    let expected = Faults { latency_ms: 1, faults_only_on: FaultScope::All, ..Faults::default() };
    assert_eq!(proxy.faults(), expected);
    assert_eq!(ask(&proxy, "GET", "/faults", "").await, (200, serde_json::to_value(expected).unwrap()));
    ask(&proxy, "POST", "/faults", r#"{"down": true}"#).await;
    assert!(client.rest().await.0.is_empty());
}

#[tokio::test]
async fn settings_that_make_no_sense_change_nothing() {
    let (_server, proxy) = controlled().await;
    let cases = [
        (r#"{"fault_503": 1.5}"#, "fault_503 is 1.5"),
        (r#"{"fault_503": 0.7, "fault_reset": 0.7}"#, "sum up to 1.4"),
        (r#"{"latency": 3}"#, "unknown field `latency`"),
        ("nonsense", "not settings"),
    ];
    for (body, message) in cases {
        let (status, json) = ask(&proxy, "POST", "/faults", body).await;
        assert!(status == 400 && json["error"].as_str().unwrap().contains(message), "{json}");
    }
    assert_eq!(proxy.faults(), Faults::default());
    let (status, json) = ask(&proxy, "GET", "/stats", "").await;
    assert!(status == 404 && json["error"].as_str().unwrap().contains("/peek"), "{json}");
}
