"""Renders chat templates with Hugging Face transformers, to compare this crate's rendering
with (tests/model/chat.rs).

    python crates/model/tests/chat/make.py [FOLDER_OF_ANY_TOKENIZER]

Writes cases.json. The templates follow the published ones of Qwen2.5, Qwen3,
Llama 3.1, Mistral, Gemma, SmolLM2 and Phi, shortened where two parts test the same thing.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

import transformers.utils.chat_template_utils as utils
from transformers import AutoTokenizer

DATE = "2025-07-01"


class Fixed(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(DATE)


CHATML = """{%- if messages[0]['role'] == 'system' -%}{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}{%- endif %}
{%- if tools %}{{- tools | tojson }}{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3 = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in message.content %}
                {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
                {%- set reasoning_content = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

LLAMA3 = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{#- System message #}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{% for message in messages %}
    {% if (message['role'] == 'assistant') %}
        {% set role = 'model' %}
    {% else %}
        {% set role = message['role'] %}
    {% endif %}
{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}
{% endfor %}
{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}
"""

HELPERS = """{%- macro shout(text, times=2) -%}{{ text|upper }}{% for i in range(times) %}!{% endfor %}{%- endmacro -%}
{% for message in messages %}
{% if message.role == 'system' %}{% continue %}{% endif %}
{% if loop.index0 > 3 %}{% break %}{% endif %}
{{ loop.index }}/{{ loop.length }} {{ message.role|title }}: {{ shout(message.content.strip().replace("é", "e").upper()[:6]) }}
{% for key, value in message.items() %}
    {{- key }}={{ value|tojson }};
{% endfor %}
{% generation %}
{{ {"b": [1, 2.5, true, none], "a": "<é & 'x'>"} | tojson }}
{%- endgeneration %}
{{ {"b": {"c": []}, "a": {}} | tojson(indent=2) }}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('|') }}
{{ message.content.split(' ')[0].lower().capitalize() ~ "/" ~ message.content.find("x") ~ "/" ~ message.get('name', 'nobody') }}
{{ "inline" if message is mapping else "no" }} {{ message.name is defined }} {{ [1, 2, 3][-1] }} {{ 7 // 2 }}
{% endfor %}
  kept   {# dropped #}
"""

TEMPLATES = {
    "qwen2.5": CHATML,
    "qwen3": QWEN3,
    "llama3.1": LLAMA3,
    "mistral": MISTRAL,
    "gemma": GEMMA,
    "helpers": HELPERS,
}
USER = {"role": "user", "content": " Where do doors revolve?\nA) bank  B) library "}
CONVERSATIONS = {
    "user": [USER],
    "system": [{"role": "system", "content": " Be brief. "}, USER],
    "turns": [
        USER,
        {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nAt a “bank” <é>."},
        {"role": "user", "content": "Sûr? 😀 'x' & \"y\""},
    ],
    "tool": [
        USER,
        {"role": "assistant", "content": "Look."},
        {"role": "tool", "content": "one \n two"},
        {"role": "tool", "content": "{\"a\": 1}"},
    ],
    "end": [USER, {"role": "assistant", "content": "<think>\nbank\n</think>\nA"}],
}
VARIABLES = {"qwen3": [{}, {"enable_thinking": False}, {"enable_thinking": True}]}


def main():
    folder = Path(__file__).parent
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    tokenizer.bos_token, tokenizer.eos_token = "<s>", "</s>"
    utils.datetime = Fixed
    templates = dict(TEMPLATES)
    templates["qwen2"] = (Path(sys.argv[1]) / "chat_template.jinja").read_text()
    cases = []
    for name, template in templates.items():
        for messages in CONVERSATIONS.values():
            for variables in VARIABLES.get(name, [{}]):
                for prompt in (True, False):
                    case = {
                        "template": name,
                        "messages": messages,
                        "variables": variables,
                        "add_generation_prompt": prompt,
                    }
                    try:
                        case["expected"] = tokenizer.apply_chat_template(
                            messages,
                            chat_template=template,
                            tokenize=False,
                            add_generation_prompt=prompt,
                            **variables,
                        )
                    except Exception as error:
                        case["refused"] = str(error)
                    cases.append(case)
    content = {"date": DATE, "templates": templates, "cases": cases}
    path = folder / "cases.json"
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    print(len(cases), "cases,", sum("refused" in case for case in cases), "refused")


main()
