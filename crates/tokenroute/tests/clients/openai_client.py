"""Tests `tokenroute serve` with the official openai client.

Usage: openai_client.py URL KEY PROMPT. Exits with 77 if the client is not installed.
"""

import sys

try:
    import openai
except ImportError:
    print("the openai package is not installed", file=sys.stderr)
    sys.exit(77)

url, key, prompt = sys.argv[1:4]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

model = client.models.list().data[0].id
assert client.models.retrieve(model).id == model

messages = [{"role": "user", "content": prompt}]
routed = {"tau": 0.5, "tokenroute": True}
whole = client.chat.completions.create(
    model=model, messages=messages, max_completion_tokens=40, temperature=0, extra_body=routed
)
choice = whole.choices[0]
assert choice.message.role == "assistant" and choice.message.content
assert choice.finish_reason in ("stop", "length")
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
trace = whole.model_extra["tokenroute"]
assert "".join(token["text"] for token in trace) == choice.message.content
assert len(trace) == whole.usage.completion_tokens
used = whole.usage.model_extra["tokenroute"]
assert used["offloaded"] == sum(token["origin"] == "llm" for token in trace) > 0
assert used["degraded"] == 0

text, last = "", None
stream = client.chat.completions.create(
    model=model, messages=messages, max_tokens=40, stream=True,
    stream_options={"include_usage": True}, extra_body={"tau": 0.5},
)
for chunk in stream:
    for piece in chunk.choices:
        text += piece.delta.content or ""
    last = chunk
assert text == choice.message.content
assert last.usage.completion_tokens == whole.usage.completion_tokens

with client.chat.completions.stream(model=model, messages=messages, max_tokens=40,
                                    extra_body={"tau": 0.5}) as events:
    assert "".join(e.delta for e in events if e.type == "content.delta") == text

plain = client.completions.create(model=model, prompt=prompt + "\n", max_tokens=40, extra_body=routed)
assert plain.choices[0].text == choice.message.content
cut = client.completions.create(model=model, prompt=prompt + "\n", max_tokens=40, stop=[text[3:6]],
                                extra_body={"tau": 0.5})
assert cut.choices[0].text == text[: text.index(text[3:6])]
assert cut.choices[0].finish_reason == "stop"


def refused(kind, make):
    try:
        make(client)
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}")


def ask(**more):
    body = {"model": model, "messages": messages} | more
    return lambda client: client.chat.completions.create(**body)


warm = ask(temperature=1.5, top_p=0.95, seed=3, max_completion_tokens=40, extra_body=routed)
first, again = warm(client), warm(client)
assert first.choices == again.choices, "the same seed gives the same answer"
assert first.model_extra["sampling"] == {"temperature": 1.5, "top_p": 0.95, "seed": 3}, first
assert "greedy" in first.model_extra["note"] and "note" not in whole.model_extra, first

# Log-probabilities beside every token, whole and streamed.
listed = ask(max_completion_tokens=40, logprobs=True, top_logprobs=3, extra_body={"tau": 0.5})(client)
content = listed.choices[0].logprobs.content
assert listed.choices[0].message.content == choice.message.content
assert "".join(entry.token for entry in content) == choice.message.content
assert all(entry.logprob <= 0 and len(entry.top_logprobs) == 3 for entry in content)
assert all(bytes(entry.bytes).decode() == entry.token for entry in content)
streamed = []
for chunk in ask(max_completion_tokens=40, logprobs=True, top_logprobs=3, stream=True,
                 extra_body={"tau": 0.5})(client):
    for piece in chunk.choices:
        streamed += piece.logprobs.content if piece.logprobs else []
assert streamed == content
legacy = client.completions.create(model=model, prompt=prompt + "\n", max_tokens=40, logprobs=3,
                                   extra_body={"tau": 0.5}).choices[0]
lists = legacy.logprobs
assert lists.tokens == [entry.token for entry in content]
assert lists.token_logprobs == [entry.logprob for entry in content]
assert all(legacy.text.startswith(token, at) for token, at in zip(lists.tokens, lists.text_offset))
for top, entry in zip(lists.top_logprobs, content):
    assert top[entry.top_logprobs[0].token] == max(top.values()) == entry.top_logprobs[0].logprob

# Several answers, text as the format, stop strings.
several = ask(temperature=1.5, top_p=0.95, seed=3, n=3, max_completion_tokens=40,
              extra_body={"tau": 0.5})(client)
assert [one.index for one in several.choices] == [0, 1, 2]
assert several.choices[0].message == first.choices[0].message
assert len({one.message.content for one in several.choices}) > 1
formatted = ask(max_completion_tokens=40, response_format={"type": "text"}, stop=[text[3:6], "never"],
                extra_body={"tau": 0.5})(client)
assert formatted.choices[0].message.content == cut.choices[0].text
assert formatted.choices[0].finish_reason == "stop"
for field, value in [("response_format", {"type": "json_object"}), ("n", 2),
                     ("tools", [{"type": "function", "function": {"name": "f"}}])]:
    error = refused(openai.BadRequestError, ask(**{field: value}))
    assert error.param == field, error

# The responses API: a text, messages with instructions, a stream.
response = client.responses.create(model=model, input=prompt, max_output_tokens=40, extra_body={"tau": 0.5})
assert response.output_text == choice.message.content
assert response.usage.output_tokens == whole.usage.completion_tokens
assert response.status == ("completed" if choice.finish_reason == "stop" else "incomplete")
again = client.responses.create(model=model, input=messages, max_output_tokens=40, store=False,
                                extra_body={"tau": 0.5})
assert again.output_text == response.output_text
with client.responses.stream(model=model, input=prompt, max_output_tokens=40,
                             extra_body={"tau": 0.5}) as events:
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
assert deltas == response.output_text
kinds = [event.type for event in client.responses.create(model=model, input=prompt, stream=True,
                                                         max_output_tokens=40, extra_body={"tau": 0.5})]
assert kinds[0] == "response.created" and kinds[-1] == f"response.{response.status}", kinds
for field, value in [("previous_response_id", "resp-1"), ("store", True), ("tools", [{"type": "web_search"}])]:
    error = refused(openai.BadRequestError, lambda client: client.responses.create(
        model=model, input=prompt, **{field: value}))
    assert error.param == field, error
error = refused(openai.BadRequestError, ask(temperature=2.5))
assert error.param == "temperature" and "2.5" in error.message, error
error = refused(openai.BadRequestError, ask(extra_body={"tau": 2}))
assert error.param == "tau", error
error = refused(openai.NotFoundError, ask(model="gpt-4o"))
assert error.code == "model_not_found", error
client = openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0)
error = refused(openai.AuthenticationError, ask())
assert key not in str(error), error
print(f"openai {openai.__version__}: {whole.usage.completion_tokens} tokens, {used['offloaded']} offloaded")
