//! Limits the bytes that a template searches and compares while it renders, and how deeply it
//! nests values. minijinja's fuel counts a search or a comparison as one step.

use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::value::{Object, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters, functions, tests};

use super::meter::{ITEM, check_size, size};

/// Filter after a text or list that is searched or compared.
pub(super) const SEARCHED: &str = "_searched";
/// Filter after a list or map that is made of other values, and around what an attribute is set
/// to.
pub(super) const NESTED: &str = "_nested";

/// Most bytes that a template may search.
const MOST_SEARCHED: u64 = 256 << 20;

/// Bytes searched so far in one rendering.
#[derive(Debug, Default)]
struct Searched(AtomicU64);

impl Object for Searched {}

/// Adds the meters that a rewritten template names, and those on filters, tests and functions
/// whose work grows with their input.
pub(super) fn install(environment: &mut Environment<'_>) {
    environment.add_filter(SEARCHED, |state: &State<'_, '_>, value: Value| {
        charge(state, size(&value)).map(|()| value)
    });
    environment.add_filter(NESTED, |state: &State<'_, '_>, value: Value| {
        match value.kind() {
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => charge(state, size(&value))?,
            _ => {}
        }
        Ok::<_, Error>(value)
    });
    for name in ["length", "count"] {
        environment.add_filter(name, |state: &State<'_, '_>, value: Value| {
            // A text's characters are counted one by one.
            charge(state, value.as_str().map_or(0, |text| text.len() as u64))?;
            filters::length(&value)
        });
    }
    let whole: fn(&[Value]) -> u64 = |args| args.iter().map(size).fold(0, u64::saturating_add);
    // Their items are lists of their input's items.
    for (name, filter) in [
        ("dictsort", Value::from_function(filters::dictsort)),
        ("groupby", Value::from_function(filters::groupby)),
        ("items", Value::from_function(filters::items)),
        ("zip", Value::from_function(filters::zip)),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
    ] {
        metered(environment, name, filter, whole);
    }
    let items = |args: &[Value]| {
        let count = |arg: &Value| ITEM.saturating_mul(arg.len().unwrap_or(0) as u64);
        args.iter().map(count).fold(0, u64::saturating_add)
    };
    for (name, filter) in [
        ("chain", Value::from_function(filters::chain)),
        ("map", Value::from_function(filters::map)),
        ("reject", Value::from_function(filters::reject)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("select", Value::from_function(filters::select)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("sum", Value::from_function(filters::sum)),
    ] {
        metered(environment, name, filter, items);
    }
    for (name, function) in [
        ("dict", Value::from_function(functions::dict)),
        ("namespace", Value::from_function(functions::namespace)),
    ] {
        environment.add_function(name, move |state: &State<'_, '_>, args: Rest<Value>| {
            charge(state, whole(&args))?;
            function.call(state, &args)
        });
    }
    compare(environment, &["eq", "equalto", "=="], tests::is_eq);
    compare(environment, &["ne", "!="], tests::is_ne);
    compare(environment, &["lt", "lessthan", "<"], tests::is_lt);
    compare(environment, &["le", "<="], tests::is_le);
    compare(environment, &["gt", "greaterthan", ">"], tests::is_gt);
    compare(environment, &["ge", ">="], tests::is_ge);
    environment.add_test("in", |state: &State<'_, '_>, value: &Value, among: &Value| {
        charge(state, size(among))?;
        tests::is_in(state, value, among)
    });
}

/// Puts a meter before a comparison. It costs no more than either value's size.
fn compare(
    environment: &mut Environment<'_>,
    names: &[&'static str],
    test: fn(&Value, &Value) -> bool,
) {
    for &name in names {
        environment.add_test(name, move |state: &State<'_, '_>, a: &Value, b: &Value| {
            charge(state, size(a))?;
            Ok::<_, Error>(test(a, b))
        });
    }
}

/// Puts a meter before a filter.
fn metered(
    environment: &mut Environment<'_>,
    name: &'static str,
    filter: Value,
    cost: fn(&[Value]) -> u64,
) {
    environment.add_filter(name, move |state: &State<'_, '_>, args: Rest<Value>| {
        charge(state, cost(&args))?;
        filter.call(state, &args)
    });
}

/// Counts bytes that are about to be searched.
fn charge(state: &State<'_, '_>, bytes: u64) -> Result<(), Error> {
    check_size(bytes)?;
    let searched = state.get_or_set_temp_object("searched", Searched::default);
    let before = searched.0.fetch_add(bytes.min(MOST_SEARCHED), Ordering::Relaxed);
    if before.saturating_add(bytes) > MOST_SEARCHED {
        let what = format!("it searches more than {MOST_SEARCHED} bytes");
        return Err(Error::new(ErrorKind::InvalidOperation, what));
    }
    Ok(())
}
