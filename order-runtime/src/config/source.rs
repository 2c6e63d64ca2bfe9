//! Where the texts of settings come from: flags over the environment over `.env`.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use super::report::{Problem, Warning};

/// Settings given on the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags(Vec<Flag>);

#[derive(Debug, Clone)]
struct Flag {
    setting: &'static str,
    name: &'static str,
    text: String,
}

impl Flags {
    /// Lets the flag `name`, `--workers` say, decide on `setting`, `APP_WORKERS` say.
    #[must_use]
    pub fn with(mut self, setting: &'static str, name: &'static str, text: Option<String>) -> Self {
        self.0.extend(text.map(|text| Flag { setting, name, text }));
        self
    }
}

/// Which file is read below the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvFile {
    /// `.env` in the current folder, where there is one.
    Default,
    /// This one; it must be there.
    Path(PathBuf),
    /// None.
    None,
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// The env file, by its name.
    EnvFile(String),
    /// The environment.
    Environment,
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::EnvFile(name) => f.write_str(name),
            Self::Environment => f.write_str("environment"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The text of a setting, as it was found.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    /// The variable as it was written.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// All texts of one origin.
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) texts: BTreeMap<String, String>,
}

/// All texts, the lowest origin first.
pub(super) struct Layers {
    pub(super) layers: Vec<Layer>,
    flags: Vec<Flag>,
}

impl Layers {
    pub(super) fn read(
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
        env_file: &EnvFile,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut layers = Vec::new();
        layers.extend(match env_file {
            EnvFile::None => None,
            EnvFile::Default => read_env_file(Path::new(".env"), false, problems),
            EnvFile::Path(path) => read_env_file(path, true, problems),
        });
        layers.push(Layer { origin: Origin::Environment, texts: environment.into_iter().collect() });
        Self { layers, flags: flags.0.clone() }
    }

    /// Whether the process runs below `cargo run`, which tells its child where the manifest lies.
    pub(super) fn under_cargo(&self) -> bool {
        let mut environment = self.layers.iter().filter(|layer| layer.origin == Origin::Environment);
        environment.any(|layer| ["CARGO", "CARGO_MANIFEST_DIR"].iter().all(|name| layer.texts.contains_key(*name)))
    }

    /// The text of the highest origin that has any of `names`; a name that ends in `_FILE` and is not the first one names
    /// the file which holds it.
    pub(super) fn find(
        &self,
        names: &[String],
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Warning>,
    ) -> Option<Raw> {
        if let Some(flag) = self.flags.iter().find(|flag| names.iter().any(|name| name == flag.setting)) {
            let raw = Raw { name: flag.setting.to_owned(), text: flag.text.clone(), origin: Origin::Flag(flag.name) };
            return Some(raw);
        }
        for layer in self.layers.iter().rev() {
            let mut found = names.iter().filter_map(|name| layer.texts.get(name).map(|text| (name, text)));
            let Some((name, text)) = found.next() else { continue };
            if let Some((other, other_text)) = found.next()
                && other_text != text
            {
                problems.push(Problem::contradiction(format!(
                    "{name} and {other} are both set ({}), and they differ: remove one",
                    layer.origin
                )));
            }
            if text.contains(char::REPLACEMENT_CHARACTER) {
                problems.push(Problem::wrong(name, None, &layer.origin, "UTF-8 text"));
                return None;
            }
            let origin = layer.origin.clone();
            if names.first() != Some(name) && name.ends_with("_FILE") && !text.is_empty() {
                return read_secret(name, text, origin, problems, warnings);
            }
            return Some(Raw { name: name.clone(), text: text.clone(), origin });
        }
        None
    }
}

fn read_env_file(path: &Path, demanded: bool, problems: &mut Vec<Problem>) -> Option<Layer> {
    let name = path.display().to_string();
    let entries = match dotenvy::from_path_iter(path) {
        Ok(entries) => entries,
        Err(error) if error.not_found() && !demanded => return None,
        Err(error) => {
            problems.push(Problem::contradiction(format!("the env file {name} cannot be read: {error}")));
            return None;
        }
    };
    let mut texts = BTreeMap::new();
    for (index, entry) in entries.enumerate() {
        match entry {
            Ok((name_of_entry, text)) => {
                if texts.insert(name_of_entry.clone(), text).is_some() {
                    problems
                        .push(Problem::contradiction(format!("{name_of_entry} is set twice in {name}: remove one")));
                }
            }
            // The error itself holds the whole line, and with it maybe a secret.
            Err(dotenvy::Error::LineParse(line, _)) => {
                let key = line.split('=').next().unwrap_or_default().trim();
                let shown: String = key.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
                problems.push(Problem::contradiction(format!(
                    "entry {} of {name} ({shown}…) cannot be read: expected NAME=value, in quotes where the value has blanks",
                    index + 1
                )));
            }
            Err(error) => {
                problems.push(Problem::contradiction(format!("the env file {name} cannot be read: {error}")));
                break;
            }
        }
    }
    Some(Layer { origin: Origin::EnvFile(name), texts })
}

fn read_secret(
    name: &str,
    path: &str,
    origin: Origin,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Warning>,
) -> Option<Raw> {
    match fs::read_to_string(path) {
        Ok(text) => {
            if readable_by_others(Path::new(path)) {
                warnings.push(Warning::new(name, format!("other users can read {path}; chmod 600 it")));
            }
            let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
            Some(Raw { name: name.to_owned(), text: text.to_owned(), origin })
        }
        Err(error) => {
            problems.push(Problem::wrong(name, Some(path), &origin, format!("a file that can be read ({error})")));
            None
        }
    }
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_path: &Path) -> bool {
    false
}
