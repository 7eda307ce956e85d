//! `SecRuleRemove…` and `SecRuleUpdate…`: changes to rules that other files bring.

use super::{
    Builder, Fail, Word,
    actions::{Actions, Problem},
    control, fail,
    source::Directive,
    targets::{Targets, leave_out},
};
use crate::rule::{Disruption, Target, Which};

/// A change that is made once all rules are read.
#[derive(Debug)]
pub(super) enum Update {
    Remove(Which),
    Targets { which: Which, take: Vec<Target>, leave: Vec<Target>, replaced: Option<Target> },
    Actions(Which, Box<Actions>),
}

impl Builder {
    pub(super) fn update(&mut self, directive: &Directive, name: &str, arguments: &[Word]) {
        let Some((first, rest)) = arguments.split_first() else { return };
        let which: fn(&str) -> Result<Which, Problem> = match name.rsplit_once("by") {
            Some((_, "id")) => control::ids,
            Some((_, "tag")) => |text| Ok(control::tag(text)),
            Some((_, "msg")) => |text| Ok(control::msg(text)),
            _ => {
                let message = format!("unknown directive `{name}`");
                return self.complain(directive, first, fail(0, first.text.len(), message), None);
            }
        };
        if name.starts_with("secruleremove") {
            // Ids may be many, in one word or several.
            for word in arguments {
                for part in word
                    .text
                    .split_whitespace()
                    .filter(|_| name.ends_with("id"))
                    .chain(Some(word.text.as_str()).filter(|_| !name.ends_with("id")))
                {
                    match which(part) {
                        Ok(which) => self.updates.push(Update::Remove(which)),
                        Err(problem) => self.complain(directive, word, of(problem, part), None),
                    }
                }
            }
            return;
        }
        let which = match which(first.text.split(':').next().unwrap_or_default()) {
            Ok(which) => which,
            Err(problem) => return self.complain(directive, first, of(problem, &first.text), None),
        };
        let Some(second) = rest.first() else {
            return self.complain(
                directive,
                first,
                fail(0, first.text.len(), "a second argument is wanted".into()),
                None,
            );
        };
        if name.starts_with("secruleupdatetarget") {
            self.update_targets(directive, which, second, rest.get(1));
        } else {
            match Actions::parse(&second.text, &mut self.loaded.names) {
                Ok(actions) => self.updates.push(Update::Actions(which, Box::new(actions))),
                Err(error) => self.complain(directive, second, error, None),
            }
        }
    }

    fn update_targets(&mut self, directive: &Directive, which: Which, second: &Word, third: Option<&Word>) {
        let targets = match Targets::parse(&second.text, &mut self.loaded.names, &[]) {
            Ok(targets) => targets,
            Err(error) => return self.complain(directive, second, error, None),
        };
        let replaced = match third.map(|word| (word, Targets::parse(&word.text, &mut self.loaded.names, &[])))
        {
            Some((word, Err(error))) => return self.complain(directive, word, error, None),
            Some((_, Ok(targets))) => targets.take.into_iter().next(),
            None => None,
        };
        self.updates.push(Update::Targets { which, take: targets.take, leave: targets.leave, replaced });
    }

    /// Makes all changes, in their order.
    pub(super) fn apply_updates(&mut self) {
        for update in std::mem::take(&mut self.updates) {
            match update {
                Update::Remove(which) => {
                    let chains = &self.loaded.chains;
                    self.loaded.items.retain(|item| match item {
                        super::Item::Rule(number) => {
                            !chains.get(*number).is_some_and(|chain| which.is(chain))
                        }
                        super::Item::Marker(_) => true,
                    });
                }
                Update::Targets { which, take, leave, replaced } => {
                    for chain in self.loaded.chains.iter_mut().filter(|chain| which.is(chain)) {
                        let Some(link) = chain.links.first_mut() else { continue };
                        if let Some(replaced) = &replaced {
                            link.targets.retain(|target| {
                                target.variable != replaced.variable
                                    || !target.selector.same(&replaced.selector)
                            });
                        }
                        link.targets.extend(take.iter().cloned());
                        leave_out(&mut link.targets, &leave);
                    }
                }
                Update::Actions(which, actions) => self.update_actions(&which, &actions),
            }
        }
    }

    fn update_actions(&mut self, which: &Which, actions: &Actions) {
        let block = |phase: u8| {
            self.defaults.get(usize::from(phase).saturating_sub(1)).map(|all| all.disruption.clone())
        };
        for chain in self.loaded.chains.iter_mut().filter(|chain| which.is(chain)) {
            if let Some(disruption) = &actions.disruption {
                chain.disruption = match disruption {
                    Disruption::Block => block(chain.phase).unwrap_or_default(),
                    other => other.clone(),
                };
            }
            chain.status = actions.status.or(chain.status);
            chain.severity = actions.severity.or(chain.severity);
            chain.log = actions.log.unwrap_or(chain.log);
            if let Some((template, text)) = &actions.message {
                chain.message = Some(template.clone());
                chain.message_text.clone_from(text);
            }
            if actions.logdata.is_some() {
                chain.logdata.clone_from(&actions.logdata);
            }
            if actions.skip_after.is_some() {
                chain.skip_after.clone_from(&actions.skip_after);
            }
            chain.tags.extend(actions.tags.iter().map(|tag| tag.as_str().into()));
            if let Some(link) = chain.links.first_mut() {
                link.setvars.extend(actions.setvars.iter().cloned());
                link.actions.extend(actions.actions.iter().cloned());
                link.capture |= actions.capture;
                link.multi_match |= actions.multi_match;
            }
        }
        if !actions.transforms.is_empty() || actions.none {
            let number = self.transforms(actions.transforms.clone());
            for chain in self.loaded.chains.iter_mut().filter(|chain| which.is(chain)) {
                if let Some(link) = chain.links.first_mut() {
                    link.transforms = number;
                }
            }
        }
    }
}

fn of(problem: Problem, text: &str) -> Fail {
    match problem {
        Problem::Name => fail(0, text.len(), format!("`{text}` is not known")),
        Problem::Value(message) => fail(0, text.len(), message),
        Problem::Help(message, help) => Fail { help, ..fail(0, text.len(), message) },
    }
}
