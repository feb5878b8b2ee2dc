//! The schema and the reference of experiment files, as committed. `UPDATE_DOCS=1` writes
//! both.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenroute_lab::experiment_schema;

const SCHEMA: &str = "experiment.schema.json";
const PAGE: &str = "experiment.md";
/// The top of the file and its sections, in the order of the stages.
const ORDER: [&str; 8] = ["title", "seed", "pair", "data", "label", "train", "sweep", "report"];

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference")
}

fn compare(name: &str, made: &str) {
    let path = reference().join(name);
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(&path, made).expect("a write");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "{} is stale; run UPDATE_DOCS=1 cargo test -p tokenroute-lab --test reference",
        path.display()
    );
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let json = serde_json::to_string_pretty(&experiment_schema()).expect("JSON");
    compare(SCHEMA, &format!("{json}\n"));
}

#[test]
fn the_committed_page_is_that_of_the_schema() {
    compare(PAGE, &page(&experiment_schema()));
}

fn page(schema: &Value) -> String {
    let mut text = format!(
        "# The experiment file\n\n\
         <!-- Generated: UPDATE_DOCS=1 cargo test -p tokenroute-lab --test reference -->\n\n\
         `experiment.toml` has one section per stage. Unknown keys are refused. Paths are \
         relative to the file. The commands that run a stage, and `calibrate`, take \
         `--set key=value`, with dotted keys as in the headings below.\n\n\
         An editor that knows TOML schemas completes and checks the file by its first line:\n\n\
         ```toml\n#:schema ../../docs/src/reference/{SCHEMA}\n```\n"
    );
    section(&mut text, schema, schema, "");
    text
}

/// A table of a section's keys, then the sections in it.
fn section(text: &mut String, root: &Value, object: &Value, path: &str) {
    let Some(properties) = object["properties"].as_object() else { return };
    let required: Vec<&str> =
        object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut inner = Vec::new();
    text.push_str("\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    let mut properties: Vec<(&String, &Value)> = properties.iter().collect();
    properties.sort_by_key(|(key, _)| ORDER.iter().position(|name| path.is_empty() && name == key));
    for (key, property) in properties {
        let target = resolve(root, property);
        let meaning = meaning(property, target);
        let required = required.contains(&key.as_str());
        let default = match (&property["default"], required) {
            (_, true) => "required".to_owned(),
            (Value::Null, false) => String::new(),
            (Value::Object(_) | Value::Array(_), false) => String::new(),
            (value, false) => format!("`{value}`"),
        };
        writeln!(text, "| `{key}` | {} | {default} | {meaning} |", kind(root, property))
            .expect("text");
        if !target["properties"].is_null() {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            inner.push((below, target));
        } else if let Some((place, value)) = nested(root, target) {
            inner.push((format!("{path}.{key}{place}"), value));
        }
    }
    for (below, target) in inner {
        writeln!(text, "\n## `[{below}]`\n\n{}", description(target)).expect("text");
        section(text, root, target, &below);
    }
}

/// The schema behind a property: what it refers to, or the property itself.
fn resolve<'s>(root: &'s Value, property: &'s Value) -> &'s Value {
    let whole = property["allOf"].get(0).unwrap_or(property);
    match whole["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        Some(path) => root.pointer(path).unwrap_or(property),
        None => alternative(property).map_or(property, |other| resolve(root, other)),
    }
}

/// What an optional property is when it is there.
fn alternative(property: &Value) -> Option<&Value> {
    property["anyOf"].as_array()?.iter().find(|other| other["type"] != "null")
}

/// The section in a map or a list, with the placeholder in its heading.
fn nested<'s>(root: &'s Value, target: &'s Value) -> Option<(&'static str, &'s Value)> {
    let (place, value) = match (&target["additionalProperties"], &target["items"]) {
        (value @ Value::Object(_), _) => (".NAME", value),
        (_, value @ Value::Object(_)) => ("[]", value),
        _ => return None,
    };
    let value = resolve(root, value);
    (!value["properties"].is_null()).then_some((place, value))
}

fn description(value: &Value) -> String {
    value["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn meaning(property: &Value, target: &Value) -> String {
    let own = description(property);
    let text = if own.is_empty() { description(target) } else { own };
    text.replace('|', "\\|")
}

fn kind(root: &Value, property: &Value) -> String {
    let target = resolve(root, property);
    if let Some(values) = choices(target) {
        return values;
    }
    if let Some(kinds) = target["oneOf"].as_array().or(target["anyOf"].as_array()) {
        let kinds: Vec<String> = kinds.iter().map(|one| kind(root, one)).collect();
        return kinds.join(" or ");
    }
    let name = match &target["type"] {
        Value::Array(types) => types.iter().find_map(Value::as_str).unwrap_or_default(),
        other => other.as_str().unwrap_or_default(),
    };
    match name {
        "array" => format!("list of {}", kind(root, &target["items"])),
        "object" => variant(target).unwrap_or_else(|| "section".to_owned()),
        other => other.to_owned(),
    }
}

/// A table that names its kind: `{ kind = "linear", rewards }`.
fn variant(target: &Value) -> Option<String> {
    let properties = target["properties"].as_object()?;
    let kind = properties.get("kind")?["const"].as_str()?;
    let others = properties.keys().filter(|key| *key != "kind");
    let others: String = others.map(|key| format!(", {key}")).collect();
    Some(format!("`{{ kind = \"{kind}\"{others} }}`"))
}

/// The values of an enumeration.
fn choices(target: &Value) -> Option<String> {
    let named = |value: &Value| value.as_str().map(|name| format!("`{name}`"));
    let listed = target["enum"].as_array().map(|values| values.iter().filter_map(named).collect());
    let described = || {
        let one = target["oneOf"].as_array()?;
        one.iter().map(|choice| named(&choice["const"]).or(named(&choice["enum"][0]))).collect()
    };
    let values: Vec<String> = listed.or_else(described)?;
    Some(values.join(", "))
}
