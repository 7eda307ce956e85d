//! Compiled rule sets, one for all entries that use the same rules.

use parking_lot::Mutex;
use seclang::{Builder, RuleSet};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::SystemTime,
};

type Hash = [u8; 32];

/// A part of a rule set, in the order in which it is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// A file.
    File(PathBuf),
    /// Text of ours, under the name that errors about it bear.
    Text(String, String),
}

/// What a rule set is made of.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(super) struct Recipe(pub(super) Vec<Part>);

impl Recipe {
    pub(super) fn text(&mut self, name: &str, text: impl Into<String>) {
        self.0.push(Part::Text(name.to_owned(), text.into()));
    }

    pub(super) fn file(&mut self, path: impl Into<PathBuf>) {
        self.0.push(Part::File(path.into()));
    }

    /// Reads all of it; nothing is compiled yet.
    pub(super) fn read(&self) -> Builder {
        self.0.iter().fold(RuleSet::builder(), |builder, part| match part {
            Part::File(path) => builder.file(path),
            Part::Text(name, text) => builder.text(name, text),
        })
    }
}

/// The sets that are in use, by what they are made of.
#[derive(Default)]
pub(super) struct Sets(Mutex<HashMap<Recipe, Known>>);

struct Known {
    set: Weak<RuleSet>,
    /// Of all files that were read, and of the names beside them, which a pattern in a file may stand for; none where a file
    /// was changed while it was read.
    content: Option<Hash>,
}

impl Sets {
    /// The set of a recipe: one that is in use and whose files are as they were, or a new one.
    pub(super) fn get<E>(
        &self,
        recipe: &Recipe,
        build: impl FnOnce(&Recipe) -> Result<Arc<RuleSet>, E>,
    ) -> Result<Arc<RuleSet>, E> {
        let mut known = self.0.lock();
        known.retain(|_, known| known.set.strong_count() > 0);
        let used = known.get(recipe).and_then(|known| Some((known.set.upgrade()?, known.content?)));
        if let Some((set, content)) = used
            && content_of(set.files(), None) == Some(content)
        {
            return Ok(set);
        }
        let begun = SystemTime::now();
        let set = build(recipe)?;
        let content = content_of(set.files(), Some(begun));
        known.insert(recipe.clone(), Known { set: Arc::downgrade(&set), content });
        Ok(set)
    }

    /// How many sets are in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().values().filter(|known| known.set.strong_count() > 0).count()
    }
}

/// A hash of files and of the names in their folders. None where one cannot be read, or was changed after `begun`.
fn content_of(files: &[PathBuf], begun: Option<SystemTime>) -> Option<Hash> {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let files: BTreeSet<&PathBuf> = files.iter().collect();
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    for file in files {
        let changed = fs::metadata(file).and_then(|about| about.modified()).ok()?;
        if begun.is_some_and(|begun| changed > begun) {
            return None;
        }
        part(file.as_os_str().as_encoded_bytes());
        part(&fs::read(file).ok()?);
    }
    for folder in folders {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let names: Option<BTreeSet<_>> =
            fs::read_dir(here).ok()?.map(|entry| Some(entry.ok()?.file_name())).collect();
        for name in names? {
            part(name.as_encoded_bytes());
        }
    }
    Some(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_made_once_and_again_when_its_files_change() {
        let dir = tempfile::tempdir().unwrap();
        let rule = |id: u32, file: &str| {
            let text = format!("SecRule ARGS \"@pmFromFile {file}\" \"id:{id},phase:2,deny\"\n");
            fs::write(dir.path().join(format!("{id}.conf")), text).unwrap();
        };
        fs::write(dir.path().join("words.data"), "evil\n").unwrap();
        rule(1, "words.data");
        let sets = Sets::default();
        let mut recipe = Recipe::default();
        recipe.text("x", "SecRuleEngine On");
        recipe.text("y", format!("Include {}/*.conf", dir.path().display()));
        let get = |recipe: &Recipe| sets.get(recipe, |recipe| recipe.read().build()).unwrap();
        let first = get(&recipe);
        assert!(Arc::ptr_eq(&first, &get(&recipe)));
        assert_eq!(sets.len(), 1);
        fs::write(dir.path().join("words.data"), "evil\nworse\n").unwrap();
        let second = get(&recipe);
        assert!(!Arc::ptr_eq(&first, &second), "a file with data counts");
        rule(2, "words.data");
        let third = get(&recipe);
        assert_eq!((second.len(), third.len()), (1, 2), "a file that a pattern now stands for counts");
        drop((first, second, third));
        assert_eq!(sets.len(), 0, "nothing is kept that nobody uses");
    }
}
