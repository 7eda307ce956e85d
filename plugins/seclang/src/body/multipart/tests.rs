use super::*;

const KIND: &[u8] = b"multipart/form-data; boundary=B";

fn read(kind: &[u8], body: &[u8]) -> (Store, Result<usize, String>) {
    let mut store = Store::default();
    store.add_copied(List::Headers, b"Content-Type", kind);
    let result = parse(&mut store, body, &Config::default());
    (store, result)
}

fn list(store: &Store, list: List) -> Vec<(String, String)> {
    let show = |span| store.text(span).escape_ascii().to_string();
    store.list(list).iter().map(|entry| (show(entry.name), show(entry.value))).collect()
}

/// The flags that are set, without the sum of them.
fn flags(store: &Store) -> Vec<&'static str> {
    crate::variable::VARIABLES
        .iter()
        .filter(|variable| {
            variable.name().starts_with("MULTIPART_") && **variable != Variable::MultipartStrictError
        })
        .filter(|variable| store.slot(**variable).is_some_and(|value| value != b"0"))
        .map(|variable| variable.name())
        .collect()
}

#[test]
fn parts_become_arguments_and_files() {
    let body = b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\ntwo\r\n--B\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"x.php\"\r\nContent-Type: text/plain\r\n\r\n<?php\r\n--B--\r\n";
    let (store, result) = read(KIND, body);
    result.unwrap();
    assert_eq!(list(&store, List::Args), [("a".into(), "one\\r\\ntwo".into())]);
    assert_eq!(list(&store, List::Files), [("f".into(), "x.php".into())]);
    assert_eq!(list(&store, List::FileSizes), [("f".into(), "5".into())]);
    assert_eq!(store.slot(Variable::FilesCombinedSize), Some(b"5".as_slice()));
    assert_eq!(list(&store, List::PartHeaders)[2], ("f".into(), "Content-Type: text/plain".into()));
    assert_eq!(flags(&store), ["MULTIPART_UNMATCHED_BOUNDARY"]);
    assert_eq!(store.slot(Variable::MultipartStrictError), Some(b"0".as_slice()));
}

#[test]
fn what_parsers_disagree_on_is_flagged() {
    let part = "Content-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n";
    let whole = format!("--B\r\n{part}--B--\r\n");
    let table: [(&str, String, bool, &[&str]); 12] = [
        ("multipart/form-data; boundary=\"B\"", whole.clone(), true, &["MULTIPART_BOUNDARY_QUOTED"]),
        (
            "multipart/form-data boundary=B",
            whole.clone(),
            true,
            &["MULTIPART_MISSING_SEMICOLON", "MULTIPART_SEMICOLON_MISSING"],
        ),
        (
            "multipart/form-data; boundary= B",
            whole.clone(),
            false,
            &["MULTIPART_BOUNDARY_WHITESPACE", "MULTIPART_DATA_BEFORE"],
        ),
        ("multipart/form-data; BOUNDARY=B", whole.clone(), false, &[]),
        ("multipart/form-data; boundary=B; boundary=C", whole.clone(), false, &[]),
        ("multipart/form-data; boundary=B", format!("before\r\n{whole}"), true, &["MULTIPART_DATA_BEFORE"]),
        ("multipart/form-data; boundary=B", format!("{whole}after"), true, &["MULTIPART_DATA_AFTER"]),
        ("multipart/form-data; boundary=B", whole.replace("\r\n", "\n"), true, &["MULTIPART_LF_LINE"]),
        ("multipart/form-data; boundary=B", format!("--B\r\n{part}"), false, &[]),
        (
            "multipart/form-data; boundary=B",
            "--B\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\nx\r\n--B--".into(),
            true,
            &["MULTIPART_HEADER_FOLDING"],
        ),
        (
            "multipart/form-data; boundary=B",
            "--B\r\nContent-Disposition: form-data; name='a'\r\n\r\nx\r\n--B--\r\n".into(),
            true,
            &["MULTIPART_INVALID_QUOTING"],
        ),
        ("multipart/form-data; boundary=B", "--B\r\nX: y\r\n\r\nx\r\n--B--\r\n".into(), false, &[]),
    ];
    for (kind, body, valid, expected) in table {
        let (store, result) = read(kind.as_bytes(), body.as_bytes());
        assert_eq!(result.is_ok(), valid, "{kind} {body:?}: {result:?}");
        let found: Vec<_> =
            flags(&store).into_iter().filter(|flag| *flag != "MULTIPART_UNMATCHED_BOUNDARY").collect();
        assert_eq!(found, expected, "{kind} {body:?}");
        assert_eq!(store.slot(Variable::MultipartStrictError) == Some(b"0"), valid && expected.is_empty());
    }
}

#[test]
fn a_line_that_only_looks_like_a_boundary_is_flagged() {
    let body = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--C\r\n";
    let (store, _) = read(KIND, body.as_bytes());
    assert_eq!(store.slot(Variable::MultipartUnmatchedBoundary), Some(b"1".as_slice()));
}

#[test]
fn a_part_that_breaks_off_is_inspected() {
    let body = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1' or '1'='1";
    let (store, result) = read(KIND, body.as_bytes());
    assert!(result.is_err());
    assert_eq!(list(&store, List::Args), [("a".into(), "1\\' or \\'1\\'=\\'1".into())]);
}
