//! Chromium and Firefox, driven through `browser/driver.mjs` (Node and puppeteer-core), and WebKitGTK through what it imports.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::link::Link;
use crate::speaker::Speaker;
use crate::stats::Percentiles;
use crate::wait;

/// What is on a page: of each picture what was seen of it, what its players tell of themselves, and what there is to read.
const SHOWN: &str = "JSON.stringify([__glass.text(), __glass.summary().map(({ samples, ...seen }) => ({ ...seen, samples: samples.length })), \
    [...document.querySelectorAll('sightline-player')].map(player => [player.getAttribute('stream'), player.state, player.getStats()])])";

/// Which browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Debian's `chromium`.
    Chromium,
    /// Debian's `firefox-esr`.
    Firefox,
    /// Debian's `MiniBrowser` on a virtual screen: Safari's engine, without Apple's media.
    WebKit,
}

impl Engine {
    /// The two that every test goes through.
    pub const ALL: [Self; 2] = [Self::Chromium, Self::Firefox];

    /// With the third one, which is slower to start and shows less of itself.
    pub const THREE: [Self; 3] = [Self::Chromium, Self::Firefox, Self::WebKit];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
            Self::WebKit => "webkit",
        }
    }
}

/// Where Chromium's main thread was: see `profile` in `browser/driver.mjs`. Times in ms.
#[derive(Clone, Debug, Deserialize)]
pub struct Profile {
    /// How long it was looked at.
    pub ms: f64,
    /// Everything that took time.
    pub functions: Vec<Function>,
}

/// A function in a [`Profile`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Function {
    /// Its name; `(idle)`, `(program)` and `(garbage collector)` are nobody's.
    pub name: String,
    /// The address of its script; empty when it is the browser's own.
    pub url: String,
    /// The address of the script that called it.
    pub caller: String,
    /// Its own time, without what it called.
    pub ms: f64,
}

/// What a page holds in Chromium, in bytes, after a collection of garbage.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Memory {
    /// The heap of its scripts.
    pub heap: f64,
    /// Buffers besides, WebAssembly's memory among them.
    pub buffers: f64,
}

type Answers = Arc<Mutex<HashMap<u64, Sender<Result<Value>>>>>;

/// A running browser with an empty profile. It ends when dropped.
#[derive(Debug)]
pub struct Browser {
    engine: Engine,
    driver: Child,
    commands: Mutex<Option<ChildStdin>>,
    answers: Answers,
    next: AtomicU64,
}

impl Browser {
    /// Starts one without windows.
    pub fn launch(engine: Engine) -> Result<Self> {
        Self::launch_with(engine, json!({}))
    }

    /// Starts one whose sound is heard on `speaker`.
    pub fn launch_heard(engine: Engine, speaker: &Speaker) -> Result<Self> {
        Self::launch_with(engine, json!({ "speaker": speaker.address() }))
    }

    /// Starts Chromium at the far end of a link. There, addresses are no loopback's, and what wants a secure context
    /// (`WebCodecs`) would be missing: the pages of these `origins` (`http://HOST:PORT`) are taken for secure.
    pub fn launch_beyond(link: &Link, origins: &[&str]) -> Result<Self> {
        link.beyond(|| Self::launch_with(Engine::Chromium, json!({ "trusted": origins })))
    }

    fn launch_with(engine: Engine, mut options: Value) -> Result<Self> {
        let folder = crate::file("browser");
        ensure!(
            folder.join("node_modules/puppeteer-core").exists(),
            "puppeteer-core is missing: run `npm ci --ignore-scripts` in {} (make test does)",
            folder.display()
        );
        let mut driver = Command::new("node")
            .arg(folder.join("driver.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start node")?;
        let output = driver.stdout.take().context("the driver has an output")?;
        let answers = Answers::default();
        let waiting = Arc::clone(&answers);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Ok(mut answer) = serde_json::from_str::<Value>(&line) else { continue };
                let id = answer["id"].as_u64().unwrap_or(0);
                let sender = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                let result = match answer.get("error") {
                    Some(error) => Err(anyhow!("{}", error.as_str().unwrap_or("unknown error"))),
                    None => Ok(answer["ok"].take()),
                };
                if let Some(sender) = sender {
                    // Nobody waits for it any more when its command's time ran out.
                    let _ = sender.send(result);
                }
            }
            // The driver is gone: whoever still waits is told so by the dropped senders.
            waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        let commands = Mutex::new(driver.stdin.take());
        let browser = Self { engine, driver, commands, answers, next: AtomicU64::new(1) };
        options["cmd"] = "launch".into();
        options["engine"] = engine.name().into();
        browser.command(options)?;
        Ok(browser)
    }

    /// Which one it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Resident memory in KiB of the largest of its processes that render pages.
    pub fn renderer_kib(&self) -> Result<u64> {
        crate::process::descendants(self.driver.id())?
            .into_iter()
            .filter(|process| {
                ["--type=renderer", "-contentproc", "WebKitWebProcess"]
                    .iter()
                    .any(|mark| process.command.contains(mark))
            })
            .map(|process| process.resident_kib)
            .max()
            .context("no process renders pages")
    }

    /// Opens an address in a new tab of 1280 by 800 pixels.
    pub fn open(&self, url: &str) -> Result<Page<'_>> {
        let number = self.command(json!({ "cmd": "open", "url": url, "width": 1280, "height": 800 }))?;
        Ok(Page { browser: self, number: number.as_u64().context("open gives a number")? })
    }

    fn command(&self, mut command: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        command["id"] = id.into();
        let (sender, receiver) = channel();
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        if let Some(stdin) = self.commands.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            writeln!(stdin, "{command}")?;
        }
        match receiver.recv_timeout(Duration::from_mins(2)) {
            Ok(answer) => answer.with_context(|| format!("{}: {command}", self.engine.name())),
            Err(_) => bail!("{}: no answer to {command}", self.engine.name()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver closes its browser when its input ends.
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = wait::until("the driver's end", || self.driver.try_wait().ok().flatten());
        if ended.is_err() {
            let _ = self.driver.kill();
            let _ = self.driver.wait();
        }
    }
}

/// One tab; it is closed when dropped.
#[derive(Debug)]
pub struct Page<'b> {
    browser: &'b Browser,
    number: u64,
}

/// What one `<video>` showed, read from its pictures (`browser/glass.js`). Times in ms.
#[derive(Clone, Debug, Deserialize)]
pub struct Glass {
    /// Pictures with a readable clock that were shown.
    pub frames: u64,
    /// Pictures shown without one.
    pub unreadable: u64,
    /// Pictures older than the one before.
    pub backwards: u64,
    /// From the start of the navigation to the first picture.
    pub first: Option<f64>,
    /// Since the newest picture.
    pub since_last: Option<f64>,
    /// The longest time without a new picture between two pictures.
    pub longest_gap: f64,
    /// Pictures the browser decoded and dropped.
    pub dropped: u64,
    /// Pictures the browser took in.
    pub decoded: u64,
    /// Width in pixels.
    pub width: u64,
    /// Height in pixels.
    pub height: u64,
    /// When, capture to screen, since the picture before.
    pub samples: Vec<(f64, f64, f64)>,
}

impl Glass {
    /// Capture to screen in ms, from the moment `after_ms` behind the first picture.
    pub fn latency(&self, after_ms: f64) -> Percentiles {
        let start = self.samples.first().map_or(0.0, |sample| sample.0);
        Percentiles::of(self.samples.iter().filter(|s| s.0 - start >= after_ms).map(|s| s.1))
    }
}

impl Page<'_> {
    /// The value of an expression; promises are waited for.
    pub fn evaluate(&self, js: &str) -> Result<Value> {
        self.command("evaluate", json!({ "js": js }))
    }

    /// Waits until an expression is true.
    pub fn wait_for(&self, what: &str, js: &str) -> Result<()> {
        let mut last = Ok(Value::Null);
        let found = wait::until(what, || {
            // A page that is just being loaded cannot be asked.
            last = self.evaluate(js);
            last.as_ref().is_ok_and(is_true).then_some(())
        });
        found.with_context(|| format!("{js} gave {last:?}; console: {:?}", self.errors().unwrap_or_default()))
    }

    /// What its videos have shown, in the order in which they appeared.
    pub fn glass(&self) -> Result<Vec<Glass>> {
        Ok(serde_json::from_value(self.evaluate("__glass.summary()")?)?)
    }

    /// Waits until each of its videos shows at least `frames` pictures, and gives what they showed.
    pub fn wait_for_pictures(&self, videos: usize, frames: u64) -> Result<Vec<Glass>> {
        let seen = self.wait_for(
            &format!("{frames} pictures in each of {videos} videos"),
            &format!("__glass.summary().filter(g => g.frames >= {frames}).length >= {videos}"),
        );
        seen.with_context(|| format!("on the page: {:?}", self.evaluate(SHOWN)))?;
        self.glass()
    }

    /// Waits for the first picture of any of its videos, and gives the time from the start of the navigation in ms.
    ///
    /// The page itself looks out for it: asking again and again would slow down what is measured.
    pub fn first_picture_ms(&self) -> Result<f64> {
        let first = self.evaluate(
            "new Promise(done => { const timer = setInterval(() => { const seen = __glass.summary().find(g => g.frames); \
             if (seen) { clearInterval(timer); done(seen.first); } }, 20); })",
        )?;
        first.as_f64().context("a first picture has a time")
    }

    /// The same for the first picture that is live: no older than `within_ms`.
    pub fn live_picture_ms(&self, within_ms: u32) -> Result<f64> {
        let live = self.evaluate(&format!(
            "new Promise(done => {{ const timer = setInterval(() => {{ for (const seen of __glass.summary()) {{ \
             const live = seen.samples.find(([, age]) => age <= {within_ms}); \
             if (live) {{ clearInterval(timer); done(live[0] - performance.timeOrigin); }} }} }}, 20); }})"
        ))?;
        live.as_f64().context("a live picture has a time")
    }

    /// Forgets what was shown so far.
    pub fn reset_glass(&self) -> Result<()> {
        self.evaluate("__glass.reset()").map(drop)
    }

    /// Loads it again.
    pub fn reload(&self) -> Result<()> {
        self.command("reload", json!({})).map(drop)
    }

    /// Goes to another address.
    pub fn go(&self, url: &str) -> Result<()> {
        self.command("go", json!({ "url": url })).map(drop)
    }

    /// Makes it the visible tab.
    pub fn front(&self) -> Result<()> {
        self.command("front", json!({})).map(drop)
    }

    /// Clicks, which a browser takes for a gesture of the user.
    pub fn click(&self, x: u32, y: u32) -> Result<()> {
        self.command("click", json!({ "x": x, "y": y })).map(drop)
    }

    /// Presses a key, by its name in events: `m`, `ArrowUp`.
    pub fn press(&self, key: &str) -> Result<()> {
        self.command("press", json!({ "key": key })).map(drop)
    }

    /// Where its main thread is, for so long. Chromium only.
    pub fn profile(&self, time: Duration) -> Result<Profile> {
        Ok(serde_json::from_value(self.command("profile", json!({ "ms": time.as_millis() as u64 }))?)?)
    }

    /// What it holds; nothing where that cannot be asked.
    pub fn memory(&self) -> Result<Option<Memory>> {
        Ok(serde_json::from_value(self.command("memory", json!({}))?)?)
    }

    /// What its videos have shown since this was last asked.
    pub fn drain_glass(&self) -> Result<Vec<Glass>> {
        Ok(serde_json::from_value(self.evaluate("__glass.drain()")?)?)
    }

    /// Complaints on its console and exceptions.
    pub fn errors(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_value(self.command("errors", json!({}))?)?)
    }

    /// Keeps a picture of it as `target/tests/NAME.png`, to be looked at.
    pub fn screenshot(&self, name: &str) -> Result<PathBuf> {
        let path = crate::output_dir("tests")?.join(format!("{name}.png"));
        self.command("screenshot", json!({ "path": path }))?;
        Ok(path)
    }

    /// All text that the page shows, also inside shadow roots.
    pub fn text(&self) -> Result<String> {
        Ok(self.evaluate("__glass.text()")?.as_str().unwrap_or_default().to_owned())
    }

    fn command(&self, name: &str, mut command: Value) -> Result<Value> {
        command["cmd"] = name.into();
        command["page"] = self.number.into();
        self.browser.command(command)
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        // A browser that is gone has no tabs either.
        let _ = self.command("close", json!({}));
    }
}

fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value != 0 && value != ""
}
