use super::{plugin, refused};
use palisade_contract::testkit::Case;

/// The first words of what is said, or nothing where a request passes.
fn table(fields: &str, rows: &[(&str, &str)]) {
    let plugin = plugin("shop-3.1.yaml", fields);
    for (target, expected) in rows {
        let found = refused(&plugin, Case::get(target)).unwrap_or_default();
        assert_eq!(found, *expected, "{target}");
    }
}

const IGNORE: &str = "security: ignore";

#[test]
fn paths_and_methods_are_those_that_are_declared() {
    table(
        IGNORE,
        &[
            ("/v1/items/mine", ""),
            ("/beta/items/mine", ""),
            ("/alpha/items/mine", "404 openapi_path no path that is declared fits"),
            ("/items", "404 openapi_path no path that is declared fits"),
            ("/v1/items/", "404 openapi_path no path that is declared fits"),
            ("/v1/items/7", ""),
            ("/v1/items/0", "400 openapi_parameter /path/id: 0 is less than 1"),
            ("/v1/items/%37", ""),
            ("/v1/items/%2537", "400 openapi_parameter /path/id: expected integer, found a string"),
            ("/v1/items/2147483648", "400 openapi_parameter /path/id: 2147483648 is more than 2147483647"),
            ("/v1/items/x", "400 openapi_parameter /path/id: expected integer, found a string"),
            ("/v1/files/ab.png", ""),
            (
                "/v1/files/ab.gif",
                "400 openapi_parameter /path/ending: it is none of the values that are declared",
            ),
            ("/v1/files/a.png", "400 openapi_parameter /path/name: it is shorter than 2 characters"),
        ],
    );
    let plugin = plugin("shop-3.1.yaml", IGNORE);
    let denial = plugin.run(Case::new("DELETE", "/v1/items/7")).denied(405, "openapi_method");
    assert_eq!(denial.headers()[0].1, "GET, PUT");
    plugin.run(Case::new("HEAD", "/v1/items/7")).passed();
    plugin.run(Case::new("HEAD", "/v1/payments")).denied(405, "openapi_method");
    let open = super::plugin(
        "shop-3.1.yaml",
        "{undeclared: allow, security: ignore}".trim_matches(['{', '}']).replace(", ", "\n").as_str(),
    );
    open.run(Case::new("DELETE", "/v1/items/7")).passed();
    open.run(Case::get("/else?x=1")).passed();
    open.run(Case::get("/v1/items/x")).denied(400, "openapi_parameter");
    let based = super::plugin("shop-3.1.yaml", "security: ignore\nbase_path: /api");
    based.run(Case::get("/api/items/7")).passed();
    based.run(Case::get("/v1/items/7")).denied(404, "openapi_path");
}

#[test]
fn queries_are_written_in_the_style_that_is_declared() {
    table(
        IGNORE,
        &[
            ("/v1/items", ""),
            ("/v1/items?limit=100", ""),
            ("/v1/items?limit=101", "400 openapi_parameter /query/limit: 101 is more than 100"),
            ("/v1/items?limit=1&limit=2", "400 openapi_parameter /query/limit: it stands there twice"),
            ("/v1/items?limit=%31", ""),
            ("/v1/items?l%69mit=1000", "400 openapi_parameter /query/limit: 1000 is more than 100"),
            ("/v1/items?limit", "400 openapi_parameter /query/limit: expected integer, found a string"),
            ("/v1/items?limit=+1", "400 openapi_parameter /query/limit: expected integer, found a string"),
            ("/v1/items?limit=%zz", "400 openapi_parameter /query/limit: a percent encoding is not whole"),
            ("/v1/items?limit=%ff", "400 openapi_parameter /query/limit: it is not UTF-8"),
            ("/v1/items?%ff=1", "400 openapi_parameter /query: it is not UTF-8"),
            ("/v1/items?LIMIT=1", "400 openapi_parameter /query: `LIMIT` is not declared"),
            ("/v1/items?tags=new&tags=old", ""),
            ("/v1/items?tags=new&tags=new", "400 openapi_parameter /query/tags: an item stands in it twice"),
            (
                "/v1/items?tags=new,old",
                "400 openapi_parameter /query/tags/0: it is none of the values that are declared",
            ),
            ("/v1/items?ids=1,2,3", ""),
            ("/v1/items?ids=1,2,3,4", "400 openapi_parameter /query/ids: it has more than 3 items"),
            ("/v1/items?ids=1%2C2", "400 openapi_parameter /query/ids/0: expected integer, found a string"),
            ("/v1/items?ids=1&ids=2", "400 openapi_parameter /query/ids: it stands there twice"),
            ("/v1/items?sort=a|b", ""),
            ("/v1/items?sort=a%7Cb", ""),
            ("/v1/items?near=1.5%202", ""),
            ("/v1/items?near=1.5+x", "400 openapi_parameter /query/near/1: expected number, found a string"),
            ("/v1/items?filter[price]=1.5&filter[name]=abc", ""),
            (
                "/v1/items?filter%5Bprice%5D=x",
                "400 openapi_parameter /query/filter/price: expected number, found a string",
            ),
            ("/v1/items?filter[sizes]=1&filter[sizes]=2", ""),
            (
                "/v1/items?filter[price]=1&filter[price]=2",
                "400 openapi_parameter /query/filter: a member stands twice",
            ),
            ("/v1/items?filter[evil]=1", "400 openapi_parameter /query/filter: `evil` is not declared"),
            ("/v1/items?filter[a][b]=1", "400 openapi_parameter /query: `filter[a][b]` is not declared"),
            ("/v1/items?filter=1", "400 openapi_parameter /query: `filter` is not declared"),
            ("/v1/items?page=1", "400 openapi_parameter /query: `page` is not declared"),
            ("/v1/items?from=1&to=2", ""),
            ("/v1/items?to=2", "400 openapi_parameter /query/page: `from` is missing"),
            ("/v1/items?box=w,1,h,2", ""),
            ("/v1/items?box=w,1,h", "400 openapi_parameter /query/box: a member has no value"),
            ("/v1/items?box=w,1,w,2", "400 openapi_parameter /query/box: a member stands twice"),
            ("/v1/items?where={%22a%22:1}", ""),
            ("/v1/items?where={%22b%22:1}", "400 openapi_parameter /query/where: `b` is not declared"),
            ("/v1/items?flag", ""),
            ("/v1/items?flag=true", ""),
            ("/v1/items?flag=yes", "400 openapi_parameter /query/flag: expected boolean, found a string"),
            ("/v1/items?either=7", ""),
            ("/v1/items?either=007", ""),
            ("/v1/items?either=008", "400 openapi_parameter /query/either: it fits none of the alternatives"),
        ],
    );
    let strict = plugin("shop-3.1.yaml", IGNORE);
    let twice = refused(&strict, Case::get("/v1/items?where={%22a%22:1,%22a%22:2}")).unwrap();
    assert!(
        twice.starts_with("400 openapi_parameter /query/where: it is not JSON: a name stands twice"),
        "{twice}"
    );
}

#[test]
fn paths_headers_and_cookies_are_too() {
    table(
        IGNORE,
        &[
            ("/v1/styles/1,2/.1.2/;matrix=5/;list=1;list=2/a=1", ""),
            (
                "/v1/styles/1,x/.1/;matrix=5/;list=1/a=1",
                "400 openapi_parameter /path/simple/1: expected integer, found a string",
            ),
            (
                "/v1/styles/1/1/;matrix=5/;list=1/a=1",
                "400 openapi_parameter /path/label: it does not begin with `.`",
            ),
            (
                "/v1/styles/1/.1/5/;list=1/a=1",
                "400 openapi_parameter /path/matrix: it does not begin with `;`",
            ),
            (
                "/v1/styles/1/.1/;other=5/;list=1/a=1",
                "400 openapi_parameter /path/matrix: it does not begin with its name",
            ),
            (
                "/v1/styles/1/.1/;matrix=5/;list=1/b=1",
                "400 openapi_parameter /path/object: `b` is not declared",
            ),
        ],
    );
    let plugin = plugin("shop-3.1.yaml", IGNORE);
    let ask = |name: &str, value: &str| {
        refused(&plugin, Case::get("/v1/items").header(name, value)).unwrap_or_default()
    };
    for (name, value, expected) in [
        ("x-levels", "1, 2,3", ""),
        ("x-levels", "1,x", "/header/X-Levels/1: expected integer, found a string"),
        ("x-point", "x=1,y=2", ""),
        ("x-point", "x=1,x=2", "/header/X-Point: a member stands twice"),
        ("x-point", "x=1,z=2", "/header/X-Point: `z` is not declared"),
        ("x-trace", "0190163d-8694-739b-aea5-966c26f8ad91", ""),
        ("x-trace", "1", "/header/X-Trace: it is no `uuid`"),
        ("cookie", "a=b; session=00ff", ""),
        ("cookie", "session=zz", "/cookie/session: it does not match `^[a-f0-9]{4}$`"),
        ("cookie", "session=00ff; session=00ff", "/cookie/session: it stands there twice"),
        ("accept", "text/html", ""),
        ("x-other", "1", ""),
    ] {
        let found = ask(name, value);
        assert_eq!(found.trim_start_matches("400 openapi_parameter "), expected, "{name}: {value}");
    }
}

#[test]
fn what_is_not_declared_is_taken_out_where_that_is_written() {
    let plugin = plugin("shop-3.1.yaml", "security: ignore\nrequest: {unknown: strip}");
    let ran = plugin
        .run(Case::get("/v1/items?limit=1&evil=2&fil%65=3&limit=x".trim_end_matches("&limit=x")))
        .passed();
    let removed: Vec<&str> = ran.ex.origin_changes().remove_query.iter().map(|name| &**name).collect();
    assert_eq!(removed, ["evil", "file"]);
    let open = super::plugin("shop-3.1.yaml", "security: ignore\nrequest: {unknown: allow}");
    assert!(open.run(Case::get("/v1/items?evil=2")).passed().ex.origin_changes().is_empty());
    let unseen = super::plugin("shop-3.1.yaml", "security: ignore\nrequest: {parameters: false}");
    unseen.run(Case::get("/v1/items?limit=x&evil=2")).passed();
}
