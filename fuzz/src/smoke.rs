//! A target over its corpus and over inputs made of it, the same ones each time. `ROUNDS=N` makes N times as many.

use super::mutate::{Numbers, mutate};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

/// What a target is tried on.
pub struct Smoke<'a> {
    /// Folders of inputs; what is below them is not looked at.
    pub corpus: &'a [&'a Path],
    /// What the format is made of.
    pub words: &'a [&'a [u8]],
    /// As many inputs are made.
    pub count: usize,
    /// Longer ones are cut.
    pub most: usize,
}

/// Runs a target. What makes it panic is said before.
pub fn smoke(name: &str, run: fn(&[u8]), of: &Smoke<'_>) {
    let corpus = inputs(of.corpus);
    let judge = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
            eprintln!("{name}: b\"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    };
    corpus.iter().for_each(|input| judge(input));
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut numbers = Numbers(1);
    for _ in 0..of.count * rounds {
        let mut input = mutate(&corpus[numbers.below(corpus.len())], &corpus, of.words, &mut numbers);
        input.truncate(of.most);
        judge(&input);
    }
}

fn inputs(folders: &[&Path]) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for folder in folders {
        let found = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let found: Vec<_> = found.filter(|path| path.is_file()).collect();
        assert!(!found.is_empty(), "{} is empty", folder.display());
        files.extend(found);
    }
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}
