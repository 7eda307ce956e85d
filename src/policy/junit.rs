//! What came of policy tests, as JUnit's XML.

use super::{
    report,
    run::{CaseRan, Run},
};
use std::fmt::Write;

impl Run {
    /// As JUnit's XML.
    pub fn junit(&self) -> String {
        let (all, bad) = self.counts();
        let time = self.time.as_secs_f64();
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"palisade\" tests=\"{all}\" failures=\"{bad}\" time=\"{time:.3}\">\n"
        );
        for file in &self.files {
            let name = escaped(&file.path.display().to_string());
            let failures = file.cases.iter().filter(|case| case.failure.is_some()).count();
            let time: f64 = file.cases.iter().map(|case| case.time.as_secs_f64()).sum();
            // Writing to a string does not fail.
            let _ = writeln!(
                xml,
                "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{time:.3}\">",
                file.cases.len()
            );
            file.cases.iter().for_each(|case| write_case(&mut xml, &name, case));
            xml.push_str("  </testsuite>\n");
        }
        xml.push_str("</testsuites>\n");
        xml
    }
}

fn write_case(xml: &mut String, file: &str, case: &CaseRan) {
    let (name, time) = (escaped(&case.name), case.time.as_secs_f64());
    let _ = write!(xml, "    <testcase name=\"{name}\" classname=\"{file}\" time=\"{time:.6}\"");
    match &case.failure {
        None => xml.push_str("/>\n"),
        Some(failure) => {
            let (request, text) = (escaped(&failure.request), escaped(&report::failed(case, failure)));
            let _ =
                writeln!(xml, ">\n      <failure message=\"{request}\">{text}</failure>\n    </testcase>");
        }
    }
}

/// Text in XML 1.0: what it cannot hold is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.push(char::REPLACEMENT_CHARACTER)
            }
            c => out.push(c),
        }
    }
    out
}
