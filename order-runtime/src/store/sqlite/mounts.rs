//! The mount of a file, from Linux's list of mounts.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Network file systems. They implement `flock` as a byte-range lock, which would collide with SQLite's own locks.
const OF_A_NETWORK: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p"];

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The path at which it is mounted.
    pub(super) point: PathBuf,
    file_system: String,
}

impl Mount {
    /// The mount of a file, whose path must be without links; `None` if the system does not list mounts.
    pub(super) fn of(file: &Path) -> Option<Self> {
        Self::find(&String::from_utf8_lossy(&fs::read("/proc/self/mountinfo").ok()?), file)
    }

    /// Finds the mount in a list. Each line has the mount point in its fifth field, and the file system after a lone hyphen.
    fn find(list: &str, file: &Path) -> Option<Self> {
        let mounts = list.lines().filter_map(|line| {
            let (before, behind) = line.split_once(" - ")?;
            let point = PathBuf::from(unescaped(before.split(' ').nth(4)?));
            file.starts_with(&point).then_some((point, behind))
        });
        // Of several mounts at the same path, the last one covers the others.
        let (point, behind) = mounts.max_by_key(|(point, _)| point.components().count())?;
        Some(Self { point, file_system: behind.split(' ').next()?.to_owned() })
    }

    /// Whether `flock` is independent of SQLite's own locks.
    pub(super) fn has_local_locks(&self) -> bool {
        !OF_A_NETWORK.contains(&&*self.file_system)
    }
}

/// Decodes a path of the list, which writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescaped(text: &str) -> OsString {
    let mut path = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        path.push_str(before);
        let code = behind.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                path.push(char::from(code));
                rest = &behind[3..];
            }
            None => {
                path.push('\\');
                rest = behind;
            }
        }
    }
    path.push_str(rest);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
25 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
26 25 0:23 / /data rw,relatime shared:3 - ext4 /dev/sdb1 rw
27 25 8:1 /host/things.db /app/things.db rw,relatime - ext4 /dev/sda1 rw
28 25 0:44 / /mnt/a\\040b rw - nfs4 server:/x rw
29 25 0:45 / /data rw - tmpfs tmpfs rw
";

    fn of(path: &str) -> Mount {
        Mount::find(LIST, Path::new(path)).expect("the root holds every file")
    }

    #[test]
    fn a_file_lies_in_the_nearest_mount() {
        assert_eq!(of("/database/things.db").point, Path::new("/"));
        assert_eq!(of("/data/things.db").point, Path::new("/data"));
        assert_eq!(of("/data/things.db").file_system, "tmpfs", "the later mount covers the earlier one");
        assert_eq!(of("/app/things.db").point, Path::new("/app/things.db"));
        assert_eq!(of("/mnt/a b/things.db").point, Path::new("/mnt/a b"));
    }

    #[test]
    fn locks_of_network_file_systems_are_not_trusted() {
        assert!(of("/data/things.db").has_local_locks());
        assert!(!of("/mnt/a b/things.db").has_local_locks());
    }

    #[test]
    fn a_list_that_cannot_be_read_names_no_mount() {
        assert_eq!(Mount::find("", Path::new("/a")), None);
        assert_eq!(Mount::find("not a list\n1 2 3 - \n", Path::new("/a")), None);
    }
}
