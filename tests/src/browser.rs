//! Controls a real browser, Chromium, by `WebDriver`.

use std::{env, os::unix::process::CommandExt as _, process::Command};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{By, ChromiumLikeCapabilities as _, DesiredCapabilities, WebDriver};

use crate::{
    broker::skip,
    process::{Process, runs},
    wait::{PATIENCE, until},
};

/// Arguments that keep the browser from external connections, from a display and from dialogs.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--force-prefers-reduced-motion",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Records script errors and violations of the page's policy in `troubles`, and the texts on each canvas in `labels`.
const WATCH: &str = "window.troubles = [];
    const note = (text) => window.troubles.push(String(text));
    addEventListener('error', (event) => note(event.message));
    addEventListener('unhandledrejection', (event) => note(event.reason));
    addEventListener('securitypolicyviolation', (event) => note(`${event.violatedDirective}: ${event.blockedURI}`));
    window.labels = new Map();
    const { clearRect, fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.clearRect = function (...area) {
        window.labels.set(this.canvas, []);
        return clearRect.apply(this, area);
    };
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        window.labels.get(this.canvas)?.push(text);
        return fillText.call(this, text, ...place);
    };";

/// A separate browser with one window; dropping it ends all its processes.
pub struct Browser {
    driver: WebDriver,
    group: Pid,
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser with a window of desktop size.
    ///
    /// If chromium or its driver is missing, prints that to standard error and returns `None`, or panics if `ORDER_TESTS_REQUIRE`
    /// names `browser`.
    pub async fn start() -> Option<Self> {
        if !(runs("chromium", "--version") && runs("chromedriver", "--version")) {
            skip("browser", "chromium and chromedriver are needed");
            return None;
        }
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").current_dir(env::temp_dir()).process_group(0);
        let process = Process::spawn("chromedriver", &mut command);
        let port = until("chromedriver listens", PATIENCE, async || {
            let log = process.log();
            let port = log.lines().find_map(|line| line.split("successfully on port ").nth(1)?.strip_suffix('.'));
            port.map(ToOwned::to_owned).ok_or(log)
        })
        .await;
        let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw).expect("a process id");
        let mut wanted = DesiredCapabilities::chrome();
        let folder = format!("--user-data-dir={}", profile.path().display());
        for argument in ARGUMENTS.into_iter().chain([&*folder, "--window-size=1440,900"]) {
            wanted.add_arg(argument).expect("an argument");
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await.expect("a browser starts");
        // Dropping the driver would send it a request, and would wait for the answer after the driver was killed.
        driver.clone().leak().expect("the session is open");
        let browser = Self { driver, group, _process: process, _profile: profile };
        browser.command("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCH})).await;
        Some(browser)
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.driver.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Runs a script and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        let result = self.driver.execute(script, Vec::new()).await;
        result.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Waits until an expression of the page is true.
    pub async fn sees(&self, what: &str, expression: &str) {
        until(what, PATIENCE, async || {
            if self.run(&format!("return Boolean({expression});")).await == true {
                return Ok(());
            }
            Err(format!("the page shows:\n{}", self.run("return document.body.innerText;").await))
        })
        .await;
    }

    /// Waits until the element with this CSS selector shows a text.
    pub async fn reads(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        let shown = format!("document.querySelector({selector})?.innerText.includes({text})");
        self.sees(&format!("{selector} reads {text}"), &shown).await;
    }

    /// Clicks the visible button, link or field with this accessible name.
    pub async fn click(&self, name: &str) {
        let find = format!(
            "const wanted = {};
             const scope = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
             const named = [...scope.querySelectorAll('button, a, input, summary')].filter((it) => it.checkVisibility());
             const found = named.find((it) => (it.ariaLabel ?? it.textContent).trim() === wanted);
             // The driver would scroll it below the fixed bar at the top.
             found?.scrollIntoView({{ block: 'center', behavior: 'instant' }});
             return found;",
            json!(name)
        );
        // A new element may still move, or disappear and come back.
        until(&format!("{name:?} can be clicked"), PATIENCE, async || {
            let found = self.driver.execute(&find, Vec::new()).await.map_err(|error| error.to_string())?;
            let element = found.element().map_err(|_| "the page has no such control".to_owned())?;
            element.click().await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// Replaces the content of the field with this CSS selector.
    pub async fn fill(&self, selector: &str, text: &str) {
        let field = self.driver.find(By::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
        field.clear().await.expect("a field can be cleared");
        field.send_keys(text).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Selects a value in the list with this CSS selector.
    pub async fn choose(&self, selector: &str, value: &str) {
        let option = format!("{selector} > option[value=\"{value}\"]");
        let option = self.driver.find(By::Css(option)).await.unwrap_or_else(|error| panic!("{value}: {error}"));
        option.click().await.unwrap_or_else(|error| panic!("{value}: {error}"));
    }

    /// Presses keys in the focused element.
    pub async fn press(&self, keys: &str) {
        self.driver.action_chain().send_keys(keys).perform().await.expect("keys can be pressed");
    }

    /// Presses Tab until the element with this name has the focus.
    pub async fn tab_to(&self, name: &str) {
        const MOST: usize = 120;
        let mut passed = Vec::new();
        for _ in 0..MOST {
            self.press("\u{e004}").await;
            let focused = self
                .run(
                    "const it = document.activeElement;
                     return (it.ariaLabel ?? it.labels?.[0]?.textContent ?? it.textContent).trim();",
                )
                .await;
            let focused = focused.as_str().unwrap_or_default().to_owned();
            if focused == name {
                return;
            }
            passed.push(focused);
        }
        panic!("Tab does not reach {name:?}; it reaches {passed:?}");
    }

    /// Runs a command of the `DevTools` protocol (<https://chromedevtools.github.io/devtools-protocol/>).
    pub async fn command(&self, name: &str, parameters: Value) -> Value {
        let answer = self.driver.cdp().send_raw(name, parameters).await;
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Sets the size of the window, in CSS pixels; a small one emulates a phone.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Sets the preferred colour scheme: `light` or `dark`.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", features).await;
    }

    /// The accessibility tree: role and name of each node, in order.
    pub async fn accessibility_tree(&self) -> Vec<(String, String)> {
        let tree = self.command("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().expect("a tree has nodes");
        let text = |node: &Value, part: &str| node[part]["value"].as_str().unwrap_or_default().to_owned();
        nodes
            .iter()
            .filter(|node| node["ignored"] != true)
            .map(|node| (text(node, "role"), text(node, "name")))
            .collect()
    }

    /// Asserts that no request of the page was refused; the browser's console shows such a refusal as an error.
    pub async fn expect_no_refusal(&self) {
        let refused = "return performance.getEntriesByType('resource')
            .filter(({ responseStatus }) => responseStatus >= 400)
            .map(({ name, responseStatus }) => `${name}: ${responseStatus}`);";
        assert_eq!(self.run(refused).await, json!([]));
    }

    /// Asserts that no script failed and that the page did not violate its policy.
    pub async fn expect_no_trouble(&self) {
        assert_eq!(self.run("return window.troubles;").await, json!([]));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser is a separate process and would outlive the driver.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}
