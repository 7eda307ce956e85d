//! Takes members out of a JSON text, and leaves the rest as it is written: numbers keep all their digits.

use std::collections::BTreeSet;

/// The text without the members at these JSON pointers. The text is JSON, without names that stand twice.
pub(super) fn without(text: &str, pointers: &BTreeSet<String>) -> Option<String> {
    let mut cut = Cut { text, at: 0, out: String::with_capacity(text.len()), pointers };
    cut.blank();
    cut.value(&mut String::new(), true)?;
    cut.blank();
    (cut.at == text.len()).then_some(cut.out)
}

struct Cut<'t> {
    text: &'t str,
    at: usize,
    out: String,
    pointers: &'t BTreeSet<String>,
}

impl<'t> Cut<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Takes a byte that must be here.
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.blank();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn is_next(&mut self, byte: u8) -> bool {
        self.blank();
        self.peek() == Some(byte)
    }

    /// A string, with its quotes.
    fn string(&mut self) -> Option<&'t str> {
        self.blank();
        let start = self.at;
        self.expect(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }

    /// A value; it is written where `keep` says so.
    fn value(&mut self, pointer: &mut String, keep: bool) -> Option<()> {
        self.blank();
        match self.peek()? {
            b'{' => self.object(pointer, keep),
            b'[' => self.array(pointer, keep),
            b'"' => {
                let text = self.string()?;
                self.write(text, keep);
                Some(())
            }
            _ => {
                let rest = self.text.get(self.at..)?;
                let ends = |c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace();
                let word = rest.get(..rest.find(ends).unwrap_or(rest.len()))?;
                self.at += word.len();
                self.write(word, keep);
                Some(())
            }
        }
    }

    fn write(&mut self, text: &str, keep: bool) {
        if keep {
            self.out.push_str(text);
        }
    }

    fn object(&mut self, pointer: &mut String, keep: bool) -> Option<()> {
        self.expect(b'{')?;
        self.write("{", keep);
        let (length, mut first) = (pointer.len(), true);
        while !self.is_next(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            let name: String = serde_json::from_str(key).ok()?;
            pointer.push('/');
            pointer.push_str(&crate::schema::escape(&name));
            let kept = keep && !self.pointers.contains(pointer.as_str());
            if kept {
                self.write(if first { "" } else { "," }, true);
                self.write(key, true);
                self.write(":", true);
                first = false;
            }
            self.value(pointer, kept)?;
            pointer.truncate(length);
            if !self.is_next(b'}') {
                self.expect(b',')?;
            }
        }
        self.expect(b'}')?;
        self.write("}", keep);
        Some(())
    }

    fn array(&mut self, pointer: &mut String, keep: bool) -> Option<()> {
        self.expect(b'[')?;
        self.write("[", keep);
        let (length, mut index) = (pointer.len(), 0_usize);
        while !self.is_next(b']') {
            pointer.push('/');
            pointer.push_str(&index.to_string());
            self.write(if index == 0 { "" } else { "," }, keep);
            self.value(pointer, keep)?;
            pointer.truncate(length);
            index += 1;
            if !self.is_next(b']') {
                self.expect(b',')?;
            }
        }
        self.expect(b']')?;
        self.write("]", keep);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn cut(text: &str, pointers: &[&str]) -> Option<String> {
        without(text, &pointers.iter().map(|pointer| (*pointer).to_owned()).collect())
    }

    #[test]
    fn members_are_taken_out_and_the_rest_stays() {
        for (text, pointers, left) in [
            ("{}", &[][..], "{}"),
            (r#"{"a":1,"b":2}"#, &["/a"], r#"{"b":2}"#),
            (r#"{"a":1,"b":2}"#, &["/b"], r#"{"a":1}"#),
            (r#"{"a":1}"#, &["/a"], "{}"),
            (
                r#" { "a" : 12345678901234567890.10 , "b" : [ 1 , {"c":null,"d":"}"} ] } "#,
                &["/b/1/d"],
                r#"{"a":12345678901234567890.10,"b":[1,{"c":null}]}"#,
            ),
            (r#"{"a\/b":{"x":1},"\u0063":"\\\"","d":[]}"#, &["/a~1b", "/c"], r#"{"d":[]}"#),
            (r#"[{"a":1},{"a":2}]"#, &["/1/a"], r#"[{"a":1},{}]"#),
            ("\"x\"", &[], "\"x\""),
        ] {
            assert_eq!(cut(text, pointers).as_deref(), Some(left), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_else_is_changed(text in "\\PC{0,30}|(\\{|\\}|\\[|\\]|,|:|\"|\\\\|a|1| ){0,20}") {
            let parsed = serde_json::from_str::<Value>(&text);
            let found = cut(&text, &["/a"]);
            if let (Ok(mut value), Some(found)) = (parsed, found) {
                if let Some(object) = value.as_object_mut() { object.shift_remove("a"); }
                prop_assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), value);
            }
        }
    }
}
