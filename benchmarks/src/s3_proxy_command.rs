//! `polynya-bench s3-proxy`: its command line. Runs a proxy until Ctrl-C, then prints what it counted.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use polynya_bench::s3_proxy::{FaultScope, Faults, Proxy, ProxyOptions};
use polynya_bench::s3_proxy::{parse_bandwidth, parse_duration_ms, parse_rate};

/// What `--help` shows last.
pub(crate) const HELP: &str = "\
Examples:
  polynya-bench s3-proxy --upstream http://127.0.0.1:8333 --latency 30ms --bandwidth 90MB/s
  polynya-bench s3-proxy --upstream http://127.0.0.1:8333 --fault-503 0.05 --seed 7 \\
      --listen 127.0.0.1:9011 --control 127.0.0.1:9012

Clients use the printed address as their S3 endpoint, with the credentials of the server behind it.

Control endpoint (HTTP, JSON):
  GET /         the counters, which begin anew
  GET /peek     the counters
  GET /faults   the settings
  POST /faults  changes the settings it names: {\"latency_ms\": 30, \"fault_503\": 0.05, \"down\": true}

Faults: a request meets one at most, so the rates sum up to 1 at most. All keys: docs/s3-proxy.md.";

/// Where the proxy stands, and how bad the way to S3 is.
#[derive(Debug, Args)]
pub(crate) struct S3Proxy {
    /// The S3 server, by HTTP.
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Where clients connect; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the control endpoint listens. Default: there is none.
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
    /// How long every request is held before it is sent on, such as 30ms.
    #[arg(long, default_value = "0ms", value_parser = parse_duration_ms, value_name = "TIME")]
    latency: u64,
    /// Each request's latency is up to this much more or less.
    #[arg(long, default_value = "0ms", value_parser = parse_duration_ms, value_name = "TIME")]
    latency_jitter: u64,
    /// Limit of each client connection in each direction, such as 90MB/s; 0 is none.
    #[arg(long, default_value = "0", value_parser = parse_bandwidth, value_name = "BYTES/s")]
    bandwidth: u64,
    /// Share of requests answered 503 Slow Down, from 0 to 1.
    #[arg(long, default_value = "0", value_parser = parse_rate, value_name = "RATE")]
    fault_503: f64,
    /// Share of requests whose answer ends in a TCP reset, before its head or within its body.
    #[arg(long, default_value = "0", value_parser = parse_rate, value_name = "RATE")]
    fault_reset: f64,
    /// Share of requests whose answer promises its length, and ends early.
    #[arg(long, default_value = "0", value_parser = parse_rate, value_name = "RATE")]
    fault_truncate: f64,
    /// Share of requests whose Range is ignored: 200 with the whole object.
    #[arg(long, default_value = "0", value_parser = parse_rate, value_name = "RATE")]
    fault_ignore_range: f64,
    /// Share of requests whose answer pauses for --stall.
    #[arg(long, default_value = "0", value_parser = parse_rate, value_name = "RATE")]
    fault_stall: f64,
    /// How long a stalled answer pauses.
    #[arg(long, default_value = "5s", value_parser = parse_duration_ms, value_name = "TIME")]
    stall: u64,
    /// Which requests may meet a fault.
    #[arg(long, value_enum, default_value = "data")]
    faults_only_on: Scope,
    /// Seed of the dice that choose requests for faults. Default: a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scope {
    /// GET requests of keys that end in .parquet.
    Data,
    /// Every request.
    All,
}

impl S3Proxy {
    /// Runs until Ctrl-C.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let proxy = Proxy::start(self.options()).await?;
        println!("S3 endpoint  {}", proxy.url());
        if let Some(control) = proxy.control_url() {
            println!("control      {control}");
        }
        println!("seed         {}", proxy.seed());
        tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
        println!("{}", serde_json::to_string_pretty(&proxy.counters())?);
        proxy.stop().await;
        Ok(ExitCode::SUCCESS)
    }

    fn options(self) -> ProxyOptions {
        let faults = Faults {
            latency_ms: self.latency,
            latency_jitter_ms: self.latency_jitter,
            bandwidth_bytes_per_s: self.bandwidth,
            fault_503: self.fault_503,
            fault_reset: self.fault_reset,
            fault_truncate: self.fault_truncate,
            fault_ignore_range: self.fault_ignore_range,
            fault_stall: self.fault_stall,
            stall_ms: self.stall,
            faults_only_on: match self.faults_only_on {
                Scope::Data => FaultScope::Data,
                Scope::All => FaultScope::All,
            },
            down: false,
        };
        ProxyOptions { upstream: self.upstream, listen: self.listen, control: self.control, faults, seed: self.seed }
    }
}
