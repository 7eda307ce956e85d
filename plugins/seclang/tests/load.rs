//! What is said about rules that do not load.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use seclang::RuleSet;

fn errors(text: &str) -> String {
    RuleSet::builder().text("mine.conf", text).build().unwrap_err().to_string()
}

#[test]
fn every_error_is_said_with_its_place() {
    let text = "SecRule ARG \"@rxx evil\" \\\n    \"id:1,phase:2,denny\"\nSecRuleEngin On\nSecAction \"phase:1\"\n\
        SecRule ARGS \"@rx a\" \"id:2,phase:2,pass,chain\"\nSecMarker x\nSecRuleScript a.lua\n";
    let expected = "\
mine.conf:2:19: rule 1: unknown action `denny`
        \"id:1,phase:2,denny\"
                      ^^^^^
  help: `deny` is close to it
mine.conf:1:9: rule 1: unknown variable `ARG`
    SecRule ARG \"@rxx evil\" \\
            ^^^
  help: `ARGS` is close to it
mine.conf:1:14: rule 1: unknown operator `@rxx`
    SecRule ARG \"@rxx evil\" \\
                 ^^^^
  help: `@rx` is close to it
mine.conf:3:1: unknown directive `SecRuleEngin`
    SecRuleEngin On
    ^^^^^^^^^^^^
  help: `SecRuleEngine` is close to it
mine.conf:4:12: the rule has no `id`
    SecAction \"phase:1\"
               ^^^^^^^
mine.conf:5:23: rule 2: the rule is chained, and no rule follows
    SecRule ARGS \"@rx a\" \"id:2,phase:2,pass,chain\"
                          ^^^^^^^^^^^^^^^^^^^^^^^
mine.conf:7:1: `SecRuleScript` is refused: rules in Lua are not run: a rule is data and never a program
    SecRuleScript a.lua
    ^^^^^^^^^^^^^";
    assert_eq!(errors(text), expected);
}

#[test]
fn what_is_tolerated_is_left_out_and_said() {
    let text = "SecRule TX:ip \"@rbl a.example\" \"id:1,phase:1,pass,chain\"\nSecRule TX:0 \"@gsbLookup x\" \"setvar:tx.a=1\"\n\
        SecRule ARGS \"@rx a\" \"id:2,phase:2,deny\"\n";
    assert!(RuleSet::builder().text("mine.conf", text).build().is_err());
    let rules = RuleSet::builder().text("mine.conf", text).tolerate(&[1]).build().unwrap();
    assert_eq!((rules.len(), rules.left_out().len()), (1, 2));
}
