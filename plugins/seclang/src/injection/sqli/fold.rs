//! Folding: tokens that say nothing about an injection are merged or dropped, until five are left.

use super::{
    kind,
    token::{Quote, Seen, Token, Tokens},
    words,
};

/// How many tokens a fingerprint has.
const MOST: usize = 5;

/// The tokens that are left.
#[derive(Debug)]
pub(super) struct Folded<'a> {
    pub(super) tokens: [Token<'a>; 8],
    pub(super) length: usize,
    pub(super) seen: Seen,
}

/// What a rule of folding did.
enum Step {
    /// It applied: start over.
    Again,
    /// None did.
    Nothing,
    /// The result is this many tokens.
    Done(usize),
}

struct Folder<'a> {
    source: Tokens<'a>,
    tokens: [Token<'a>; 8],
    /// Where the next token goes.
    pos: usize,
    /// How many are folded.
    left: usize,
    more: bool,
    comment: Option<Token<'a>>,
}

pub(super) fn fold(value: &[u8], quote: Quote, mysql: bool) -> Folded<'_> {
    let source = Tokens::new(value, quote, mysql);
    let mut folder =
        Folder { source, tokens: [Token::default(); 8], pos: 0, left: 0, more: true, comment: None };
    let length = folder.run();
    Folded { tokens: folder.tokens, length, seen: folder.source.seen }
}

impl<'a> Folder<'a> {
    fn run(&mut self) -> usize {
        if !self.first() {
            return 0;
        }
        self.pos = 1;
        loop {
            if self.pos >= MOST {
                self.fold_five();
            }
            if !self.more || self.left >= MOST {
                self.left = self.pos;
                break;
            }
            self.fetch(2);
            if self.pos - self.left < 2 {
                self.left = self.pos;
                continue;
            }
            match self.fold_two() {
                Step::Again => continue,
                Step::Done(length) => return length.min(MOST),
                Step::Nothing => {}
            }
            self.fetch(3);
            if self.pos - self.left < 3 {
                self.left = self.pos;
                continue;
            }
            if !self.fold_three() {
                self.left += 1;
            }
        }
        if self.left < MOST
            && let Some(comment) = self.comment
        {
            self.put(self.left, comment);
            self.left += 1;
        }
        self.left.min(MOST)
    }

    /// Reads the first token that is no comment, parenthesis, type or sign.
    fn first(&mut self) -> bool {
        while let Some(token) = self.source.next() {
            self.put(0, token);
            if !(matches!(token.kind, kind::COMMENT | kind::LEFT_PAREN | kind::SQL_TYPE) || token.is_unary())
            {
                return true;
            }
        }
        self.more = false;
        false
    }

    fn get(&self, at: usize) -> Token<'a> {
        self.tokens.get(at).copied().unwrap_or_default()
    }

    fn put(&mut self, at: usize, token: Token<'a>) {
        if let Some(slot) = self.tokens.get_mut(at) {
            *slot = token;
        }
    }

    fn set_kind(&mut self, offset: usize, kind: u8) {
        if let Some(token) = self.tokens.get_mut(self.left + offset) {
            token.kind = kind;
        }
    }

    /// Reads tokens until there are as many beyond the folded ones.
    fn fetch(&mut self, wanted: usize) {
        while self.more && self.pos <= MOST && self.pos - self.left < wanted {
            match self.source.next() {
                None => self.more = false,
                Some(token) if token.kind == kind::COMMENT => self.comment = Some(token),
                Some(token) => {
                    self.comment = None;
                    self.put(self.pos, token);
                    self.pos += 1;
                }
            }
        }
    }

    /// Drops the last `count` tokens and starts from the first.
    fn restart(&mut self, count: usize) -> Step {
        self.pos = self.pos.saturating_sub(count);
        self.left = 0;
        Step::Again
    }

    fn fold_five(&mut self) {
        let types = [0, 1, 2, 3, 4].map(|at| self.get(at).kind);
        use kind::{BAREWORD as N, COMMA, LEFT_PAREN as L, NUMBER as D, OPERATOR as O, RIGHT_PAREN as R};
        let folds = matches!(
            types,
            [D, O | COMMA, L, D, R] | [N, O, L, N | D, R] | [D, R, COMMA, L, D] | [N, R, O, L, N]
        );
        if folds {
            if self.pos > MOST {
                self.put(1, self.get(MOST));
                self.pos = 2;
            } else {
                self.pos = 1;
            }
            self.left = 0;
        }
    }

    fn fold_two(&mut self) -> Step {
        use kind::*;
        let (first, second) = (self.get(self.left), self.get(self.left + 1));
        match (first.kind, second.kind) {
            (STRING, STRING) | (SEMICOLON, SEMICOLON) => {
                self.pos -= 1;
                return Step::Again;
            }
            (OPERATOR | LOGIC, _) if second.is_unary() || second.kind == SQL_TYPE => return self.restart(1),
            (LEFT_PAREN, _) if second.is_unary() => {
                self.pos -= 1;
                self.left = self.left.saturating_sub(1);
                return Step::Again;
            }
            _ => {}
        }
        if self.merge(first, second) {
            self.pos -= 1;
            self.left = self.left.saturating_sub(1);
            return Step::Again;
        }
        self.fold_words(first, second)
    }

    /// Words that mean something else beside certain others.
    fn fold_words(&mut self, first: Token<'a>, second: Token<'a>) -> Step {
        use kind::*;
        match (first.kind, second.kind) {
            (SEMICOLON, FUNCTION)
                if second.text.get(..2).is_some_and(|text| text.eq_ignore_ascii_case(b"IF")) =>
            {
                self.set_kind(1, TSQL);
                Step::Again
            }
            (BAREWORD | VARIABLE, LEFT_PAREN) if first.is_one_of(ALSO_FUNCTIONS) => {
                self.set_kind(0, FUNCTION);
                Step::Again
            }
            (KEYWORD, _) if first.is_one_of(&[b"IN", b"NOT IN"]) => {
                self.set_kind(0, if second.kind == LEFT_PAREN { OPERATOR } else { BAREWORD });
                Step::Again
            }
            (OPERATOR, _) if first.is_one_of(&[b"LIKE", b"NOT LIKE"]) => {
                if second.kind == LEFT_PAREN {
                    self.set_kind(0, FUNCTION);
                }
                Step::Nothing
            }
            (SQL_TYPE, BAREWORD | NUMBER | SQL_TYPE | LEFT_PAREN | FUNCTION | VARIABLE | STRING) => {
                self.put(self.left, second);
                self.restart(1)
            }
            (COLLATE, BAREWORD) => {
                if second.text.contains(&b'_') {
                    self.set_kind(1, SQL_TYPE);
                    self.left = 0;
                }
                Step::Nothing
            }
            (BACKSLASH, _) => {
                if second.is_arithmetic() {
                    self.set_kind(0, NUMBER);
                    self.restart(0)
                } else {
                    self.put(self.left, second);
                    self.restart(1)
                }
            }
            (LEFT_PAREN, LEFT_PAREN) | (RIGHT_PAREN, RIGHT_PAREN) | (_, RIGHT_BRACE)
                if (first.kind, second.kind) != (LEFT_BRACE, BAREWORD) =>
            {
                self.restart(1)
            }
            (LEFT_BRACE, BAREWORD) if second.text.is_empty() => {
                self.set_kind(1, EVIL);
                Step::Done(self.left + 2)
            }
            (LEFT_BRACE, BAREWORD) => self.restart(2),
            _ => Step::Nothing,
        }
    }

    /// Merges two words that are one, such as `UNION ALL`.
    fn merge(&mut self, first: Token<'a>, second: Token<'a>) -> bool {
        use kind::*;
        const FIRST: [u8; 8] = [KEYWORD, BAREWORD, OPERATOR, UNION, FUNCTION, EXPRESSION, TSQL, SQL_TYPE];
        if !FIRST.contains(&first.kind) || !(FIRST.contains(&second.kind) || second.kind == LOGIC) {
            return false;
        }
        let Some((kind, text)) = words::find_pair(first.text, second.text) else { return false };
        self.put(self.left, Token { kind, text, ..first });
        true
    }

    fn fold_three(&mut self) -> bool {
        use kind::*;
        let [first, second, third] = [0, 1, 2].map(|offset| self.get(self.left + offset));
        let dropped = match (first.kind, second.kind, third.kind) {
            (NUMBER, OPERATOR, NUMBER) => 2,
            (OPERATOR, middle, OPERATOR) if middle != LEFT_PAREN => 2,
            (LOGIC, _, LOGIC) => 2,
            (VARIABLE, OPERATOR, VARIABLE | NUMBER | BAREWORD) => 2,
            (BAREWORD | NUMBER, OPERATOR, NUMBER | BAREWORD) => 2,
            (BAREWORD | NUMBER | VARIABLE | STRING, OPERATOR, SQL_TYPE) if second.text == b"::" => 2,
            (BAREWORD | NUMBER | STRING | VARIABLE, COMMA, NUMBER | BAREWORD | STRING | VARIABLE) => 2,
            (EXPRESSION | GROUP | COMMA, _, LEFT_PAREN) if second.is_unary() => {
                self.put(self.left + 1, third);
                1
            }
            (KEYWORD | EXPRESSION | GROUP, _, NUMBER | BAREWORD | VARIABLE | STRING | FUNCTION)
                if second.is_unary() =>
            {
                self.put(self.left + 1, third);
                1
            }
            (COMMA, _, NUMBER | BAREWORD | VARIABLE | STRING) if second.is_unary() => {
                self.put(self.left + 1, third);
                3
            }
            (COMMA, _, FUNCTION) if second.is_unary() => {
                self.put(self.left + 1, third);
                1
            }
            (BAREWORD, DOT, BAREWORD) => 2,
            (EXPRESSION, DOT, BAREWORD) => {
                self.put(self.left + 1, third);
                1
            }
            (FUNCTION, LEFT_PAREN, last) if last != RIGHT_PAREN => {
                if first.is_one_of(&[b"USER"]) {
                    self.set_kind(0, BAREWORD);
                }
                return false;
            }
            _ => return false,
        };
        self.restart(dropped);
        true
    }
}

/// Names of columns that are functions before a parenthesis.
const ALSO_FUNCTIONS: &[&[u8]] = &[
    b"USER_ID",
    b"USER_NAME",
    b"DATABASE",
    b"PASSWORD",
    b"USER",
    b"CURRENT_USER",
    b"CURRENT_DATE",
    b"CURRENT_TIME",
    b"CURRENT_TIMESTAMP",
    b"LOCALTIME",
    b"LOCALTIMESTAMP",
];
