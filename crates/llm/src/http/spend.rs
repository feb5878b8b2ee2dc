//! A bill with a cap. Every request reserves its worst case before it is sent, so that the cap
//! holds whatever the server does.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokenroute_core::LlmError;

use super::HttpError;

/// Units of money are counted in millionths of millionths, so that sums are exact.
const UNIT: f64 = 1e12;

/// Tokens that a chat template may add to a request and to each of its messages.
const TEMPLATE: u64 = 1024;

/// What a provider asks for a million tokens, in one currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenPrices {
    /// For tokens of requests.
    pub input: f64,
    /// For those that the provider read before, by its own count.
    pub cached_input: f64,
    /// For generated tokens.
    pub output: f64,
}

/// Prices and the most that may be spent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpendLimit {
    /// The provider's prices.
    pub prices: TokenPrices,
    /// Most to spend, in the currency of the prices.
    pub most: f64,
}

/// Tokens and money so far, by the server's own counts. A request whose cost is not known counts
/// as its worst case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bill {
    /// Tokens of requests, cached ones included.
    pub input: u64,
    /// Tokens of requests that the server read before.
    pub cached_input: u64,
    /// Generated tokens.
    pub output: u64,
    /// Money, in 10⁻¹² of the currency.
    spent: u128,
}

impl Bill {
    /// Money spent, in the currency of the prices.
    #[must_use]
    pub fn spent(&self) -> f64 {
        self.spent as f64 / UNIT
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bill { input, cached_input, output, .. } = self;
        write!(
            f,
            "{input} tokens sent to the LLM ({cached_input} of them cached), {output} received, {:.6} spent",
            self.spent()
        )
    }
}

/// Tokens of one reply, as the server counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) input: u64,
    pub(crate) cached_input: u64,
    pub(crate) output: u64,
}

/// The money of a client.
#[derive(Debug)]
pub(crate) struct Purse {
    /// Prices of a token, in the bill's units: input, cached input, output.
    prices: [u128; 3],
    most: u128,
    money: Mutex<Money>,
}

#[derive(Debug, Default)]
struct Money {
    bill: Bill,
    reserved: u128,
}

/// What is set aside for one request.
#[derive(Debug)]
pub(crate) struct Reserved {
    worst: u128,
    input: u64,
    output: u64,
}

impl Purse {
    pub(crate) fn new(limit: &SpendLimit) -> Result<Self, HttpError> {
        let SpendLimit { prices: TokenPrices { input, cached_input, output }, most } = *limit;
        for (what, value) in [
            ("price of input", input),
            ("price of cached input", cached_input),
            ("price of output", output),
            ("most to spend", most),
        ] {
            if !(0.0..=1e9).contains(&value) {
                return Err(HttpError::BadMoney { what, value });
            }
        }
        // A millionth of a price for a million tokens.
        let of_token = |price: f64| (price * UNIT / 1e6).ceil() as u128;
        let prices = [input, cached_input, output].map(of_token);
        Ok(Purse { prices, most: (most * UNIT) as u128, money: Mutex::default() })
    }

    /// Sets the worst case of a request aside: no token of a text is shorter than a byte.
    pub(crate) fn reserve(
        &self,
        bytes: usize,
        messages: usize,
        output: usize,
    ) -> Result<Reserved, LlmError> {
        let input = bytes as u64 + TEMPLATE * (messages as u64 + 1);
        let output = output as u64;
        let [fresh, cached, made] = self.prices;
        let worst = u128::from(input) * fresh.max(cached) + u128::from(output) * made;
        let mut money = self.lock();
        if money.bill.spent + money.reserved + worst > self.most {
            return Err(LlmError::Refused(format!(
                "a request may cost {:.6}, and {:.6} of {:.6} is spent or reserved; raise the limit of spending",
                worst as f64 / UNIT,
                (money.bill.spent + money.reserved) as f64 / UNIT,
                self.most as f64 / UNIT,
            )));
        }
        money.reserved += worst;
        Ok(Reserved { worst, input, output })
    }

    /// Settles a request: by the server's count, as its worst case without one, or for nothing.
    pub(crate) fn settle(&self, reserved: &Reserved, cost: Cost) {
        let mut money = self.lock();
        money.reserved -= reserved.worst;
        let bill = &mut money.bill;
        match cost {
            Cost::Nothing => {}
            Cost::Unknown => {
                bill.input += reserved.input;
                bill.output += reserved.output;
                bill.spent += reserved.worst;
            }
            Cost::Counted(Counted { input, cached_input, output }) => {
                let cached_input = cached_input.min(input);
                let [fresh, cached, made] = self.prices;
                bill.input += input;
                bill.cached_input += cached_input;
                bill.output += output;
                bill.spent += u128::from(input - cached_input) * fresh
                    + u128::from(cached_input) * cached
                    + u128::from(output) * made;
            }
        }
    }

    pub(crate) fn bill(&self) -> Bill {
        self.lock().bill
    }

    fn lock(&self) -> MutexGuard<'_, Money> {
        self.money.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request costs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cost {
    /// It was refused, or never arrived.
    Nothing,
    /// The server may charge for it.
    Unknown,
    /// By the server's count.
    Counted(Counted),
}
