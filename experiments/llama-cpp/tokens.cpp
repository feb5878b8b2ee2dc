// Prints llama.cpp's token ids of texts, for the tests' make_gemma3.py.
//
//   tokens MODEL.gguf < texts    texts are separated by zero bytes; one line of ids for each

#include "llama.h"

#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

int main(int argc, char ** argv) {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    llama_model * model = argc == 2 ? llama_model_load_from_file(argv[1], params) : nullptr;
    if (!model) {
        std::fprintf(stderr, "tokens: expected a GGUF file\n");
        return 1;
    }
    const llama_vocab * vocab = llama_model_get_vocab(model);
    const std::string all((std::istreambuf_iterator<char>(std::cin)), {});
    for (size_t start = 0; start < all.size();) {
        size_t end = all.find('\0', start);
        if (end == std::string::npos) {
            end = all.size();
        }
        const int length = (int) (end - start);
        std::vector<llama_token> ids(length + 8);
        // No special tokens are added, and none is read from the text.
        const int count = llama_tokenize(vocab, all.data() + start, length, ids.data(),
                                         (int) ids.size(), false, false);
        for (int i = 0; i < count; i++) {
            std::printf(i ? " %d" : "%d", ids[i]);
        }
        std::printf("\n");
        start = end + 1;
    }
    return 0;
}
