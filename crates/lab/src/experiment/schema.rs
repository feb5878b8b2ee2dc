//! The JSON schema of an experiment file, for editors and for the reference.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::Value;
use tokenroute_llm::http::{Api, TextApi};
use tokenroute_model::{Device, Format, KvType};
use tokenroute_sweep::policies;

use super::Experiment;

/// The schema of an experiment file, as committed in `docs/src/reference`.
#[must_use]
pub fn experiment_schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<Experiment>().to_value()
}

/// Names of baselines.
pub(super) fn baselines(_: &mut SchemaGenerator) -> Schema {
    let names = policies::names();
    json_schema!({"type": "array", "items": {"type": "string", "enum": names}})
}

/// Names of quantisation formats.
pub(super) fn format(_: &mut SchemaGenerator) -> Schema {
    let names = [Format::Q8_0, Format::Q4_0, Format::Q4K].map(|format| format.to_string());
    json_schema!({"type": "string", "enum": names})
}

/// Names of KV types.
pub(super) fn kv(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": KvType::ALL.map(KvType::name)})
}

/// Names of devices.
pub(super) fn device(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": Device::ALL.map(Device::name)})
}

/// Names of servers' APIs.
pub(super) fn api(_: &mut SchemaGenerator) -> Schema {
    let going_on = TextApi::ALL.into_iter().filter(|(_, api)| !api.is_whole());
    let ids = Api::ALL.into_iter().map(|(name, _)| name);
    let names: Vec<&str> = ids.chain(going_on.map(|(name, _)| name)).collect();
    json_schema!({"type": "string", "enum": names})
}
