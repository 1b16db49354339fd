//! Credentials that change while a store is in use, because a catalog vends them for a limited time.
//!
//! A query may run for longer than the credentials it began with. A store opened with a [`CredentialSource`] asks it at
//! each request, so that the source can get new ones in time.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use object_store::azure::AzureCredential;
use object_store::gcp::GcpCredential;

use crate::Result;

/// Gives the credentials of a table's stores, by Iceberg's property names.
#[async_trait]
pub(crate) trait CredentialSource: Debug + Send + Sync {
    /// The credentials to use now. Called for every request, so it is cheap unless they are about to end.
    async fn current(&self) -> Result<Arc<HashMap<String, String>>>;

    /// The credentials that it has, which may be about to end.
    fn known(&self) -> Arc<HashMap<String, String>>;

    /// How long until those end that it has; `None` if they do not.
    fn left(&self) -> Option<Duration>;
}

/// A source, as `object_store` asks it.
#[derive(Debug, Clone)]
pub(super) struct Renewed(pub(super) Arc<dyn CredentialSource>);

impl Renewed {
    async fn properties(&self, store: &'static str) -> object_store::Result<Arc<HashMap<String, String>>> {
        self.0.current().await.map_err(|error| object_store::Error::Generic { store, source: Box::new(error) })
    }
}

fn missing(store: &'static str, property: &str) -> object_store::Error {
    let source = format!("the catalog's new credentials have no {property}").into();
    object_store::Error::Generic { store, source }
}

/// S3's, from `s3.access-key-id`, `s3.secret-access-key` and `s3.session-token`.
#[derive(Debug)]
pub(super) struct S3Credentials(pub(super) Renewed);

#[async_trait]
impl CredentialProvider for S3Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let properties = self.0.properties("S3").await?;
        let get = |name: &str| properties.get(name).cloned();
        let required = |name: &str| get(name).ok_or_else(|| missing("S3", name));
        Ok(Arc::new(AwsCredential {
            key_id: required("s3.access-key-id")?,
            secret_key: required("s3.secret-access-key")?,
            token: get("s3.session-token"),
        }))
    }
}

/// Google's, from `gcs.oauth2.token`.
#[derive(Debug)]
pub(super) struct GcsCredentials(pub(super) Renewed);

#[async_trait]
impl CredentialProvider for GcsCredentials {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let properties = self.0.properties("GCS").await?;
        let bearer = properties.get("gcs.oauth2.token").ok_or_else(|| missing("GCS", "gcs.oauth2.token"))?;
        Ok(Arc::new(GcpCredential { bearer: bearer.clone() }))
    }
}

/// Azure's: a shared access signature, found in the new properties as it was in the first.
pub(super) struct AzureSignature<F> {
    pub(super) source: Renewed,
    pub(super) find: F,
}

impl<F> Debug for AzureSignature<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AzureSignature").finish_non_exhaustive()
    }
}

#[async_trait]
impl<F: Fn(&HashMap<String, String>) -> Option<String> + Send + Sync> CredentialProvider for AzureSignature<F> {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        let properties = self.source.properties("Azure").await?;
        let signature = (self.find)(&properties).ok_or_else(|| missing("Azure", "adls.sas-token"))?;
        let pairs = url::form_urlencoded::parse(signature.trim_start_matches('?').as_bytes());
        Ok(Arc::new(AzureCredential::SASToken(pairs.into_owned().collect())))
    }
}
