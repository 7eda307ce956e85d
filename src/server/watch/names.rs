//! The names by which a file is found.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Links that are followed on the way to one file; the kernel follows as many.
const LINKS: usize = 40;

/// Every name on the way to a file whose change may lead elsewhere: symbolic links, and at the end the file itself. Each
/// stands in a folder that is no link.
pub(super) fn names(path: &Path) -> Vec<PathBuf> {
    let (mut found, mut links) = (Vec::new(), 0);
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut rest = parts(&path);
    let mut at = PathBuf::new();
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        // `/` takes the place of all before it.
        let here = at.join(part);
        match fs::read_link(&here) {
            Ok(target) if links < LINKS => {
                links += 1;
                found.push(here);
                rest.extend(parts(&target));
            }
            _ => at = here,
        }
    }
    found.push(at);
    found
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|part| part.as_os_str().to_owned()).filter(|part| part != ".").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let at = |name: &str| dir.join(name);
        fs::create_dir_all(at("v1/certs")).unwrap();
        fs::write(at("v1/certs/tls.crt"), "").unwrap();
        symlink("v1", at("..data")).unwrap();
        symlink("..data/certs", at("certs")).unwrap();
        symlink(at("certs/../certs/tls.crt"), at("v1/direct")).unwrap();
        symlink("circle", at("circle")).unwrap();
        let tls = at("v1/certs/tls.crt");
        assert_eq!(names(&at("v1/./certs/tls.crt")), std::slice::from_ref(&tls));
        assert_eq!(names(&at("certs/tls.crt")), [at("certs"), at("..data"), tls.clone()]);
        assert_eq!(names(&at("v1/direct")), [at("v1/direct"), at("certs"), at("..data"), tls]);
        assert_eq!(names(&at("none/file")), [at("none/file")]);
        assert_eq!(names(&at("circle")).len(), LINKS + 1);
    }
}
