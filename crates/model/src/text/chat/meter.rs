//! Limits the bytes that a template builds while it renders. minijinja's fuel counts steps,
//! but one step may copy or repeat a text of any size. Meters count these bytes.

use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::value::{Kwargs, Object, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value, escape_formatter, filters};

/// Filter after a text or list that is copied.
pub(super) const COPIED: &str = "_copied";
/// Filter after an operand of `*`.
pub(super) const REPEATED: &str = "_repeated";
/// Function in a long plain text.
pub(super) const PRINTED: &str = "_printed";

/// Most bytes that a template may build. A hundred messages of 5 kB, appended one by one to
/// one text, take 50 MB.
const MOST_BUILT: u64 = 64 << 20;
/// Most lists and maps within one another in a value that is measured. A deeper value counts as
/// too large.
const MOST_NESTED: usize = 200;
/// Bytes of a list's or map's item.
pub(super) const ITEM: u64 = 24;
/// Most items that are visited when a value is measured. A larger value counts as too large.
const MOST_ITEMS: usize = 100_000;
/// Longest text that may be repeated by `*`.
const LONGEST_REPEATED: u64 = 64;

/// Bytes built so far in one rendering.
#[derive(Debug, Default)]
struct Built(AtomicU64);

impl Object for Built {}

/// Adds the meters to an environment: those that a rewritten template names, one on
/// printing, and those on filters whose output may exceed their input.
pub(super) fn install(environment: &mut Environment<'_>) {
    environment.add_filter(COPIED, |state: &State<'_, '_>, value: Value| {
        charge(state, size(&value)).map(|()| value)
    });
    environment.add_filter(REPEATED, repeated);
    environment.add_function(PRINTED, |state: &State<'_, '_>, bytes: u64| {
        charge(state, bytes).map(|()| "")
    });
    environment.set_formatter(|out, state, value| {
        charge(state, size(value))?;
        escape_formatter(out, state, value)
    });
    // `debug` would print the whole environment.
    environment.remove_global("debug");
    let plain = |args: &[Value]| args.iter().map(size).fold(0, u64::saturating_add);
    for (name, filter) in [
        ("capitalize", Value::from_function(filters::capitalize)),
        ("escape", Value::from_function(filters::escape)),
        ("e", Value::from_function(filters::escape)),
        ("lines", Value::from_function(filters::lines)),
        ("list", Value::from_function(filters::list)),
        ("lower", Value::from_function(filters::lower)),
        ("pprint", Value::from_function(filters::pprint)),
        ("reverse", Value::from_function(filters::reverse)),
        ("sort", Value::from_function(filters::sort)),
        ("split", Value::from_function(filters::split)),
        ("string", Value::from_function(filters::string)),
        ("title", Value::from_function(filters::title)),
        ("trim", Value::from_function(filters::trim)),
        ("unique", Value::from_function(filters::unique)),
        ("upper", Value::from_function(filters::upper)),
    ] {
        metered(environment, name, filter, plain);
    }
    metered(environment, "batch", Value::from_function(filters::batch), chunks);
    metered(environment, "slice", Value::from_function(filters::slice), chunks);
    metered(environment, "format", Value::from_function(filters::format), format);
    metered(environment, "indent", Value::from_function(filters::indent), indent);
    metered(environment, "join", Value::from_function(filters::join), join);
    metered(environment, "replace", Value::from_function(filters::replace), replace);
}

/// Charges the bytes that a method is about to build.
pub(super) fn method(
    state: &State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<(), Error> {
    let all: Vec<Value> = std::iter::once(value).chain(args).cloned().collect();
    charge(
        state,
        match name {
            "replace" => replace(&all),
            "format" => format(&all),
            // The method's value is the separator.
            "join" => join(&[args.first().cloned().unwrap_or_default(), value.clone()]),
            _ => size(value),
        },
    )
}

/// Counts bytes that are about to be built.
pub(super) fn charge(state: &State<'_, '_>, bytes: u64) -> Result<(), Error> {
    check_size(bytes)?;
    let built = state.get_or_set_temp_object("built", Built::default);
    let before = built.0.fetch_add(bytes.min(MOST_BUILT), Ordering::Relaxed);
    if before.saturating_add(bytes) > MOST_BUILT {
        let what = format!("it builds more than {MOST_BUILT} bytes");
        return Err(Error::new(ErrorKind::InvalidOperation, what));
    }
    Ok(())
}

/// Refuses a value whose [`size`] is too large to be measured.
pub(super) fn check_size(bytes: u64) -> Result<(), Error> {
    if bytes < u64::MAX {
        return Ok(());
    }
    let what = format!(
        "a value has more than {MOST_ITEMS} items, or {MOST_NESTED} lists and maps within one another"
    );
    Err(Error::new(ErrorKind::InvalidOperation, what))
}

/// Approximate bytes of a value when it is printed or copied; `u64::MAX` if it is too large to
/// be measured.
pub(super) fn size(value: &Value) -> u64 {
    fn add(value: &Value, left: &mut usize, depth: usize) -> u64 {
        if depth > MOST_NESTED {
            return u64::MAX;
        }
        if let Some(text) = value.as_str() {
            return text.len() as u64;
        }
        if let Some(bytes) = value.as_bytes() {
            return bytes.len() as u64;
        }
        let mut sum: u64 = 0;
        let nested = match value.kind() {
            // Iterables that templates can make start anew each time, and they end.
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => value.try_iter(),
            _ => return ITEM,
        };
        for item in nested.into_iter().flatten() {
            let Some(fewer) = left.checked_sub(1) else { return u64::MAX };
            *left = fewer;
            sum = sum.saturating_add(ITEM).saturating_add(add(&item, left, depth + 1));
            if value.kind() == ValueKind::Map {
                let held = value.get_item(&item).unwrap_or_default();
                sum = sum.saturating_add(add(&held, left, depth + 1));
            }
        }
        sum
    }
    add(value, &mut { MOST_ITEMS }, 0)
}

/// An operand of `*`: a number, or a short text to repeat.
fn repeated(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    let bad = |what: String| Err(Error::new(ErrorKind::InvalidOperation, what));
    match value.kind() {
        ValueKind::String if size(&value) > LONGEST_REPEATED => bad(format!(
            "it repeats a text of {} bytes; expected at most {LONGEST_REPEATED}",
            size(&value)
        )),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Bytes => {
            bad("it repeats a list; expected a number or a short text".to_owned())
        }
        ValueKind::Number => {
            let times = value.as_usize().unwrap_or(0) as u64;
            charge(state, LONGEST_REPEATED.saturating_mul(times)).map(|()| value)
        }
        _ => Ok(value),
    }
}

/// Puts a meter before a filter.
fn metered(
    environment: &mut Environment<'_>,
    name: &'static str,
    filter: Value,
    cost: impl Fn(&[Value]) -> u64 + Send + Sync + 'static,
) {
    environment.add_filter(name, move |state: &State<'_, '_>, args: Rest<Value>| {
        charge(state, cost(&args))?;
        filter.call(state, &args)
    });
}

/// A number among the arguments, by position or by name.
fn number(args: &[Value], place: usize, name: &str) -> u64 {
    let given = args.get(place).and_then(Value::as_usize);
    let named = || {
        let (kwargs,): (Kwargs,) =
            from_args(args.last().map_or(&[][..], std::slice::from_ref)).ok()?;
        kwargs.peek::<usize>(name).ok()
    };
    given.or_else(named).unwrap_or(0) as u64
}

fn first(args: &[Value]) -> u64 {
    args.first().map_or(0, size)
}

fn chunks(args: &[Value]) -> u64 {
    first(args).saturating_add(number(args, 1, "count").saturating_mul(ITEM))
}

fn indent(args: &[Value]) -> u64 {
    let text = args.first().and_then(Value::as_str).unwrap_or("");
    let lines = text.split('\n').count() as u64;
    first(args).saturating_add(lines.saturating_mul(number(args, 1, "width")))
}

fn join(args: &[Value]) -> u64 {
    let count = args.first().and_then(Value::len).unwrap_or(0) as u64;
    first(args).saturating_add(args.get(1).map_or(0, size).saturating_mul(count))
}

fn replace(args: &[Value]) -> u64 {
    let texts: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
    let added = match texts[..] {
        [text, from, to, ..] => (text.matches(from).count() as u64).saturating_mul(to.len() as u64),
        _ => 0,
    };
    first(args).saturating_add(added)
}

/// Every number in a format, and with `*` every argument, may be a width.
fn format(args: &[Value]) -> u64 {
    let text = args.first().and_then(Value::as_str).unwrap_or("");
    let widths = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let widths = widths.map(|digits| digits.parse().unwrap_or(u64::MAX));
    let given = args.iter().map(|arg| match arg.kind() {
        ValueKind::Number if text.contains('*') => arg.as_usize().unwrap_or(0) as u64,
        _ => size(arg),
    });
    widths.chain(given).fold(0, u64::saturating_add)
}
