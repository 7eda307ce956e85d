//! `SecRule` and `SecAction`.

use super::{Builder, Item, Word, actions::Actions, fail, operator, source::Directive, targets::Targets};
use crate::{
    error::LoadError,
    operator::Operator,
    rule::{Chain, Disruption, Link, Target},
};
use std::{path::Path, sync::Arc};

/// A chain that waits for its next rule.
#[derive(Debug)]
pub(super) struct Open {
    chain: Chain,
    /// What to say where none comes.
    error: LoadError,
}

impl Open {
    pub(super) fn error(self) -> LoadError {
        self.error
    }
}

impl Builder {
    pub(super) fn sec_rule(&mut self, directive: &Directive, name: &Word, arguments: &[Word]) {
        let [variables, asked, rest @ ..] = arguments else {
            self.open = None;
            let error = fail(0, name.text.len(), "`SecRule` needs variables and an operator".into());
            return self.complain(directive, name, error, None);
        };
        let none = Word { text: String::new(), at: name.at };
        let written = rest.first().unwrap_or(&none);
        let actions = Actions::parse(&written.text, &mut self.loaded.names);
        let rule = match (&actions, &self.open) {
            (_, Some(open)) => Some(open.chain.id),
            (Ok(actions), None) => actions.id,
            (Err(_), None) => id_in(&written.text),
        };
        let namespaces = actions.as_ref().map_or(&[][..], |actions| &actions.namespaces);
        let targets = Targets::parse(&variables.text, &mut self.loaded.names, namespaces);
        let folder = directive.path().parent().unwrap_or(Path::new(""));
        self.loaded.files.extend(operator::data(&asked.text, folder));
        let operator = operator::parse(&asked.text, folder, &mut self.loaded.names);
        let mut complete = Some(());
        let mut note = |builder: &mut Self, word: &Word, error| {
            builder.complain(directive, word, error, rule);
            complete = None;
        };
        let actions = actions.map_err(|error| note(self, written, error)).ok();
        let targets = targets.map_err(|error| note(self, variables, error)).ok();
        let operator = operator.map_err(|error| note(self, asked, error)).ok();
        match (complete, actions, targets, operator) {
            (Some(()), Some(actions), Some(targets), Some((operator, negated))) => {
                self.link(directive, written, actions, targets.compiled(), operator, negated, false);
            }
            // The rule after a broken one that is chained on is not a chain of its own.
            (_, actions, ..) => self.skip_broken(directive, name, written, actions.as_ref(), rule),
        }
    }

    pub(super) fn sec_action(&mut self, directive: &Directive, name: &Word, arguments: &[Word]) {
        let Some(written) = arguments.first() else {
            return self.complain(
                directive,
                name,
                fail(0, name.text.len(), "`SecAction` needs actions".into()),
                None,
            );
        };
        match Actions::parse(&written.text, &mut self.loaded.names) {
            Ok(actions) => self.link(directive, written, actions, Vec::new(), Operator::Always, false, true),
            Err(error) => self.complain(directive, written, error, id_in(&written.text)),
        }
    }

    /// Keeps a chain open after a rule that did not parse, so that one mistake is one error.
    fn skip_broken(
        &mut self,
        directive: &Directive,
        name: &Word,
        written: &Word,
        actions: Option<&Actions>,
        rule: Option<u64>,
    ) {
        let chained = actions.map_or_else(|| has_chain(&written.text), |actions| actions.chain);
        if !chained {
            self.open = None;
        } else if self.open.is_none() {
            let actions = actions.cloned().unwrap_or_default();
            let chain = self.chain(directive, &actions, rule.unwrap_or_default());
            self.open =
                Some(Open { chain, error: directive.error(name.at, name.text.len(), NO_NEXT.into()) });
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one rule, each parsed by its own function")]
    fn link(
        &mut self,
        directive: &Directive,
        written: &Word,
        actions: Actions,
        targets: Vec<Target>,
        operator: Operator,
        negated: bool,
        unconditional: bool,
    ) {
        let open = self.open.take();
        let chained = open.is_some();
        let mut chain = match open {
            Some(open) => open.chain,
            None => match self.head(directive, written, &actions) {
                Some(id) => self.chain(directive, &actions, id),
                None => return,
            },
        };
        if chained {
            merge(&mut chain, &actions);
        }
        let defaults = self.defaults.get(usize::from(chain.phase).saturating_sub(1));
        let mut transforms = actions.transforms.clone();
        if !actions.none
            && let Some(defaults) = defaults.filter(|defaults| !defaults.transforms.is_empty())
        {
            transforms = defaults.transforms.iter().copied().chain(transforms).collect();
        }
        chain.links.push(Link {
            targets,
            operator,
            negated,
            transforms: self.transforms(transforms),
            multi_match: actions.multi_match,
            capture: actions.capture,
            setvars: actions.setvars,
            actions: actions.actions,
            unconditional,
        });
        if actions.chain {
            let mut error = directive.error(written.at, written.text.len().min(60), NO_NEXT.into());
            error.rule = Some(chain.id);
            self.open = Some(Open { chain, error });
        } else {
            self.loaded.items.push(Item::Rule(self.loaded.chains.len()));
            self.loaded.chains.push(chain);
        }
    }

    /// The id of a rule that begins a chain.
    fn head(&mut self, directive: &Directive, written: &Word, actions: &Actions) -> Option<u64> {
        let Some(id) = actions.id else {
            let at = if written.text.is_empty() { 0 } else { written.at };
            let word = Word { text: String::new(), at };
            self.complain(directive, &word, fail(0, 7, "the rule has no `id`".into()), None);
            return None;
        };
        let (line, _) = directive.place(0);
        if let Some((file, before)) = self.ids.get(&id) {
            let message = format!("the id `{id}` is taken by the rule in {}:{before}", file.display());
            let at = written.text.find("id:").unwrap_or(0);
            self.complain(directive, written, fail(at, 3 + id.to_string().len(), message), Some(id));
        } else {
            self.ids.insert(id, (directive.path().to_path_buf(), line + 1));
        }
        Some(id)
    }

    fn chain(&self, directive: &Directive, actions: &Actions, id: u64) -> Chain {
        let phase = actions.phase.unwrap_or(2);
        let defaults = self.defaults.get(usize::from(phase).saturating_sub(1)).cloned().unwrap_or_default();
        let (disruption, inherited) = match actions.disruption.clone().unwrap_or_default() {
            Disruption::Block => (defaults.disruption, defaults.status),
            own => (own, None),
        };
        Chain {
            id,
            phase,
            links: Vec::new(),
            message: actions.message.as_ref().map(|(template, _)| template.clone()),
            message_text: actions.message.as_ref().map(|(_, text)| text.clone()).unwrap_or_default(),
            logdata: actions.logdata.clone(),
            severity: actions.severity,
            tags: actions.tags.iter().map(|tag| tag.as_str().into()).collect(),
            revision: actions.revision.clone(),
            version: actions.version.clone(),
            disruption,
            status: actions.status.or(inherited),
            skip: actions.skip,
            skip_after: actions.skip_after.clone(),
            log: actions.log.or(defaults.log).unwrap_or(true),
            file: Arc::from(directive.path().to_string_lossy()),
            line: directive.place(0).0 + 1,
        }
    }
}

const NO_NEXT: &str = "the rule is chained, and no rule follows";

/// What a chained rule adds to what its chain says.
fn merge(chain: &mut Chain, actions: &Actions) {
    if chain.message.is_none()
        && let Some((template, text)) = &actions.message
    {
        chain.message = Some(template.clone());
        chain.message_text.clone_from(text);
    }
    if chain.logdata.is_none() {
        chain.logdata.clone_from(&actions.logdata);
    }
    chain.severity = chain.severity.or(actions.severity);
    chain.skip = chain.skip.max(actions.skip);
    if chain.skip_after.is_none() {
        chain.skip_after.clone_from(&actions.skip_after);
    }
    chain.tags.extend(actions.tags.iter().map(|tag| Arc::from(tag.as_str())));
    chain.status = chain.status.or(actions.status);
}

/// The id in actions that do not parse, for the message.
fn id_in(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("id:")?;
    let digits: String = rest.trim_start_matches('\'').chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn has_chain(text: &str) -> bool {
    text.split(',').any(|item| item.trim() == "chain")
}
