//! Which files of a directory are configuration, and their texts.

use palisade_contract::{ConfigError, Place, conf::parse::MAX_BYTES};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// The folders below the directory whose files are configuration; every other folder is data.
pub(super) const FOLDERS: [&str; 5] = ["listeners", "upstreams", "routes", "plugins", "consumers"];
const MAX_FILES: usize = 10_000;
const MAX_FOLDERS: usize = 16;

/// The files of a configuration, in name order: those of the directory itself first.
pub(super) fn find(dir: &Path, errors: &mut Vec<ConfigError>) -> Vec<PathBuf> {
    let mut walk = Walk { files: Vec::new(), above: Vec::new(), most: MAX_FILES, errors };
    if !dir.is_dir() {
        let why = if dir.exists() { "this is no directory" } else { "there is no such directory" };
        walk.refuse(dir, why, "name the directory that holds the configuration: `--conf DIR`");
        return walk.files;
    }
    walk.folder(dir, false);
    for folder in FOLDERS {
        let folder = dir.join(folder);
        if folder.is_dir() {
            walk.folder(&folder, true);
        } else if folder.exists() {
            walk.refuse(
                &folder,
                "this is a folder of the configuration, and a file stands in its place",
                "move it away",
            );
        }
    }
    walk.misspelt(dir);
    if walk.files.is_empty() && walk.errors.is_empty() {
        let help = "`palisade init DIR` writes a small configuration to begin with";
        walk.refuse(dir, "the directory holds no `.yaml` file", help);
    }
    walk.files
}

/// Reads a file whole: a regular one, of bounded size, in UTF-8.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let refuse = |why: String| ConfigError::new(why).place(Place::of_file(path));
    let cannot = |error: std::io::Error| {
        refuse(format!("cannot read the file: {error}")).help("make it readable, or remove it")
    };
    // Anything else (a pipe, a device) could block for ever.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(refuse("this is not a regular file".into()).help("put a file of YAML in its place"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the parser says that it is too long.
    let most = MAX_BYTES as u64 + 1;
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() > MAX_BYTES {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        refuse(format!("the file is not UTF-8: see line {line}")).help("save it as UTF-8")
    })
}

struct Walk<'e> {
    files: Vec<PathBuf>,
    /// The folders above the one that is read, without links: what is met again is a circle.
    above: Vec<PathBuf>,
    /// Files that are taken.
    most: usize,
    errors: &'e mut Vec<ConfigError>,
}

impl Walk<'_> {
    fn refuse(&mut self, path: &Path, why: impl Into<String>, help: &str) {
        self.errors.push(ConfigError::new(why).help(help).place(Place::of_file(path)));
    }

    fn folder(&mut self, dir: &Path, deep: bool) {
        let names = std::fs::read_dir(dir)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
            .and_then(|names| Ok((names, dir.canonicalize()?)));
        let (mut names, own) = match names {
            Ok(names) => names,
            Err(error) => {
                return self.refuse(dir, format!("cannot read the directory: {error}"), "make it readable");
            }
        };
        if self.above.contains(&own) {
            return self.refuse(dir, "this link leads back to a folder above it", "remove the link");
        }
        if self.above.len() > MAX_FOLDERS {
            return self.refuse(
                dir,
                format!("more than {MAX_FOLDERS} folders inside each other"),
                "use fewer",
            );
        }
        names.sort();
        self.above.push(own);
        for path in names {
            self.name(path, deep);
        }
        self.above.pop();
    }

    /// Refuses folders that are almost named like one of the configuration: what is in them would be passed over.
    fn misspelt(&mut self, dir: &Path) {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        folders.sort();
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            let near = |known: &&&str| strsim::damerau_levenshtein(&name, known) <= 1;
            let meant = FOLDERS.iter().find(near).filter(|known| !folder.ends_with(known));
            if let Some(meant) = meant {
                let help = format!("rename it to `{meant}`, or to something less alike where it holds data");
                self.refuse(
                    &folder,
                    "this is no folder of the configuration, but almost named like one",
                    &help,
                );
            }
        }
    }

    fn name(&mut self, path: PathBuf, deep: bool) {
        if path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.')) {
            return;
        }
        if path.is_dir() {
            if deep {
                self.folder(&path, deep);
            }
            return;
        }
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        match extension {
            "yaml" if self.files.len() < self.most => self.files.push(path),
            "yaml" if self.files.len() == self.most => {
                self.refuse(&path, format!("more than {} files", self.most), "put more into each");
                self.files.push(path);
            }
            "yaml" => {}
            _ if matches!(extension.to_ascii_lowercase().as_str(), "yml" | "yaml") => {
                let why = "configuration files end in `.yaml`; this one would be passed over";
                self.refuse(&path, why, "rename it to `.yaml`");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What is said of a folder of files.
    fn said(dir: &Path, most: usize) -> (usize, Vec<String>) {
        let mut errors = Vec::new();
        let mut walk = Walk { files: Vec::new(), above: Vec::new(), most, errors: &mut errors };
        walk.folder(dir, true);
        let files = walk.files.len();
        let line = |error: ConfigError| format!("{}; {}", error.message, error.help.unwrap_or_default());
        (files, errors.into_iter().map(line).collect())
    }

    #[test]
    fn more_files_than_are_taken_are_said_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.txt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(said(dir.path(), 4), (4, vec![]));
        // One more is kept, so that the rest is passed over in silence.
        assert_eq!(said(dir.path(), 2), (3, vec!["more than 2 files; put more into each".into()]));
        assert_eq!(MAX_FILES, 10_000);
    }

    #[test]
    fn folders_have_a_greatest_depth() {
        let dir = tempfile::tempdir().unwrap();
        let deep = |depth: usize| (0..depth).fold(dir.path().to_owned(), |path, _| path.join("in"));
        fs::create_dir_all(deep(MAX_FOLDERS)).unwrap();
        fs::write(deep(MAX_FOLDERS).join("a.yaml"), "").unwrap();
        assert_eq!(said(dir.path(), 10), (1, vec![]));
        fs::create_dir_all(deep(MAX_FOLDERS + 1)).unwrap();
        fs::write(deep(MAX_FOLDERS + 1).join("b.yaml"), "").unwrap();
        assert_eq!(
            said(dir.path(), 10),
            (1, vec!["more than 16 folders inside each other; use fewer".into()])
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (files, said) = said(&dir.path().join("gone"), 10);
        assert_eq!((files, said.len()), (0, 1));
        assert!(
            said[0].starts_with("cannot read the directory: No such file")
                && said[0].ends_with("; make it readable")
        );
        let error = read(&dir.path().join("gone.yaml")).unwrap_err();
        assert!(error.message.starts_with("cannot read the file: No such file") && error.help.is_some());
        let long = dir.path().join("long.yaml");
        fs::write(&long, vec![b' '; MAX_BYTES + 2]).unwrap();
        let errors = crate::conf::read(dir.path(), &[], &|_| None).errors;
        assert_eq!(errors[0].message, "the file is longer than 8 MiB");
        assert!(errors[0].help.is_some() && errors.len() == 1);
    }

    #[test]
    fn folders_that_are_almost_those_of_the_configuration_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("palisade.yaml"), "").unwrap();
        for name in ["plugin", "Routes", "upstraems", "listeners", "rules", "certs", "customers"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut errors = Vec::new();
        find(dir.path(), &mut errors);
        let helps: Vec<&str> = errors.iter().map(|error| error.help.as_deref().unwrap()).collect();
        let meant: Vec<&str> = helps.iter().map(|help| help.split('`').nth(1).unwrap()).collect();
        assert_eq!(meant, ["routes", "plugins", "upstreams"]);
    }
}
