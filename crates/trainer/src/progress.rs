//! Bars on a terminal, nothing elsewhere: a log is no place for one.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `length` steps that shows the time left and a message of the caller's.
pub fn bar(length: u64, title: &str) -> ProgressBar {
    let template = format!("{title:<12} [{{bar:30}}] {{pos}}/{{len}} {{eta}} left {{msg}}");
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style.progress_chars("=> "))
}

/// A count of things done, for work whose length is not known.
pub fn count(title: &str, things: &str) -> ProgressBar {
    let template = format!("{title:<12} {{spinner}} {{pos}} {things}");
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style)
}
