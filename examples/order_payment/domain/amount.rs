//! Amounts of money, and how an order is to be paid.

use serde::{Deserialize, Serialize};

/// Money in the smallest unit of its currency (centavos, for Olist). Never a float.
pub type Amount = i64;

/// The largest amount that a reader lets in for one order, either way. Sums over nine million orders of
/// this size still fit an [`Amount`].
pub const AMOUNT_MAX: Amount = 1_000_000_000_000;

/// One of the payments that an order is to be paid with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentPlan {
    /// Unique within its order; the payment is `Payment/<order>-<sequential>`. May have gaps.
    pub sequential: u32,
    /// `credit_card`, `voucher`, …: as the source calls it.
    pub kind: String,
    /// May be zero.
    pub amount: Amount,
}

impl PaymentPlan {
    /// The id of the payment aggregate.
    pub fn payment_id(&self, order: &str) -> String {
        format!("{order}-{}", self.sequential)
    }
}
