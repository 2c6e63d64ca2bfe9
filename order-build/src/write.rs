//! Writes what `dispatcher!()` includes: the modules, the names, and the problems.

use std::fmt::Write as _;

use crate::{
    exports::Export,
    problem::Problem,
    source::{Folder, SourceFile},
};

/// Words that are an identifier with `r#` only.
const KEYWORDS: [&str; 47] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while",
];

const HEADER: &str = "\
// Written by `order_build::scan()` from the files below `src/`.

";

/// The modules are in a macro, so that their paths begin at the file that calls it.
const BEFORE_MODULES: &str = "
macro_rules! __order_modules {
($dispatcher:tt) => {
";

const BEFORE_NAMES: &str = "\
/// The public types of features and entities. Every attribute imports them into its file.
#[doc(hidden)]
#[allow(unused_imports)]
pub mod __write_dispatcher_in_lib_rs {
/// Has one constant for each declaration, so that a second declaration of the same name does not compile.
#[allow(dead_code, missing_debug_implementations)]
pub struct __Declared;
";

pub(crate) fn declarations(root: &Folder, exports: &[Export], problems: &[Problem]) -> String {
    let mut text = HEADER.to_owned() + BEFORE_NAMES;
    text.extend(exports.iter().map(Export::written));
    text += "}\n";
    text += BEFORE_MODULES;
    modules(root, &mut text);
    text.extend(problems.iter().map(Problem::written));
    text + "};\n}\n"
}

fn modules(folder: &Folder, text: &mut String) {
    for file in folder.files.iter().filter(|file| !file.left_out) {
        let SourceFile { module: name, renamed, inside, documented, .. } = file;
        // A file with its own documentation needs no generated one.
        if !documented {
            let _ = writeln!(text, "#[doc = {:?}]", format!("`{inside}`."));
        }
        let _ = writeln!(text, "{}pub mod {};", path(renamed.as_ref()), module(name));
    }
    for inner in &folder.folders {
        let name = inner.renamed.as_ref().unwrap_or(&inner.module);
        let _ = writeln!(text, "#[doc = {:?}]", format!("The folder `{name}/`."));
        let _ = writeln!(text, "{}pub mod {} {{", path(inner.renamed.as_ref()), module(&inner.module));
        modules(inner, text);
        *text += "}\n";
    }
}

fn path(renamed: Option<&String>) -> String {
    renamed.map(|name| format!("#[path = {name:?}] ")).unwrap_or_default()
}

/// The identifier of a module.
pub(crate) fn module(name: &str) -> String {
    // The file's name may be a keyword, as in `type.rs`.
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}
