//! Detection of SQL injection and cross-site scripting by tokens instead of expressions.
//!
//! A port of libinjection (Copyright 2012-2016 Nick Galbreath, BSD-3-Clause, see NOTICE), with checks before it that tell
//! plain values at a glance.

mod sqli;
mod xss;

pub(crate) use sqli::{sqli, warm};
pub(crate) use xss::xss;
