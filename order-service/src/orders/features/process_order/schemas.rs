use order_runtime::prelude::*;

use crate::orders::entities::money::not_negative;

/// The data of `OrderCreated`.
#[schema]
pub struct INPUT_ProcessOrder {
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    #[garde(length(chars, min = 1, max = 128))]
    pub customer_id: String,
    /// The currency of all amounts as an ISO 4217 code, for example `EUR`.
    #[garde(custom(three_letters))]
    #[schemars(extend("pattern" = "^[A-Z]{3}$"))]
    pub currency: String,
    /// The ordered items.
    #[garde(length(min = 1, max = 1000), dive)]
    pub items: Vec<Item>,
    /// The amount to be paid.
    #[garde(custom(not_negative))]
    pub total: Money,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "garde passes the context by reference")]
fn three_letters(currency: &str, (): &()) -> garde::Result {
    let fits = currency.len() == 3 && currency.bytes().all(|letter| letter.is_ascii_uppercase());
    if fits { Ok(()) } else { Err(garde::Error::new("is not a code of three upper-case letters")) }
}

/// The order that was created.
#[schema]
pub struct OUTPUT_ProcessOrder {
    /// The order.
    pub order_id: OrderId,
    /// The amount to be paid.
    pub total: Money,
}

#[cfg(test)]
mod tests {
    use order_runtime::dispatch::Schema as _;

    use super::*;

    fn paths(json: &str) -> Vec<String> {
        match INPUT_ProcessOrder::decode(json) {
            Ok(_) => Vec::new(),
            Err(invalid) => invalid.violations.into_iter().map(|violation| violation.path).collect(),
        }
    }

    #[test]
    fn a_valid_order_is_accepted() {
        let json = r#"{"orderId": "o-1", "customerId": "c-1", "currency": "EUR", "total": 25.0, "channel": "web",
            "items": [{"sku": "A", "quantity": 2, "unitPrice": 10.5}, {"sku": "B", "quantity": 1, "unitPrice": "4"}]}"#;
        let input = INPUT_ProcessOrder::decode(json).unwrap();
        assert_eq!(input.items.iter().map(Item::price).sum::<Money>(), input.total);
    }

    #[test]
    fn every_broken_rule_is_named_by_its_path() {
        let json = r#"{"orderId": "o-1", "customerId": "", "currency": "euro", "total": -1,
            "items": [{"sku": "A", "quantity": 0, "unitPrice": 1}, {"sku": "", "quantity": 1, "unitPrice": -0.01}]}"#;
        let mut found = paths(json);
        found.sort();
        assert_eq!(
            found,
            ["$.currency", "$.customerId", "$.items[0].quantity", "$.items[1].sku", "$.items[1].unitPrice", "$.total"]
        );
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path() {
        let with =
            |items: &str| format!(r#"{{"orderId":"o","customerId":"c","currency":"EUR","total":1,"items":{items}}}"#);
        assert_eq!(paths(&with(r#"[{"sku":"A","quantity":1.5,"unitPrice":1}]"#)), ["$.items[0].quantity"]);
        assert_eq!(paths(&with(r#"[{"sku":"A","quantity":1,"unitPrice":"x"}]"#)), ["$.items[0].unitPrice"]);
        assert_eq!(paths(&with("[]")), ["$.items"]);
        assert_eq!(paths(r#"{"orderId": ""}"#), ["$.orderId"]);
    }
}
