// A routed pair of language models: a small one on this device, a large one wherever it is, and a
// router that decides token by token which of the two speaks.
//
// Texts are UTF-8 both ways. Texts to the library end with a 0 byte. Texts from the library end with
// a 0 byte too, and are whole characters.
//
// A pair may be used from several threads, and may have several answers at once. An answer belongs
// to one thread at a time; tr_cancel alone may be called from any.
//
// No function ends the program or throws: a failure is TR_ERROR, and tr_last_error says why.


#ifndef TOKENROUTE_H
#define TOKENROUTE_H

// Generated from crates/ffi/src by its test `header`. Do not edit.

#include <stddef.h>
#include <stdint.h>

// It worked; of `tr_step`: there is a token.
#define TR_OK 0

// The answer is complete: the model ended it.
#define TR_END 1

// The answer is complete: it has as many tokens as were wanted, or as fit the context.
#define TR_LENGTH 2

// The answer was cancelled.
#define TR_CANCELLED 3

// It did not work; `tr_last_error` says why.
#define TR_ERROR -1

// The small model made the token.
#define TR_SLM 0

// The large model made the token.
#define TR_LLM 1

// The large model should have made the token and failed: the small model's token stands.
#define TR_DEGRADED 2

// An answer under way.
typedef struct tr_answer tr_answer;

// An open pair.
typedef struct tr_pair tr_pair;

// Asks the program for the large model's next token after these. Returns 0 and sets `token`, or
// returns another number if there is none; the small model's token then stands. It is called on a
// thread of the library, one call at a time for each answer.
typedef int32_t (*tr_ask)(void *user, const uint32_t *tokens, size_t count, uint32_t *token);

// Options of a pair. `tr_options_default` fills them in.
typedef struct tr_options {
    // The small model: a folder in Hugging Face layout, or a GGUF file.
    const char *slm;
    // The large model, if it runs here: as `slm`. In builds with the feature `http` also the URL
    // of a server. Null if there is none, or if `ask` is set.
    const char *llm;
    // The API key of the server at `llm`; null if it needs none.
    const char *llm_key;
    // Asks the large model, if the program reaches it by itself. It shares the tokenizer of the
    // small model.
    tr_ask ask;
    // The first argument of `ask`. It must be usable from other threads until `tr_close`.
    void *user;
    // The router file; needed with a large model.
    const char *router;
    // The threshold, 0 (the small model alone) to 1 (the large one alone).
    double tau;
    // The largest share of an answer's tokens that the large model may make, 0 to 1.
    double max_offload;
    // Longest wait for one token of the large model in milliseconds; 0 is no limit. After it the
    // small model's token stands. It has no effect on a large model that runs here.
    uint64_t deadline_ms;
    // Threads of quantised products; 0 is all of the machine's.
    size_t threads;
} tr_options;

// One message of a conversation.
typedef struct tr_message {
    // "system", "user" or "assistant".
    const char *role;
    // The text.
    const char *content;
} tr_message;

// One token of an answer.
typedef struct tr_token {
    // The text that this token makes certain, in whole characters; empty while a character is
    // incomplete, and for an end token. It ends with a 0 byte. It is valid until the next call
    // with this answer.
    const char *text;
    // Bytes of `text` without the 0 at its end. The text may itself hold 0 bytes.
    size_t text_bytes;
    // The token's id.
    uint32_t id;
    // `TR_SLM`, `TR_LLM` or `TR_DEGRADED`.
    uint8_t origin;
    // The router's score: the probability that the small model's token may be kept.
    double score;
} tr_token;

// Receives a token, which is valid during the call. Returns 0 to go on; another number cancels
// the answer.
typedef int32_t (*tr_hear)(void *user, const struct tr_token *token);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Options with every default: no large model, τ 0, no limit of offload or waiting, all threads.
// `slm` must still be set.
struct tr_options tr_options_default(void);

// Opens a pair: loads its models and the router, and checks that they belong together. Returns
// `TR_OK` and sets `pair`, or `TR_ERROR`. `tr_close` frees the pair.
//
// # Safety
// `options` and `pair` are null or valid. Texts in the options end with a 0 byte.
int32_t tr_open(const struct tr_options *options, struct tr_pair **pair);

// Closes a pair. Null does nothing. Close its answers first.
//
// # Safety
// `pair` is null, or came from `tr_open` and was not closed.
void tr_close(struct tr_pair *pair);

// Begins an answer of at most `max_tokens` tokens to a plain prompt. Returns `TR_OK` and sets
// `answer`, or `TR_ERROR`. `tr_answer_close` frees the answer.
//
// # Safety
// `pair` is open; `answer` is null or valid; `prompt` ends with a 0 byte.
int32_t tr_begin(const struct tr_pair *pair,
                 const char *prompt,
                 size_t max_tokens,
                 struct tr_answer **answer);

// As `tr_begin`, for a conversation, which the small model's chat template makes into a prompt.
// A special token that a message spells becomes a control token.
//
// # Safety
// As `tr_begin`; there are `count` messages, whose texts end with a 0 byte.
int32_t tr_begin_chat(const struct tr_pair *pair,
                      const struct tr_message *messages,
                      size_t count,
                      size_t max_tokens,
                      struct tr_answer **answer);

// Waits for the next token. Returns `TR_OK` and sets `token`; or, once the answer is complete,
// `TR_END`, `TR_LENGTH` or `TR_CANCELLED`; or `TR_ERROR`.
//
// # Safety
// `answer` is open; `token` is null or valid.
int32_t tr_step(const struct tr_answer *answer, struct tr_token *token);

// Passes every token that is still to come to `hear`, on this thread. Returns as `tr_step` does
// after the last token. If `hear` returns another number than 0, the answer is cancelled.
//
// # Safety
// `answer` is open; `hear` may be called with `user`. It must not call functions with this
// answer but `tr_cancel`.
int32_t tr_stream(const struct tr_answer *answer, tr_hear hear, void *user);

// Cancels an answer, from any thread. A step that waits returns, except for one that waits for a
// large model in this process. Null does nothing.
//
// # Safety
// `answer` is null or open.
void tr_cancel(const struct tr_answer *answer);

// Closes an answer, complete or not. It waits for a call of the large model that is under way.
// Null does nothing.
//
// # Safety
// `answer` is null, or was begun and not closed. No other call uses it.
void tr_answer_close(struct tr_answer *answer);

// The last error of this thread, in UTF-8; empty if there was none. It is valid until the next
// error of this thread.
const char *tr_last_error(void);

// The version of the library.
const char *tr_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TOKENROUTE_H */
