//! The files and folders below `src/`, and which of them are modules.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    items::{self, Items, Position},
    lex,
    problem::Problem,
};

/// A file that may become a module.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// The module's name.
    pub(crate) module: String,
    /// The file's name, if it differs from the module's.
    pub(crate) renamed: Option<String>,
    /// The path below `src/`, for messages.
    pub(crate) inside: String,
    /// Whether the file begins with its own documentation.
    pub(crate) documented: bool,
    pub(crate) items: Items,
    /// All identifiers in the file, each with its position.
    pub(crate) words: Vec<(String, Position)>,
    /// Whether the file is no module, because compiling it would only repeat the problem that was found in it.
    pub(crate) left_out: bool,
}

/// A folder below `src/`.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// The module's name; empty for `src/`.
    pub(crate) module: String,
    /// The folder's name, if it differs from the module's.
    pub(crate) renamed: Option<String>,
    pub(crate) files: Vec<SourceFile>,
    pub(crate) folders: Vec<Folder>,
}

impl Folder {
    /// Calls `visit` for every file, with the modules that it is in.
    pub(crate) fn each<'f>(&'f self, path: &mut Vec<&'f str>, visit: &mut impl FnMut(&[&'f str], &'f SourceFile)) {
        for file in &self.files {
            visit(path, file);
        }
        for folder in &self.folders {
            path.push(&folder.module);
            folder.each(path, visit);
            path.pop();
        }
    }

    pub(crate) fn each_mut(&mut self, visit: &mut impl FnMut(&mut SourceFile)) {
        self.files.iter_mut().for_each(&mut *visit);
        for folder in &mut self.folders {
            folder.each_mut(visit);
        }
    }

    fn has(&self, module: &str) -> bool {
        self.files.iter().any(|file| file.module == module) || self.folders.iter().any(|folder| folder.module == module)
    }
}

/// Reads `src/`, without `lib.rs`, `main.rs` and `bin/`.
pub(crate) fn read(source: &Path) -> (Folder, Vec<Problem>) {
    let mut problems = Vec::new();
    let root = read_folder(source, "", &mut problems);
    (root, problems)
}

fn read_folder(folder: &Path, inside: &str, problems: &mut Vec<Problem>) -> Folder {
    let mut found = Folder::default();
    let mut misnamed = Vec::new();
    for (path, name) in sources(folder) {
        if inside.is_empty() && ["lib", "main"].contains(&name.as_str()) {
            continue;
        }
        let file = read_file(&path, name.clone(), format!("{inside}{name}.rs"));
        if is_module(&name) {
            found.files.push(file);
        } else {
            misnamed.push((file, name));
        }
    }
    for (path, name) in folders(folder).into_iter().filter(|(_, name)| !inside.is_empty() || name != "bin") {
        let inner_path = format!("{inside}{name}/");
        // `x.rs` beside `x/`, or `x/mod.rs`, declares the modules in `x/`, as in ordinary Rust.
        if let Some(file) = found.files.iter().find(|file| file.module == name) {
            problems.extend(undeclared(&path, &inner_path, file));
            continue;
        }
        let own_file = path.join("mod.rs");
        if own_file.is_file() && is_module(&name) {
            let file = read_file(&own_file, name, format!("{inner_path}mod.rs"));
            problems.extend(undeclared(&path, &inner_path, &file));
            found.files.push(file);
            continue;
        }
        let mut inner = read_folder(&path, &inner_path, problems);
        if inner.files.is_empty() && inner.folders.is_empty() {
            continue;
        }
        inner.module.clone_from(&name);
        if !is_module(&name) {
            let alike = module_like(&name);
            problems.push(Problem::new(
                &inner_path,
                Position::START,
                format!("the folder `{inner_path}` cannot be a module: its name is not an identifier"),
                format!("rename it to `{alike}/`"),
            ));
            if found.has(&alike) {
                continue;
            }
            (inner.module, inner.renamed) = (alike, Some(name));
        }
        found.folders.push(inner);
    }
    for (mut file, name) in misnamed {
        let alike = module_like(&name);
        problems.push(Problem::new(
            &file.inside,
            Position::START,
            format!("the file `{}` cannot be a module: its name is not an identifier", file.inside),
            format!("rename it to `{alike}.rs`"),
        ));
        // It is a module all the same, so that its names are known and there is one error.
        if !found.has(&alike) {
            (file.module, file.renamed) = (alike, Some(format!("{name}.rs")));
            found.files.push(file);
        }
    }
    found
}

fn read_file(path: &Path, module: String, inside: String) -> SourceFile {
    // rustc reports a file that cannot be read, or is not UTF-8.
    let text = fs::read(path).unwrap_or_default();
    SourceFile::read(&String::from_utf8_lossy(&text), module, inside)
}

impl SourceFile {
    pub(crate) fn read(text: &str, module: String, inside: String) -> Self {
        let words = lex::lex(text).tokens.into_iter().filter(lex::Token::is_word);
        Self {
            module,
            renamed: None,
            inside,
            documented: text.trim_start().starts_with("//!") || text.trim_start().starts_with("/*!"),
            items: items::items(text),
            words: words.map(|word| (word.text.to_owned(), Position::of(text, word.start))).collect(),
            left_out: false,
        }
    }
}

/// The first file or folder that the folder's own module file does not declare. Without the report it would silently be missing.
fn undeclared(folder: &Path, inside: &str, file: &SourceFile) -> Option<Problem> {
    let files = sources(folder).into_iter().map(|(_, module)| (format!("{inside}{module}.rs"), module));
    let folders = folders(folder).into_iter().filter(|(path, _)| !sources(path).is_empty());
    let folders = folders.map(|(_, name)| (format!("{inside}{name}/"), name));
    let missing = |name: &String| name != "mod" && !file.items.declares.contains(name);
    // A file that is half typed may have lost a declaration.
    let (path, _) = files.chain(folders).find(|(_, name)| file.items.complete && missing(name))?;
    let in_charge = &file.inside;
    Some(Problem::new(
        &path,
        Position::START,
        format!(
            "`{path}` is not part of the program: `{in_charge}` declares the modules of its folder, but not this one"
        ),
        format!("remove `{in_charge}`: without it every file below `src/` is a module; or declare all of them there"),
    ))
}

/// The Rust files of a folder with their names, sorted. Hidden files belong to editors and are ignored.
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

/// Words that cannot be identifiers, not even as `r#self`.
const NO_MODULES: [&str; 5] = ["self", "Self", "super", "crate", "_"];

/// Whether a file or folder of that name can be a module.
pub(crate) fn is_module(name: &str) -> bool {
    name.starts_with(|first: char| first == '_' || first.is_alphabetic())
        && name.chars().all(|character| character.is_alphanumeric() || character == '_')
        && !NO_MODULES.contains(&name)
}

/// A valid module name that is similar to an invalid one.
fn module_like(name: &str) -> String {
    let fit = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let name: String = name.chars().map(fit).collect();
    match name.trim_matches('_') {
        "" => "module".to_owned(),
        fixed if NO_MODULES.contains(&fixed) => format!("{fixed}_"),
        name if name.starts_with(|first: char| first.is_ascii_digit()) => format!("n{name}"),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_files(files: &[(&str, &str)]) -> (Folder, Vec<String>) {
        let source = tempfile::tempdir().expect("a folder");
        for (file, text) in files {
            let path = source.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        let (root, problems) = read(source.path());
        (root, problems.into_iter().map(|problem| format!("{}; {}", problem.text, problem.help)).collect())
    }

    #[test]
    fn files_and_folders_that_cannot_be_modules_are_reported_with_their_paths() {
        let (root, problems) = read_files(&[
            ("events/order_paid.rs", ""),
            ("events/order_paid copy.rs", ""),
            ("events/.#order_paid.rs", ""),
            ("a-b/c.rs", ""),
            ("a-c/d.rs", ""),
            ("a_c.rs", ""),
            ("assets-v2/logo.svg", ""),
            ("bin/a-program.rs", ""),
        ]);
        assert_eq!(
            problems,
            [
                "the folder `a-b/` cannot be a module: its name is not an identifier; rename it to `a_b/`",
                "the folder `a-c/` cannot be a module: its name is not an identifier; rename it to `a_c/`",
                "the file `events/order_paid copy.rs` cannot be a module: its name is not an identifier; rename it to `order_paid_copy.rs`",
            ]
        );
        let modules: Vec<_> =
            root.folders.iter().map(|folder| (folder.module.as_str(), folder.renamed.as_deref())).collect();
        assert_eq!(modules, [("a_b", Some("a-b")), ("events", None)]);
        let files: Vec<_> =
            root.folders[1].files.iter().map(|file| (file.module.as_str(), file.renamed.as_deref())).collect();
        assert_eq!(files, [("order_paid", None), ("order_paid_copy", Some("order_paid copy.rs"))]);
    }

    #[test]
    fn an_undeclared_file_in_a_folder_with_its_own_module_file_is_reported() {
        for (in_charge, text) in [("events/mod.rs", "pub mod a;"), ("events.rs", "pub mod a;"), ("events.rs", "")] {
            let (_, problems) = read_files(&[(in_charge, text), ("events/a.rs", ""), ("events/b.rs", "")]);
            let [problem] = problems.as_slice() else { panic!("{problems:?}") };
            assert!(problem.contains("is not part of the program"), "{problem}");
            assert!(problem.contains(&format!("remove `{in_charge}`")), "{problem}");
        }
        let declared = [("events/mod.rs", "mod a; mod b;"), ("events/a.rs", ""), ("events/b/mod.rs", "")];
        assert_eq!(read_files(&declared).1, [""; 0]);
        let half_typed = [("events/mod.rs", "mod a; mod {"), ("events/a.rs", ""), ("events/b.rs", "")];
        assert_eq!(read_files(&half_typed).1, [""; 0]);
    }

    #[test]
    fn a_module_is_an_identifier() {
        for (name, alike) in [
            ("order paid", "order_paid"),
            ("x-done", "x_done"),
            ("2nd", "n2nd"),
            ("self", "self_"),
            ("", "module"),
            ("a\"b", "a_b"),
            ("r#type", "r_type"),
            ("a//b", "a__b"),
        ] {
            assert!(!is_module(name), "{name}");
            assert_eq!(module_like(name), alike);
            assert!(is_module(alike), "{alike}");
        }
        assert!(is_module("type") && is_module("v0") && is_module("_x"));
    }

    #[test]
    fn a_file_may_have_its_own_documentation() {
        let file = |text: &str| SourceFile::read(text, "file".to_owned(), "file.rs".to_owned());
        assert!(file("\n//! Documentation.\npub struct A;").documented);
        assert!(!file("pub struct A;").documented);
    }
}
