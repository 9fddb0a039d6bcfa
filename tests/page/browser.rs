//! A headless Chromium, driven through chromedriver by the WebDriver protocol: a few requests of JSON.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use testkit::browser::PROGRAMS;

/// The test gives up then, with a message: what it waits for will not come.
const GIVE_UP: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Looks until there is something, or returns `None` after a time that is far too long.
#[expect(clippy::disallowed_methods, reason = "processes are watched from outside")]
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = look();
        if found.is_some() || begun.elapsed() > GIVE_UP {
            return found;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

pub struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, and the driver with this test.
        drop(self.agent.delete(&self.session).call());
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

impl Browser {
    /// Starts a browser. Without Chromium the test fails.
    pub fn start() -> Self {
        let [chromium, chromedriver] = PROGRAMS;
        let started = Command::new(chromedriver).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = started.unwrap_or_else(|e| panic!("no {chromedriver} ({e}): run `cargo xtask setup`"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // Nobody reads what it says from now on, and it must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let base = format!("http://127.0.0.1:{}", port.expect("the driver names its port"));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut browser = Self { driver, session: String::new(), agent };
        // Without a sandbox it also runs as root, and without /dev/shm in containers.
        let flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"];
        let options = json!({ "args": flags });
        let wanted = json!({ "browserName": "chrome", "goog:loggingPrefs": { "browser": "ALL" }, "goog:chromeOptions": options });
        let answer = browser.send(&format!("{base}/session"), &json!({ "capabilities": { "alwaysMatch": wanted } }));
        let answer = answer.unwrap_or_else(|e| panic!("no {chromium} to start ({e}): run `cargo xtask setup`"));
        browser.session = format!("{base}/session/{}", answer["sessionId"].as_str().unwrap());
        browser
    }

    fn send(&self, url: &str, body: &Value) -> Result<Value, String> {
        let mut response = self.agent.post(url).send(body.to_string()).map_err(|e| e.to_string())?;
        let text = response.body_mut().with_config().limit(64 << 20).read_to_string().map_err(|e| e.to_string())?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].take()),
        }
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        self.send(&format!("{}/{path}", self.session), body).unwrap_or_else(|e| panic!("{path} {body}: {e}"))
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.ask("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    pub fn open(&self, url: &str) {
        // Another hash alone would not load the page anew.
        self.ask("url", &json!({ "url": "about:blank" }));
        self.ask("url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page, and returns what it returns. A promise is waited for.
    pub fn run(&self, script: &str) -> Value {
        self.ask("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Returns the text of an element as a reader sees it.
    pub fn text(&self, selector: &str) -> String {
        let text = self.run(&format!("return document.querySelector({selector:?})?.innerText ?? ''"));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until an expression is true in the page.
    pub fn until(&self, what: &str, expression: &str) {
        let holds = || (self.run(&format!("return !!({expression})")) == json!(true)).then_some(());
        if wait_for(holds).is_none() {
            let page = self.run("return document.body.innerText");
            panic!("never: {what}\n{}\nerrors: {:?}", page.as_str().unwrap_or_default(), self.errors());
        }
    }

    pub fn click(&self, selector: &str) {
        self.run(&format!("document.querySelector({selector:?}).click()"));
    }

    /// Presses a key, and releases it.
    pub fn press(&self, key: &str) {
        let presses = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.ask("actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": presses }] }));
    }

    /// Shows the page as on a screen of this width and with this theme.
    pub fn show_as(&self, (width, height): (u32, u32), theme: &str) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
        let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Lets the browser save files in a folder.
    pub fn save_files_in(&self, folder: &Path) {
        self.devtools("Page.setDownloadBehavior", &json!({ "behavior": "allow", "downloadPath": folder }));
    }

    /// Returns a picture of what the screen shows, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let picture = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    /// Returns what the console has complained of since the last call.
    pub fn errors(&self) -> Vec<String> {
        let entries = self.ask("se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    /// Returns what axe finds wrong with the page: rule, help, and the elements.
    pub fn violations(&self, axe: &str) -> Vec<String> {
        self.run(&format!("if (!window.axe) {{ {axe}; }}"));
        let found = self.run(
            "return axe.run(document, { resultTypes: ['violations'] }).then(result => result.violations.map(one => \
             `${one.id}: ${one.help}: ${one.nodes.map(node => node.html.slice(0, 200)).join(' | ')}`))",
        );
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }
}
