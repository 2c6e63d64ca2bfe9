//! Declarations as their writers get them wrong, each with what the compiler then says; and some that are right.
//!
//! The expected words stand beside each file in `ui/fail`; after a wanted change of a message,
//! `TRYBUILD=overwrite cargo test -p order-tests --test ui` writes them anew.

mod discovery;
mod domain;
mod reload;

#[test]
fn wrong_declarations_say_what_is_wrong_and_how_to_mend_it() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/fail/*.rs");
    cases.pass("ui/pass/*.rs");
}
