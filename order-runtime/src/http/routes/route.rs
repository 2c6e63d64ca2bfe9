//! A route with its handler and its description. The router and the OpenAPI document are both made from it, so they cannot
//! differ.

use axum::{
    Router,
    handler::Handler,
    routing::{self, MethodRouter},
};
use schemars::JsonSchema;

use crate::{
    documents::{Audience, Parameter, RouteDescription, parameters},
    http::App,
};

/// One method of one path.
pub(crate) struct Route {
    pub(crate) description: RouteDescription,
    handler: MethodRouter<App>,
}

impl Route {
    pub(super) fn get<T: 'static>(path: &str, summary: &'static str, handler: impl Handler<T, App>) -> Self {
        Self::new("get", path, summary, routing::get(handler))
    }

    pub(super) fn post<T: 'static>(path: &str, summary: &'static str, handler: impl Handler<T, App>) -> Self {
        Self::new("post", path, summary, routing::post(handler))
    }

    pub(super) fn delete<T: 'static>(path: &str, summary: &'static str, handler: impl Handler<T, App>) -> Self {
        Self::new("delete", path, summary, routing::delete(handler))
    }

    fn new(method: &'static str, path: &str, summary: &'static str, handler: MethodRouter<App>) -> Self {
        let path = path.to_owned();
        let description =
            RouteDescription { method, path, summary, query: Vec::new(), answers: &[], audience: Audience::Open };
        Self { description, handler }
    }

    /// Sets the query parameters to the fields of `P`.
    pub(super) fn query<P: JsonSchema>(self) -> Self {
        self.parameters(parameters::<P>())
    }

    /// Sets the query parameters.
    pub(super) fn parameters(mut self, query: Vec<Parameter>) -> Self {
        self.description.query = query;
        self
    }

    pub(super) fn answers(mut self, answers: &'static [(&'static str, &'static str)]) -> Self {
        self.description.answers = answers;
        self
    }

    pub(super) fn of(mut self, audience: Audience) -> Self {
        self.description.audience = audience;
        self
    }

    /// Adds the route to a router.
    pub(super) fn onto(self, router: Router<App>) -> Router<App> {
        router.route(&self.description.path, self.handler)
    }
}
