//! Makes cargo notice files that come and go: `dispatcher!()` reads the folders below `src/`.

fn main() {
    println!("cargo::rerun-if-changed=src");
}
