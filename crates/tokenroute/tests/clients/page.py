"""Tests the page of `tokenroute serve` in headless Chromium, over WebDriver.

Usage: page.py URL KEY PROMPT TAU. The large model must be over HTTP, and TAU the server's default.
Exits with 77 if Chromium or its driver is missing.
"""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ENTER, LEFT, RIGHT, HOME, END = "\ue007", "\ue012", "\ue014", "\ue011", "\ue010"

url, key, prompt, default = sys.argv[1:5]
chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
driver = shutil.which("chromedriver")
if not chromium or not driver:
    print("chromium or chromedriver is not installed", file=sys.stderr)
    sys.exit(77)


def fetch(address, body=None, method=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"} | (headers or {})
    request = urllib.request.Request(address, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


class Browser:
    def __init__(self, process):
        self.process = process
        for line in process.stdout:
            if found := re.search(r"successfully on port (\d+)", line):
                break
        else:
            raise SystemExit("chromedriver does not start")
        self.base = f"http://127.0.0.1:{found[1]}"
        options = {
            "binary": chromium,
            # Chromium needs these as root and in small containers.
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = fetch(f"{self.base}/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += "/session/" + session["value"]["sessionId"]

    def call(self, path, body=None, method=None):
        return fetch(self.base + path, body, method)["value"]

    def run(self, script, *arguments):
        return self.call("/execute/sync", {"script": script, "args": list(arguments)})

    def cdp(self, command, **parameters):
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def find(self, selector):
        found = self.call("/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def type(self, selector, text):
        self.call(f"/element/{self.find(selector)}/value", {"text": text})

    def click(self, selector):
        self.call(f"/element/{self.find(selector)}/click", {})

    def label(self, selector):
        return self.call(f"/element/{self.find(selector)}/computedlabel")

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def until(self, what, script):
        for _ in range(600):
            if self.run(script):
                return
            time.sleep(0.05)
        raise AssertionError(f"no {what} within 30 s; the page shows: {self.text('#log')}")


def check(browser):
    # A phone's width. Nothing may overflow.
    browser.cdp("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    browser.call("/url", {"url": url})
    browser.until("a connection", "return document.getElementById('model').textContent !== 'connecting'")

    # The server requires a key, and the page asks for it.
    assert "API key" in browser.text("#model"), browser.text("#model")
    browser.until("a field for the key", "return !document.getElementById('key-label').hidden")
    browser.type("#key", "wrong")
    browser.type("#prompt", "Who are you?" + ENTER)
    browser.until("an error", "return document.querySelector('.error')")
    assert "API key" in browser.text(".error .text")
    browser.click("#clear")
    browser.run("document.getElementById('key').value = ''")
    browser.run("document.getElementById('prompt').value = ''")
    browser.type("#key", key)

    for selector, name in [
        ("#tau", "Threshold τ"), ("#tau-value", "Threshold τ as a number"), ("#prompt", "Message"), ("#send", "Send"), ("#stop", "Stop"),
        ("#key", "API key (kept in this page alone)"), ("#log", "Conversation"),
        ("#temperature", "Temperature"), ("#seed", "Seed"),
    ]:
        assert browser.label(selector).strip() == name, (selector, browser.label(selector))

    # The first message connects. Its τ is the server's default, to the last digit.
    browser.run("""const real = fetch; window.sent = [];
        window.fetch = (url, options) => { sent.push(options?.body); return real(url, options); };""")
    browser.type("#prompt", prompt.replace("\n", "\ue008\ue007\ue008") + ENTER)
    done = "return !document.getElementById('send').disabled && document.querySelector('.assistant .text')"
    browser.until("an answer", done)
    assert f'"tau":{default}' in re.split("[,}]", sent(browser)), sent(browser)
    assert tau(browser) == default, tau(browser)
    compare(browser, float(default))
    assert re.fullmatch(r"[1-9]\d* / [1-9]\d*", browser.text("#bytes")), browser.text("#bytes")
    assert browser.run("return document.getElementById('key-label').hidden"), "the key field is hidden"

    # The slider reaches both ends and is fine-grained near 1. Number and slider agree.
    for keys, expected in [(HOME, "0"), (END + LEFT, "0.999999"), (HOME + RIGHT, "0.002")]:
        browser.type("#tau", keys)
        assert tau(browser) == expected, (tau(browser), expected)
    for number, least, most in [("0.9", 450, 450), ("0.99", 559, 561), ("0.9999", 779, 781), ("0", 0, 0)]:
        browser.run("document.getElementById('tau-value').value = ''")
        browser.type("#tau-value", number)
        at = int(browser.run("return document.getElementById('tau').value"))
        assert least <= at <= most and tau(browser) == number, (number, at)
    # An invalid τ is not sent.
    asked = browser.run("return sent.length")
    browser.type("#tau-value", "9")
    browser.type("#prompt", "Who are you?" + ENTER)
    assert browser.run("return sent.length") == asked, "no request at τ = 9"
    browser.run("document.getElementById('prompt').value = ''")

    # By keyboard alone: τ to its end, then a second question.
    browser.type("#tau", HOME + END)
    assert tau(browser) == "1", tau(browser)
    browser.click("#clear")
    browser.type("#prompt", prompt.replace("\n", "\ue008\ue007\ue008") + ENTER)
    browser.until("an answer of the large model", done + " && document.querySelector('.assistant .llm')")
    compare(browser, 1)
    assert browser.text("#ratio").endswith("(100.0%)"), browser.text("#ratio")
    # The number of speculated tokens depends on timing. The page marks each of them.
    marked = browser.run("return document.querySelectorAll('.assistant .speculated').length")
    assert int(browser.text("#speculated").split()[0]) >= marked, browser.text("#speculated")

    # The details of a token, by keyboard and by hovering.
    browser.run("document.querySelector('.assistant .text').focus()")
    browser.call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
        {"type": "keyDown", "value": RIGHT}, {"type": "keyUp", "value": RIGHT}]}]})
    assert "large model · score" in browser.text("#detail"), browser.text("#detail")
    token = {ELEMENT: browser.find(".assistant .text span:nth-child(2)")}
    browser.call("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [
        {"type": "pointerMove", "duration": 0, "origin": token, "x": 0, "y": 0}]}]})
    title = browser.run("return arguments[0].title", token)
    assert title == browser.text("#detail"), (title, browser.text("#detail"))

    for name in ["#first", "#between"]:
        assert re.fullmatch(r"\d+ ms", browser.text(name)), browser.text(name)
    assert int(browser.text("#positions")) > 0

    # With a temperature the page notes that the answer is not greedy.
    browser.run("document.getElementById('temperature').value = '1.5'")
    browser.click("#clear")
    browser.type("#prompt", prompt.replace("\n", "\ue008\ue007\ue008") + ENTER)
    browser.until("a drawn answer", done)
    assert "greedy" in browser.text("#detail"), browser.text("#detail")

    # Nothing overflows, and both colour schemes work.
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.run(wide) <= 0, f"the page is {browser.run(wide)} px too wide"
    shades = []
    for scheme in ["light", "dark"]:
        browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        shades.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert shades[0] != shades[1], shades

    # The content security policy blocked nothing. The browser logs only the 401 replies above.
    logged = [entry["message"] for entry in browser.call("/se/log", {"type": "browser"})]
    logged = [message for message in logged if "401" not in message]
    assert not logged, logged


def tau(browser):
    return browser.run("return document.getElementById('tau-value').value")


def sent(browser):
    """The last request's body."""
    return browser.run("return sent.findLast((body) => body)")


def compare(browser, tau):
    """Checks that the page shows the same tokens as the API."""
    body = {"messages": [{"role": "user", "content": prompt}], "tau": tau, "tokenroute": True}
    reply = fetch(f"{url}/v1/chat/completions", body, headers={"authorization": f"Bearer {key}"})
    shown = browser.run("""return [...document.querySelectorAll('.assistant .text span')]
        .map((span) => [span.textContent, span.className.split(' ')[0]])""")
    listed = [[token["text"], token["origin"]] for token in reply["tokenroute"] if token["text"]]
    assert shown and [t for t, _ in shown] == [t for t, _ in listed], (shown, listed)
    assert [o.replace("at", "") for _, o in shown] == [o for _, o in listed], (shown, listed)
    made, offloaded = reply["usage"]["completion_tokens"], reply["usage"]["tokenroute"]["offloaded"]
    assert browser.text("#count") == str(made)
    assert browser.text("#ratio") == f"{offloaded} ({100 * offloaded / made:.1f}%)", browser.text("#ratio")


with subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
    browser = None
    try:
        browser = Browser(process)
        check(browser)
        print("the page works")
    finally:
        if browser:
            browser.call("", method="DELETE")
        process.terminate()
