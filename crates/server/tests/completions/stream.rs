//! Tokens that the client passes on as the server sends them.

use tokenroute_core::Llm;
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_server::completions::BatchConfig;

use crate::support::{client, serve};

#[test]
fn a_stream_is_a_relay_token_by_token() {
    let server = serve(ToyModel::new(5), None, BatchConfig::default());
    let (http, vocabulary) = (client(&server), ToyModel::vocabulary());
    for prompt in [vec![1, 2, 3], vec![4; 9], vec![0]] {
        let plain = InProcess::new(ToyModel::new(5));
        let whole = plain.relay(&prompt, 12, None, &vocabulary).expect("a run");
        let mut heard = Vec::new();
        let reply = http.stream(&prompt, 12, &mut |token| heard.push(token)).expect("a stream");
        assert_eq!((&heard, &reply.tokens), (&whole.tokens, &whole.tokens));
        assert_eq!(reply.positions as usize, prompt.len() + heard.len() - 1, "read once each");
    }
    server.stop().expect("an orderly end");
}
