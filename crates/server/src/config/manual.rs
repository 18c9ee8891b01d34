//! The configuration as a file that explains itself: every key under what its doc comment says.

use clap::Arg;
use toml::Table;

use super::RawConfig;
use super::layers::table_of;

/// Columns of a comment.
const WIDTH: usize = 98;

impl RawConfig {
    /// A configuration file that says the same as this.
    pub(crate) fn to_toml(&self) -> String {
        let values = table_of(self, |_| true);
        let entries = Self::keys();
        let entries = entries.iter().map(|key| entry(key, &values));
        entries.collect::<Vec<_>>().join("\n")
    }
}

fn entry(key: &Arg, values: &Table) -> String {
    let name = key.get_id().as_str();
    let mut text = comment(&manual(key));
    if let Some(value) = values.get(name) {
        text += &format!("{name} = {value}\n");
    }
    text
}

/// What a key's doc comment says.
pub(super) fn manual(key: &Arg) -> String {
    // clap leaves out the last full stop.
    key.get_help().map(|help| format!("{help}.")).unwrap_or_default()
}

fn comment(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => *line += &format!(" {word}"),
            _ => lines.push(format!(" {word}")),
        }
    }
    lines.iter().map(|line| format!("#{line}\n")).collect()
}
