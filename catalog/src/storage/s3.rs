//! S3 stores from Iceberg's `s3.*` and `client.*` properties.
//!
//! Credentials: the keys given; else none if anonymous access is asked for; else what the environment offers (variables,
//! web identity, container or instance role). Names are those of the Java library and of PyIceberg.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use crate::{Error, Result};

use super::Retries;
use super::http::{self, ClientPool, client_options, is_plain_http};
use super::properties::Properties;
use super::renewal::{Renewed, S3Credentials};

/// The bucket's store.
pub(super) fn open(
    properties: &Properties,
    renewed: Option<&Renewed>,
    clients: &ClientPool,
    retries: Retries,
    bucket: &str,
) -> Result<Arc<dyn ObjectStore>> {
    if properties.flag(&["s3.remote-signing-enabled"])? == Some(true) {
        return Err(Error::Unsupported { what: format!("S3 bucket {bucket}"), feature: "remote signing".to_string() });
    }
    let mut builder = credentials(properties)?;
    if let Some(renewed) = renewed.filter(|_| properties.get(&["s3.access-key-id"]).is_some()) {
        builder = builder.with_credentials(Arc::new(S3Credentials(renewed.clone())));
    }
    let builder = address(builder, properties, retries, bucket)?;
    let builder = encryption(builder, properties)?;
    let builder =
        builder.with_bucket_name(bucket).with_retry(http::retries(retries)).with_http_connector(clients.clone());
    let store = builder.build().map_err(|error| Error::Settings {
        setting: "s3.*".to_string(),
        message: format!("bucket {bucket} cannot be opened: {error}"),
    })?;
    Ok(Arc::new(store))
}

/// The endpoint that tells stores with equal bucket names apart.
pub(super) fn endpoint(properties: &Properties) -> Option<&str> {
    properties.get(&["s3.endpoint"])
}

fn credentials(properties: &Properties) -> Result<AmazonS3Builder> {
    let key_id = properties.get(&["s3.access-key-id", "client.access-key-id"]);
    let secret = properties.get(&["s3.secret-access-key", "client.secret-access-key"]);
    let anonymous = properties.flag(&["s3.anonymous", "s3.allow-anonymous"])?.unwrap_or(false);
    match (key_id, secret) {
        (Some(key_id), Some(secret)) => {
            let builder = AmazonS3Builder::new().with_access_key_id(key_id).with_secret_access_key(secret);
            Ok(match properties.get(&["s3.session-token", "client.session-token"]) {
                Some(token) => builder.with_token(token),
                None => builder,
            })
        }
        (Some(_), None) => Err(missing("s3.secret-access-key", "s3.access-key-id")),
        (None, Some(_)) => Err(missing("s3.access-key-id", "s3.secret-access-key")),
        (None, None) if anonymous => Ok(AmazonS3Builder::new().with_skip_signature(true)),
        (None, None) => Ok(AmazonS3Builder::from_env()),
    }
}

fn missing(setting: &str, other: &str) -> Error {
    Error::Settings { setting: setting.to_string(), message: format!("it is missing, while {other} is set") }
}

fn address(
    builder: AmazonS3Builder,
    properties: &Properties,
    retries: Retries,
    bucket: &str,
) -> Result<AmazonS3Builder> {
    let configured = properties.get(&["s3.region", "client.region"]).map(str::to_string);
    let region =
        configured.or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Region)).or_else(region_of_environment);
    let builder = builder.with_region(region.unwrap_or_else(|| "us-east-1".to_string()));

    let endpoint = endpoint(properties).map(str::to_string);
    let endpoint = endpoint.or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let virtual_hosted = match properties.flag(&["s3.path-style-access"])? {
        Some(path_style) => !path_style,
        // Services other than Amazon's rarely resolve bucket names as hosts.
        None => properties.flag(&["s3.force-virtual-addressing"])?.unwrap_or(endpoint.is_none()),
    };
    // A dot in a bucket name does not match the certificate of its virtual host.
    let virtual_hosted = virtual_hosted && !(endpoint.is_none() && bucket.contains('.'));
    let plain_http = endpoint.as_deref().is_some_and(is_plain_http);
    let mut builder = builder
        .with_virtual_hosted_style_request(virtual_hosted)
        .with_client_options(client_options(properties, "s3", plain_http, retries)?);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(bucket_endpoint(&endpoint, bucket, virtual_hosted)?);
    }
    Ok(builder)
}

fn region_of_environment() -> Option<String> {
    ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
}

/// The endpoint as `object_store` wants it: with the bucket in its host when addressing is virtual-hosted.
fn bucket_endpoint(endpoint: &str, bucket: &str, virtual_hosted: bool) -> Result<String> {
    let bad = |message: &str| Error::Settings {
        setting: "s3.endpoint".to_string(),
        message: format!("{message}; an address such as https://host:port is expected"),
    };
    let mut url = url::Url::parse(endpoint).map_err(|_| bad("it is not an address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("it is neither http nor https"));
    }
    if virtual_hosted {
        let host = url.host_str().ok_or_else(|| bad("it names no host"))?;
        let host = format!("{bucket}.{host}");
        url.set_host(Some(&host))
            .map_err(|_| bad("the bucket cannot be part of its host: set s3.path-style-access"))?;
    }
    Ok(url.as_str().trim_end_matches('/').to_string())
}

fn encryption(builder: AmazonS3Builder, properties: &Properties) -> Result<AmazonS3Builder> {
    // The key's type is not exported, its name is.
    let server_side: AmazonS3ConfigKey =
        "aws_server_side_encryption".parse().map_err(|error: object_store::Error| Error::Settings {
            setting: "s3.sse.type".to_string(),
            message: error.to_string(),
        })?;
    match properties.get(&["s3.sse.type"]) {
        None | Some("none") => Ok(builder),
        Some("s3") => Ok(builder.with_config(server_side, "AES256")),
        Some("kms") => Ok(match properties.get(&["s3.sse.key"]) {
            Some(key) => builder.with_sse_kms_encryption(key),
            None => builder.with_config(server_side, "aws:kms"),
        }),
        Some(other) => Err(Error::Settings {
            setting: "s3.sse.type".to_string(),
            message: format!("{other:?} is not supported; none, s3 or kms is expected"),
        }),
    }
}
