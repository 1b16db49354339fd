//! The messages of Iceberg's REST protocol that we send and read.
//!
//! Source: `open-api/rest-catalog-open-api.yaml` in the Iceberg repository.

use std::collections::HashMap;

use iceberg::spec::{Schema, SortOrder, TableMetadata, UnboundPartitionSpec};
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};

/// `GET /v1/config`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ConfigResponse {
    #[serde(default)]
    pub(super) defaults: HashMap<String, Option<String>>,
    #[serde(default)]
    pub(super) overrides: HashMap<String, Option<String>>,
}

/// The body of every answer that is not a success.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorResponse {
    pub(super) error: ErrorModel,
}

/// What the service says went wrong.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorModel {
    #[serde(default)]
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) r#type: Option<String>,
}

/// One page of namespaces.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ListNamespacesResponse {
    #[serde(default)]
    pub(super) namespaces: Vec<NamespaceIdent>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

/// One page of tables.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ListTablesResponse {
    #[serde(default)]
    pub(super) identifiers: Vec<TableIdent>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

/// A namespace.
#[derive(Debug, Deserialize)]
pub(super) struct NamespaceResponse {
    #[serde(default)]
    pub(super) properties: Option<HashMap<String, String>>,
}

/// A namespace to create.
#[derive(Debug, Serialize)]
pub(super) struct CreateNamespaceRequest<'a> {
    pub(super) namespace: &'a NamespaceIdent,
    pub(super) properties: &'a HashMap<String, String>,
}

/// A table to create.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CreateTableRequest<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<&'a str>,
    pub(super) schema: &'a Schema,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) partition_spec: Option<UnboundPartitionSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) write_order: Option<&'a SortOrder>,
    pub(super) stage_create: bool,
    pub(super) properties: &'a HashMap<String, String>,
}

/// A metadata file to give a name to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RegisterTableRequest<'a> {
    pub(super) name: &'a str,
    pub(super) metadata_location: &'a str,
}

/// A table's new name.
#[derive(Debug, Serialize)]
pub(super) struct RenameTableRequest<'a> {
    pub(super) source: &'a TableIdent,
    pub(super) destination: &'a TableIdent,
}

/// A commit.
#[derive(Debug, Serialize)]
pub(super) struct CommitTableRequest<'a> {
    pub(super) identifier: &'a TableIdent,
    pub(super) requirements: &'a [TableRequirement],
    pub(super) updates: &'a [TableUpdate],
}

/// A table loaded, created, registered or committed to.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TableResponse {
    #[serde(default)]
    pub(super) metadata_location: Option<String>,
    pub(super) metadata: TableMetadata,
    #[serde(default)]
    pub(super) config: Option<HashMap<String, String>>,
    #[serde(default)]
    pub(super) storage_credentials: Option<Vec<StorageCredential>>,
}

/// Credentials for the locations below a prefix.
#[derive(Clone, Deserialize)]
pub(super) struct StorageCredential {
    pub(super) prefix: String,
    #[serde(default)]
    pub(super) config: HashMap<String, String>,
}

/// The token endpoint's answer (RFC 6749, section 5.1).
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    pub(super) access_token: String,
    #[serde(default)]
    pub(super) expires_in: Option<f64>,
}

/// The token endpoint's refusal (RFC 6749, section 5.2).
#[derive(Debug, Default, Deserialize)]
pub(super) struct TokenError {
    #[serde(default)]
    pub(super) error: serde_json::Value,
    #[serde(default)]
    pub(super) error_description: Option<String>,
}
