//! A server's metrics page, read as a scraper would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const PATIENCE: Duration = Duration::from_secs(10);

/// One line of the page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    name: String,
    /// As it is written between the braces.
    labels: String,
    value: f64,
}

/// A whole page.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    samples: Vec<Sample>,
}

impl Page {
    /// Fetches the page at `address`, such as `127.0.0.1:9090`.
    ///
    /// # Errors
    /// When nothing answers there, or not with such a page.
    pub(super) fn fetch(address: &str) -> Result<Self> {
        let mut stream =
            TcpStream::connect(address).with_context(|| format!("no metrics at {address}"))?;
        stream.set_read_timeout(Some(PATIENCE)).context("no timeout can be set")?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).with_context(|| format!("no metrics at {address}"))?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer breaks off")?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200 "), "{address}/metrics answered {status}");
        Self::parse(body)
    }

    fn parse(body: &str) -> Result<Self> {
        let mut samples = Vec::new();
        for line in body.lines().map(str::trim).filter(|line| line.contains(' ')) {
            if !line.starts_with('#') {
                samples.push(sample(line).with_context(|| format!("a metric reads {line:?}"))?);
            }
        }
        if samples.is_empty() {
            bail!("the page has no metric");
        }
        Ok(Self { samples })
    }

    /// The sum of a metric over all its labels; 0 where it has no sample yet.
    pub(super) fn sum(&self, name: &str) -> f64 {
        let named = self.samples.iter().filter(|sample| sample.name == name);
        named.map(|sample| sample.value).sum()
    }

    /// The values that a label has in samples of a metric that are not 0.
    pub(super) fn label_values(&self, name: &str, label: &str) -> Vec<&str> {
        let named = self.samples.iter().filter(|sample| sample.name == name && sample.value != 0.0);
        named.filter_map(|sample| label_value(&sample.labels, label)).collect()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = match line.rfind('}') {
        Some(end) => line.split_at(end + 1),
        None => line.split_at(line.find(' ')?),
    };
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    // A time stamp may follow.
    let value = value.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels: labels.trim_end_matches('}').to_owned(), value })
}

/// Values with commas or quotes in them are not looked for here.
fn label_value<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(name, _)| name.trim() == label);
    found.next().map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"# HELP protoguard_batch_size Clips.
# TYPE protoguard_batch_size histogram
protoguard_batch_size_sum{model="hall"} 17.0
protoguard_batch_size_sum{model="door"} 3
protoguard_batch_size_bucket{model="hall",le="+Inf"} 4
protoguard_model_info{model="hall",version="old"} 0
protoguard_model_info{model="hall",version="new"} 1
up 1 1700000000
# EOF
"#;

    #[test]
    fn sums_and_labels_are_read() {
        let page = Page::parse(PAGE).unwrap();
        assert_eq!(page.sum("protoguard_batch_size_sum"), 20.0);
        assert_eq!(page.sum("up"), 1.0);
        assert_eq!(page.sum("absent"), 0.0);
        assert_eq!(page.label_values("protoguard_model_info", "version"), ["new"]);
    }

    #[test]
    fn what_is_no_page_is_refused() {
        assert!(Page::parse("<html> <body> no\n").is_err());
        assert!(Page::parse("").is_err());
    }
}
