//! What an operator may say about access: the sections `[access]` and `[control]`.

use std::collections::BTreeMap;
use std::time::Duration;

/// Who may do what. Where this section is, what nothing grants is denied; without it everybody may do everything.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// Whether access is controlled. Default: yes, since the section is there.
    pub enabled: bool,
    /// Users who may do everything, and give grants; also while the control database is away.
    pub admins: Vec<String>,
    /// Roles by name. `public` is everybody's; `admin` may do everything.
    pub roles: BTreeMap<String, RoleSettings>,
    /// Users by name.
    pub users: BTreeMap<String, UserSettings>,
    /// How old what is known of grants in the control database may be: other coordinators' changes are seen after so long.
    /// Default: 2 s.
    #[serde(deserialize_with = "crate::duration::deserialize")]
    pub grants_max_age: Duration,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            admins: Vec::new(),
            roles: BTreeMap::new(),
            users: BTreeMap::new(),
            grants_max_age: Duration::from_secs(2),
        }
    }
}

/// One role.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleSettings {
    /// What it may do, such as `SELECT, INSERT ON lake.sales.*`.
    pub grants: Vec<String>,
}

/// One user.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserSettings {
    /// The user's roles.
    pub roles: Vec<String>,
}

/// The database of what is neither data nor table metadata, such as grants that SQL gives.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSettings {
    /// Its address: `sqlite:///absolute/path.db`, or `postgresql://user:password@host/database` where there is more than one
    /// coordinator. Default: none.
    pub database: Option<String>,
}

/// Without the address, which may hold a password.
impl std::fmt::Debug for ControlSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlSettings").field("is_set", &self.database.is_some()).finish()
    }
}
