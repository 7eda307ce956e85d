//! White space and command lines.

use crate::bytes::is_space;

/// Removes white space, the no-break space of Latin-1 among it.
pub(super) fn remove(value: &[u8], out: &mut Vec<u8>) {
    out.extend(value.iter().filter(|byte| !is_space(**byte) && **byte != 0xa0));
}

/// Turns each run of white space into one space.
pub(super) fn compress(value: &[u8], out: &mut Vec<u8>) {
    let mut inside = false;
    for byte in value {
        if is_space(*byte) || *byte == 0xa0 {
            if !inside {
                out.push(b' ');
            }
            inside = true;
        } else {
            out.push(*byte);
            inside = false;
        }
    }
}

/// Undoes what evades a search for commands: quotes and carets go, separators become one space, none before `/` and `(`,
/// letters are small.
pub(super) fn cmd_line(value: &[u8], out: &mut Vec<u8>) {
    let mut space = false;
    for byte in value {
        match byte {
            b'"' | b'\'' | b'\\' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if !space {
                    out.push(b' ');
                    space = true;
                }
            }
            b'/' | b'(' => {
                if space {
                    out.pop();
                }
                space = false;
                out.push(*byte);
            }
            _ => {
                out.push(byte.to_ascii_lowercase());
                space = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::tests::check;

    #[test]
    fn white_space() {
        check("removeWhitespace", &[(b" a\t\n\xa0b\x0b", b"ab")]);
        check("compressWhitespace", &[(b" a\t\n b\xa0c", b" a b c"), (b"", b"")]);
        check("trim", &[(b" \ta b\n", b"a b"), (b"  ", b"")]);
        check("trimLeft", &[(b" a ", b"a ")]);
        check("trimRight", &[(b" a ", b" a")]);
        check(
            "cmdLine",
            &[
                (b"C^OM\"MA'ND", b"command"),
                (b"a,;\tb", b"a b"),
                (b"cmd  /C", b"cmd/c"),
                (b"echo (x", b"echo(x"),
                (b"a ", b"a "),
            ],
        );
        check("replaceNulls", &[(b"a\0b", b"a b")]);
        check("removeNulls", &[(b"a\0b\0", b"ab")]);
    }
}
