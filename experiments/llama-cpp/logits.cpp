// Prints llama.cpp's logits or greedy tokens for given token ids, for parity.py. The KV cache
// is in f32 and attention is not fused, so that only the weights are rounded.
//
//   logits MODEL.gguf THREADS greedy COUNT < ids    one line per token: id, gap to the second best
//   logits MODEL.gguf THREADS forced < ids          raw f32 logits of every position
//   logits MODEL.gguf THREADS single < ids          the same, one token at a time

#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

static void fail(const char * what) {
    std::fprintf(stderr, "logits: %s\n", what);
    std::exit(1);
}

static void feed(llama_context * context, const std::vector<llama_token> & tokens, int first) {
    llama_batch batch = llama_batch_init((int) tokens.size(), 0, 1);
    for (size_t i = 0; i < tokens.size(); i++) {
        batch.token[i]     = tokens[i];
        batch.pos[i]       = first + (llama_pos) i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = 1;
    }
    batch.n_tokens = (int) tokens.size();
    if (llama_decode(context, batch) != 0) {
        fail("llama_decode failed");
    }
    llama_batch_free(batch);
}

int main(int argc, char ** argv) {
    const std::string mode = argc > 3 ? argv[3] : "";
    const bool single = mode == "single";
    if (!((mode == "forced" || single) && argc == 4) && !(mode == "greedy" && argc == 5)) {
        fail("usage: logits MODEL.gguf THREADS (greedy COUNT | forced | single) < ids");
    }
    const int count = mode == "greedy" ? std::atoi(argv[4]) : 0;
    std::vector<llama_token> ids;
    for (int id; std::scanf("%d", &id) == 1;) {
        ids.push_back(id);
    }
    if (ids.empty()) {
        fail("expected token ids on standard input");
    }

    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == nullptr) {
        fail("cannot load the model");
    }
    const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (llama_token id : ids) {
        if (id < 0 || id >= vocabulary) {
            fail("an id is not in the vocabulary");
        }
    }
    llama_context_params params = llama_context_default_params();
    params.n_ctx           = (uint32_t) ids.size() + count + 8;
    params.n_batch         = (uint32_t) ids.size();
    params.n_ubatch        = (uint32_t) ids.size();
    params.n_threads       = std::atoi(argv[2]);
    params.n_threads_batch = params.n_threads;
    params.type_k          = GGML_TYPE_F32;
    params.type_v          = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (context == nullptr) {
        fail("cannot make a context");
    }

    const auto write = [&](int i) {
        const float * logits = llama_get_logits_ith(context, i);
        if (std::fwrite(logits, sizeof(float), vocabulary, stdout) != (size_t) vocabulary) {
            fail("cannot write");
        }
    };
    if (single) {
        for (int i = 0; i < (int) ids.size(); i++) {
            feed(context, { ids[i] }, i);
            write(0);
        }
        return 0;
    }
    feed(context, ids, 0);
    if (mode == "forced") {
        for (int i = 0; i < (int) ids.size(); i++) {
            write(i);
        }
        return 0;
    }
    int last = (int) ids.size() - 1;
    for (int n = 0, position = (int) ids.size(); n < count; n++, position++) {
        const float * logits = llama_get_logits_ith(context, last);
        int best = 0;
        for (int i = 1; i < vocabulary; i++) {
            if (logits[i] > logits[best]) {
                best = i;
            }
        }
        float second = -1e30f;
        for (int i = 0; i < vocabulary; i++) {
            if (i != best && logits[i] > second) {
                second = logits[i];
            }
        }
        std::printf("%d %.9g\n", best, logits[best] - second);
        feed(context, { best }, position);
        last = 0;
    }
    return 0;
}
