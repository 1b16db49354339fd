//! What the API server says, as far as it matters here. Fields that are empty, or zero, are left out by it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::super::placement::Worker;

/// `autoscaling/v1` Scale: the size of a workload.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Scale {
    pub(super) metadata: ScaleMetadata,
    pub(super) spec: ScaleSpec,
    pub(super) status: ScaleStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ScaleMetadata {
    /// That of the workload: a change that names an older one is a conflict.
    pub(super) resource_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ScaleSpec {
    /// How many pods there should be.
    pub(super) replicas: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ScaleStatus {
    /// The labels of the pods, as a list of pods takes them.
    pub(super) selector: String,
}

/// `v1` PodList.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodList {
    pub(super) items: Option<Vec<Pod>>,
}

/// `v1` Pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    metadata: PodMetadata,
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodMetadata {
    name: String,
    /// Set once the pod is asked to end.
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Option<Vec<PodCondition>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    r#type: String,
    status: String,
}

impl Pod {
    /// The worker that this pod is; `None` if it is not ready, or is about to end.
    pub(super) fn worker(&self, port: u16) -> Option<Worker> {
        let mut conditions = self.status.conditions.iter().flatten();
        let ready = conditions.any(|condition| condition.r#type == "Ready" && condition.status == "True");
        if !ready || self.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let ip: IpAddr = self.status.pod_ip.as_ref()?.parse().ok()?;
        let address = SocketAddr::new(ip, port);
        let url = Url::parse(&format!("http://{address}/")).ok()?;
        Some(Worker { id: Arc::from(self.metadata.name.as_str()), url })
    }
}

/// `v1` Status: why a call was refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(pod: &str) -> Option<String> {
        let pod: Pod = serde_json::from_str(pod).unwrap();
        pod.worker(50061).map(|worker| worker.url.to_string())
    }

    #[test]
    fn a_pod_is_a_worker_while_it_is_ready_and_stays() {
        let ready = r#""conditions":[{"type":"ContainersReady","status":"False"},{"type":"Ready","status":"True"}]"#;
        let with = |metadata: &str, status: &str| {
            url(&format!(r#"{{"metadata":{{"name":"w-0"{metadata}}},"status":{{"phase":"Running",{status}}}}}"#))
        };
        let v4 = with("", &format!(r#""podIP":"10.1.2.3",{ready}"#));
        assert_eq!(v4.as_deref(), Some("http://10.1.2.3:50061/"));
        let v6 = with("", &format!(r#""podIP":"fd00::1:2",{ready}"#));
        assert_eq!(v6.as_deref(), Some("http://[fd00::1:2]:50061/"));
        let ends = with(r#","deletionTimestamp":"2025-01-01T00:00:00Z""#, &format!(r#""podIP":"10.1.2.3",{ready}"#));
        assert_eq!(ends, None);
        assert_eq!(with("", ready), None, "no address yet");
        let unready = r#""conditions":[{"type":"Initialized","status":"True"},{"type":"Ready","status":"False"}]"#;
        assert_eq!(with("", &format!(r#""podIP":"10.1.2.3",{unready}"#)), None);
        assert_eq!(url("{}"), None);
    }

    #[test]
    fn zero_replicas_and_an_empty_list_may_be_left_out() {
        let scale: Scale = serde_json::from_str(r#"{"kind":"Scale","spec":{},"status":{"replicas":0}}"#).unwrap();
        assert_eq!((scale.spec.replicas, scale.status.selector.as_str()), (0, ""));
        let pods: PodList = serde_json::from_str(r#"{"kind":"PodList","items":null}"#).unwrap();
        assert!(pods.items.unwrap_or_default().is_empty());
    }
}
