// Answers a prompt with a routed pair. The large model's tokens stand in brackets.
//
//     answer SLM LLM ROUTER TAU PROMPT [MAX_TOKENS]
//
// LLM and ROUTER may be "-": the small model then answers alone.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenroute.h"

struct counts {
    size_t tokens;
    size_t offloaded;
};

static int32_t print_token(void *user, const tr_token *token) {
    struct counts *counts = user;
    int by_llm = token->origin == TR_LLM;
    counts->tokens += 1;
    counts->offloaded += by_llm ? 1 : 0;
    if (token->text_bytes > 0) {
        fputs(by_llm ? "[" : "", stdout);
        fwrite(token->text, 1, token->text_bytes, stdout);
        fputs(by_llm ? "]" : "", stdout);
        fflush(stdout);
    }
    return 0;
}

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, tr_last_error());
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: answer SLM LLM ROUTER TAU PROMPT [MAX_TOKENS]\n");
        return 2;
    }
    tr_options options = tr_options_default();
    options.slm = argv[1];
    options.llm = strcmp(argv[2], "-") == 0 ? NULL : argv[2];
    options.router = strcmp(argv[3], "-") == 0 ? NULL : argv[3];
    options.tau = strtod(argv[4], NULL);
    size_t max_tokens = argc > 6 ? (size_t)strtoul(argv[6], NULL, 10) : 128;

    tr_pair *pair = NULL;
    if (tr_open(&options, &pair) != TR_OK) {
        return fail("tr_open");
    }
    tr_answer *answer = NULL;
    if (tr_begin(pair, argv[5], max_tokens, &answer) != TR_OK) {
        tr_close(pair);
        return fail("tr_begin");
    }
    // The first token by itself, the others as a stream.
    struct counts counts = {0, 0};
    tr_token token;
    int32_t status = tr_step(answer, &token);
    if (status == TR_OK) {
        print_token(&counts, &token);
        status = tr_stream(answer, print_token, &counts);
    }
    if (status == TR_ERROR) {
        fail("tr_stream");
    } else {
        printf("\n%zu tokens, %zu by the large model, %s\n", counts.tokens, counts.offloaded,
               status == TR_END ? "ended" : "cut");
    }
    tr_answer_close(answer);
    tr_close(pair);
    return status == TR_ERROR;
}
