//! The frame of a `multipart` body (RFC 2046 §5.1, RFC 7578), as strict as senders are: what lenient readers make of
//! bare line feeds, of text before the first part or of folded headers differs.

/// A part of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'b> {
    /// Its headers, each on a line.
    head: &'b [u8],
    /// What it holds.
    pub(crate) body: &'b [u8],
    /// All of it, from behind the delimiter before it to the one behind it.
    pub(crate) whole: &'b [u8],
}

impl<'b> Part<'b> {
    /// The value of a header, where there is one.
    ///
    /// # Errors
    /// It stands there twice, or is not text.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&'b str>, &'static str> {
        let lines = self.head.split(|byte| *byte == b'\n');
        let mut found = lines.filter_map(|line| {
            let (key, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
            key.eq_ignore_ascii_case(name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
        });
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => std::str::from_utf8(value)
                .map(|text| Some(text.trim()))
                .map_err(|_| "a part's header is not text"),
            _ => Err("a part's header stands twice"),
        }
    }
}

/// `body` is made of parts, each between two delimiters.
pub(crate) fn verify(boundary: &str, body: &[u8]) -> Result<(), &'static str> {
    each(boundary, body, |_| Ok(()))
}

/// Calls `see` with each part of a body that is made of parts, each between two delimiters.
pub(crate) fn each<'b>(
    boundary: &str,
    body: &'b [u8],
    mut see: impl FnMut(Part<'b>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    if !is_boundary(boundary) {
        return Err("the boundary is not one");
    }
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = delimiter.as_bytes();
    // The first one stands at the beginning, where no line ends before it.
    let mut rest = delimiter
        .get(2..)
        .and_then(|first| body.strip_prefix(first))
        .ok_or("it does not begin with its boundary")?;
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return if matches!(end, b"" | b"\r\n") {
                Ok(())
            } else {
                Err("something stands behind its end")
            };
        }
        let part = rest.strip_prefix(b"\r\n").ok_or("something stands behind a boundary")?;
        let end = find(part, delimiter).ok_or("its last part does not end")?;
        let whole = rest.get(..end + 2).unwrap_or_default();
        let (part, after) = part.split_at_checked(end).ok_or("its last part does not end")?;
        let (head, body) = head(part)?;
        see(Part { head, body, whole })?;
        rest = after.get(delimiter.len()..).unwrap_or_default();
    }
}

/// RFC 2046 §5.1.1.
fn is_boundary(boundary: &str) -> bool {
    let is = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    (1..=70).contains(&boundary.len()) && boundary.bytes().all(is) && !boundary.ends_with(' ')
}

/// A part's headers, each whole on its line, and what stands behind the empty line after them.
fn head(part: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let end = if part.starts_with(b"\r\n") {
        0
    } else {
        find(part, b"\r\n\r\n").ok_or("a part has no end of its headers")?
    };
    let head = part.get(..end).unwrap_or_default();
    let mut disposition = 0;
    for line in head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a part's header is not one")?;
        let (name, value) = line.split_at_checked(colon).ok_or("a part's header is not one")?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
        if name.is_empty()
            || !name.iter().all(is_name)
            || value.iter().any(|byte| *byte < b' ' && *byte != b'\t')
        {
            return Err("a part's header is not one");
        }
        disposition += usize::from(name.eq_ignore_ascii_case(b"content-disposition"));
    }
    let behind = if end == 0 { 2 } else { end + 4 };
    if disposition > 1 {
        Err("a part has two names")
    } else {
        Ok((head, part.get(behind..).unwrap_or_default()))
    }
}

/// Where `wanted` first stands; linear, as its first byte stands in it once.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|byte| *byte == b'\r')?;
        if text.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}
