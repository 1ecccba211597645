//! What is in the field, each with each: codecs of picture and sound, transports, ways to ask for a password, with and without
//! TLS. Every stream is read as a viewer reads it, and shown in both browsers: it plays there, or the page says why not.

mod common;

use std::cell::OnceCell;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use common::name;
use sightline_tests::browser::{Browser, Engine};
use sightline_tests::camera::{Camera, Options};
use sightline_tests::proxy::Proxy;
use sightline_tests::relay::Certificate;
use sightline_tests::serve;
use sightline_tests::viewer::Viewer;

/// What the cameras offer.
const OFFERS: [&str; 16] = [
    "h264",
    "h264+aac",
    "h264+pcma",
    "h264+pcmu",
    "h264+l16",
    "h264+g726-32",
    "h264+g722",
    "h264+opus",
    "h265",
    "h265+aac",
    "h265+pcma",
    "h265+pcmu",
    "h265+l16",
    "h265+g726-32",
    "h265+g722",
    "h265+opus",
];

/// The beginnings of the codec strings that a viewer is told.
fn codecs(offer: &str) -> Vec<&'static str> {
    let (picture, sound) = offer.split_once('+').unwrap_or((offer, ""));
    let picture = if picture == "h265" { "hvc1.1.6." } else { "avc1.42" };
    match sound {
        "" => vec![picture],
        "aac" => vec![picture, "mp4a.40.2"],
        "opus" => vec![picture, "opus"],
        _ => vec![picture, "flac"],
    }
}

/// One way to reach cameras.
#[derive(Clone, Copy, Debug)]
struct Way {
    tls: bool,
    /// `basic`, `digest` or, for no password, nothing.
    auth: Option<&'static str>,
}

/// A camera with all offers, and a proxy that fetches each of them by each transport, while somebody watches.
struct Streams {
    _camera: Camera,
    _certificate: Certificate,
    proxy: Proxy,
    /// Name, transport, offer.
    fetched: Vec<(String, &'static str, &'static str)>,
}

impl Streams {
    fn start(way: Way) -> Result<Self> {
        let certificate = Certificate::make()?;
        let camera = Camera::start(Options {
            offers: &OFFERS,
            // As little as shows what it is about: sixteen encoders on two cores, slow ones maybe, that fall behind send two
            // pictures a second, and players begin anew for want of more.
            size: (320, 180),
            fps: 5,
            gop: 5,
            kbps: 100,
            user: way.auth.map(|_| ("guard".into(), "hunter2".into())),
            auth: way.auth.unwrap_or("digest"),
            tls: way.tls.then(|| (certificate.certificate(), certificate.key())),
            ..Options::default()
        })?;
        let url = if way.auth.is_some() { camera.url_for("guard", "hunter2") } else { camera.url() };
        let (mut fetched, mut config) = (Vec::new(), Vec::new());
        let trust = if way.tls {
            format!("trust = \"{}\"\n", certificate.certificate().display())
        } else {
            String::new()
        };
        // By UDP nothing is encrypted: with TLS there is only one way.
        for transport in if way.tls { &["tcp"][..] } else { &["tcp", "udp"] } {
            for offer in OFFERS {
                let name = format!("{transport}-{}", offer.replace('+', "-"));
                config.push(format!(
                    "[streams.{name}]\nsource = \"{url}/{offer}\"\ntransport = \"{transport}\"\non_demand = true\n{trust}"
                ));
                fetched.push((name, if way.tls { "tls" } else { *transport }, offer));
            }
        }
        Ok(Self {
            _camera: camera,
            _certificate: certificate,
            proxy: Proxy::configured(&config.concat())?,
            fetched,
        })
    }
}

/// The stream is fetched by this transport, its tracks are these, and each of them goes on. Returns who watches it.
fn assert_fetched(proxy: &Proxy, (name, transport, offer): &(String, &str, &str)) -> Result<Viewer> {
    let viewer = Viewer::watch_decoding(proxy, name, &["avc1", "hvc1", "mp4a.40.2", "flac", "opus"])?;
    viewer.wait_fragments(5)?;
    let told = proxy.wait_for_state(name, "live")?;
    ensure!(told["transport"] == *transport, "{told}");
    let record = viewer.record();
    let (_, _, tracks) = record.tracks().context("no tracks")?;
    let got: Vec<_> = tracks.iter().map(|track| track.codec.clone()).collect();
    drop(record);
    let expected = codecs(offer);
    let same = got.len() == expected.len()
        && got.iter().zip(&expected).all(|(got, expected)| got.starts_with(expected));
    ensure!(same, "{got:?} in place of {expected:?}");
    for track in 1..expected.len() as u8 {
        viewer.wait("sound", |record| (record.fragments(track).count() >= 5).then_some(()))?;
    }
    Ok(viewer)
}

/// Every stream of a camera, a few at a time; then all of them in both browsers.
#[track_caller]
fn assert_plays_everywhere(way: Way) -> Result<()> {
    // One at a time: sixteen encoders and thirty-two sessions are as many as one GStreamer takes on two cores.
    let browsers = BROWSERS.lock().unwrap_or_else(PoisonError::into_inner);
    // Before that, too: Firefox takes a minute to begin beside them.
    let both = browsers.get()?;
    let cameras = Streams::start(way)?;
    let proxy = &cameras.proxy;
    // They go on watching: GStreamer's server hangs for ten seconds and more where it is asked for what it is just ending.
    let mut viewers = Vec::new();
    for some in cameras.fetched.chunks(8) {
        std::thread::scope(|scope| {
            let tests: Vec<_> =
                some.iter().map(|stream| (stream, scope.spawn(|| assert_fetched(proxy, stream)))).collect();
            tests.into_iter().try_for_each(|(stream, test)| {
                let result = test.join().map_err(|_| anyhow!("panicked"))?;
                viewers.push(result.with_context(|| format!("{way:?} {stream:?}\n{}", proxy.log()))?);
                Ok::<_, anyhow::Error>(())
            })
        })?;
    }
    // A page for each transport: thirty players, each with two decoders, want more of two slow cores than those have.
    for browser in both {
        for streams in cameras.fetched.chunks(OFFERS.len()) {
            assert_shown(browser, proxy, streams).with_context(|| format!("{way:?}\n{}", proxy.log()))?;
        }
    }
    Ok(())
}

/// A page with all these streams, and their sound on: each is shown and decoded, or refused by name.
fn assert_shown(browser: &Browser, proxy: &Proxy, streams: &[(String, &str, &str)]) -> Result<()> {
    // Debian's Firefox decodes H.265, and its Chromium does not.
    let decodes_h265 = browser.engine() == Engine::Firefox;
    let player = |(name, _, offer): &(String, &str, &str)| {
        let expects = if offer.starts_with("h265") && !decodes_h265 { "refusal" } else { "picture" };
        let sound = offer.contains('+');
        format!(
            "<sightline-player stream={name} muted data-expects={expects} data-sound={sound}></sightline-player>"
        )
    };
    let players = streams.iter().map(player).collect::<Vec<_>>().concat();
    let html = format!(
        "<!doctype html><title>Cameras</title><link rel=icon href='data:,'><style>sightline-player {{ width: 13%; display: inline-block }}</style>\
         <script src=\"{}\"></script>{players}",
        proxy.url("/sightline-player.js")
    );
    let page = browser.open(&serve::pages(move |path| (path == "/").then(|| html.clone()))?)?;
    let missing = |what: &str, is_there: &str| -> Result<()> {
        let each = format!(
            "[...document.querySelectorAll('sightline-player')].filter(player => {{ \
             const {{ expects, sound }} = player.dataset, video = player.shadowRoot?.querySelector('video'); \
             return !({is_there}); }}).map(player => [player.getAttribute('stream'), player.getStats()])"
        );
        let found = page.wait_for(what, &format!("({each}).length === 0"));
        let told = || page.evaluate(&format!("JSON.stringify({each})"));
        found.with_context(|| format!("{}: {what}: {:?}", browser.engine().name(), told()))
    };
    missing(
        "picture or refusal",
        "expects === 'picture' ? video?.videoWidth === 320 && video.getVideoPlaybackQuality().totalVideoFrames > 8 \
         : player.state === 'error' && /H\\.265/.test(player.shadowRoot.textContent)",
    )?;
    page.click(5, 5)?;
    page.evaluate("document.querySelectorAll('sightline-player').forEach(player => player.muted = false)")?;
    missing(
        "decoded sound",
        "expects === 'refusal' || sound === 'false' || (video.mozHasAudio ?? video.webkitAudioDecodedByteCount > 0)",
    )?;
    page.screenshot(&name(browser, "matrix"))?;
    ensure!(page.errors()?.is_empty(), "{:?}", page.errors()?);
    Ok(())
}

/// One of each, for all tests.
static BROWSERS: Mutex<Browsers> = Mutex::new(Browsers(OnceCell::new()));

struct Browsers(OnceCell<[Browser; 2]>);

impl Browsers {
    fn get(&self) -> Result<&[Browser; 2]> {
        if self.0.get().is_none() {
            let launched = [Browser::launch(Engine::Chromium)?, Browser::launch(Engine::Firefox)?];
            let _ = self.0.set(launched);
        }
        self.0.get().context("browsers")
    }
}

macro_rules! ways {
    ($($test:ident: $tls:literal, $auth:expr;)*) => {
        $(#[test] fn $test() -> Result<()> { assert_plays_everywhere(Way { tls: $tls, auth: $auth }) })*
    };
}

ways! {
    cameras_without_a_password: false, None;
    cameras_that_ask_for_a_password_by_basic: false, Some("basic");
    cameras_that_ask_for_a_password_by_digest: false, Some("digest");
    cameras_behind_tls_without_a_password: true, None;
    cameras_behind_tls_that_ask_for_a_password_by_basic: true, Some("basic");
    cameras_behind_tls_that_ask_for_a_password_by_digest: true, Some("digest");
}
