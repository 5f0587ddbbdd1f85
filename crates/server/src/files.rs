//! Files that are there whole, as before or anew.

use std::io::{self, Write};
use std::path::Path;

/// Puts a text in the place of a file. Permissions stay; those of a file that was not there are its owner's alone, as it may have secrets.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    // Where a link points, not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let draft = path.with_file_name(name);
    let mode = match std::fs::metadata(&path) {
        Ok(there) => there.permissions().mode() & 0o7777,
        Err(_) => 0o600,
    };
    // One that a crash has left may have other permissions.
    match std::fs::remove_file(&draft) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let written = (|| {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => std::fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_permissions_and_a_link_stays_one() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let (file, link) = (dir.path().join("f"), dir.path().join("l"));
        replace(&file, b"one").expect("it is made");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        replace(&link, b"two").expect("it is replaced");
        assert_eq!(std::fs::read(&file).expect("a file"), b"two");
        assert_eq!(mode(&file), 0o640);
        assert!(
            std::fs::symlink_metadata(&link)
                .expect("it is there")
                .is_symlink()
        );
        assert_eq!(
            std::fs::read_dir(dir.path()).expect("a directory").count(),
            2,
            "no draft is left"
        );
        assert!(replace(&dir.path().join("none/f"), b"x").is_err());
    }
}
