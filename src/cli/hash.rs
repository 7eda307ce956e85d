//! `palisade hash`.

use super::{eprint, key, print};
use palisade_plugins::hash_password;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal, Read, Stdin};

/// The longest key that key-auth looks at, in bytes.
const MAX_KEY: usize = 4096;
/// The longest password that basic-auth is sure to take beside a user name.
const MAX_PASSWORD: usize = 512;
/// Shorter keys are said to be weak: 128 bits in hexadecimal.
const STRONG: usize = 32;

const EXAMPLE: &str = "\
Example:
  palisade hash --new                     # make a key; it is shown this once
  palisade hash                           # type a key; it is not shown
  printf %s \"$KEY\" | palisade hash
  palisade hash --password                # type a password, for `basic-auth`

Paste the line `key_sha256: ...` into the consumer:
  consumers:
    alice:
      key-auth:
        - key_sha256: ...

A hash is no protection for a key that can be guessed: keys are random and long, not passwords. With `--password` \
the line is `password_hash: ...`, for a consumer's `basic-auth`; that one is slow to guess.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Make a key of 256 random bits and print it too.
    #[arg(long)]
    new: bool,
    /// Hash a password for `basic-auth`, not a key for `key-auth`.
    #[arg(long)]
    password: bool,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    if args.new {
        let made = key::generate()?;
        if args.password {
            return print(&format!("password: {made}\npassword_hash: '{}'", hash_password(&made)?));
        }
        return print(&format!("key: {made}\nkey_sha256: {}", key::sha256(&made)));
    }
    let stdin = io::stdin();
    let line = if stdin.is_terminal() { ask(&stdin)? } else { read(stdin.lock())? };
    let key = checked(&line)?;
    if args.password {
        if key.len() > MAX_PASSWORD {
            return Err(format!("the password has more than {MAX_PASSWORD} bytes"));
        }
        return print(&format!("password_hash: '{}'", hash_password(key)?));
    }
    if key.len() < STRONG {
        eprint("a key this short may be guessed: `palisade hash --new` makes one that cannot");
    }
    print(&format!("key_sha256: {}", key::sha256(key)))
}

/// Asks on the terminal, which does not show what is typed.
fn ask(stdin: &Stdin) -> Result<String, String> {
    let silent = Silent::new(stdin).map_err(|error| format!("cannot hide what is typed: {error}"))?;
    eprint("Type it, then Enter; it is not shown.");
    let mut line = String::new();
    let read = stdin.lock().take(MAX_KEY as u64 + 2).read_line(&mut line);
    drop(silent);
    read.map_err(|error| format!("cannot read the key: {error}"))?;
    Ok(line)
}

/// Switches a terminal's echo off for as long as it lives.
struct Silent<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(stdin: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Flush, &silent)?;
        Ok(Silent { stdin, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // The terminal has gone where this fails.
        let _ = tcsetattr(self.stdin, OptionalActions::Flush, &self.before);
    }
}

/// Reads all of an input, so that a second line is noticed.
fn read(input: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    input
        .take(MAX_KEY as u64 + 2)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read the key: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "the key is not UTF-8".to_owned())
}

/// A key as a client could send it: one line, nothing that a header cannot hold.
fn checked(line: &str) -> Result<&str, String> {
    let key = line.strip_suffix('\n').unwrap_or(line);
    let key = key.strip_suffix('\r').unwrap_or(key);
    if key.is_empty() {
        Err("no key: type one, or make one with `palisade hash --new`".to_owned())
    } else if key.len() > MAX_KEY {
        Err(format!("the key has more than {MAX_KEY} bytes"))
    } else if key.chars().any(|c| c.is_control()) {
        Err("the key has a line break or another control character: no client can send it".to_owned())
    } else if key.trim() != key {
        Err("the key begins or ends with a space: no client can send it".to_owned())
    } else {
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_client_can_send_is_refused() {
        for good in ["k", "k\n", "k\r\n", "a key", "ké", &"k".repeat(MAX_KEY)] {
            assert!(checked(good).is_ok(), "{good:?}");
        }
        for bad in ["", "\n", "\r\n", "a\nb", "a\n\n", "a\0", "\ta", " a", "a ", &"k".repeat(MAX_KEY + 1)] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_endless_input_is_not_read_to_its_end() {
        let text = read(io::repeat(b'k')).unwrap();
        assert!(checked(&text).is_err());
        assert!(read(&b"\xff"[..]).is_err());
    }
}
