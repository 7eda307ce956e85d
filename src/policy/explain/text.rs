//! The way of a request, for people.

use super::{Canonical, Change, Explained, Field, Listener, RouteOf};
use crate::policy::{near::Near, report::printable};
use std::fmt::Write;

impl Explained {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", printable(&self.request));
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Listener { name, address, tls, unlike, place } = &self.listener;
        let tls = if *tls { ", TLS" } else { "" };
        writeln!(text, "listener   {name} {address}{tls} ({place})")?;
        if *unlike {
            writeln!(text, "             no listener speaks what the address asks for")?;
        }
        writeln!(text, "client     {}", self.client)?;
        match &self.canonical {
            Some(Canonical { method, host, target, changed, dropped }) => {
                let changed = if *changed { "   (not as it was sent)" } else { "" };
                writeln!(text, "canonical  {method} {host} {}{changed}", printable(target))?;
                for name in dropped {
                    writeln!(
                        text,
                        "             - {name}   (clients may not send it, or it is for one hop)"
                    )?;
                }
            }
            None => writeln!(text, "canonical  none: the request can be read in more than one way")?,
        }
        self.write_route(text)?;
        writeln!(text, "principal  {}", self.principal.as_deref().unwrap_or("none"))?;
        writeln!(text, "decisions")?;
        for one in &self.decisions {
            let (stage, reason) = (one.stage.unwrap_or("-"), one.reason.unwrap_or_default());
            let place = one.place.as_deref().unwrap_or_default();
            writeln!(
                text,
                "  {stage:12} {:24} {:14} {reason:24} {:>8.1} us  {place}",
                one.entry, one.effect, one.micros
            )?;
            if let Some(detail) = &one.detail {
                writeln!(text, "               {}", printable(detail))?;
            }
        }
        self.write_end(text)
    }

    fn write_route(&self, text: &mut String) -> std::fmt::Result {
        let RouteOf { name, place, params, not, others } = &self.route;
        match place {
            Some(place) => writeln!(text, "route      {name} ({place})")?,
            None => writeln!(text, "route      none")?,
        }
        for (name, value) in params {
            writeln!(text, "             {{{name}}} is {}", printable(value))?;
        }
        for Near { route, place, why, .. } in not {
            writeln!(text, "       not {route} ({place}): {why}")?;
        }
        if *others > 0 {
            writeln!(text, "           and {others} with other paths or hosts")?;
        }
        Ok(())
    }

    fn write_end(&self, text: &mut String) -> std::fmt::Result {
        if let Some(upstream) = &self.upstream {
            writeln!(
                text,
                "{}",
                format!("upstream   {} {}", upstream.name, upstream.targets.join(", ")).trim_end()
            )?;
            writeln!(text, "  {} {}", upstream.method, printable(&upstream.target))?;
            for Field { change, name, value } in &upstream.headers {
                let mark = match change {
                    Change::Kept => ' ',
                    Change::Added => '+',
                    Change::Changed => '~',
                    Change::Removed => '-',
                };
                match (change, value) {
                    (Change::Removed, _) => writeln!(text, "  {mark} {name}")?,
                    (_, Some(value)) => writeln!(text, "  {mark} {name}: {}", printable(value))?,
                    (_, None) => writeln!(text, "  {mark} {name}: [hidden]")?,
                }
            }
            let replaced = if upstream.body_replaced { ", not those that were sent" } else { "" };
            writeln!(text, "    a body of {} bytes{replaced}", upstream.body_bytes)?;
        } else {
            writeln!(text, "upstream   none: no origin gets it")?;
        }
        let Some(answer) = &self.answer else { return writeln!(text, "answer     the origin's") };
        writeln!(text, "answer     {} {}", answer.status, answer.reason.unwrap_or_default())?;
        for (name, value) in &answer.headers {
            writeln!(text, "  {name}: {}", printable(value))?;
        }
        if !answer.body.is_empty() {
            writeln!(text, "\n  {}", printable(&answer.body))?;
        }
        Ok(())
    }
}
