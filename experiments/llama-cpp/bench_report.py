"""The settings that bench.py measures, and the page that it writes of them."""

SHAPE = "qwen2.5-0.5b"
CASES = ["decode", "prefill", "sequences"]
SEQUENCES = 8
# Prefill and decode tokens, and the conditions of each setting. Beside busy processes some
# engines are very slow, so there are fewer tokens.
SETTINGS = {
    "native": dict(prefill=512, decode=128, isa=None, build="native", load=False,
                   title="All instructions of the machine"),
    "avx2": dict(prefill=512, decode=128, isa="avx2", build="avx2", load=False,
                 title="AVX2 alone"),
    "loaded": dict(prefill=128, decode=16, isa=None, build="native", load=True,
                   title="Beside as many busy processes as threads"),
    "real": dict(prefill=256, decode=64, isa=None, build="native", load=False, real=True,
                 title="Published files, all instructions of the machine"),
    "real-avx2": dict(prefill=256, decode=64, isa="avx2", build="avx2", load=False, real=True,
                      title="Published files, AVX2 alone"),
}
# Token ids of the prompt of a start.
START = list(range(100, 116))


def spread(numbers, digits):
    if numbers is None:
        return "-"
    median, least, most = (f"{numbers[key]:.{digits}f}" for key in ["median", "least", "most"])
    return f"{median} ({least} to {most})"


def percent(share):
    return "-" if share is None else f"{100 * share:.0f}%"


def markdown(report):
    lines = [
        "# tokenroute beside llama.cpp", "",
        f"Random weights in the shape of {SHAPE}, or published files; the same GGUF file for "
        "both. Numbers are tokens per second: the median and the range of the turns. The ratio is that of the medians, with "
        "the range of the turns' ratios. The share of the read bandwidth counts the weights "
        "alone. The share of products is that of the rate of 8-bit products in registers. "
        "llama.cpp runs with fused and with plain attention, and the faster one counts.",
        "",
    ]
    for name in SETTINGS:
        if name in report["settings"]:
            lines += section(name, report["settings"][name])
    return "\n".join(lines)


def section(name, setting):
    at = setting["machine"]
    prefill = SETTINGS[name]["prefill"]
    lines = [
        f"## {SETTINGS[name]['title']}", "",
        f"{setting['alternations']} turns on {at['cpu']} with {setting['threads']} threads: a "
        f"prefill of {prefill} tokens, the decoding of {SETTINGS[name]['decode']} tokens, and "
        f"{SEQUENCES} sequences together. llama.cpp: {setting['peer'] or 'not measured'}. Made by",
        "",
        "```sh", setting["command"], "```", "",
        "| weights | case | tokenroute | llama.cpp | ratio | of bandwidth | llama.cpp's | of products |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    results = setting["results"]
    for weights, result in results.items():
        for row in result["cases"]:
            lines.append(
                f"| {weights} | {row['case']} | {spread(row['tokenroute'], 1)} | "
                f"{spread(row.get('llama_cpp'), 1)} | {spread(row.get('ratio'), 2)} | "
                f"{percent(row['of_bandwidth'])} | {percent(row.get('llama_cpp_of_bandwidth'))} | "
                f"{percent(row.get('of_product_limit'))} |")
    lines.append("")
    for weights, result in results.items():
        fact = (f"- {weights}: {result['isa']}, {result['bytes_per_token'] / 1e6:.0f} MB of "
                f"weights per token, {result['read_bandwidth'] / 1e9:.1f} GB/s")
        if result.get("product_limit"):
            fact += f", {result['product_limit'] / 1e9:.0f} Gop/s of products"
        memory = result["memory"]
        if memory:
            fact += (f", at most {memory['peak_rss'] / 1e6:.0f} MB resident; anonymous memory: "
                     f"{memory['rss_anon'] / 1e6:.0f} MB at the end")
            loading = memory.get("loading_rss_anon")
            if loading:
                fact += (f", while loading at most {loading / 1e6:.0f} MB, "
                         f"{loading / result['bytes_per_token']:.2f} x the packed weights")
        lines.append(fact + ".")
    for weights, result in results.items():
        begun = result.get("start")
        if begun:
            seconds, peak = begun["seconds"], begun["peak_rss"]
            lines.append(
                f"- {weights}, a process that loads the file, reads {len(START)} tokens and makes "
                f"one: {spread(seconds['tokenroute'], 2)} s, llama.cpp "
                f"{spread(seconds['llama_cpp'], 2)} s, ratio {spread(seconds['ratio'], 2)}; at most "
                f"{peak['tokenroute']['median'] / 1e6:.0f} MB resident, llama.cpp "
                f"{peak['llama_cpp']['median'] / 1e6:.0f} MB, ratio {spread(peak['ratio'], 2)}.")
    for weights, result in results.items():
        routing = result.get("routing")
        if routing:
            adds = {key: 100 * value for key, value in routing["adds"].items()}
            layers = "-".join(str(n) for n in [routing["layers"][0][0],
                                               *(out for _, out in routing["layers"])])
            lines.append(f"- {weights}: a router of {layers} scores in "
                         f"{spread(routing['score_microseconds'], 0)} µs. With its features it "
                         f"adds {spread(adds, 2)}% to a step.")
    for weights, result in results.items():
        for torch in result.get("torch", []):
            lines.append(f"- {weights} prefill beside {torch['kind']} ({torch['versions']}): "
                         f"{spread(torch['ratio'], 2)} x its {spread(torch['prefill'], 1)}.")
    return [*lines, ""]
