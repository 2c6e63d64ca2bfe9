//! Finds the files below `src/` and their names for `dispatcher!()`.

fn main() {
    order_build::scan();
}
