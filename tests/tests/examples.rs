//! The examples under `player/examples`: built from the packed package as a stranger would, each shows its picture in Chromium.
//!
//! Those that want a framework from npm's registry run by `make examples`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options, free_port};
use sightline_tests::package::{Package, run};
use sightline_tests::process::Process;
use sightline_tests::proxy::Proxy;
use sightline_tests::{http, serve, wait};

/// Builds are heavy: one after the other.
static TURN: Mutex<()> = Mutex::new(());

fn package() -> Result<&'static Package> {
    static PACKAGE: LazyLock<Result<Package>> = LazyLock::new(Package::pack);
    PACKAGE.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// Writes an example's files elsewhere, with this proxy's address for the one that is written in them.
fn copy(from: &Path, to: &Path, authority: &str) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if ["node_modules", "dist", ".next"].iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if path.is_dir() {
            copy(&path, &target, authority)?;
        } else {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            std::fs::write(target, text.replace("127.0.0.1:8080", authority))?;
        }
    }
    Ok(())
}

/// A camera, a proxy that calls it `demo`, and the example in a folder of its own.
struct Example {
    _camera: Camera,
    _proxy: Proxy,
    folder: tempfile::TempDir,
}

impl Example {
    fn new(name: &str) -> Result<Self> {
        let camera = Camera::start(Options::default())?;
        let proxy = Proxy::start([format!("demo={}", camera.url())])?;
        let folder = tempfile::tempdir()?;
        let source = sightline_tests::file("../player/examples").join(name);
        copy(&source, folder.path(), proxy.authority())?;
        Ok(Self { _camera: camera, _proxy: proxy, folder })
    }

    /// Installs what it wants from npm's registry, and the package from its tarball.
    fn build(&self) -> Result<()> {
        let quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
        let tarball = package()?.tarball().to_str().context("a path of text")?;
        run(self.folder.path(), &[&["npm", "ci"][..], &quiet].concat())?;
        run(self.folder.path(), &[&["npm", "install", "--no-save", tarball][..], &quiet].concat())?;
        run(self.folder.path(), &["npm", "run", "build"]).map(drop)
    }

    fn dist(&self) -> PathBuf {
        self.folder.path().join("dist")
    }
}

/// There are live pictures, and the page complains of nothing.
fn shows_its_picture(name: &str, url: &str) -> Result<()> {
    let browser = Browser::launch(Engine::Chromium)?;
    let page = browser.open(url)?;
    let glass = page.wait_for_pictures(1, 25)?;
    ensure!(glass[0].backwards == 0, "{:?}", glass[0]);
    page.wait_for("its words", "/\\d+ ms|live/.test(document.body.innerText)")?;
    page.screenshot(&format!("example-{name}"))?;
    ensure!(page.errors()?.is_empty(), "{:?}", page.errors()?);
    Ok(())
}

fn bundled(name: &str) -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let example = Example::new(name)?;
    example.build()?;
    shows_its_picture(name, &serve::folder(example.dist(), |_| String::new())?)
}

#[test]
fn plain_html_under_a_strict_policy() -> Result<()> {
    let example = Example::new("plain-csp")?;
    // What the page is told to take from the package.
    for name in ["sightline-player.js", "sightline-player"] {
        let from = package()?.file(name);
        let from = from.to_str().context("a path of text")?;
        run(example.folder.path(), &["cp", "-r", from, "."])?;
    }
    shows_its_picture("plain-csp", &serve::folder(example.folder.path().to_owned(), |_| String::new())?)
}

#[test]
#[ignore = "wants 38 MB from npm's registry: make examples"]
fn webpack() -> Result<()> {
    bundled("webpack")
}

#[test]
#[ignore = "wants 44 MB from npm's registry: make examples"]
fn vite_and_react() -> Result<()> {
    bundled("vite-react")
}

#[test]
#[ignore = "wants 53 MB from npm's registry: make examples"]
fn vite_and_vue() -> Result<()> {
    bundled("vite-vue")
}

#[test]
#[ignore = "wants 44 MB from npm's registry: make examples"]
fn svelte() -> Result<()> {
    bundled("svelte")
}

#[test]
#[ignore = "wants 341 MB from npm's registry: make examples"]
fn next_with_server_rendering() -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let example = Example::new("next")?;
    example.build()?;
    let port = free_port()?.to_string();
    let program = example.folder.path().join("node_modules/next/dist/bin/next");
    let mut command = Command::new("node");
    command.arg(program).args(["start", "-H", "127.0.0.1", "-p", &port]).current_dir(example.folder.path());
    let _server = Process::start(&mut command)?;
    let url = format!("http://127.0.0.1:{port}");
    let html =
        wait::until("Next's server", || http::get(&url).ok().filter(|answer| answer.status == 200))?.body;
    ensure!(html.contains("<sightline-player"), "the server made no element: {html}");
    shows_its_picture("next", &url)
}
