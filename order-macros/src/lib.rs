//! Attributes (skeleton).
use proc_macro::TokenStream;
/// x
#[proc_macro_attribute]
pub fn event_processor(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
/// x
#[proc_macro_attribute]
pub fn usecase(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
/// x
#[proc_macro_attribute]
pub fn interface(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
/// x
#[proc_macro_attribute]
pub fn contract(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
/// x
#[proc_macro_attribute]
pub fn schema(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
/// x
#[proc_macro]
pub fn dispatcher(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
/// x
#[proc_macro_derive(Failure, attributes(failure))]
pub fn failure(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
/// x
#[proc_macro_derive(Injectable)]
pub fn injectable(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
