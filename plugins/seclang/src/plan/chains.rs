//! Chains of transformations: which values they leave as they are.

use crate::transform::{Transformation, class};

/// What is known of a chain.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ChainPlan {
    /// The classes of which a value has one where the chain may change it, letters aside where `folds`.
    pub(super) needs: u32,
    /// The result has no capital letters, and of a value without those classes it is that value in small letters.
    pub(super) folds: bool,
}

impl ChainPlan {
    pub(super) fn new(chain: &[Transformation]) -> Self {
        let mut folds = false;
        let mut needs = 0;
        for transformation in chain {
            match transformation {
                Transformation::Lowercase | Transformation::CmdLine => folds = true,
                other => folds &= keeps_small(*other),
            }
            needs |= transformation.needs();
        }
        if folds {
            // A chain that wants small letters for something else than folding has none.
            needs &= !class::UPPER;
        }
        Self { needs, folds }
    }

    /// Whether the chain makes of a value with these classes nothing but small letters.
    #[inline]
    pub(super) fn leaves(&self, classes: u32) -> bool {
        self.needs & (classes | class::ALWAYS) == 0
    }
}

/// Whether a transformation makes no capital letter of a value without any, and sees no difference between them.
fn keeps_small(transformation: Transformation) -> bool {
    use Transformation::*;
    matches!(
        transformation,
        CompressWhitespace
            | NormalizePath
            | NormalizePathWin
            | RemoveComments
            | RemoveCommentsChar
            | RemoveNulls
            | RemoveWhitespace
            | ReplaceComments
            | ReplaceNulls
            | Trim
            | TrimLeft
            | TrimRight
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::Buffers;

    #[test]
    fn what_a_chain_leaves_is_the_value_in_small_letters() {
        use Transformation::*;
        let chains: [&[Transformation]; 7] = [
            &[],
            &[Lowercase],
            &[UrlDecodeUni, Lowercase],
            &[Lowercase, UrlDecodeUni],
            &[HtmlEntityDecode, CmdLine, RemoveNulls],
            &[Sha1, HexEncode],
            &[Length],
        ];
        let values: [&[u8]; 8] = [b"", b"abc", b"ABC", b"A%42", b"a b", b"a  B", b"x\0Y", b"A/(b"];
        for chain in chains {
            let plan = ChainPlan::new(chain);
            for value in values {
                if plan.leaves(class::of(value)) {
                    let expected = if plan.folds { value.to_ascii_lowercase() } else { value.to_vec() };
                    let mut buffers = Buffers::default();
                    assert_eq!(
                        buffers.run(chain, value, None),
                        expected,
                        "{chain:?} of {}",
                        value.escape_ascii()
                    );
                }
            }
        }
        assert!(!ChainPlan::new(&[Lowercase, UrlDecodeUni]).folds);
    }
}
