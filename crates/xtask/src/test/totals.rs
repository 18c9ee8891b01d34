//! The sum over the totals of cargo's test programs.
//!
//! A test that lacks its input (a data set, a program) says `skipped: ...` and returns, which the
//! test program counts as passed. Here it counts as skipped, so that the sum tells how much was
//! really tried. For that the programs run with `--show-output`; of what they show for passed
//! tests, only those lines are passed on.

use std::fmt;

/// Tests by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// Passed, by returning early and saying so.
    skipped: usize,
    /// What failed: the program, and the test or how the program ended.
    failures: Vec<String>,
    program: String,
    /// Whether the program has said how many tests passed and failed.
    has_ended: bool,
    place: Place,
}

/// Where in a test program's output the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    /// Among what passed tests printed.
    Successes { counted: bool },
}

impl Totals {
    /// How many tests failed so far, and programs of tests.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// Begins a program of tests, which its failures are named with.
    pub(super) fn begin(&mut self, program: &str) {
        self.program = program.to_owned();
        self.place = Place::Outside;
        self.has_ended = false;
    }

    /// Ends it. Without a failed test to show for its failure, or without its own totals, it is
    /// counted as one itself: it was killed, or did not build.
    pub(super) fn end(&mut self, status: &str, succeeded: bool) {
        let named = self.failures.iter().any(|failure| failure.starts_with(&self.prefix()));
        let explained = succeeded || (named && self.has_ended);
        if !explained {
            self.failed += 1;
            self.failures.push(format!("{}it ended with {status}", self.prefix()));
        }
    }

    fn prefix(&self) -> String {
        format!("{}: ", self.program)
    }

    /// Takes the next line; whether it is for the reader.
    pub(super) fn read(&mut self, line: &str) -> bool {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.place = Place::Outside;
            self.has_ended = true;
            self.add(counts);
            return true;
        }
        match (self.place, line) {
            (Place::Outside, "successes:") => {
                self.place = Place::Successes { counted: false };
                false
            }
            (Place::Outside, _) => {
                let test = line.strip_prefix("test ").and_then(|it| it.strip_suffix(" ... FAILED"));
                let named = test.map(|test| self.prefix() + test);
                self.failures.extend(named);
                true
            }
            (Place::Successes { .. }, "failures:") => {
                self.place = Place::Outside;
                true
            }
            (Place::Successes { counted }, _) => self.read_success(line, counted),
        }
    }

    fn read_success(&mut self, line: &str, counted: bool) -> bool {
        if line.starts_with("---- ") && line.ends_with(" ----") {
            self.place = Place::Successes { counted: false };
        } else if line.starts_with("skipped:") {
            if !counted {
                self.place = Place::Successes { counted: true };
                self.skipped += 1;
            }
            return true;
        }
        false
    }

    fn add(&mut self, counts: &str) {
        let counts = counts.split_once(". ").map_or("", |(_, counts)| counts);
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some((number, "ignored")) => self.ignored += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

/// What failed, a line each, and the sum.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "failed: {failure}")?;
        }
        let passed = self.passed.saturating_sub(self.skipped);
        let skipped = self.skipped + self.ignored;
        write!(f, "{passed} passed, {} failed, {skipped} skipped", self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 3 tests
test a ... ok
test b ... ok
test c ... FAILED

successes:

---- a stdout ----
skipped: the data is not here
skipped: nor is this
chatter

---- b stdout ----
all fine

successes:
    a
    b

failures:

---- c stdout ----
assertion failed

failures:
    c

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
running 2 tests
test d ... ok
test e ... ignored
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s
";

    #[test]
    fn totals_of_several_programs_are_summed() {
        let mut totals = Totals::default();
        totals.begin("core/lib");
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| totals.read(line)).collect();
        // a passed by skipping.
        totals.end("exit status: 101", false);
        assert_eq!(totals.to_string(), "failed: core/lib: c\n2 passed, 1 failed, 2 skipped");
        assert!(shown.contains(&"skipped: the data is not here"));
        assert!(shown.contains(&"assertion failed"));
        assert!(!shown.contains(&"chatter") && !shown.contains(&"all fine"));
    }

    #[test]
    fn a_program_that_was_killed_is_named_and_counted() {
        let mut totals = Totals::default();
        let mut program = |name: &str, lines: &[&str], status: &str| {
            totals.begin(name);
            for line in lines {
                totals.read(line);
            }
            totals.end(status, status == "0");
        };
        program("model/golden", &["running 2 tests", "test a ... ok"], "signal: 11");
        program("model/graph", &["running 2 tests", "test b ... FAILED"], "signal: 6");
        program("core/lib", &OUTPUT.lines().collect::<Vec<_>>(), "exit status: 101");
        program("data/lib", &["test result: ok. 1 passed; 0 failed; 0 ignored"], "0");
        program("data/tests", &["test result: ok. 1 passed; 0 failed; 0 ignored"], "signal: 11");
        let expected = "failed: model/golden: it ended with signal: 11\n\
             failed: model/graph: b\n\
             failed: model/graph: it ended with signal: 6\n\
             failed: core/lib: c\n\
             failed: data/tests: it ended with signal: 11\n\
             4 passed, 4 failed, 2 skipped";
        assert_eq!(totals.to_string(), expected);
    }
}
