//! What all requests together may hold in buffers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that may be held, and bytes that are.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicU64,
}

/// A share of the budget; given back when it goes.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// Takes a share, where `most` is not passed by it.
    pub fn take(self: &Arc<Self>, bytes: u64, most: u64) -> Option<Share> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= most);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        Some(Share { budget: self.clone(), bytes })
    }

    /// Bytes that are held now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_pass_the_budget_and_come_back() {
        let budget = Arc::new(Budget::default());
        let first = budget.take(60, 100).unwrap();
        assert!(budget.take(41, 100).is_none());
        assert!(budget.take(u64::MAX, u64::MAX).is_none());
        let second = budget.take(40, 100).unwrap();
        drop((first, second));
        assert_eq!(budget.used(), 0);
    }
}
