//! The backslash commands.

use clap::ValueEnum;

use super::{Ended, Mode, Shell, ShellError};

/// What `\?` shows.
pub(super) const HELP: &str = "\
SQL ends with a semicolon and may span lines. Ctrl-C stops a running statement, Ctrl-D leaves.

  \\d            list tables              \\d TABLE     describe a table
  \\dn           list schemas             \\l           list catalogs
  \\o MODE       show rows as table, csv, json or markdown
  \\timing       show times or not
  \\? or help    this text                \\q or exit   leave
";

impl Shell {
    /// Runs a command, given without its backslash.
    pub(super) async fn command(&mut self, command: &str) -> Result<Ended, ShellError> {
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let argument = argument.trim();
        match (name, argument) {
            ("q" | "quit" | "exit", _) => return Ok(Ended::Quit),
            ("?" | "h" | "help", _) => print!("{HELP}"),
            ("timing", _) => {
                self.timing = match argument {
                    "on" => true,
                    "off" => false,
                    _ => !self.timing,
                };
                println!("timing is {}", if self.timing { "on" } else { "off" });
            }
            ("o", "") => println!("rows are shown as {}", mode_name(self.mode)),
            ("o", mode) => {
                self.mode = Mode::from_str(mode, true)
                    .map_err(|_| ShellError::Command(format!("\\o takes table, csv, json or markdown, not {mode}")))?;
            }
            ("d" | "dt", "") => return self.statement("SHOW TABLES").await,
            ("d", table) => return self.statement(&format!("DESCRIBE {table}")).await,
            ("dn", _) => return self.statement("SHOW SCHEMAS").await,
            ("l", _) => return self.statement("SHOW CATALOGS").await,
            _ => return Err(ShellError::Command(format!("there is no command \\{name}: see \\?"))),
        }
        Ok(Ended::Done)
    }
}

fn mode_name(mode: Mode) -> String {
    mode.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
