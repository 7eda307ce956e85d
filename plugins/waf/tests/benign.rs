//! What must pass, wherever it stands.

use super::attacks::{blocked, core, everywhere, post};
use palisade_contract::testkit::Case;

/// Values that people and programs send.
const VALUES: &[&str] = &[
    "O'Brien",
    "D'Angelo & Sons, Inc.",
    "rock 'n' roll",
    "Conan O'Brien's \"Late Night\" show",
    "it's 5 o'clock -- time to go",
    "Please select an item from the list and update your profile, or delete it.",
    "The union will select its delegates from all members this Friday.",
    "Drop by the table where the group meets; order drinks and insert a coin.",
    "Having fun or not, where else would you like to go?",
    "I'd like to order 2 or 3 of them, and 1 more if it's < 10 EUR",
    "Was 'the union' right to strike, and is it 'over'?",
    "He said: \"select the best\" and I agreed; create a table for 4, please",
    "SELECT committee on budget",
    "if a < b and c > d then e = f",
    "a=b; c=d; e=f",
    "1 + 1 = 2",
    "5 > 3 && 2 < 4",
    "x or y",
    "AT&T | Verizon; R&D and Q&A",
    "salt & pepper; fish & chips",
    "| id | name | price |\n|---|---|---|\n| 1 | Chair | 20 |",
    "# Title\n\nSome *markdown* with `code`, a [link](https://example.com/a?b=c&d=e#f) and\n\n- a list\n- of things\n\n> quoted",
    "See ../README.md and docs/../guide for more",
    "Use `cat file.txt` or `ls` to look at it",
    "```rust\nfn main() {\n    let x = vec![1, 2, 3];\n    println!(\"{x:?}\");\n}\n```",
    "for (let i = 0; i < 10; i++) { console.log(`item ${i}`); }",
    "def f(x):\n    return [y * 2 for y in x if y > 0]\n",
    "const total = items.filter(item => item.price > 10 && item.stock !== 0).length;",
    "https://example.com/path/to/page?query=value&other=1#fragment",
    "https://user-images.example.com/1234/abc.png",
    "http://example.com/?next=https%3A%2F%2Fexample.org%2F",
    "/api/v2/users/42/orders?sort=-created_at&limit=10",
    "mailto:someone@example.com?subject=Hello%20there",
    "ftp.example.com/pub/file.tar.gz",
    "C:\\Users\\anna\\Documents\\report.docx",
    "/home/anna/projects/report.pdf",
    "2026-03-01T12:00:00+01:00",
    "550e8400-e29b-41d4-a716-446655440000",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "AKfycbx--0x1f--dead-beef",
    "+49 (0)30 123456-78",
    "€ 1.234,56 (inkl. 19 % MwSt.)",
    "100% sure",
    "50% off!!! #sale @home",
    "¿Dónde está la biblioteca?",
    "Größe: 42 – schön, daß's paßt",
    "Привет, как дела? Выберите из списка.",
    "今日は'天気'がいいですね。選択してください。",
    "مرحبا بالعالم، اختر من القائمة",
    "שלום עולם",
    "😀🎉 it's party time <3",
    "I <3 this; you <- should -> try it",
    "Tom & Jerry <tom@example.com>",
    "{{name}} has {{count}} new messages",
    "Hello ${name}, your order #{id} ships today",
    "{\"filter\": {\"price\": {\"max\": 20}}}",
    "^[a-z0-9._%+-]+@[a-z0-9.-]+\\.[a-z]{2,}$",
    "(?i)^foo(bar|baz)?$",
    "*.example.com, example.org:8080",
    "10.0.0.0/8, 192.168.1.1",
    "SGVsbG8sIHdvcmxkIQ==",
    "java.lang.NullPointerException: Cannot invoke \"String.length()\"\n\tat com.example.App.main(App.java:5)",
    "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\nValueError: invalid literal",
    "name,price\n\"Chair, red\",20\n\"Table\",'100'\n",
    "We'll sleep in; exec summary: it's fine. Shutdown is at 5.",
    "The script on this object: embed it in the base form",
    "Ångström's law & the \"or\" operator = fun",
    "don't; won't; can't -- shouldn't",
    "'quoted' -- an aside -- and \"more\"",
    "Grant access to the user; revoke it later.",
    "key=value; path=/; secure",
    "Section 3.2; see also 4.1; and/or 5",
    "What's the time? It's 10 -- or is it?",
    "alert: the system is down (confirm with ops)",
    "To see who is on the machine, use cat /etc/hosts and then ask somebody.",
    "if not exist then create it; if defined, keep it",
    "For each item in (list) do something; for 5% in (total) add one",
    "eval(\"x\") is evil, and exec is worse; system (in German: System) is (mostly) fine",
    "java.lang.RuntimeException: boom at java.lang.Thread.run(Thread.java:10)",
    "select sleep from activities where the user is tired",
    "Cast with '5'::numeric or use CAST",
    "confirm (yes or no)?",
    "The while closure was discussed; the for closure too. A constant transformer hums.",
    "what???/maybe!!!!!!!!!!!!!!!!!!!!!",
    "(foo)(bar) and (system)[0]",
    "array[0] + this[\"name\"] + self[\"id\"]",
    "{{ page.title }} and @{user} and @{{x}} and #{name}",
    "http://192.0.2.10/index.html",
    "javascript is a language; vbs too; jv: java&amp;script",
    "tail of the list; head over heels; less is more /home/page",
    "head -n 5 file.txt",
    "$ ls -la",
    "cp a.txt b.txt",
    "https://cdn.example.com/lib/jquery.min.js?ver=3",
    "Content in (parentheses) (twice) and [brackets](https://example.com) (link)",
    "x::text and 'a'::varchar",
    "postgres: select count(*)::int from t",
    "Was heißt das: \"for %a in\"? 100% in (2024)",
    "Grow 5% in (Q1) and 10%in(Q2) do it",
    "order by (name) (asc)",
    "!important; !!! ( ! [ ] + [ ] )",
    "@[user] @{[0]}",
    "null",
    "true",
    "undefined",
    "NaN",
    "",
    " ",
    "-",
    "'",
    "\"",
    "<",
    ">",
    "&",
    "%",
    ";",
    "--",
    "#",
    "$",
    "{}",
    "[]",
    "()",
    "..",
    "./",
    "../",
];

#[test]
fn what_people_send_passes_in_every_place() {
    let (waf, mut refused) = (core(), Vec::new());
    for value in VALUES {
        for (place, case) in everywhere(value) {
            let ran = waf.run(case);
            if blocked(&ran) {
                refused.push(format!("{value:?} in {place}: {:?}", ran.verdict));
                let rules = ran
                    .ex
                    .findings()
                    .iter()
                    .flat_map(|found| found.what["rules"].as_array().unwrap().clone());
                refused.extend(
                    rules.map(|rule| format!("    {} {} {}", rule["id"], rule["message"], rule["variables"])),
                );
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn what_programs_send_passes() {
    let browser = |case: Case| {
        case.header("host", "shop.example.com")
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36")
            .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8")
            .header("accept-language", "de-DE,de;q=0.9,en;q=0.8")
            .header("accept-encoding", "gzip, deflate, br, zstd")
            .header("referer", "https://shop.example.com/search?q=o%27neill%20%26%20sons")
            .header("cookie", "_ga=GA1.2.1234567890.1700000000; session=eyJhIjoiYiJ9.ZmFrZQ.--x; consent=a%3D1%26b%3D2; theme=dark")
            .header("if-none-match", "W/\"3147526947\"")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .header("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln")
    };
    let json = |body: &str| browser(post("application/json; charset=utf-8", body.to_owned()));
    let waf = core();
    for case in [
        browser(Case::get("/")),
        browser(Case::get("/products/4711?color=red&size=XL&sort=price,-name&page[number]=2&filter[price][lte]=20")),
        browser(Case::get("/odata/Products?$filter=Price%20lt%2010%20and%20Name%20eq%20'Chair'&$top=5&$select=Name,Price&$orderby=Price%20desc")),
        browser(Case::get("/search?q=O%27Reilly+%22rust%22+-java+price%3A%3C50")),
        browser(Case::get("/callback?code=4/0AX4XfWh-x_y--z&state=a%2Fb%3D%3D&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcb")),
        browser(Case::get("/.well-known/openid-configuration")),
        browser(Case::get("/files/report%20(final)%20v2.pdf")),
        browser(Case::get("/%E4%BB%8A%E6%97%A5/%D0%BF%D1%80%D0%B8")),
        browser(Case::new("DELETE", "/things/4711")),
        browser(Case::new("OPTIONS", "/things")).header("access-control-request-method", "PUT"),
        json(r#"{"user":{"name":"Miles O'Brien","email":"miles@example.com","tags":["a","b"]},"active":true,"n":-1.5e3,"x":null}"#),
        json(r#"{"query":"query Q($id: ID!) { user(id: $id) { name orders(first: 10) { total } } }","variables":{"id":"42"}}"#),
        json(r#"{"@context":"https://schema.org","@type":"Person","name":"Ann"}"#),
        json(r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","$ref":"#/$defs/a","type":"object"}"##),
        json(r#"[{"op":"replace","path":"/a/b/0","value":"it's"},{"op":"remove","path":"/c~1d"}]"#),
        json(r#"{"jsonrpc":"2.0","method":"users.list","params":{"where":"all","limit":10},"id":1}"#),
        json(r#"{"constructor":"Ferrari","prototype":"A1","class":"formula one","select":"all","union":"yes","table":"a"}"#),
        json(&format!("{{\"embedding\":[{}]}}", vec!["0.0123,-0.456"; 2000].join(","))),
        json("{}"), json("[]"), json("\"text\""), json("1"), json(""),
        browser(post("application/x-www-form-urlencoded", "name=D%27Arcy&comment=Nice+%26+easy%21&accept=on&x=".into())),
        browser(post("application/xml", "<?xml version=\"1.0\"?><order id=\"4\" xmlns=\"urn:x\"><n>O'Brien &amp; Co</n><!-- x --></order>".into())),
        browser(post("application/octet-stream", "plain bytes".into())),
        browser(Case::new("PUT", "/images/1").header("content-type", "image/png").body(&b"\x89PNG\r\n\x1a\n\x00\x01' or 1=1 --\xff"[..])),
        browser(post(
            "multipart/form-data; boundary=----WebKitFormBoundaryABC",
            "------WebKitFormBoundaryABC\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nMy dog's photo\r\n------WebKitFormBoundaryABC\r\nContent-Disposition: form-data; name=\"f\"; filename=\"dog's photo (1).jpg\"\r\nContent-Type: image/jpeg\r\n\r\n\u{0}\u{1}<script>\r\n------WebKitFormBoundaryABC--\r\n".into(),
        )),
    ] {
        let ran = waf.run(case);
        assert!(!blocked(&ran), "{:?} {:?} {:?}", ran.ex, ran.verdict, ran.ex.findings());
    }
}
