//! The sources of settings: flags override the environment, which overrides `.env`.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{
    Defaults, Secret, env_file,
    report::{SettingProblem, Warning},
};

/// Settings given on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(Vec<Flag>);

#[derive(Debug, Clone)]
struct Flag {
    setting: &'static str,
    name: &'static str,
    text: Secret,
}

impl Flags {
    /// Adds the flag `name`, such as `--workers`, for `setting`, such as `APP_WORKERS`.
    #[must_use]
    pub(crate) fn with(mut self, setting: &'static str, name: &'static str, text: Option<String>) -> Self {
        self.0.extend(text.map(|text| Flag { setting, name, text: Secret::new(text) }));
        self
    }
}

/// The env file, which the environment overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnvFile {
    /// `.env` in the current folder, if it exists.
    Default,
    /// This file, which must exist.
    Path(PathBuf),
    /// No file.
    #[cfg(test)]
    None,
}

/// The origin of a setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The setting is not set.
    Default,
    /// The env file, by its name.
    EnvFile(String),
    /// The env file, by its name; references in the value were substituted.
    EnvFileSubstituted(String),
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
            Self::EnvFileSubstituted(name) => write!(f, "{name}, ${{…}} substituted"),
            Self::Environment => f.write_str("environment"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The text of a setting, as found.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    /// The variable as it was written.
    pub(super) name: String,
    pub(super) text: Secret,
    pub(super) origin: Origin,
    /// Whether the text was read from a file that a variable with `_FILE` names.
    pub(super) from_file: bool,
}

impl Raw {
    /// Whether the text itself is in the environment.
    pub(super) fn is_of_environment(&self) -> bool {
        self.origin == Origin::Environment && !self.from_file
    }

    /// The text for an error to quote, if it cannot contain a secret.
    pub(super) fn quotable(&self, may_hold_secret: bool) -> Option<&str> {
        self.text.quotable().filter(|_| !may_hold_secret && !self.from_file)
    }
}

/// All texts of one origin.
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) texts: BTreeMap<String, Secret>,
    /// The texts in which references were substituted.
    substituted: Vec<String>,
}

impl Layer {
    fn origin_of(&self, name: &String) -> Origin {
        match &self.origin {
            Origin::EnvFile(file) if self.substituted.contains(name) => Origin::EnvFileSubstituted(file.clone()),
            origin => origin.clone(),
        }
    }
}

/// All texts, the lowest origin first.
pub(super) struct Layers {
    pub(super) layers: Vec<Layer>,
    flags: Vec<Flag>,
}

impl Layers {
    /// Reads all layers; later ones override earlier ones.
    pub(super) fn read(
        defaults: &Defaults,
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
        env_file: &EnvFile,
        names: Names,
        problems: &mut Vec<SettingProblem>,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let texts = environment.into_iter().map(|(name, text)| (name, Secret::new(text))).collect();
        let environment = Layer { origin: Origin::Environment, texts, substituted: Vec::new() };
        let mut reader = EnvFileReader { environment: &environment, names, problems, warnings };
        let file = match env_file {
            #[cfg(test)]
            EnvFile::None => None,
            EnvFile::Default => reader.read(Path::new(".env"), false),
            EnvFile::Path(path) => reader.read(path, true),
        };
        let defaults = Layer { origin: Origin::Default, texts: defaults.texts(), substituted: Vec::new() };
        let layers = [defaults].into_iter().chain(file).chain([environment]).collect();
        Self { layers, flags: flags.0.clone() }
    }

    /// Whether the process runs under `cargo run`, which sets these variables for its child.
    pub(super) fn under_cargo(&self) -> bool {
        let mut environment = self.layers.iter().filter(|layer| layer.origin == Origin::Environment);
        environment.any(|layer| ["CARGO", "CARGO_MANIFEST_DIR"].iter().all(|name| layer.texts.contains_key(*name)))
    }

    /// The text of the highest origin that has any of `names`. A name that ends in `_FILE` and is not the first one names the
    /// file with the text.
    pub(super) fn find(
        &self,
        names: &[String],
        problems: &mut Vec<SettingProblem>,
        warnings: &mut Vec<Warning>,
    ) -> Option<Raw> {
        if let Some(flag) = self.flags.iter().find(|flag| names.iter().any(|name| name == flag.setting)) {
            let (name, text) = (flag.setting.to_owned(), flag.text.clone());
            return Some(Raw { name, text, origin: Origin::Flag(flag.name), from_file: false });
        }
        for layer in self.layers.iter().rev() {
            let mut found = names.iter().filter_map(|name| layer.texts.get(name).map(|text| (name, text)));
            let Some((name, text)) = found.next() else { continue };
            if let Some((other, other_text)) = found.next()
                && other_text != text
            {
                problems.push(SettingProblem::contradiction(format!(
                    "{name} and {other} are both set ({}), and they differ: remove one",
                    layer.origin
                )));
            }
            if text.expose().contains(char::REPLACEMENT_CHARACTER) {
                problems.push(SettingProblem::wrong(name, None, &layer.origin, "UTF-8 text"));
                return None;
            }
            let origin = layer.origin_of(name);
            if names.first() != Some(name) && name.ends_with("_FILE") && !text.is_empty() {
                return read_secret(name, text, origin, problems, warnings);
            }
            return Some(Raw { name: name.clone(), text: text.clone(), origin, from_file: false });
        }
        None
    }
}

/// The properties of variables that the reader of an env file needs.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// Whether a variable is known, so that its name is not a part of something else and may be printed.
    pub(super) is_known: fn(&str) -> bool,
    /// Whether the value of a variable may hold a secret.
    pub(super) may_hold_secret: fn(&str) -> bool,
}

struct EnvFileReader<'a> {
    environment: &'a Layer,
    names: Names,
    problems: &'a mut Vec<SettingProblem>,
    warnings: &'a mut Vec<Warning>,
}

impl EnvFileReader<'_> {
    fn read(&mut self, path: &Path, demanded: bool) -> Option<Layer> {
        let file = path.display().to_string();
        let text = match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = before.split(|byte| *byte == b'\n').count();
                self.wrong(format!("line {line} of {file} is not UTF-8: save the file as UTF-8"));
                return None;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !demanded => return None,
            Err(error) => {
                self.wrong(format!("the env file {file} cannot be read: {error}"));
                return None;
            }
        };
        let mut layer = Layer { origin: Origin::EnvFile(file), texts: BTreeMap::new(), substituted: Vec::new() };
        for entry in env_file::parse(&text) {
            match entry {
                Ok(entry) => self.take(&entry, &mut layer),
                // The line may be a secret, or a part of one, so that only known names are printed.
                Err(error) => {
                    let name = error.name.filter(|name| (self.names.is_known)(name));
                    let name = name.map_or_else(String::new, |name| format!(" ({name})"));
                    self.wrong(format!("line {} of {}{name}: {}", error.line, layer.origin, error.reason));
                }
            }
        }
        self.warn_of_readers(path, &layer);
        Some(layer)
    }

    fn take(&mut self, entry: &env_file::Entry, layer: &mut Layer) {
        let Names { is_known, may_hold_secret } = self.names;
        let place = format!("line {} of {}", entry.line, layer.origin);
        let refers = entry.references().next().is_some();
        let text = if may_hold_secret(&entry.name) {
            if refers {
                let text = format!(
                    "nothing is substituted in a value that may hold a secret; ${{…}} on {place} is taken literally"
                );
                self.warnings.push(Warning::new(&entry.name, text));
            }
            entry.literal()
        } else {
            for reference in entry.references() {
                let name = &reference.name;
                if may_hold_secret(name) {
                    self.wrong(format!(
                        "{place} refers to {name}, which may hold a secret: secrets are not substituted into other values"
                    ));
                } else if self.value_of(name, layer).is_none() && reference.default.is_none() {
                    self.wrong(format!(
                        "{place} refers to ${{{name}}}, which is not set: set it, or put the value in single quotes if it is meant literally"
                    ));
                }
            }
            entry.substituted(|reference| {
                let found = self.value_of(&reference.name, layer).map(|text| text.expose().to_owned());
                found.or_else(|| reference.default.clone()).unwrap_or_default()
            })
        };
        if refers && !may_hold_secret(&entry.name) {
            layer.substituted.push(entry.name.clone());
        }
        if layer.texts.insert(entry.name.clone(), Secret::new(text)).is_some() {
            let name = if is_known(&entry.name) { entry.name.as_str() } else { "a variable" };
            self.wrong(format!("{place} sets {name} a second time: remove one"));
        }
    }

    /// The value of a reference: that of the environment, which overrides the file, or that of an earlier entry.
    fn value_of<'l>(&'l self, name: &str, layer: &'l Layer) -> Option<&'l Secret> {
        self.environment.texts.get(name).or_else(|| layer.texts.get(name))
    }

    fn warn_of_readers(&mut self, path: &Path, layer: &Layer) {
        let is_secret = |(name, text): (&String, &Secret)| {
            let harmless = name == "STORE_URL" && !text.expose().trim_start().starts_with("postgres");
            !text.is_empty() && !harmless && !name.ends_with("_FILE") && (self.names.may_hold_secret)(name)
        };
        if readable_by_others(path)
            && let Some((name, _)) = layer.texts.iter().find(|entry| is_secret(*entry))
        {
            let text = format!("other users can read {}, where it is set; chmod 600 it", layer.origin);
            self.warnings.push(Warning::new(name, text));
        }
    }

    fn wrong(&mut self, text: String) {
        self.problems.push(SettingProblem::contradiction(text));
    }
}

fn read_secret(
    name: &str,
    path: &Secret,
    origin: Origin,
    problems: &mut Vec<SettingProblem>,
    warnings: &mut Vec<Warning>,
) -> Option<Raw> {
    let path = Path::new(path.expose());
    match fs::read_to_string(path) {
        Ok(text) => {
            if readable_by_others(path) {
                let path = path.display();
                warnings.push(Warning::new(name, format!("other users can read {path}; chmod 600 it")));
            }
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
            Some(Raw { name: name.to_owned(), text: Secret::new(text), origin, from_file: true })
        }
        // The value may be the secret itself, so it is not quoted.
        Err(error) => {
            problems.push(SettingProblem::wrong(
                name,
                None,
                &origin,
                format!("the path of a file that can be read ({error})"),
            ));
            None
        }
    }
}

#[cfg(unix)]
pub(super) fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
pub(super) fn readable_by_others(_path: &Path) -> bool {
    false
}
