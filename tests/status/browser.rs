//! The page in a real browser: Debian's chromium, led by its chromium-driver. Pictures are left in
//! `target/tmp/page/`, for a person to look at.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use crate::server::{Served, file};
use crate::story::{BUSY, FAULTY, Memory, SETTLED, document, publish, quiet};

const PATIENCE: Duration = Duration::from_secs(20);

/// A command that only this browser knows.
#[derive(Debug)]
struct Chromium(&'static str, Value);

impl WebDriverCompatibleCommand for Chromium {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.0
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.1.to_string()))
    }
}

/// The browser, and the program that leads it; both end with the test.
struct Browser {
    client: Client,
    driver: Child,
    port: u16,
    profile: PathBuf,
}

impl Browser {
    async fn start(name: &str) -> Self {
        let install = "install it: apt-get install chromium chromium-driver";
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("profile-{name}"));
        let _ = std::fs::remove_dir_all(&profile);
        std::fs::create_dir_all(&profile).expect("a folder");
        let mut driver = Command::new("chromedriver")
            .env("HOME", &profile)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("chromedriver: {e}; {install}"));
        let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port = lines
            .find_map(|line| {
                let line = line.ok()?;
                let after = line.split_once("successfully on port ")?.1.to_owned();
                after.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver's port");
        std::thread::spawn(move || lines.for_each(drop));
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(), // As root, in a container.
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let capabilities = capabilities.as_object().cloned().expect("an object");
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap_or_else(|e| panic!("chromium: {e}; {install}"));
        Self {
            client,
            driver,
            port,
            profile,
        }
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.client
            .issue_cmd(Chromium("goog/cdp/execute", body))
            .await
            .expect("a command of devtools")
    }

    /// A screen of this width, in light or dark.
    async fn screen(&self, width: u32, scheme: &str) {
        let screen = json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", screen)
            .await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    async fn ask(&self, script: &str) -> Value {
        self.client
            .execute(script, Vec::new())
            .await
            .expect("an answer of the page")
    }

    async fn until(&self, what: &str, script: &str) {
        let began = Instant::now();
        while self.ask(script).await != Value::Bool(true) {
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Keeps a picture of the whole page.
    async fn picture(&self, name: &str) {
        let taken = self
            .devtools(
                "Page.captureScreenshot",
                json!({ "captureBeyondViewport": true }),
            )
            .await;
        let data = taken["data"].as_str().expect("a picture");
        let engine = &base64::engine::general_purpose::STANDARD;
        let png = base64::Engine::decode(engine, data).expect("base64");
        assert!(
            png.starts_with(b"\x89PNG") && png.len() > 10_000,
            "{} bytes",
            png.len()
        );
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), png).expect("a file");
    }

    /// What the browser complained of: resources not found, rules for content broken, errors of the script.
    async fn complaints(&self) -> Vec<String> {
        let log = self
            .client
            .issue_cmd(Chromium("se/log", json!({ "type": "browser" })))
            .await
            .expect("a log");
        let entries = log.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|e| e["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Killed, it would leave its browser behind.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let _ = stream.read(&mut [0; 1024]);
        }
        let began = Instant::now();
        while matches!(self.driver.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn with_browser<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Browser) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { test(Browser::start(name).await).await });
}

/// The worst contrast of a text with what is behind it, and that text.
const CONTRAST: &str = r#"
    const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = numbers(colour).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (one) => {
        for (; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if ((numbers(colour)[3] ?? 1) === 1) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    let worst = [21, ""];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode.textContent.trim();
        const one = texts.currentNode.parentElement;
        if (!text || !one.checkVisibility()) continue;
        const [a, b] = [light(getComputedStyle(one).color), light(ground(one))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < worst[0]) worst = [contrast, text];
    }
    return worst;
"#;

#[test]
fn it_can_be_read_in_light_and_dark_on_screens_and_phones() {
    with_browser("looks", async |browser| {
        let mut grounds = BTreeSet::new();
        let settled = publish(SETTLED, &mut Memory::default(), quiet(), Timestamp::now());
        for (document, name) in [
            (document(BUSY), "busy"),
            (settled, "settled"),
            (document(FAULTY), "faulty"),
        ] {
            let served = Served::start(document);
            for scheme in ["light", "dark"] {
                for (width, screen) in [(1280, "screen"), (360, "phone")] {
                    browser.screen(width, scheme).await;
                    browser.client.goto(&served.url()).await.expect("the page");
                    browser
                        .until("it is live", "return document.body.dataset.live === 'yes'")
                        .await;
                    let look = format!("{name}-{screen}-{scheme}");
                    let wide = browser
                        .ask("return document.documentElement.scrollWidth")
                        .await;
                    assert_eq!(wide, json!(width), "{look}: something does not fit");
                    let ground = browser
                        .ask("return getComputedStyle(document.body).backgroundColor")
                        .await;
                    grounds.insert(ground.to_string());
                    let worst = browser.ask(CONTRAST).await;
                    assert!(
                        worst[0].as_f64().is_some_and(|c| c >= 4.5),
                        "{look}: contrast {worst}"
                    );
                    browser.picture(&look).await;
                }
            }
        }
        assert_eq!(grounds.len(), 2, "light and dark: {grounds:?}");
        assert_eq!(browser.complaints().await, [""; 0]);
    });
}

#[test]
fn it_changes_while_one_looks_and_keeps_what_was_folded() {
    with_browser("live", async |browser| {
        let served = Served::start(document(BUSY));
        browser.client.goto(&served.url()).await.expect("the page");
        browser
            .until("it is live", "return document.body.dataset.live === 'yes'")
            .await;
        let fold =
            "window.same = true; const one = document.getElementById('findings'); one.open = false;
                    document.getElementById('summary-findings').focus()";
        browser.ask(fold).await;
        served.publish(document(FAULTY));
        browser
            .until(
                "the headline",
                "return document.getElementById('headline').textContent === 'One fault needs you'",
            )
            .await;
        for (what, script) in [
            ("not loaded again", "return window.same === true"),
            (
                "still folded",
                "return document.getElementById('findings').open === false",
            ),
            (
                "still in focus",
                "return document.activeElement.id === 'summary-findings'",
            ),
            (
                "read out",
                "return document.getElementById('said').textContent === 'One fault needs you'",
            ),
            (
                "in the title",
                "return document.title === 'app: needs a person – swarmset'",
            ),
            (
                "on the tab",
                "return document.querySelector('link[rel=icon]').getAttribute('href') === '/icon-bad.svg'",
            ),
        ] {
            assert_eq!(browser.ask(script).await, Value::Bool(true), "{what}");
        }
        served.publish(publish(
            SETTLED,
            &mut Memory::default(),
            quiet(),
            Timestamp::now(),
        ));
        browser
            .until(
                "all is well",
                "return document.getElementById('headline').textContent === 'All is well'",
            )
            .await;
        browser.until("ages grow", "return [...document.querySelectorAll('time')].some((t) => /^[2-9] s ago$/.test(t.textContent))").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    });
}

#[test]
fn it_can_be_read_without_scripts() {
    with_browser("no-scripts", async |browser| {
        let served = Served::start(document(BUSY));
        browser
            .devtools(
                "Emulation.setScriptExecutionDisabled",
                json!({ "value": true }),
            )
            .await;
        browser.client.goto(&served.url()).await.expect("the page");
        let main = browser
            .client
            .find(Locator::Css("main"))
            .await
            .expect("main");
        let text = main.text().await.expect("its text");
        for part in [
            "On its way",
            "PRIMARY",
            "360 MB of 900 MB, 40 %",
            "Wait for the copy.",
            "What happened",
            "--keyFile",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        served.publish(document(FAULTY));
        let began = Instant::now();
        loop {
            // An element of the page before is gone when the page has reloaded itself.
            if let Ok(found) = browser.client.find(Locator::Css("#headline")).await
                && found.text().await.is_ok_and(|t| t == "One fault needs you")
            {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "it does not reload");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}

#[test]
fn it_can_be_used_with_a_keyboard() {
    with_browser("keys", async |browser| {
        let served = Served::start(document(BUSY));
        browser.client.goto(&served.url()).await.expect("the page");
        browser
            .until("it is live", "return document.body.dataset.live === 'yes'")
            .await;
        let press = async |key: &str, code: i32| {
            for kind in ["keyDown", "keyUp"] {
                let text = if key == "Enter" { "\r" } else { "" };
                let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
                browser.devtools("Input.dispatchKeyEvent", event).await;
            }
        };
        press("Tab", 9).await;
        assert_eq!(
            browser
                .ask("return document.activeElement.textContent")
                .await,
            "Skip to the sets"
        );
        press("Enter", 13).await;
        assert_eq!(
            browser.ask("return document.activeElement.id").await,
            "main"
        );
        press("Tab", 9).await;
        assert_eq!(
            browser.ask("return document.activeElement.id").await,
            "summary-app/rs"
        );
        let outlined = "return getComputedStyle(document.activeElement).outlineStyle";
        assert_eq!(browser.ask(outlined).await, "solid");
        press("Enter", 13).await;
        assert_eq!(
            browser
                .ask("return document.getElementById('app/rs').open")
                .await,
            false
        );
    });
}

#[test]
fn a_browser_brings_the_token_as_a_password() {
    with_browser("token", async |browser| {
        let token = file("browser-token", "word-for-browsers");
        let served = Served::with_token(document(SETTLED), Some(&token));
        let with_password = format!("http://me:word-for-browsers@{}/", served.address);
        browser.client.goto(&with_password).await.expect("the page");
        browser
            .until("it is live", "return document.body.dataset.live === 'yes'")
            .await;
    });
}
