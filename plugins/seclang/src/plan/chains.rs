//! Chains of transformations: which values they leave as they are.

use crate::{
    rule::Link,
    ruleset::RuleSet,
    transform::{Transformation, class},
};

/// All chains whose results rules look at.
#[derive(Debug, Default)]
pub(super) struct Chains {
    all: Vec<ChainPlan>,
}

/// Some chains: a bit for each; the last stands for all that are beyond.
pub(super) type Mask = u128;

/// The bit of a chain.
pub(super) fn mask(chain: usize) -> Mask {
    1 << chain.min(LAST)
}

/// The last chain that has a bit of its own, and one more.
pub(super) const LAST: usize = 127;

impl Chains {
    pub(super) fn new(rules: &RuleSet) -> Self {
        let mut chains = Self::default();
        for steps in &rules.transforms {
            chains.all.push(ChainPlan::new(steps));
        }
        chains
    }

    pub(super) fn get(&self, number: usize) -> Option<&ChainPlan> {
        self.all.get(number)
    }

    /// The chains whose results a rule looks at: its own, and where it looks after each step the beginnings of it.
    pub(super) fn of(&mut self, rules: &RuleSet, link: &Link) -> Vec<usize> {
        if !link.multi_match {
            return vec![link.transforms];
        }
        let steps = rules.transforms_of(link);
        let beginnings = (0..=steps.len()).filter_map(|count| steps.get(..count));
        beginnings.map(|steps| self.number(steps)).collect()
    }

    fn number(&mut self, steps: &[Transformation]) -> usize {
        let known = self.all.iter().position(|chain| *chain.steps == *steps);
        known.unwrap_or_else(|| {
            self.all.push(ChainPlan::new(steps));
            self.all.len() - 1
        })
    }
}

/// What is known of a chain.
#[derive(Debug, Clone, Default)]
pub(super) struct ChainPlan {
    pub(super) steps: Box<[Transformation]>,
    /// The classes of which a value has one where the chain may change it, letters aside where `folds`.
    needs: u32,
    /// The result has no capital letters, and of a value without those classes it is that value in small letters.
    pub(super) folds: bool,
}

impl ChainPlan {
    fn new(chain: &[Transformation]) -> Self {
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
        Self { steps: chain.into(), needs, folds }
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
