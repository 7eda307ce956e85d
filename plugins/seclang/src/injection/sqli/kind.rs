//! Types of tokens, as letters of a fingerprint.

pub(super) const KEYWORD: u8 = b'k';
pub(super) const UNION: u8 = b'U';
pub(super) const GROUP: u8 = b'B';
pub(super) const EXPRESSION: u8 = b'E';
pub(super) const SQL_TYPE: u8 = b't';
pub(super) const FUNCTION: u8 = b'f';
pub(super) const BAREWORD: u8 = b'n';
pub(super) const NUMBER: u8 = b'1';
pub(super) const VARIABLE: u8 = b'v';
pub(super) const STRING: u8 = b's';
pub(super) const OPERATOR: u8 = b'o';
pub(super) const LOGIC: u8 = b'&';
pub(super) const COMMENT: u8 = b'c';
pub(super) const COLLATE: u8 = b'A';
pub(super) const LEFT_PAREN: u8 = b'(';
pub(super) const RIGHT_PAREN: u8 = b')';
pub(super) const LEFT_BRACE: u8 = b'{';
pub(super) const RIGHT_BRACE: u8 = b'}';
pub(super) const DOT: u8 = b'.';
pub(super) const COMMA: u8 = b',';
pub(super) const COLON: u8 = b':';
pub(super) const SEMICOLON: u8 = b';';
pub(super) const TSQL: u8 = b'T';
pub(super) const UNKNOWN: u8 = b'?';
/// What cannot be read for certain.
pub(super) const EVIL: u8 = b'X';
pub(super) const BACKSLASH: u8 = b'\\';
