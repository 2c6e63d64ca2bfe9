//! `completions` and `man`: shell completions and manual pages.

use std::{path::PathBuf, process::ExitCode};

use super::{Failure, output::Output};

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The folder for the pages of all commands; without it, the main page goes to standard output.
    folder: Option<PathBuf>,
}

pub(super) fn completions(mut command: clap::Command, arguments: &Completions) -> Result<ExitCode, Failure> {
    let program = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, program, &mut script);
    Output::document(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(command: clap::Command, arguments: &Man) -> Result<ExitCode, Failure> {
    if let Some(folder) = &arguments.folder {
        clap_mangen::generate_to(command, folder)
            .map_err(|error| Failure::failed(format!("cannot write the pages to {}: {error}", folder.display())))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(Failure::failed)?;
    Output::document(String::from_utf8_lossy(&page).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::cli::Cli;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().expect("a folder");
        clap_mangen::generate_to(Cli::command().name("things"), folder.path()).expect("pages");
        for page in ["things.1", "things-publish.1", "things-dlq-replay.1"] {
            let text = std::fs::read_to_string(folder.path().join(page)).expect(page);
            assert!(text.contains("NAME"), "{page}: {text}");
        }
    }
}
