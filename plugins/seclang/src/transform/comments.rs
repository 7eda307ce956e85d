//! Comments of C, SQL, shells and HTML.

use crate::bytes::{at, tail};

/// Replaces each `/* … */`, closed or not, by one space.
pub(super) fn replace(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(start) = memchr::memmem::find(rest, b"/*") {
        out.extend_from_slice(rest.get(..start).unwrap_or_default());
        out.push(b' ');
        let inside = tail(rest, start + 2);
        match memchr::memmem::find(inside, b"*/") {
            Some(end) => rest = tail(inside, end + 2),
            None => return,
        }
    }
    out.extend_from_slice(rest);
}

/// Removes comments; what opens one that never ends leaves a space.
pub(super) fn remove(value: &[u8], out: &mut Vec<u8>) {
    let mut place = 0;
    let mut inside = false;
    while place < value.len() {
        let rest = tail(value, place);
        if !inside {
            if rest.starts_with(b"/*") {
                inside = true;
                place += 2;
            } else if rest.starts_with(b"<!--") {
                inside = true;
                place += 4;
            } else if rest.starts_with(b"--") || rest.starts_with(b"#") {
                break;
            } else {
                out.push(at(value, place));
                place += 1;
            }
        } else {
            let length = if rest.starts_with(b"*/") {
                2
            } else if rest.starts_with(b"-->") {
                3
            } else {
                place += 1;
                continue;
            };
            inside = false;
            place += length;
            if place < value.len() {
                out.push(at(value, place));
                place += 1;
            }
        }
    }
    if inside {
        out.push(b' ');
    }
}

/// Removes the marks of comments and keeps what is inside.
pub(super) fn remove_marks(value: &[u8], out: &mut Vec<u8>) {
    const MARKS: [&[u8]; 6] = [b"/*", b"*/", b"<!--", b"-->", b"--", b"#"];
    let mut place = 0;
    while place < value.len() {
        let rest = tail(value, place);
        match MARKS.iter().find(|mark| rest.starts_with(mark)) {
            Some(mark) => place += mark.len(),
            None => {
                out.push(at(value, place));
                place += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::tests::check;

    #[test]
    fn comments() {
        check(
            "replaceComments",
            &[
                (b"a/*x*/b", b"a b"),
                (b"a/*x", b"a "),
                (b"a*/b", b"a*/b"),
                (b"/**//**/", b"  "),
                (b"/*/b*/", b" "),
            ],
        );
        check(
            "removeComments",
            &[
                (b"a/*x*/b", b"ab"),
                (b"a/*x", b"a "),
                (b"a-- b", b"a"),
                (b"a#b", b"a"),
                (b"a<!-- x -->b", b"ab"),
            ],
        );
        check(
            "removeCommentsChar",
            &[(b"a/*x*/b", b"axb"), (b"<!--a-->", b"a"), (b"a--b#c", b"abc"), (b"-", b"-"), (b"/", b"/")],
        );
    }
}
