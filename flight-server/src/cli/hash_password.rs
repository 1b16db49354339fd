//! `polynya hash-password`: a password becomes a line for the file of users.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::auth::{PASSWORD_BYTES_MAX, check_name, hash_password};

/// What `hash-password` may be told.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  polynya hash-password ann >> /etc/polynya/users\n\n\
                        The password is asked for; where standard input is not a terminal, its first line is taken.")]
pub(super) struct Arguments {
    /// The user's name.
    #[arg(value_name = "NAME")]
    user: String,
}

/// Reads the password and prints the line.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    check_name(&arguments.user).map_err(anyhow::Error::msg)?;
    let password = if std::io::stdin().is_terminal() { asked(&arguments.user)? } else { read()? };
    ensure!(!password.is_empty(), "an empty password is none");
    ensure!(password.len() <= PASSWORD_BYTES_MAX, "the password is longer than {PASSWORD_BYTES_MAX} bytes");
    let hash = hash_password(&password).map_err(|error| anyhow::anyhow!("the password cannot be hashed: {error}"))?;
    println!("{}:{hash}", arguments.user);
    Ok(ExitCode::SUCCESS)
}

fn asked(user: &str) -> Result<String> {
    let ask = |prompt: String| rpassword::prompt_password(prompt).context("the password cannot be read");
    let password = ask(format!("Password of {user}: "))?;
    ensure!(password == ask("The same again: ".to_owned())?, "the two passwords differ");
    Ok(password)
}

fn read() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("standard input cannot be read as text")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
