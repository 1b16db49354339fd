//! Who is asking and how the server is trusted, as command lines say it: shared by all commands that connect.
//!
//! Secrets come from files, the environment or the terminal. The options that hold one are hidden: command lines are
//! visible to others.

use std::fmt::{self, Debug, Formatter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::client::Auth;

/// The options of a connection.
#[derive(Clone, Default, Args)]
pub struct Credentials {
    /// User name. The password is that of --password-file, of the variable POLYNYA_PASSWORD, or asked for.
    #[arg(long, value_name = "NAME", env = "POLYNYA_USER")]
    user: Option<String>,
    /// File with the user's password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with a bearer token, in place of user and password [also: the variable POLYNYA_TOKEN].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Password of the user; for the variable.
    #[arg(long, env = "POLYNYA_PASSWORD", hide = true, hide_env_values = true)]
    password: Option<String>,
    /// Bearer token; for the variable.
    #[arg(long, env = "POLYNYA_TOKEN", hide = true, hide_env_values = true)]
    token: Option<String>,
    /// PEM file of the certificate authority for grpc+tls [default: the system's authorities].
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// PEM file of the certificate to show to the server.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file of that certificate's key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The name that must be in the server's certificate [default: the host of the URL].
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
}

impl Credentials {
    /// Reads the secrets. Asks for a password on the terminal if there is a user and nothing else.
    ///
    /// # Errors
    /// If a file cannot be read, or nobody can be asked.
    pub fn auth(&self) -> Result<Auth> {
        let token = match &self.token_file {
            Some(file) => Some(secret_in(file)?),
            None => self.token.clone().filter(|token| !token.is_empty()),
        };
        let password = match (&self.user, &token) {
            (Some(user), None) => Some(self.password_of(user)?),
            _ => None,
        };
        Ok(Auth {
            user: self.user.clone(),
            password,
            token,
            tls_ca: self.tls_ca.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            tls_server_name: self.tls_server_name.clone(),
        })
    }

    fn password_of(&self, user: &str) -> Result<String> {
        if let Some(file) = &self.password_file {
            return secret_in(file);
        }
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        rpassword::prompt_password(format!("Password of {user}: "))
            .context("nobody can be asked for the password: use --password-file or the variable POLYNYA_PASSWORD")
    }
}

/// The text of a file, without the line break that editors put at its end.
fn secret_in(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Shows no secret.
impl Debug for Credentials {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).field("tls_ca", &self.tls_ca).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_first_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "from the file\n").unwrap();
        let credentials = Credentials {
            user: Some("ann".into()),
            password: Some("from the variable".into()),
            password_file: Some(file.clone()),
            ..Credentials::default()
        };
        assert_eq!(credentials.auth().unwrap().password.as_deref(), Some("from the file"));
        assert!(!format!("{credentials:?}").contains("variable"));
        let credentials = Credentials { password_file: None, ..credentials };
        assert_eq!(credentials.auth().unwrap().password.as_deref(), Some("from the variable"));
        let credentials = Credentials { token_file: Some(file), ..credentials };
        let auth = credentials.auth().unwrap();
        assert_eq!((auth.token.as_deref(), auth.password), (Some("from the file"), None));
    }
}
