//! The command, as people start it.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::client::Client;
use super::get;
use super::stand_in::{StandIn, bytes};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polynya-bench"));
    command.arg("s3-proxy").args(arguments).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_command_tells_where_it_listens() {
    let server = StandIn::start().await;
    let upstream = server.url();
    let arguments = ["--upstream", &upstream, "--control", "127.0.0.1:0", "--latency", "1ms", "--seed", "3"];
    let mut running = command(&arguments).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    for _ in 0..3 {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap().unwrap();
        said.push(
            line.split_once(' ').map(|(_, rest)| rest.trim_start_matches("endpoint").trim().to_string()).unwrap(),
        );
    }
    assert_eq!(said[2], "3");
    let answer = Client::connect(&said[0]).await.ask(&get("/b/10.parquet", "")).await;
    assert_eq!(answer.body, bytes(0, 10));
    let counters = Client::connect(&said[1]).await.ask(&get("/", "")).await;
    let counters: serde_json::Value = serde_json::from_slice(&counters.body).unwrap();
    assert_eq!((&counters["gets"], &counters["conns"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn wrong_settings_are_named() {
    let upstream = ["--upstream", "http://127.0.0.1:1"];
    let cases: [(&[&str], &str); 5] = [
        (&["--fault-503", "1.5"], "1.5 is not a rate from 0 to 1"),
        (&["--fault-503", "0.6", "--fault-reset", "0.6"], "sum up to 1.2"),
        (&["--latency", "30"], "30 is not a time such as 30ms"),
        (&["--bandwidth", "fast"], "fast is not a bandwidth such as 90MB/s"),
        (&["--faults-only-on", "some"], "possible values: data, all"),
    ];
    for (arguments, message) in cases {
        let output = command(&[&upstream, arguments].concat()).stderr(Stdio::piped()).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(message), "{said}");
    }
}
