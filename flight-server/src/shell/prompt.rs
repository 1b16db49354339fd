//! The interactive prompt: a line editor with history and completion around the shell.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::{Context, Result};
use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, Prompt, PromptEditMode,
    PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator,
    default_emacs_keybindings,
};

use super::complete::{Names, SqlCompleter};
use super::{Ended, Piece, Shell, split};

const MENU: &str = "completion";
const HISTORY_LINES_MAX: usize = 10_000;

/// Reads and runs until the user leaves.
pub(crate) async fn interact(mut shell: Shell) -> Result<()> {
    println!(
        "polynya {} connected to {}. \\? for help, \\q to leave.\n",
        env!("CARGO_PKG_VERSION"),
        shell.client.url()
    );
    let names = Names::default();
    let loading = {
        let (names, client) = (names.clone(), shell.client.clone());
        tokio::spawn(async move { names.load(&client).await })
    };
    let mut editor = editor(names);
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let signal = editor.read_line(&SqlPrompt);
            (editor, signal)
        });
        let (returned, signal) = read.await.context("the prompt failed")?;
        editor = returned;
        let leave = match signal.context("the terminal cannot be read")? {
            Signal::Success(text) => run(&mut shell, &text).await == Ended::Quit,
            Signal::CtrlD => true,
            // Ctrl-C while typing drops the line.
            _ => false,
        };
        if leave {
            break;
        }
    }
    loading.abort();
    Ok(())
}

/// Runs what was typed, up to the first error.
async fn run(shell: &mut Shell, text: &str) -> Ended {
    let pieces = match text.trim().trim_end_matches(';') {
        "quit" | "exit" => vec![Piece::Command("q".to_owned())],
        "help" => vec![Piece::Command("?".to_owned())],
        _ => split(text).0,
    };
    for piece in pieces {
        match shell.run(&piece).await {
            Ok(Ended::Done) => {}
            Ok(ended) => return ended,
            Err(error) => {
                eprintln!("error: {:#}\n", anyhow::Error::from(error));
                return Ended::Done;
            }
        }
    }
    Ended::Done
}

fn editor(names: Names) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(complete));
    let menu = ColumnarMenu::default().with_name(MENU);
    let editor = Reedline::create()
        .with_completer(Box::new(SqlCompleter::new(names)))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_quick_completions(true)
        .with_validator(Box::new(WholeStatements))
        .with_edit_mode(Box::new(Emacs::new(keys)));
    match history() {
        Ok(history) => editor.with_history(Box::new(history)),
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "the history is not kept");
            editor
        }
    }
}

/// The history file, in the user's state folder.
fn history() -> Result<FileBackedHistory> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let folder = state.context("neither XDG_STATE_HOME nor HOME is set")?.join("polynya");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(FileBackedHistory::with_file(HISTORY_LINES_MAX, folder.join("history"))?)
}

/// Enter sends a line once its last statement has its semicolon.
struct WholeStatements;

impl Validator for WholeStatements {
    fn validate(&self, line: &str) -> ValidationResult {
        let word = line.trim();
        if word.is_empty() || word.starts_with('\\') || matches!(word, "quit" | "exit" | "help") {
            return ValidationResult::Complete;
        }
        if split(line).1 { ValidationResult::Incomplete } else { ValidationResult::Complete }
    }
}

/// `polynya> `, and `      -> ` for the lines after it.
struct SqlPrompt;

impl Prompt for SqlPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "polynya".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "     -> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(history: {}) ", search.term).into()
    }
}
