//! Scans the folders below `src/` for modules, and for files that cannot be modules.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::file::{SourceFile, is_module, module_like};

/// A folder below `src/`.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) files: Vec<SourceFile>,
    pub(super) folders: BTreeMap<String, Folder>,
    /// The reasons why files are not part of the program, each with its fix.
    pub(super) problems: Vec<(String, String)>,
}

impl Folder {
    /// Calls `visit` for every file, with its parent modules.
    pub(super) fn each(&self, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &SourceFile)) {
        for file in &self.files {
            visit(path, file);
        }
        for (name, folder) in &self.folders {
            path.push(name.clone());
            folder.each(path, visit);
            path.pop();
        }
    }
}

/// Reads `src/`, without `lib.rs` and `main.rs`.
pub(super) fn read(source: &Path) -> Folder {
    let mut problems = Vec::new();
    let mut root = read_folder(source, "", &mut problems);
    root.files.retain(|file| file.module != "lib" && file.module != "main");
    root.problems = problems;
    root
}

fn read_folder(folder: &Path, inside: &str, problems: &mut Vec<(String, String)>) -> Folder {
    let mut found = Folder::default();
    for (path, module) in sources(folder) {
        if is_module(&module) {
            let text = fs::read_to_string(path).unwrap_or_default();
            found.files.push(SourceFile::read(&text, module.clone(), format!("{inside}{module}.rs")));
        } else {
            problems.push((
                format!("the file `{inside}{module}.rs` cannot be a module: its name is not an identifier"),
                format!("rename it to `{}.rs`", module_like(&module)),
            ));
        }
    }
    // `src/bin/` contains separate programs, with any file names.
    let has_programs = |name: &str| inside.is_empty() && name == "bin";
    for (path, name) in folders(folder).into_iter().filter(|(_, name)| !has_programs(name)) {
        let inner_path = format!("{inside}{name}/");
        // `x.rs` beside `x/`, or `x/mod.rs`, declares the modules in `x/`, as in ordinary Rust.
        if let Some(file) = found.files.iter().find(|file| file.module == name) {
            problems.extend(undeclared(&path, &inner_path, file));
            continue;
        }
        if let Ok(text) = fs::read_to_string(path.join("mod.rs")) {
            let file = SourceFile::read(&text, name, format!("{inner_path}mod.rs"));
            problems.extend(undeclared(&path, &inner_path, &file));
            found.files.push(file);
            continue;
        }
        let inner = read_folder(&path, &inner_path, problems);
        if inner.files.is_empty() && inner.folders.is_empty() {
            continue;
        }
        if is_module(&name) {
            found.folders.insert(name, inner);
        } else {
            problems.push((
                format!("the folder `{inner_path}` cannot be a module: its name is not an identifier"),
                format!("rename it to `{}/`", module_like(&name)),
            ));
        }
    }
    found
}

/// The first file or folder that the folder's own module file does not declare. Without the report it would silently be missing.
fn undeclared(folder: &Path, inside: &str, file: &SourceFile) -> Option<(String, String)> {
    let files = sources(folder).into_iter().map(|(_, module)| (format!("{inside}{module}.rs"), module));
    let folders = folders(folder).into_iter().filter(|(path, _)| !sources(path).is_empty());
    let folders = folders.map(|(_, name)| (format!("{inside}{name}/"), name));
    let missing = |name: &String| name != "mod" && !file.declares.contains(name);
    let (path, _) = files.chain(folders).find(|(_, name)| missing(name))?;
    Some((
        format!(
            "`{path}` is not part of the program: `{}` declares the modules of its folder, but not this one",
            file.inside
        ),
        format!(
            "remove `{}`: without it every file below `src/` is a module; or declare all of them there",
            file.inside
        ),
    ))
}

/// The Rust files of a folder with their module names, sorted. Hidden files belong to editors and are ignored.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let file = |path: PathBuf| {
        let name = path.file_stem()?.to_string_lossy().into_owned();
        (path.extension()? == "rs" && path.is_file()).then_some((path, name))
    };
    entries(folder).into_iter().filter_map(file).collect()
}

fn folders(folder: &Path) -> Vec<(PathBuf, String)> {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let folders = entries(folder).into_iter().filter(|path| path.is_dir());
    folders.filter_map(|path| name(&path).map(|name| (path, name))).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let shown = |path: &PathBuf| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'));
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(shown).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_files(files: &[(&str, &str)]) -> Folder {
        let source = tempfile::tempdir().expect("a folder");
        for (file, text) in files {
            let path = source.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        read(source.path())
    }

    #[test]
    fn files_and_folders_that_cannot_be_modules_are_reported_with_their_paths() {
        let root = read_files(&[
            ("events/order_paid.rs", ""),
            ("events/order_paid copy.rs", ""),
            ("events/.#order_paid.rs", ""),
            ("a-b/c.rs", ""),
            ("assets-v2/logo.svg", ""),
            ("bin/a-program.rs", ""),
        ]);
        let problems: Vec<String> = root.problems.iter().map(|(problem, help)| format!("{problem}; {help}")).collect();
        assert_eq!(
            problems,
            [
                "the folder `a-b/` cannot be a module: its name is not an identifier; rename it to `a_b/`",
                "the file `events/order_paid copy.rs` cannot be a module: its name is not an identifier; rename it to `order_paid_copy.rs`",
            ]
        );
        assert_eq!(root.folders["events"].files.len(), 1);
    }

    #[test]
    fn an_undeclared_file_in_a_folder_with_its_own_module_file_is_reported() {
        for (in_charge, text) in [("events/mod.rs", "pub mod a;"), ("events.rs", "pub mod a;"), ("events.rs", "")] {
            let root = read_files(&[(in_charge, text), ("events/a.rs", ""), ("events/b.rs", "")]);
            let [(problem, help)] = root.problems.as_slice() else { panic!("{:?}", root.problems) };
            assert!(problem.contains("is not part of the program"), "{problem}");
            assert!(help.contains(&format!("remove `{in_charge}`")), "{help}");
        }
        let root = read_files(&[("events/mod.rs", "mod a; mod b;"), ("events/a.rs", ""), ("events/b/mod.rs", "")]);
        assert_eq!(root.problems, []);
    }
}
