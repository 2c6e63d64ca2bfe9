//! Compares expansions with the reviewed files in `snapshots/`, so that a changed expansion is visible in a review.
//!
//! The crates that use the macros test that the expansions compile and work.

use proc_macro2::TokenStream;
use quote::quote;

use crate::dispatcher::Files;

/// Compares a formatted expansion with the snapshot of that name.
macro_rules! assert_golden {
    ($name:literal, $expansion:expr) => {
        insta::assert_snapshot!($name, formatted($expansion))
    };
}

fn formatted(expansion: TokenStream) -> String {
    let text = expansion.to_string();
    match syn::parse2(expansion) {
        Ok(file) => prettyplease::unparse(&file),
        Err(error) => panic!("the expansion is not a list of items: {error}: {text}"),
    }
}

#[test]
fn event_processor_with_a_service() {
    let item = quote! {
        /// Marks an order as shipped.
        ///
        /// Only the first paragraph is the summary.
        pub async fn EventProcessor_OrderShipped(
            event: Event<INPUT_ShipOrder>,
            ship_order: SERVICE_ShipOrder,
        ) -> Result<(), ShipOrderError> {
            ship_order.run(event.data).await?;
            Ok(())
        }
    };
    assert_golden!("event_processor", crate::event_processor::expand(quote!("OrderShipped"), item));
}

#[test]
fn event_processor_with_every_argument() {
    let arguments = quote! {
        "OrderRefunded", version = 2, retries = 4, backoff = "50ms..2s", timeout = "5s", on_exhausted = "park_key"
    };
    let item = quote! {
        async fn EventProcessor_OrderRefunded(event: Event<Value>) -> Result<(), Failed> {
            refund(event.data).await
        }
    };
    assert_golden!("event_processor_with_every_argument", crate::event_processor::expand(arguments, item));
}

#[test]
fn event_processor_that_is_wrong_registers_nothing() {
    let item = quote! {
        pub async fn EventProcessor_OrderShiped(event: &Event<Value>) -> bool {
            true
        }
    };
    assert_golden!("event_processor_that_is_wrong", crate::event_processor::expand(quote!("OrderShipped"), item));
}

#[test]
fn usecase_with_an_interface() {
    let item = quote! {
        /// Hands an order to a carrier.
        pub async fn USECASE_ShipOrder(
            input: INPUT_ShipOrder,
            orders: &mut dyn INTERFACE_HELPER_ShipOrder,
        ) -> Result<OUTPUT_ShipOrder, ShipOrderError> {
            orders.ship(input).await
        }
    };
    assert_golden!("usecase", crate::usecase::expand(TokenStream::new(), item));
}

#[test]
fn usecase_without_an_interface() {
    let item = quote! {
        pub async fn USECASE_QuoteOrder(input: INPUT_QuoteOrder) -> Result<OUTPUT_QuoteOrder, Failed> {
            Ok(quote(input))
        }
    };
    assert_golden!("usecase_without_an_interface", crate::usecase::expand(TokenStream::new(), item));
}

#[test]
fn interface() {
    let item = quote! {
        /// What it needs.
        pub trait INTERFACE_HELPER_ShipOrder {
            async fn find(&self, id: &OrderId) -> Result<Option<Order>, ShipOrderError>;
            fn save(&mut self, order: Order);
        }
    };
    assert_golden!("interface", crate::interface::expand(TokenStream::new(), item));
}

#[test]
fn contract_struct() {
    let item = quote! {
        pub struct CONTRACT_HELPER_ShipOrder_V12 {
            orders: WorkingSet<Order>,
            clock: Clock,
        }
    };
    assert_golden!("contract_struct", crate::contract::expand(TokenStream::new(), item));
}

#[test]
fn contract_impl() {
    let item = quote! {
        impl INTERFACE_HELPER_ShipOrder for CONTRACT_HELPER_ShipOrder_V12 {
            async fn find(&self, id: &OrderId) -> Result<Option<Order>, ShipOrderError> {
                Ok(self.orders.get(id).await)
            }

            fn save(&mut self, order: Order) {
                self.orders.put(order);
            }
        }
    };
    assert_golden!("contract_impl", crate::contract::expand(TokenStream::new(), item));
}

#[test]
fn schema() {
    let item = quote! {
        /// The data of `OrderShipped`.
        #[derive(Clone)]
        pub struct INPUT_ShipOrder {
            pub order_id: OrderId,
            #[garde(length(min = 1))]
            pub carrier: Option<String>,
            #[serde(rename = "no")]
            pub number: u32,
        }
    };
    assert_golden!("schema", crate::schema::expand(TokenStream::new(), item));
}

#[test]
fn failure() {
    let item = quote! {
        #[derive(Debug, thiserror::Error)]
        pub enum ShipOrderError {
            #[failure(retry)]
            NotYet(OrderId),
            #[failure(dead_letter)]
            Cancelled,
            #[failure(park_key)]
            Held { by: String },
        }
    };
    assert_golden!("failure", crate::failure::expand(item));
}

#[test]
fn injectable() {
    let item = quote! {
        pub struct Shelf {
            orders: WorkingSet<Order>,
        }
    };
    assert_golden!("injectable", crate::injectable::expand(item));
}

#[test]
fn dispatcher() {
    let arguments = quote!(name = "orders", entities = [Order], sample = orders::sample::life);
    let files = Files::Scanned("shop/src".to_owned());
    assert_golden!("dispatcher", crate::dispatcher::expand_over(files, arguments));
}

#[test]
fn dispatcher_of_a_domain_in_one_file() {
    let arguments = quote!(name = "orders");
    assert_golden!("dispatcher_of_a_domain_in_one_file", crate::dispatcher::expand_over(Files::None, arguments));
}

#[test]
fn entity_with_every_kind_of_column() {
    let arguments = quote! { table = "parcels", renamed(from = "sort", to = "category", since = 2) };
    let item = quote! {
        /// A parcel.
        pub struct Parcel {
            #[key]
            pub parcel_id: ParcelId,
            #[column(filter(since = 2))]
            pub category: String,
            #[column(json, fixed)]
            pub route: Vec<String>,
            #[column(decimal)]
            pub value: Option<Money>,
            #[column(since = 2, default = 1)]
            pub pieces: u32,
        }
    };
    assert_golden!("entity", crate::entity::expand(arguments, item));
}

#[test]
fn entity_that_is_wrong_registers_nothing() {
    let item = quote! {
        pub struct Parcel {
            pub parcel_id: ParcelId,
        }
    };
    assert_golden!("entity_that_is_wrong", crate::entity::expand(quote!(table = "parcels"), item));
}

#[test]
fn id() {
    let item = quote! {
        /// The identity of a parcel.
        pub struct ParcelId(String);
    };
    assert_golden!("id", crate::id::expand(quote!(max_bytes = 32), item));
}

#[test]
fn values() {
    let item = quote! {
        pub enum Size {
            Small,
            #[value("extra_large")]
            ExtraLarge,
        }
    };
    assert_golden!("values", crate::values::expand(TokenStream::new(), item));
}
