//! Examples in the help of commands.

use clap::Command;

/// A command's path, and its example lines with their explanations. [`text`] puts the program's name before each line.
type Examples = (&'static [&'static str], &'static [(&'static str, &'static str)]);

const EXAMPLES: &[Examples] = &[
    (&["run"], &[("run --workers 4", "consume with four threads")]),
    (&["check"], &[("check --env-file production.env", "check another environment's settings")]),
    (&["config"], &[("config --output json", "every setting, for a program")]),
    (
        &["publish"],
        &[
            (r#"publish EVENT '{"id": "1"}'"#, "one event"),
            ("publish EVENT @event.json --key 1", "one event from a file, under a key"),
            ("publish EVENT - < events.jsonl", "one event for each line"),
            ("publish --sample 100 --seed 7", "a reproducible sample"),
        ],
    ),
    (
        &["dlq", "list"],
        &[
            ("dlq list --reason rejected --since 2h", "the latest, and how many of each kind"),
            ("dlq list --all --output json", "in every state, for a program"),
        ],
    ),
    (&["dlq", "show"], &[("dlq show ID", "one dead letter in full")]),
    (
        &["dlq", "replay"],
        &[
            ("dlq replay --dry-run --event EVENT", "count what would be sent back"),
            ("dlq replay --event EVENT --rate 50 --max 1000", "at most 1,000 of them, 50 a second"),
        ],
    ),
    (&["dlq", "edit"], &[("dlq edit ID", "correct a letter in $EDITOR; it is checked before it is sent")]),
    (&["dlq", "park"], &[("dlq park ID --note 'ask the supplier'", "leave it out unless --parked is given")]),
    (&["dlq", "purge"], &[("dlq purge --reason undecodable --dry-run", "count what would be purged")]),
    (
        &["waiting", "retry"],
        &[("waiting retry KEY", "one key, now"), ("waiting retry --all --topic TOPIC", "every key of a topic")],
    ),
    (&["waiting", "dead-letter"], &[("waiting dead-letter KEY", "dead-letter the first event of a key")]),
    (
        &["replay"],
        &[
            ("replay TOPIC --from 2h --shadow", "how this build would handle the last two hours"),
            ("replay TOPIC --from 1200 --to 3400 --partitions 0", "replay these records"),
        ],
    ),
    (&["asyncapi"], &[("asyncapi > asyncapi.json", "write the document")]),
    (
        &["openapi"],
        &[
            ("openapi > openapi.json", "write the document"),
            ("openapi --check openapi.json", "check that nothing breaks an earlier document"),
        ],
    ),
    (&["schema"], &[("schema --check schema.json", "check that nothing breaks an earlier document")]),
    (&["dashboards", "grafana"], &[("dashboards grafana > dashboard.json", "a file to import")]),
    (&["dashboards", "alerts"], &[("dashboards alerts > alerts.yaml", "a file for rule_files")]),
    (
        &["completions"],
        &[("completions bash > ~/.local/share/bash-completion/completions/PROGRAM", "for every new bash")],
    ),
    (
        &["man"],
        &[
            ("man | man -l -", "read the manual page"),
            ("man ~/.local/share/man/man1", "install the pages of all commands"),
        ],
    ),
];

/// Adds the examples to the help of their commands.
pub(super) fn add(command: Command, program: &str) -> Command {
    EXAMPLES.iter().fold(command, |command, (path, lines)| at(command, path, text(program, lines)))
}

fn at(command: Command, path: &[&str], text: String) -> Command {
    match path.split_first() {
        None => command.after_help(text),
        Some((name, rest)) => command.mut_subcommand(name, |sub| at(sub, rest, text)),
    }
}

fn text(program: &str, lines: &[(&str, &str)]) -> String {
    let lines =
        lines.iter().map(|(line, what)| format!("\n  {program} {}\n      {what}", line.replace("PROGRAM", program)));
    format!("Examples:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    /// The words of a line, up to a shell redirection or pipe; supports single quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (index, part) in line.split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
                continue;
            }
            words.extend(part.split_whitespace().take_while(|word| !["<", ">", "|"].contains(word)).map(str::to_owned));
        }
        words
    }

    #[test]
    fn every_example_parses() {
        for (path, lines) in EXAMPLES {
            for (line, _) in *lines {
                let words: Vec<String> = std::iter::once("program".to_owned()).chain(words(line)).collect();
                let parsed = Cli::command().try_get_matches_from(&words);
                let mut matches = parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
                for name in *path {
                    let (found, below) = matches.remove_subcommand().expect("a command");
                    assert_eq!(found, *name, "{line}");
                    matches = below;
                }
            }
        }
    }

    #[test]
    fn help_has_examples_with_the_name_of_the_program() {
        let help =
            add(Cli::command(), "things").find_subcommand_mut("publish").expect("a command").render_help().to_string();
        assert!(help.contains("things publish EVENT @event.json --key 1"), "{help}");
    }
}
