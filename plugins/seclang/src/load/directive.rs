//! Directives other than rules.

use super::{Builder, Item, Word, actions::Actions, control, fail, source::Directive};
use crate::{config::OverLimit, error::suggestion, transform::Mapping};
use std::{fs, path::Path, sync::Arc};

/// Directives that the engine acts on.
const NAMES: &[&str] = &[
    "Include",
    "IncludeOptional",
    "SecAction",
    "SecArgumentSeparator",
    "SecArgumentsLimit",
    "SecCollectionTimeout",
    "SecComponentSignature",
    "SecDefaultAction",
    "SecMarker",
    "SecRequestBodyAccess",
    "SecRequestBodyJsonDepthLimit",
    "SecRequestBodyLimit",
    "SecRequestBodyLimitAction",
    "SecRequestBodyNoFilesLimit",
    "SecResponseBodyAccess",
    "SecResponseBodyLimit",
    "SecResponseBodyLimitAction",
    "SecResponseBodyMimeType",
    "SecResponseBodyMimeTypesClear",
    "SecRule",
    "SecRuleEngine",
    "SecRuleRemoveById",
    "SecRuleRemoveByMsg",
    "SecRuleRemoveByTag",
    "SecRuleUpdateActionById",
    "SecRuleUpdateTargetById",
    "SecRuleUpdateTargetByMsg",
    "SecRuleUpdateTargetByTag",
    "SecUnicodeMapFile",
    "SecUploadFileLimit",
    "SecWebAppId",
];

/// Directives about logs, files and the server around ModSecurity, which say nothing about verdicts.
const WITHOUT_EFFECT: &[&str] = &[
    "secauditengine",
    "secauditlog",
    "secauditlog2",
    "secauditlogdirmode",
    "secauditlogfilemode",
    "secauditlogformat",
    "secauditlogparts",
    "secauditlogrelevantstatus",
    "secauditlogstoragedir",
    "secauditlogtype",
    "seccachetransformations",
    "seccookieformat",
    "seccookiev0separator",
    "secdatadir",
    "secdebuglog",
    "secdebugloglevel",
    "secdisablebackendcompression",
    "secguardianlog",
    "secpcrematchlimit",
    "secpcrematchlimitrecursion",
    "secrequestbodyinmemorylimit",
    "secruleperftime",
    "secsensorid",
    "secserversignature",
    "secstatusengine",
    "sectmpdir",
    "sectmpsaveuploadedfiles",
    "secuploaddir",
    "secuploadfilemode",
    "secuploadkeepfiles",
    "secruleinheritance",
    "secinterceptonerror",
    "secconnreadstatelimit",
    "secconnwritestatelimit",
    "secconnengine",
    "secxmlexternalentity",
];

/// Directives that are refused, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("secrulescript", "rules in Lua are not run: a rule is data and never a program"),
    ("secremoterules", "rules are read from files, not from the network while starting"),
    ("sechashengine", "hash protection of links is not part of the engine"),
    ("sechashkey", "hash protection of links is not part of the engine"),
    ("sechashparam", "hash protection of links is not part of the engine"),
    ("sechashmethodrx", "hash protection of links is not part of the engine"),
    ("sechashmethodpm", "hash protection of links is not part of the engine"),
    ("seccontentinjection", "the engine does not change bodies"),
    ("secstreaminbodyinspection", "bodies are inspected whole"),
    ("secstreamoutbodyinspection", "bodies are inspected whole"),
    ("secchrootdir", "the engine starts no process"),
    ("secgsblookupdb", "the service no longer exists"),
    ("secparsexmlintoargs", "elements are asked for by paths, such as `XML:/a/b`"),
    ("secgeolookupdb", "the engine reads no database of places; without one `@geoLookup` finds nothing"),
    ("sechttpblkey", "it asks a name server while a request waits"),
];

/// Of these, the ones that are accepted where they say `Off`.
const OFF: &[&str] = &[
    "sechashengine",
    "secparsexmlintoargs",
    "seccontentinjection",
    "secstreaminbodyinspection",
    "secstreamoutbodyinspection",
];

impl Builder {
    pub(super) fn directive(&mut self, directive: &Directive, words: &[Word], depth: usize) {
        let Some((name, arguments)) = words.split_first() else { return };
        let lower = name.text.to_ascii_lowercase();
        if lower != "secrule"
            && let Some(open) = self.open.take()
        {
            let error = open.error();
            self.errors.push(error);
        }
        match lower.as_str() {
            "secrule" => return self.sec_rule(directive, name, arguments),
            "secaction" => return self.sec_action(directive, name, arguments),
            _ => {}
        }
        let off = arguments.first().is_some_and(|word| word.text.eq_ignore_ascii_case("off"));
        if WITHOUT_EFFECT.contains(&lower.as_str()) || (OFF.contains(&lower.as_str()) && off) {
            return;
        }
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == lower) {
            let message = format!("`{}` is refused: {why}", name.text);
            return self.complain(directive, name, fail(0, name.text.len(), message), None);
        }
        let Some(argument) = arguments.first() else {
            if lower == "secresponsebodymimetypesclear" {
                return self.loaded.config.response_body_types.clear();
            }
            let message = format!("`{}` needs an argument", name.text);
            return self.complain(directive, name, fail(0, name.text.len(), message), None);
        };
        match lower.as_str() {
            "include" => self.include(directive, argument, depth, false),
            "includeoptional" => self.include(directive, argument, depth, true),
            "secmarker" => self.loaded.items.push(Item::Marker(argument.text.clone())),
            "secdefaultaction" => self.default_action(directive, argument),
            "secunicodemapfile" => self.unicode_map(directive, argument, arguments.get(1)),
            _ if lower.starts_with("secruleremove") || lower.starts_with("secruleupdate") => {
                self.update(directive, &lower, arguments);
            }
            _ => self.setting(directive, name, &lower, argument, arguments),
        }
    }

    fn setting(
        &mut self,
        directive: &Directive,
        name: &Word,
        lower: &str,
        argument: &Word,
        arguments: &[Word],
    ) {
        let config = &mut self.loaded.config;
        let text = argument.text.as_str();
        let number = text.trim().parse::<usize>();
        let on = match text.to_ascii_lowercase().as_str() {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        };
        let over = match text.to_ascii_lowercase().as_str() {
            "reject" => Some(OverLimit::Reject),
            "processpartial" => Some(OverLimit::ProcessPartial),
            _ => None,
        };
        const ON: &str = "`On` or `Off`";
        const NUMBER: &str = "a number";
        const OVER: &str = "`Reject` or `ProcessPartial`";
        let (done, wanted) = match lower {
            "secruleengine" => {
                (control::engine(text).map(|engine| config.engine = engine), "`On`, `Off` or `DetectionOnly`")
            }
            "secrequestbodyaccess" => (on.map(|on| config.request_body_access = on), ON),
            "secresponsebodyaccess" => (on.map(|on| config.response_body_access = on), ON),
            "secrequestbodylimit" => (number.ok().map(|limit| config.request_body_limit = limit), NUMBER),
            "secrequestbodynofileslimit" => {
                (number.ok().map(|limit| config.request_body_no_files_limit = limit), NUMBER)
            }
            "secresponsebodylimit" => (number.ok().map(|limit| config.response_body_limit = limit), NUMBER),
            "secrequestbodyjsondepthlimit" => {
                (number.ok().map(|limit| config.json_depth_limit = limit), NUMBER)
            }
            "secargumentslimit" => (number.ok().map(|limit| config.arguments_limit = limit), NUMBER),
            "secuploadfilelimit" => (number.ok().map(|limit| config.upload_file_limit = limit), NUMBER),
            "seccollectiontimeout" => {
                (number.ok().map(|limit| config.collection_timeout = limit as u64), NUMBER)
            }
            "secrequestbodylimitaction" => (over.map(|over| config.request_body_limit_action = over), OVER),
            "secresponsebodylimitaction" => (over.map(|over| config.response_body_limit_action = over), OVER),
            "secargumentseparator" => (
                match text.as_bytes() {
                    [byte] => {
                        config.argument_separator = *byte;
                        Some(())
                    }
                    _ => None,
                },
                "one character",
            ),
            "secresponsebodymimetype" => {
                config.response_body_types =
                    arguments.iter().map(|word| word.text.to_ascii_lowercase()).collect();
                return;
            }
            "seccomponentsignature" => return config.components.push(text.to_string()),
            "secwebappid" => return config.web_app_id = text.to_string(),
            _ => return self.unknown(directive, name),
        };
        if done.is_none() {
            let message = format!("{wanted} is wanted, not `{text}`");
            self.complain(directive, argument, fail(0, text.len(), message), None);
        }
    }

    fn unknown(&mut self, directive: &Directive, name: &Word) {
        let mut error = fail(0, name.text.len(), format!("unknown directive `{}`", name.text));
        error.help = if name.text.starts_with('<') {
            Some(
                "sections of Apache's configuration are not read; keep the directives that are inside".into(),
            )
        } else {
            suggestion(&name.text, NAMES.iter().copied())
        };
        self.complain(directive, name, error, None);
    }

    fn default_action(&mut self, directive: &Directive, argument: &Word) {
        let parsed = match Actions::parse(&argument.text, &mut self.loaded.names) {
            Ok(parsed) => parsed,
            Err(error) => return self.complain(directive, argument, error, None),
        };
        let phase = usize::from(parsed.phase.unwrap_or(2)).saturating_sub(1);
        if let Some(defaults) = self.defaults.get_mut(phase) {
            defaults.disruption = parsed.disruption.unwrap_or_default();
            defaults.status = parsed.status;
            defaults.transforms = parsed.transforms;
            defaults.log = parsed.log;
        }
    }

    fn unicode_map(&mut self, directive: &Directive, file: &Word, page: Option<&Word>) {
        let folder = directive.path().parent().unwrap_or(Path::new(""));
        let path = folder.join(&file.text);
        self.loaded.files.push(path.clone());
        let page = page.and_then(|word| word.text.parse().ok()).unwrap_or(20127);
        let mapping = fs::read(&path)
            .map_err(|error| format!("cannot read `{}`: {error}", path.display()))
            .and_then(|text| {
                Mapping::parse(&String::from_utf8_lossy(&text), page)
                    .ok_or_else(|| format!("`{}` has no code page {page}", path.display()))
            });
        match mapping {
            Ok(mapping) => self.loaded.config.mapping = Arc::new(mapping),
            Err(message) => self.complain(directive, file, fail(0, file.text.len(), message), None),
        }
    }
}
