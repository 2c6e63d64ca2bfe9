#![allow(non_snake_case, non_camel_case_types)]

order_runtime::dispatcher!(name = "things");

mod first {
    use order_runtime::prelude::*;

    #[schema]
    pub struct INPUT_DoThing {
        pub thing_id: String,
    }
}

mod second {
    use order_runtime::prelude::*;

    #[schema]
    pub struct INPUT_DoThing {
        pub thing_id: String,
    }
}

fn main() {}
