//! Makes cargo rebuild when files are added or removed, because `dispatcher!()` reads the folders below `src/`.

fn main() {
    println!("cargo::rerun-if-changed=src");
}
