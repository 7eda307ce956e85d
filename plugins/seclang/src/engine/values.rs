//! Values that are computed: collections that change, and macros.

use super::{Store, state::State};
use crate::{
    bytes::push_integer,
    operator::Expand,
    rule::Target,
    ruleset::RuleSet,
    template::{Piece, Template},
    variable::{Source, Variable, View},
};
use std::time::{SystemTime, UNIX_EPOCH};

/// What macros are expanded from.
pub(crate) struct Scope<'a> {
    pub(crate) rules: &'a RuleSet,
    pub(crate) store: &'a Store,
    pub(crate) state: &'a State,
}

impl Expand for Scope<'_> {
    fn expand(&self, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Tx(number) => {
                if let Some(cell) = self.state.tx.get(*number) {
                    cell.write(out);
                }
            }
            Piece::Variable(variable, key) => self.variable(*variable, key.as_deref(), out),
        }
    }

    fn number(&self, template: &Template) -> i64 {
        match template.pieces.as_slice() {
            [Piece::Tx(number)] => self.state.tx.get(*number).map_or(0, super::tx::Cell::number),
            _ => crate::bytes::integer(&self.template(template)),
        }
    }
}

impl Scope<'_> {
    /// The first value of a variable.
    fn variable(&self, variable: Variable, key: Option<&[u8]>, out: &mut Vec<u8>) {
        if let (Variable::MatchedVar, Some(last)) = (variable, self.state.matched.last()) {
            return out.extend_from_slice(self.state.matched.value(last));
        }
        if let (Variable::MatchedVarName, Some(last)) = (variable, self.state.matched.last()) {
            return last.write_name(&self.state.matched, out);
        }
        let named = |name: &[u8]| key.is_none_or(|key| key.eq_ignore_ascii_case(name));
        match variable.source() {
            Source::List(list, view, origin) => {
                let first = self.store.list(list).iter().find(|entry| {
                    (origin == crate::variable::Origin::Any || entry.origin == origin)
                        && named(self.store.text(entry.name))
                });
                if let Some(entry) = first {
                    let span = if view == View::Name { entry.name } else { entry.value };
                    out.extend_from_slice(self.store.text(span));
                }
            }
            Source::Slot => out.extend_from_slice(self.state.slot(self.store, variable)),
            _ => {
                if let Some((_, value)) = self.changing(variable).into_iter().find(|(name, _)| named(name)) {
                    out.extend_from_slice(&value);
                }
            }
        }
    }

    /// The values of a collection that rules change, or of a variable that is computed.
    fn changing(&self, variable: Variable) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = self.state;
        let one = |value: Vec<u8>| vec![(Vec::new(), value)];
        let name = |matched: &super::state::Matched| {
            let mut name = Vec::new();
            matched.write_name(&state.matched, &mut name);
            name
        };
        match variable {
            Variable::Tx => state
                .tx
                .all(&self.rules.names)
                .map(|(name, cell)| {
                    let mut value = Vec::new();
                    cell.write(&mut value);
                    (name.to_vec(), value)
                })
                .collect(),
            Variable::MatchedVar => {
                state.matched.last().map(|last| one(state.matched.value(last).to_vec())).unwrap_or_default()
            }
            Variable::MatchedVarName => state.matched.last().map(|last| one(name(last))).unwrap_or_default(),
            Variable::MatchedVars => state
                .matched
                .iter()
                .map(|matched| (name(matched), state.matched.value(matched).to_vec()))
                .collect(),
            Variable::MatchedVarsNames => {
                state.matched.iter().map(|matched| (name(matched), name(matched))).collect()
            }
            Variable::Duration => {
                one(number(i64::try_from(state.started.elapsed().as_micros()).unwrap_or(i64::MAX)))
            }
            Variable::HighestSeverity => one(number(i64::from(state.highest_severity))),
            Variable::Rule => self.rule(),
            Variable::SessionId | Variable::UserId => {
                let kind = if variable == Variable::UserId { Variable::User } else { Variable::Session };
                state.key(kind).map(|key| one(key.to_vec())).unwrap_or_default()
            }
            Variable::Ip | Variable::Global | Variable::Session | Variable::User | Variable::Resource => {
                state.key(variable).map(|key| self.rules.kept.values(variable, key)).unwrap_or_default()
            }
            _ => time(variable).map(one).unwrap_or_default(),
        }
    }

    /// What a target takes of [`Scope::changing`].
    pub(super) fn pieces(&self, target: &Target) -> Vec<(Vec<u8>, Vec<u8>)> {
        if target.variable == Variable::Tx {
            return self.tx(target);
        }
        let mut pieces = self.changing(target.variable);
        pieces.retain(|(name, _)| {
            let bare = name.as_slice();
            let is_match = matches!(target.variable, Variable::MatchedVars | Variable::MatchedVarsNames);
            // A matched variable is selected by the name of its entry.
            let after = if is_match { memchr::memchr(b':', bare).map_or(0, |at| at + 1) } else { 0 };
            target.takes(crate::bytes::tail(bare, after))
        });
        pieces
    }

    /// The values of `TX` that an expression selects, or all of them.
    fn tx(&self, target: &Target) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (names, tx) = (&self.rules.names, &self.state.tx);
        let fixed = target.fixed.iter().filter_map(|number| Some((names.name(*number), tx.get(*number)?)));
        let made = tx.made().filter(|(name, _)| target.takes(name));
        let copied = fixed.chain(made).map(|(name, cell)| {
            let mut value = Vec::new();
            cell.write(&mut value);
            (name.to_vec(), value)
        });
        copied.collect()
    }

    fn rule(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Some(chain) = self.rules.chains.get(self.state.rule) else { return Vec::new() };
        let text = |name: &str, value: String| (name.as_bytes().to_vec(), value.into_bytes());
        vec![
            text("id", chain.id.to_string()),
            text("rev", chain.revision.clone()),
            text("severity", chain.severity.map(|severity| severity.to_string()).unwrap_or_default()),
            text("logdata", String::new()),
            text("msg", chain.message_text.clone()),
        ]
    }
}

fn number(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    push_integer(&mut out, value);
    out
}

/// The clock in UTC.
fn time(variable: Variable) -> Option<Vec<u8>> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    let seconds = i64::try_from(seconds).unwrap_or(0);
    let (days, in_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    Some(match variable {
        Variable::Time => format!("{hour:02}:{minute:02}:{second:02}").into_bytes(),
        Variable::TimeEpoch => number(seconds),
        Variable::TimeDay => number(day),
        Variable::TimeHour => number(hour),
        Variable::TimeMin => number(minute),
        Variable::TimeSec => number(second),
        Variable::TimeMon => number(month - 1),
        Variable::TimeWday => number((days + 4).rem_euclid(7)),
        Variable::TimeYear => number(year),
        _ => return None,
    })
}

/// Year, month and day of the days since 1970, in the Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(19_782), (2024, 2, 29));
        assert_eq!(date(-1), (1969, 12, 31));
        assert_eq!(date(20_787), (2026, 11, 30));
    }
}
