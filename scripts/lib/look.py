"""Looks at the page of pagecache_stats in headless Chromium until it has drawn for a while, checks what it
shows, and takes a picture:

    look.py http://127.0.0.1:8080/pagecache-stats picture.png
"""

import re
import sys
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

SAMPLES = 18  # of two seconds each
LIMIT_SECONDS = 60
WIDTH, HEIGHT = 1290, 760


def main() -> None:
    url, picture = sys.argv[1:]
    options = webdriver.ChromeOptions()
    # Whoever runs this as root, in a container, has no sandbox to give it.
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(option)
    options.add_argument(f"--window-size={WIDTH},{HEIGHT}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options) as browser:
        browser.get(url)
        until = time.monotonic() + LIMIT_SECONDS
        while browser.execute_script("return samples.length") < SAMPLES:
            assert time.monotonic() < until, "the page has not drawn in time: " + browser.page_source[-2000:]
            time.sleep(0.2)
        check(browser)
        browser.save_screenshot(picture)


def check(browser: webdriver.Chrome) -> None:
    def text(name: str) -> str:
        return browser.find_element(By.ID, name).text

    assert "counting since" in text("state"), text("state")
    assert re.fullmatch(r"[\d.]+ %", text("ratio")), text("ratio")
    assert re.fullmatch(r"[\d.]+ (µs|ms|s) / [\d.]+ (µs|ms|s)", text("time")), text("time")
    assert re.fullmatch(r"[\d,]+ / [\d,]+", text("rate")), text("rate")
    assert re.fullmatch(r"[\d,]+ / [\d,]+", text("saved")), text("saved")
    for line in ("ratio-line", "time-line", "rate-line", "saved-line"):
        drawn = browser.find_elements(By.CSS_SELECTOR, f"#{line} path")
        assert any(path.get_attribute("d").count("L") > SAMPLES // 2 for path in drawn), line
    heads = [head.text for head in browser.find_elements(By.CSS_SELECTOR, "th")]
    assert "waited (mean)" in heads and "renewals" in heads, heads
    rows = browser.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert len(rows) == 4 and all("127.0.0.1:" in row.text for row in rows), [row.text for row in rows]
    wrong = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not wrong, wrong


if __name__ == "__main__":
    main()
