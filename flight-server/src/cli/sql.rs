//! `polynya sql`: where the SQL comes from and which server runs it.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use polynya_bench::client::{Auth, Client};
use polynya_bench::credentials::Credentials;
use polynya_engine::Engine;

use super::logging;
use crate::auth::one_token;
use crate::settings::{LogFormat, Overrides, Settings};
use crate::shell::{Ended, Mode, Shell, ShellError, interact, split};
use crate::{Server, ServerSettings};

/// Who runs SQL in this process: whoever may read the settings may do everything.
const LOCAL: &str = "local";

/// What `sql` may be told.
#[derive(Debug, Args)]
#[command(after_help = "Without -c, -f or piped input, a prompt with history and completion is opened.")]
pub(super) struct Arguments {
    /// The server: grpc://host:port, or grpc+tls://host:port for an encrypted connection.
    #[arg(long, value_name = "URL", default_value = "grpc://127.0.0.1:50051", conflicts_with = "config")]
    url: String,
    /// Run an engine in this process from this settings file, instead of asking a server.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    credentials: Credentials,
    /// Run these statements and leave; may be given more than once.
    #[arg(short, long = "command", value_name = "SQL")]
    command: Vec<String>,
    /// Run the statements of this file and leave; `-` is standard input.
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    file: Option<PathBuf>,
    /// How rows are shown.
    #[arg(short, long, value_name = "MODE", default_value = "table")]
    output: Mode,
    /// Leave out the line about rows and time, and the bar while a statement runs.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the SQL.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode> {
    logging::start(LogFormat::Text, "error", None);
    let script = script(&arguments)?;
    // Kept until the end: dropping it would stop it.
    let (_embedded, url, auth) = match &arguments.config {
        Some(file) => {
            let (server, token) = embedded(file).await?;
            let url = server.url();
            (Some(server), url, Auth { token: Some(token), ..Auth::default() })
        }
        None => (None, arguments.url.clone(), arguments.credentials.auth()?),
    };
    let client = Client::connect(&url, &auth).await.map_err(ShellError::from)?;
    let interactive = script.is_none();
    let progress = !arguments.quiet && std::io::stderr().is_terminal();
    let (mode, quiet) = (arguments.output, arguments.quiet);
    let shell = Shell { client, mode, timing: true, interactive, quiet, progress };
    match script {
        None => interact(shell).await.map(|()| ExitCode::SUCCESS),
        Some(script) => run_script(shell, &script).await,
    }
}

/// The text to run, or none if a person is to type it.
fn script(arguments: &Arguments) -> Result<Option<String>> {
    let from_stdin = || -> Result<String> {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read as text")?;
        Ok(text)
    };
    if !arguments.command.is_empty() {
        // Behind a line break, so that a comment does not take the semicolon.
        return Ok(Some(arguments.command.join("\n;\n")));
    }
    match &arguments.file {
        Some(file) if file.as_os_str() == "-" => from_stdin().map(Some),
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            Ok(Some(text))
        }
        None if std::io::stdin().is_terminal() => Ok(None),
        None => from_stdin().map(Some),
    }
}

/// Runs the pieces in order, up to the first that fails.
async fn run_script(mut shell: Shell, script: &str) -> Result<ExitCode> {
    for piece in split(script).0 {
        match shell.run(&piece).await {
            Ok(Ended::Done) => {}
            Ok(Ended::Quit) => break,
            // The shell's convention for a process that Ctrl-C ended.
            Ok(Ended::Cancelled) => return Ok(ExitCode::from(130)),
            Err(error) if error.is_broken_pipe() => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A server in this process, and the token that only this process knows.
async fn embedded(file: &std::path::Path) -> Result<(Server, String)> {
    let mut settings = Settings::load(Some(file), &Overrides::default())?;
    if let Some(access) = &mut settings.engine.access {
        access.admins.push(LOCAL.to_owned());
    }
    let engine = Engine::start(settings.engine).await.context("the engine could not be started")?;
    // Whoever may read the settings is asked nothing; others on this machine get no further than the port.
    let (auth, token) = one_token(LOCAL).context("a token cannot be made")?;
    let server = ServerSettings { listen: "127.0.0.1:0".to_owned(), auth, tls: None, ..settings.server };
    Ok((Server::bind(engine, &server).await?, token))
}
