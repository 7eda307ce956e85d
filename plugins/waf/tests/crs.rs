//! The OWASP Core Rule Set, where there is one: in `CRS_DIR`, or as Debian installs it.

use super::{
    super::{
        Waf,
        config::{Config, Crs},
        load::layout,
    },
    attacks::{blocked, coded, json, post},
};
use palisade_contract::{
    Descriptor,
    testkit::{Case, Instance, Kit},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

const INSTALLED: &str = "/usr/share/modsecurity-crs";

/// The directories of core rule sets that are here.
fn directories() -> Vec<PathBuf> {
    let given = env::var_os("CRS_DIR").map(PathBuf::from);
    let all = given.into_iter().chain([PathBuf::from(INSTALLED)]);
    let found: Vec<_> = all.filter(|directory| directory.join("rules").is_dir()).collect();
    if found.is_empty() {
        eprintln!("skipped the core rule set: CRS_DIR is not set, and {INSTALLED} is not there");
    }
    found
}

fn kit() -> Kit {
    Kit::of(Descriptor::of::<Waf>()).credential_places(Vec::new())
}

fn build(kit: &Kit, directory: &Path, more: &str) -> Instance {
    let yaml = format!("{{ruleset: crs, crs: {{directory: {}{more}}}}}", directory.display());
    kit.build(&yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// As browsers send it: the core rule set counts what is missing.
fn browser(case: Case) -> Case {
    case.header("host", "shop.example.com").header("user-agent", "Mozilla/5.0").header("accept", "*/*")
}

#[test]
fn a_core_rule_set_refuses_attacks_and_passes_the_rest() {
    for directory in directories() {
        let kit = kit();
        let waf = build(&kit, &directory, "");
        let get = |query: &str| browser(Case::get(&format!("/?q={}", coded(query))));
        for attack in
            ["1' OR '1'='1' -- ", "<script>alert(1)</script>", "../../../../etc/passwd", "; cat /etc/passwd"]
        {
            let ran = waf.run(get(attack));
            assert!(blocked(&ran), "{attack} {:?}", ran.ex.findings());
            let found = ran.ex.findings()[0].what.to_string();
            assert!(found.contains("949110") && found.contains("\"inbound_score\":"), "{found}");
            let body = format!("{{\"a\":{}}}", json(attack));
            let json = browser(post("application/json", body)).header("content-length", "99");
            assert!(blocked(&waf.run(json)), "{attack} in JSON");
        }
        assert!(kit.counted("rules_942") > 0 && kit.counted("rules_941") > 0);
        waf.run(get("O'Brien")).passed();
        waf.run(browser(post("application/json", "{\"a\":\"hello\"}".into())).header("content-length", "13"))
            .passed();
    }
}

#[test]
fn level_and_thresholds_are_those_of_the_entry() {
    for directory in directories() {
        // A rule of the second level alone: a quote and a comment in a name.
        let case = || browser(Case::get("/?q=%27%2D%2D")).header("x-a", "b");
        let score = |more: &str| {
            let ran = build(&kit(), &directory, more).run(case());
            ran.ex.findings().first().map_or(0, |found| found.what["inbound_score"].as_i64().unwrap())
        };
        assert!(score(", paranoia_level: 4") > score(", paranoia_level: 1"), "{}", directory.display());
        let attack = || browser(Case::get("/?q=%3Cscript%3Ealert(1)%3C/script%3E"));
        build(&kit(), &directory, ", inbound_threshold: 100").run(attack()).passed();
    }
}

#[test]
fn exclusions_change_rules_of_the_core_rule_set() {
    for directory in directories() {
        let entry = |exclusion: &str| {
            let yaml = format!(
                "{{ruleset: crs, crs: {{directory: {}}}, exclusions: [{{{exclusion}}}]}}",
                directory.display()
            );
            kit().build(&yaml)
        };
        let attack = |path: &str, name: &str| {
            browser(Case::get(&format!("{path}?{name}={}", coded("1' OR '1'='1' -- "))))
        };
        let waf = entry("rule: 942000-942999, target: ARGS:password, paths: [/login]").unwrap();
        waf.run(attack("/login", "password")).passed();
        assert!(blocked(&waf.run(attack("/login", "q"))) && blocked(&waf.run(attack("/", "password"))));
        let error = entry("rule: 942999").unwrap_err();
        assert!(error.contains("did you mean `942"), "{error}");
    }
}

#[test]
fn files_are_found_as_releases_and_packages_have_them() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        file
    };
    let (share, etc) = (dir.path().join("share"), dir.path().join("etc"));
    let crs = Crs { directory: share.display().to_string(), ..Config::default().crs.unwrap_or_default() };
    let found = || layout(&crs, Path::new(""), &etc);
    assert!(found().unwrap_err().message.contains("holds no core rule set"));
    let rules = [put("share/rules/REQUEST-901.conf"), put("share/rules/REQUEST-942.conf")];
    put("share/rules/words.data");
    put("share/rules/REQUEST-900.conf.example");
    assert!(found().unwrap_err().message.contains("neither"));
    let example = put("share/crs-setup.conf.example");
    assert_eq!(found().unwrap().before, std::slice::from_ref(&example));
    assert_eq!(found().unwrap().rules, rules);
    // A package keeps its set-up apart.
    let changed = put("etc/crs-setup.conf");
    assert_eq!(found().unwrap().before, [example]);
    put("share/owasp-crs.load");
    let before = put("etc/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf");
    let after = put("etc/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf");
    assert_eq!(found().unwrap().before, [changed, before.clone()]);
    assert_eq!(found().unwrap().rules, [&rules[..], std::slice::from_ref(&after)].concat());
    // One's own beside the rules comes first, and plugins of the core rule set in their places.
    let (own, config) = (put("share/crs-setup.conf"), put("share/plugins/x-config.conf"));
    let (first, last) = (put("share/plugins/x-before.conf"), put("share/plugins/x-after.conf"));
    assert_eq!(found().unwrap().before, [own, config, first, before]);
    assert_eq!(found().unwrap().rules, [&rules[..], &[after, last]].concat());
}
