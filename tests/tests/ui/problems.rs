//! What the scan of a domain's files finds: each mistake is one error that names its place and its fix.

use order_tests::domain::{Domain, processor};

use crate::discovery::{SCHEMAS, one_error};

const INTERFACE: &str = "use order_runtime::prelude::*;\n\n/// The world.\n#[interface]\npub trait INTERFACE_HELPER_DoThing {\n    \
     /// Finds it.\n    async fn find(&self, id: &str) -> Result<bool, Failed>;\n}\n";

const USECASE_WITH_INTERFACE: &str = "use order_runtime::prelude::*;\n\n/// Does it.\n#[usecase]\npub async fn USECASE_DoThing(\n    \
     input: INPUT_DoThing,\n    things: &mut dyn INTERFACE_HELPER_DoThing,\n) -> Result<OUTPUT_DoThing, Failed> {\n    \
     things.find(&input.id).await?;\n    Ok(OUTPUT_DoThing { id: input.id })\n}\n";

const CONTRACT: &str = "use order_runtime::prelude::*;\n\n/// The world.\n#[contract]\npub struct CONTRACT_HELPER_DoThing_V0;\n\n#[contract]\n\
     impl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_DoThing_V0 {\n    async fn find(&self, _id: &str) -> Result<bool, Failed> {\n        \
     Ok(true)\n    }\n}\n";

const WIRED: &str = "use order_runtime::prelude::*;\n\n/// Does it.\n#[event_processor(\"ThingWanted\")]\npub async fn \
     EventProcessor_ThingWanted(event: Event<INPUT_DoThing>, do_thing: SERVICE_DoThing) -> Result<(), Failed> {\n    \
     do_thing.run(event.data).await.map(drop)\n}\n";

/// A feature with all its parts, and a processor that calls it.
const FEATURE: [(&str, &str); 5] = [
    ("src/features/do_thing/schemas.rs", SCHEMAS),
    ("src/features/do_thing/interface.rs", INTERFACE),
    ("src/features/do_thing/usecase.rs", USECASE_WITH_INTERFACE),
    ("src/features/do_thing/contracts/v0.rs", CONTRACT),
    ("src/events/thing_wanted.rs", WIRED),
];

/// A mistake beside [`FEATURE`].
struct Mistake {
    /// Files that are written, with their texts. An empty text removes the file.
    files: &'static [(&'static str, &'static str)],
    /// What the only error says.
    says: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        files: &[
            ("src/events/thing-seen.rs", "/// A.\n#[derive(Debug)]\npub struct Seen;\n"),
            ("src/uses.rs", "/// B.\npub fn seen(_: crate::events::thing_seen::Seen) {}\n"),
        ],
        says: &[
            "the file `events/thing-seen.rs` cannot be a module",
            "help: rename it to `thing_seen.rs`",
            "--> src/events/thing-seen.rs:1:1",
        ],
    },
    Mistake {
        files: &[("src/events/thing_wanted copy.rs", WIRED)],
        says: &[
            "the file `events/thing_wanted copy.rs` cannot be a module",
            "help: rename it to `thing_wanted_copy.rs`",
        ],
    },
    Mistake {
        files: &[
            ("src/a.rs", "/// A.\n#[derive(Debug)]\npub struct Shared;\n"),
            ("src/b.rs", "/// B.\n#[derive(Debug)]\npub enum Shared {}\n"),
        ],
        says: &["`Shared` is declared twice: here and in `a.rs:3`", "make one `pub(crate)`", "--> src/b.rs:3:10"],
    },
    Mistake {
        files: &[(
            "src/names.rs",
            "/// A.\npub type Result<T> = std::result::Result<T, String>;\n\n/// B.\npub fn b() -> Result<u8> {\n    Ok(1)\n}\n",
        )],
        says: &[
            "`Result` is a name of the standard library",
            "help: rename it, or make it `pub(crate)`",
            "--> src/names.rs:2:10",
        ],
    },
    Mistake {
        files: &[("src/names.rs", "/// A.\n#[derive(Debug)]\npub struct Emitter;\n")],
        says: &["`Emitter` is a name of `order_runtime::prelude`", "--> src/names.rs:3:12"],
    },
    Mistake {
        files: &[(
            "src/events/seen.rs",
            "use order_runtime::prelude::*;\n\n/// Sees it.\npub async fn EventProcessor_Seen(event: Event<Value>) -> Result<(), Failed> {\n    let _ = event.data;\n    Ok(())\n}\n",
        )],
        says: &[
            "`EventProcessor_Seen` has no `#[event_processor]`",
            "help: write `#[event_processor(\"Seen\")]` above it",
            "--> src/events/seen.rs:4:14",
        ],
    },
    Mistake {
        files: &[("src/features/do_thing/service.rs", "/// By hand.\n#[derive(Debug)]\npub struct SERVICE_DoThing;\n")],
        says: &[
            "the service `SERVICE_DoThing` is written by hand",
            "help: remove it: `#[usecase]` above `USECASE_DoThing` generates it",
            "--> src/features/do_thing/service.rs:3:12",
        ],
    },
    Mistake {
        files: &[(
            "src/features/do_thing/contracts/v0.rs",
            "use order_runtime::prelude::*;\n\n/// The world.\n#[contract]\npub struct CONTRACT_HELPER_DoThing_V0;\n\nimpl INTERFACE_HELPER_DoThing for CONTRACT_HELPER_DoThing_V0 {\n    async fn find(&self, _id: &str) -> Result<bool, Failed> {\n        Ok(true)\n    }\n}\n",
        )],
        says: &[
            "`CONTRACT_HELPER_DoThing_V0` implements `INTERFACE_HELPER_DoThing` without `#[contract]`",
            "help: write `#[contract]` above the `impl`",
            "--> src/features/do_thing/contracts/v0.rs:7:35",
        ],
    },
    Mistake {
        files: &[("src/features/do_thing/contracts/v0.rs", "")],
        says: &[
            "the feature `DoThing` has no contract",
            "`contracts/v0.rs`",
            "--> src/features/do_thing/interface.rs:5:11",
        ],
    },
    Mistake {
        files: &[(
            "src/features/other_thing/schemas.rs",
            "use order_runtime::prelude::*;\n\n/// In.\n#[schema]\npub struct INPUT_SeeThing {\n    pub id: String,\n}\n",
        )],
        says: &[
            "schema `INPUT_SeeThing` is in the folder of another feature",
            "help: move it to `problems/src/features/see_thing/`",
            "src/features/other_thing/schemas.rs:5:12",
        ],
    },
    Mistake {
        files: &[
            ("src/features/do_thing/usecase.rs", ""),
            ("src/features/other_thing/usecase.rs", USECASE_WITH_INTERFACE),
        ],
        says: &[
            "use case `USECASE_DoThing` must be in the folder of its feature",
            "help: move it to `problems/src/features/do_thing/`",
        ],
    },
    Mistake {
        files: &[(
            "src/entities/thing.rs",
            "use crate::features::do_thing::interface::INTERFACE_HELPER_DoThing;\n\n/// A.\npub struct Thing(pub Box<dyn INTERFACE_HELPER_DoThing>);\n",
        )],
        says: &["an entity names `INTERFACE_HELPER_DoThing`", "--> src/entities/thing.rs:1:43"],
    },
    Mistake {
        files: &[(
            "src/misc.rs",
            "use order_runtime::prelude::*;\n\n/// Sees it.\n#[event_processor(\"ThingLost\")]\npub async fn EventProcessor_ThingLost(event: Event<Value>) -> Result<(), Failed> {\n    let _ = event.data;\n    Ok(())\n}\n",
        )],
        says: &[
            "event processor `EventProcessor_ThingLost` must be in a file under `events/`",
            "help: move it to `problems/src/events/`",
        ],
    },
    Mistake {
        files: &[("build.rs", "")],
        says: &[
            "the files below `src/` are not known",
            "help: write `fn main() { order_build::scan(); }` into `build.rs`",
            "--> src/lib.rs:1:1",
        ],
    },
];

/// What is half typed in a file, and what the compiler says. The file's own names stay known to the others.
const HALF_TYPED: [(&str, &str); 4] = [
    ("pub struct Half {\n", "unclosed delimiter"),
    ("#[schema]\npub struct\n", "expected identifier"),
    ("pub fn half() {\n    let x = \"", "unterminated double quote string"),
    ("pub struct Half { a: }\n", "expected type"),
];

/// One test, because all steps need the same build lock.
#[test]
fn each_mistake_is_one_error_with_its_place_and_its_fix() {
    let domain = Domain::new("problems");
    let restore = || {
        for (file, text) in FEATURE {
            domain.write(file, text);
        }
        domain.write("build.rs", "fn main() {\n    order_build::scan();\n}\n");
    };
    restore();
    for Mistake { files, says } in MISTAKES {
        for (file, text) in *files {
            if text.is_empty() { domain.remove(file) } else { domain.write(file, text) }
        }
        let said = one_error(&domain);
        for part in *says {
            assert!(said.contains(part), "{part:?} is missing: {said}");
        }
        for (file, _) in files.iter().filter(|(_, text)| !text.is_empty()) {
            domain.remove(file);
        }
        restore();
    }
    for (half, says) in HALF_TYPED {
        domain.write("src/features/do_thing/schemas.rs", &format!("{half}\n{SCHEMAS}"));
        // rustc may find several errors in the code after it, but no other file has one.
        let said = domain.refused();
        let elsewhere = |line: &&str| line.trim_start().starts_with("--> ") && !line.contains("do_thing/schemas.rs");
        assert!(said.contains(says) && said.lines().find(elsewhere).is_none(), "{says:?}: {said}");
        domain.write("src/features/do_thing/schemas.rs", &format!("{SCHEMAS}\n{half}"));
        let said = one_error(&domain);
        assert!(said.contains(says) && said.contains("schemas.rs"), "{says:?}: {said}");
    }
    restore();
    assert_eq!(domain.events(), ["ThingDone", "ThingWanted"], "without the mistakes there are no errors");
}

/// Two domains and a crate of schemas without a `dispatcher!` make one program.
#[test]
fn domains_of_several_crates_are_one_service() {
    let domain = Domain::new("composed");
    let manifest = domain.read("Cargo.toml");
    let dependencies = "[dependencies]\nothers = { path = \"others\" }\nwords = { path = \"words\" }\n";
    domain.write("Cargo.toml", &manifest.replacen("[dependencies]\n", dependencies, 1));
    domain.write(
        "others/Cargo.toml",
        &manifest.replacen("name = \"composed\"", "name = \"others\"", 1).replace("[workspace]", ""),
    );
    domain.write("others/build.rs", "fn main() {\n    order_build::scan();\n}\n");
    domain.write("others/src/lib.rs", "order_runtime::dispatcher!(name = \"others\");\n");
    domain.write("others/src/events/other_done.rs", &processor("OtherDone"));
    let words = manifest.replacen("name = \"composed\"", "name = \"words\"", 1).replace("[workspace]", "");
    domain.write("words/Cargo.toml", &words);
    domain.write("words/src/lib.rs", "pub mod said;\n");
    domain.write("words/src/said.rs", WORDS);
    domain.write("src/events/word_said.rs", SAID);
    domain.write(
        "src/main.rs",
        "fn main() -> std::process::ExitCode {\n    order_runtime::run(composed::dispatcher().with(others::dispatcher()))\n}\n",
    );
    assert_eq!(domain.events(), ["OtherDone", "ThingDone", "WordSaid"]);
}

const WORDS: &str = "use order_runtime::prelude::*;\n\n#[schema]\npub struct INPUT_SayWord {\n    #[garde(length(chars, min = 1))]\n    \
     pub word: String,\n}\n\n#[derive(Debug, thiserror::Error, Failure)]\npub enum SayWordError {\n    #[error(\"no\")]\n    \
     #[failure(dead_letter)]\n    No,\n}\n\n#[derive(Injectable)]\npub struct Voice {}\n";

const SAID: &str = "use order_runtime::prelude::*;\nuse words::said::{INPUT_SayWord, SayWordError, Voice};\n\n/// Hears it.\n\
     #[event_processor(\"WordSaid\")]\npub async fn EventProcessor_WordSaid(event: Event<INPUT_SayWord>, _voice: Voice) -> Result<(), \
     SayWordError> {\n    let _ = event.data.word;\n    Err(SayWordError::No)\n}\n";

/// Names behind conditions that do not hold are not imported, and shared by builds that exclude each other.
#[test]
fn conditions_of_files_and_items_hold() {
    let domain = Domain::new("conditions");
    domain.write("src/a.rs", "/// A.\n#[cfg(windows)]\n#[derive(Debug)]\npub struct Here(pub u8);\n");
    domain.write("src/b.rs", "#![cfg(not(windows))]\n\n/// B.\n#[derive(Debug)]\npub struct Here(pub u16);\n");
    domain.write("src/events/unseen.rs", &format!("#![cfg(windows)]\n\n{}", processor("Unseen")));
    let uses = processor("Seen").replace("let _ = event.data;", "let _ = (event.data, Here(1000));");
    domain.write("src/events/seen.rs", &uses);
    assert_eq!(domain.events(), ["Seen", "ThingDone"]);
}
