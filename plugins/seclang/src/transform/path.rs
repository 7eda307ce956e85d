//! Paths with self-references and back-references.

/// Removes empty segments, `.` and `..` with the segment before it. Back-references that go above the root of an absolute
/// path are dropped; those of a relative path that have nothing to go back to are kept.
pub(super) fn normalize(value: &[u8], windows: bool, out: &mut Vec<u8>) {
    let is_slash = |byte: &u8| *byte == b'/' || (windows && *byte == b'\\');
    let absolute = value.first().is_some_and(is_slash);
    let trailing = value.last().is_some_and(is_slash);
    if absolute {
        out.push(b'/');
    }
    let root = out.len();
    // Where each kept segment begins, so that a back-reference costs no search.
    let mut starts: Vec<usize> = Vec::new();
    let mut segments = value.split(is_slash).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" => continue,
            b"." => continue,
            b".." => match starts.pop() {
                Some(start) => out.truncate(start),
                None if absolute => {}
                None => push(out, segment, last && !trailing),
            },
            _ => {
                starts.push(out.len());
                push(out, segment, last && !trailing);
            }
        }
    }
    if !trailing && out.len() > root && out.last() == Some(&b'/') {
        out.pop();
    }
}

fn push(out: &mut Vec<u8>, segment: &[u8], last: bool) {
    out.extend_from_slice(segment);
    if !last {
        out.push(b'/');
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::tests::check;

    #[test]
    fn paths() {
        check(
            "normalizePath",
            &[
                (b"/a/./b/../c", b"/a/c"),
                (b"/foo/bar/baz", b"/foo/bar/baz"),
                (b"//a//b", b"/a/b"),
                (b"/../../etc/passwd", b"/etc/passwd"),
                (b"../../a", b"../../a"),
                (b"a/../b", b"b"),
                (b"dir/foo/../..", b""),
                (b"./a", b"a"),
                (b"/a/b/", b"/a/b/"),
                (b"/a/b/..", b"/a"),
                (b"..", b".."),
                (b"/", b"/"),
                (b"/..", b"/"),
                (b"", b""),
                (b"a..b/c", b"a..b/c"),
                (b"a/b/c/d/../../../../../../../e", b"../../../e"),
            ],
        );
        check("normalizePathWin", &[(b"\\a\\..\\b", b"/b"), (b"c:\\x\\.\\y", b"c:/x/y")]);
    }
}
