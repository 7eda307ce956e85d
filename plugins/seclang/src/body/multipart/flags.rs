//! What parsers of forms disagree on.

use crate::{engine::Store, variable::Variable};

/// What parsers disagree on, each as the variable of its name.
#[derive(Debug, Default)]
pub(super) struct Flags {
    pub(super) error: bool,
    pub(super) boundary_quoted: bool,
    pub(super) boundary_whitespace: bool,
    pub(super) data_before: bool,
    pub(super) data_after: bool,
    pub(super) header_folding: bool,
    pub(super) lf_line: bool,
    pub(super) crlf_line: bool,
    pub(super) missing_semicolon: bool,
    pub(super) invalid_quoting: bool,
    pub(super) invalid_part: bool,
    pub(super) invalid_header_folding: bool,
    pub(super) file_limit_exceeded: bool,
    /// 1 where a line looks like a boundary and is none; 2 where one is but there is another after it.
    pub(super) unmatched_boundary: u8,
}

impl Flags {
    pub(super) fn set(&self, store: &mut Store) {
        let strict = self.error
            || self.boundary_quoted
            || self.boundary_whitespace
            || self.data_before
            || self.data_after
            || self.header_folding
            || self.lf_line
            || self.missing_semicolon
            || self.invalid_quoting
            || self.invalid_part
            || self.invalid_header_folding
            || self.file_limit_exceeded;
        for (variable, flag) in [
            (Variable::MultipartStrictError, strict),
            (Variable::MultipartBoundaryQuoted, self.boundary_quoted),
            (Variable::MultipartBoundaryWhitespace, self.boundary_whitespace),
            (Variable::MultipartDataBefore, self.data_before),
            (Variable::MultipartDataAfter, self.data_after),
            (Variable::MultipartHeaderFolding, self.header_folding),
            (Variable::MultipartLfLine, self.lf_line),
            (Variable::MultipartCrlfLfLines, self.lf_line && self.crlf_line),
            (Variable::MultipartMissingSemicolon, self.missing_semicolon),
            (Variable::MultipartSemicolonMissing, self.missing_semicolon),
            (Variable::MultipartInvalidQuoting, self.invalid_quoting),
            (Variable::MultipartInvalidPart, self.invalid_part),
            (Variable::MultipartInvalidHeaderFolding, self.invalid_header_folding),
            (Variable::MultipartFileLimitExceeded, self.file_limit_exceeded),
        ] {
            store.set_number(variable, usize::from(flag));
        }
        store.set_number(Variable::MultipartUnmatchedBoundary, usize::from(self.unmatched_boundary));
    }
}
