//! Routers as ONNX models, for devices that run ONNX. Features go in, logit and score come out;
//! normalisation and calibration are part of the model.

mod graph;
mod message;

use prost::Message;
use tokenroute_core::{Operator, RouterHeader, Score};

use crate::{RouterFile, StoreError};
use graph::Builder;
use message::{
    DOUBLE, Dimension, Entry, FLOAT, Graph, Model, OperatorSet, Shape, TensorType, Type, ValueInfo,
};

const KIND: &str = "ONNX model";

/// Version of the file format. Version 8 came with opset 17.
const IR_VERSION: i64 = 8;
/// Version of the operators: the first with LayerNormalization.
const OPSET: i64 = 17;
/// Most bytes of weights. A protobuf message has less than 2 GiB.
const MOST_BYTES: usize = 2_000_000_000;

impl RouterFile {
    /// The router as an ONNX model, in f32 whatever its size.
    ///
    /// The input `features` is `[rows, width]`, f32, as `FeatureSpec::layout` of `tokenroute-core`
    /// lists them, not normalised. The output `logit` `[rows]` is f32 and not calibrated. `score`
    /// `[rows]` is f64, as in [`Score`]. The metadata has the router's header.
    ///
    /// # Errors
    /// Layers that do not fit the header, a head that keeps a state, or too many weights for a message.
    pub fn to_onnx(&self) -> Result<Vec<u8>, StoreError> {
        let failed = |what: String| StoreError::Encode { kind: KIND, what };
        self.check().map_err(failed)?;
        let bytes = 4 * self.header.parameters();
        if bytes > MOST_BYTES {
            return Err(failed(format!(
                "its weights have {bytes} bytes; an ONNX file without further files holds at most {MOST_BYTES}"
            )));
        }
        let header = &self.header;
        if Operator::remembers(&header.architecture.operators(header.features.width())) {
            let what = "its head has the operator `gru`, which keeps a state from step to step; an ONNX model here has none, so export another head";
            return Err(failed(what.to_owned()));
        }
        let graph = self.graph().ok_or_else(|| failed("its layers are incomplete".to_owned()))?;
        let json = serde_json::to_string(header).map_err(|e| failed(e.to_string()))?;
        let entry = |key: &str, value| Entry { key: key.to_owned(), value };
        let model = Model {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
            producer_name: "tokenroute".to_owned(),
            doc_string: "A router of tokens between a small and a large language model. `score` is the probability that the small model's token may be kept; a token is offloaded if its score is below a threshold.".to_owned(),
            graph: Some(graph),
            metadata_props: vec![entry(RouterHeader::METADATA_KEY, json)],
        };
        Ok(model.encode_to_vec())
    }

    fn graph(&self) -> Option<Graph> {
        let RouterHeader { architecture, features, normalisation, platt, .. } = &self.header;
        let width = features.width();
        let mut builder = Builder::new(&self.layers);
        let (mean, scale) = (&normalisation.mean, &normalisation.scale);
        let (mean, scale) = (builder.floats(&[width], mean), builder.floats(&[width], scale));
        let x = builder.node("Sub", &["features", &mean]);
        let x = builder.node("Mul", &[&x, &scale]);
        let (mut x, rewards) = builder.operators(&architecture.operators(width), &x, width)?;
        if rewards == 2 {
            let difference = builder.floats(&[2, 1], &[1.0, -1.0]);
            x = builder.node("MatMul", &[&x, &difference]); // r_keep − r_offload
        }
        let axis = builder.integers(&[1]);
        builder.node("Squeeze", &[&x, &axis]);
        builder.name_last("logit");
        let x = builder.node_with("Cast", &["logit"], &[("to", i64::from(DOUBLE))]);
        let numbers = [f64::from(platt.scale), f64::from(platt.bias)];
        let [scale, bias] = numbers.map(|number| builder.double(number));
        let x = builder.node("Mul", &[&x, &scale]);
        let x = builder.node("Add", &[&x, &bias]);
        let x = builder.node("Sigmoid", &[&x]);
        let ends = [Score::MIN, Score::MAX].map(|end| builder.double(end.get()));
        builder.node("Clip", &[&x, &ends[0], &ends[1]]);
        builder.name_last("score");
        Some(Graph {
            node: builder.nodes,
            name: "router".to_owned(),
            initializer: builder.tensors,
            input: vec![value("features", FLOAT, Some(width), features.places().join("; "))],
            output: vec![
                value("logit", FLOAT, None, "Not calibrated".to_owned()),
                value("score", DOUBLE, None, "P(the small model's token may be kept)".to_owned()),
            ],
        })
    }
}

/// A value of `[rows]` or `[rows, width]`.
fn value(name: &str, element: i32, width: Option<usize>, doc_string: String) -> ValueInfo {
    let rows = Dimension { value: None, name: Some("rows".to_owned()) };
    let width = width.map(|width| Dimension { value: Some(width as i64), name: None });
    let shape = Shape { dim: std::iter::once(rows).chain(width).collect() };
    let tensor = TensorType { element, shape: Some(shape) };
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor: Some(tensor) }), doc_string }
}
