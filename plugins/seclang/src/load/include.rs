//! `Include` with `*` and `?` in the names of files and folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The files that a pattern stands for, below `base` unless it is absolute, in the order of their names. A pattern without `*`
/// and `?` stands for itself, and a folder for all files in it.
///
/// # Errors
/// A folder that cannot be read.
pub fn files(base: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let full = base.join(pattern);
    let mut found = vec![PathBuf::new()];
    for part in full.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries {
                let file = entry?.file_name();
                if matches(name.as_bytes(), file.to_string_lossy().as_bytes()) {
                    next.push(folder.join(file));
                }
            }
        }
        next.sort();
        found = next;
    }
    let mut files = Vec::new();
    for path in found {
        if path.is_dir() {
            let mut inside: Vec<_> = fs::read_dir(&path)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.is_file())
                .collect();
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Whether a name matches, in time that is linear in the product of the lengths at worst.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(letter) if *letter == b'?' || Some(letter) == name.get(place) => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((star_at, star_place)) => {
                    at = star_at + 1;
                    place = star_place + 1;
                    star = Some((star_at, star_place + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.example", false),
            ("REQUEST-9?1*.conf", "REQUEST-911-METHOD.conf", true),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
