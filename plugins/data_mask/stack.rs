//! Lines of stack traces, as the usual languages print them.

use regex::bytes::{Regex, RegexBuilder};

/// What one of such lines contains at least: where nothing of it stands in a text, no line is one. What [`FRAMES`] take
/// without any of it would be found or not by where pieces end.
pub(super) const MARKS: &[&str] = &[
    "   at ",
    ".java:",
    ".kt:",
    ".scala:",
    ".groovy:",
    ".clj:",
    "(Native Method)",
    "(Unknown Source)",
    "Caused by: ",
    "Exception in thread",
    "Traceback (most",
    ", line ",
    "#0 ",
    "#1 ",
    "#2 ",
    "#3 ",
    "#4 ",
    "#5 ",
    "#6 ",
    "#7 ",
    "#8 ",
    "#9 ",
    "goroutine ",
    ".go:",
    ".rb:",
    "panicked at ",
    ".js:",
    ".ts:",
    ".mjs:",
    ".cjs:",
    ".mts:",
    ".cts:",
    ".jsx:",
    ".tsx:",
    "<anonymous>:",
    "node:",
    ".rs:",
    ":line ",
];

/// Lines that only stack traces have.
const FRAMES: &str = r#"^(?:
    \s* at \s+ [\w$.<>/@\~-]+ \( (?: [\w$-]+ \. (?:java|kt|scala|groovy|clj) : \d+ | Native\ Method | Unknown\ Source ) \) .* # Java
  | \s* Caused\ by:\ \S+ .* | Exception\ in\ thread\ " .*
  | \s* at \s+ .* (?: \.[cm]?[jt]s | \.[jt]sx | node:[\w/]+ | <anonymous> ) : \d+ : \d+ \)? # Node
  | \s* \ {3} at \  \s* [\w.`<>\[\]+]+ \. [\w.`<>\[\]+]+ \( [^()]* \) (?: \ in\ .+ :line\ \d+ )? # .NET
  | \s* Traceback\ \(most\ recent\ call\ last\): | \s* File\ "[^"]+",\ line\ \d+ .* # Python
  | \s* \#\d \  \s* (?: / | [A-Za-z]:\\ | \{main\} | \[internal ) .* # PHP
  | goroutine\ \d+\ \[ .* | \s* \S+ \.go : \d+ (?: \s \+0x[0-9a-f]+ )? # Go
  | \s* (?: from\s+ )? \S+ \.rb : \d+ :in\ .* # Ruby
  | \s* thread\ .* \ panicked\ at\ .* | \s+ at\ \S+ \.rs : \d+ .* # Rust
)\s*$"#;

/// Recognises them.
#[derive(Debug)]
pub(super) struct Frames {
    begins: Regex,
    goes_on: Regex,
}

/// Lines that belong to a trace behind others of it: from the tenth on PHP's.
const MORE: &str = r"^\s*#\d+\s+(?:/|[A-Za-z]:\\|\{main\}|\[internal )";

impl Frames {
    /// # Errors
    /// None that a test does not find.
    pub(super) fn new() -> Result<Self, regex::Error> {
        let begins = RegexBuilder::new(FRAMES).ignore_whitespace(true).unicode(false).build()?;
        Ok(Frames { begins, goes_on: RegexBuilder::new(MORE).unicode(false).build()? })
    }

    /// True for a line that begins a trace.
    pub(super) fn begins(&self, line: &[u8]) -> bool {
        self.begins.is_match(line)
    }

    /// True for a line behind one of a trace that belongs to it.
    pub(super) fn goes_on(&self, line: &[u8]) -> bool {
        let indented = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        (indented && !line.trim_ascii().is_empty()) || self.begins(line) || self.goes_on.is_match(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aho_corasick::AhoCorasick;

    #[test]
    fn lines_of_traces_are_known_and_others_are_not() {
        let (frames, marks) = (Frames::new().unwrap(), AhoCorasick::new(MARKS).unwrap());
        for line in [
            "\tat com.example.shop.Cart.add(Cart.java:42)",
            "    at java.base/java.lang.Thread.run(Unknown Source)",
            "at com.example.Main$1.<init>(Main.kt:7) ~[app.jar:1.0]",
            "\tat sun.reflect.NativeMethodAccessorImpl.invoke0(Native Method)",
            "Caused by: java.sql.SQLException: no such table",
            "Exception in thread \"main\" java.lang.NullPointerException",
            "    at Object.<anonymous> (/srv/app/index.js:10:15)",
            "    at async handler (file:///srv/app/api.mjs:3:1)",
            "    at node:internal/process/task_queues:95:5",
            "   at Shop.Api.CartController.Add(Int32 id) in /src/Cart.cs:line 42",
            "   at System.Data.SqlClient.SqlConnection.Open()",
            "Traceback (most recent call last):",
            "  File \"/srv/app/views.py\", line 12, in checkout",
            "#0 /var/www/html/index.php(12): Shop->run()",
            "#1 {main}",
            "    at App (/srv/app/app.tsx:3:1)",
            "    at eval (eval at run (<anonymous>:1:1)",
            "\tat Build.run(build.groovy:3)",
            "goroutine 1 [running]:",
            "\t/srv/app/main.go:17 +0x1d",
            "/srv/app/cart.rb:12:in `add'",
            "\tfrom /srv/app/cart.rb:3:in `<main>'",
            "thread 'main' panicked at src/main.rs:4:5:",
            "             at ./src/main.rs:4:5",
        ] {
            assert!(frames.begins(line.as_bytes()), "{line}");
            assert!(marks.is_match(line), "{line}");
        }
        for line in [
            "",
            "Meet me at the station (platform 4)",
            "at 10:15:30",
            "# 1 in the charts",
            "\tat a.b.C.d(Unknown:1)",
            "#12 /var/www/html/index.php(12): Shop->run()",
            "see File menu, line 12",
            "The lesson was taught at school.",
            "https://cdn.example.com/app.js",
        ] {
            assert!(!frames.begins(line.as_bytes()), "{line}");
        }
        assert!(
            frames.goes_on(b"    raise KeyError(name)")
                && frames.goes_on(b"#12 /var/www/html/index.php(12): Shop->run()")
                && !frames.goes_on(b"KeyError")
                && !frames.goes_on(b"")
        );
    }
}
