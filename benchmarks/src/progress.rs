//! What a person sees while the harness works: bars on a terminal, plain lines elsewhere, or nothing.
//!
//! All of it goes to standard error; standard output is for results.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Progress {
    /// A bar while a step runs if standard error is a terminal, and one line when it is done.
    #[default]
    Shown,
    /// Nothing.
    Hidden,
}

/// One step under way, such as a table being loaded.
#[derive(Debug)]
pub struct Step {
    bar: ProgressBar,
    progress: Progress,
}

impl Progress {
    /// Begins a step that counts up to `total`, in `unit` (for example `rows`).
    pub fn step(self, name: &str, total: u64, unit: &str) -> Step {
        let bar = match self {
            Progress::Shown => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()),
            Progress::Hidden => ProgressBar::hidden(),
        };
        let template = format!("{{prefix:<10}} [{{bar:32}}] {{human_pos}}/{{human_len}} {unit} {{elapsed}} {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        Step { bar, progress: self }
    }

    /// Tells one line.
    pub fn line(self, text: &str) {
        if self == Progress::Shown {
            eprintln!("{text}");
        }
    }
}

impl Step {
    /// Counts on.
    pub fn advance(&self, count: u64) {
        self.bar.inc(count);
    }

    /// Says what the step is at.
    pub fn at(&self, message: String) {
        self.bar.set_message(message);
    }

    /// A handle for another thread, which counts on.
    pub fn counter(&self) -> impl Fn(u64) + Send + Sync + Clone + 'static {
        let bar = self.bar.clone();
        move |count| bar.inc(count)
    }

    /// Ends the step: the bar gives way to one line.
    pub fn done(self, text: &str) {
        self.bar.finish_and_clear();
        self.progress.line(text);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A whole number with its thousands parted: `6_001_215` is `6,001,215`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes as people read it: `1.5 MiB`.
pub fn readable_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{amount:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([grouped(7), grouped(999), grouped(1000), grouped(6_001_215)], ["7", "999", "1,000", "6,001,215"]);
        assert_eq!([readable_bytes(12), readable_bytes(1536), readable_bytes(5 << 30)], ["12 B", "1.5 KiB", "5.0 GiB"]);
    }
}
