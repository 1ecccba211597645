//! What changes while somebody watches: resolution, profile, codec, sound. The picture goes on without a reload, and what is
//! on the screen is at all times a picture that a camera sent: never black, never hidden, never of the wrong parameters.

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::{LOOK, PLAYER, in_both_browsers, in_browser, unmute, wait_for_element};
use sightline_tests::browser::{Browser, Engine, Page};
use sightline_tests::flv::{AUDIO, Tag, VIDEO};
use sightline_tests::judge;
use sightline_tests::peer::Peer;
use sightline_tests::proxy::Proxy;
use sightline_tests::rtsp_camera::clip::{Options, is_parameter_set};
use sightline_tests::rtsp_camera::{Clip, Coding, RtspCamera, Script, Sound};
use sightline_tests::viewer::Viewer;

in_both_browsers![
    another_resolution_and_profile_come_in_band,
    another_codec_comes_with_a_new_session,
    sound_comes_with_a_new_session,
    another_resolution_comes_in_band_by_rtmp,
    sound_comes_late_by_rtmp,
];

// The third engine, Safari's.
in_browser![
    webkit, WebKit:
    another_codec_comes_with_a_new_session,
];

/// The longest time from the last picture before a change to the first one behind it.
const AGAIN: Duration = Duration::from_secs(2);

/// The picture at which a camera changes: 4 s after somebody began to watch.
const CHANGE: u32 = 100;

/// 640x360, main profile: what is shown before a change.
fn before() -> Arc<Clip> {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    recorded(&CLIP, &Options { pictures: 200, gop: 25, ..Options::default() })
}

/// 800x448, high profile.
fn larger() -> Arc<Clip> {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    let options = Options { size: (800, 448), profile: "high", pictures: 375, gop: 25, ..Options::default() };
    recorded(&CLIP, &Options { clock_ms: 100_000, ..options })
}

/// As it was before, with later clocks.
fn same() -> Arc<Clip> {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    recorded(&CLIP, &Options { pictures: 375, gop: 25, clock_ms: 100_000, ..Options::default() })
}

/// H.265.
fn h265() -> Arc<Clip> {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    let options = Options { coding: Coding::H265, pictures: 375, gop: 25, ..Options::default() };
    recorded(&CLIP, &Options { clock_ms: 100_000, ..options })
}

fn recorded(clip: &OnceLock<Arc<Clip>>, options: &Options) -> Arc<Clip> {
    Arc::clone(clip.get_or_init(|| Arc::new(Clip::encode(options).expect("ffmpeg encodes"))))
}

/// A page that shows the stream and is looked at, and a viewer that keeps its bytes.
struct Watched<'b> {
    page: Page<'b>,
    viewer: Viewer,
}

/// Begins to watch. The camera begins with it, since it is asked for on demand.
fn watch<'b>(browser: &'b Browser, proxy: &Proxy) -> Result<Watched<'b>> {
    let page = browser.open(&proxy.url("/embed/cam"))?;
    let viewer = Viewer::watch_decoding(proxy, "cam", &["avc1", "hvc1", "mp4a"])?;
    page.wait_for_pictures(1, 10)?;
    page.evaluate(LOOK)?;
    page.reset_glass()?;
    Ok(Watched { page, viewer })
}

impl Watched<'_> {
    /// Waits until the change is over, and tells how long no picture came.
    fn assert_goes_on(&self, size: (u64, u64)) -> Result<()> {
        let page = &self.page;
        // Clocks of what is shown behind the change begin at 100 s.
        let over = "(s => s && s.samples.filter(([at, late]) => (at % 4294967296) - late >= 100000).length >= 50)(__glass.summary()[0])";
        page.wait_for("50 pictures behind the change", over)?;
        let glass = page.glass()?;
        let seen = &glass[0];
        let gap = Duration::from_secs_f64(seen.longest_gap / 1000.0);
        ensure!(gap <= AGAIN, "no new picture for {gap:?}");
        ensure!((seen.width, seen.height) == size, "{}x{}", seen.width, seen.height);
        let clocks = seen.samples.iter().map(|(at, late, _)| (at % 4_294_967_296.0 - late) as u64);
        let clocks: Vec<_> = clocks.collect();
        ensure!(
            seen.backwards == 0,
            "{} pictures out of order: {clocks:?}; {}",
            seen.backwards,
            page.evaluate(&format!("{PLAYER}.getStats()"))?
        );
        ensure!(seen.unreadable == 0, "{} pictures that no camera sent", seen.unreadable);
        let looks = page.evaluate("looks")?.as_u64().context("a number")?;
        ensure!(looks > 200, "looked {looks} times");
        let dark = page.evaluate("dark")?;
        ensure!(dark.as_array().is_some_and(Vec::is_empty), "dark: {dark}");
        ensure!(page.evaluate("sameDocument")? == true, "the page was loaded again");
        wait_for_element(page, "live")?;
        let errors = page.errors()?;
        ensure!(errors.is_empty(), "{errors:?}");
        self.assert_judged(size)
    }

    /// Every epoch is what it says it is, frame for frame.
    fn assert_judged(&self, size: (u64, u64)) -> Result<()> {
        let record = self.viewer.record();
        let epochs: BTreeSet<u32> = record.fragments(0).map(|f| f.header.epoch).collect();
        ensure!(epochs.len() == 2, "epochs {epochs:?}");
        let of = |epoch: &u32| {
            let frames = record.fragments(0).filter(|f| f.header.epoch == *epoch).count() as u64;
            (record.file(0, *epoch), frames)
        };
        let files: Vec<_> = epochs.iter().map(of).collect();
        drop(record);
        for ((file, frames), size) in files.into_iter().zip([(640, 360), size]) {
            let verdict = judge::decode(&file)?;
            ensure!(
                verdict.complaints.is_empty() && verdict.frames == frames,
                "{verdict:?}, {frames} frames"
            );
            ensure!(verdict.size == size, "{verdict:?}");
        }
        Ok(())
    }
}

/// Asks for sound where there is none yet. The pictures are fetched anew for it, and some are shown again.
fn ask_for_sound(page: &Page<'_>) -> Result<()> {
    page.click(600, 300)?;
    page.evaluate(&format!("{PLAYER}.muted = false"))?;
    page.reset_glass()?;
    page.wait_for_pictures(1, 20)?;
    page.reset_glass()
}

fn on_demand(camera: &RtspCamera) -> Result<Proxy> {
    Proxy::configured(&format!("[streams.cam]\nsource = \"{}\"\non_demand = true\n", camera.url()))
}

fn another_resolution_and_profile_come_in_band(browser: &Browser) -> Result<()> {
    let camera = RtspCamera::start(Script::new(&before()).show(CHANGE, &larger()))?;
    let proxy = on_demand(&camera)?;
    watch(browser, &proxy)?.assert_goes_on((800, 448))?;
    ensure!(camera.sessions() == 1, "it was connected to anew");
    Ok(())
}

fn another_codec_comes_with_a_new_session(browser: &Browser) -> Result<()> {
    let camera = RtspCamera::start(Script::new(&before()).close(CHANGE).then_shows(&h265()))?;
    let proxy = on_demand(&camera)?;
    let watched = watch(browser, &proxy)?;
    if browser.engine() != Engine::Chromium {
        return watched.assert_goes_on((640, 360));
    }
    // Debian's Chromium has no decoder for it.
    wait_for_element(&watched.page, "error")?;
    let named = watched.page.wait_for("the codec's name", "/hvc1|H\\.265/.test(__glass.text())");
    named.with_context(|| format!("the page says {:?}", watched.page.text()))
}

fn sound_comes_with_a_new_session(browser: &Browser) -> Result<()> {
    let sound = Sound::encode()?;
    let camera =
        RtspCamera::start(Script::new(&before()).close(CHANGE).then_shows(&same()).then_has(&sound))?;
    let proxy = on_demand(&camera)?;
    let watched = watch(browser, &proxy)?;
    ask_for_sound(&watched.page)?;
    watched.assert_goes_on((640, 360))?;
    unmute(&watched.page)
}

/// The tags of a clip from this time on, with its sequence header or without.
fn tags(clip: &Clip, from_ms: u32, with_header: bool) -> Vec<Tag> {
    let sets = clip.parameter_sets();
    let put = |set: &[u8]| [&(set.len() as u16).to_be_bytes()[..], set].concat();
    let record =
        [&[1, sets[0][1], sets[0][2], sets[0][3], 0xff, 0xe1][..], &put(&sets[0]), &[1], &put(&sets[1])]
            .concat();
    let tag = |time_ms, payload: Vec<u8>| Tag { kind: VIDEO, time_ms, payload: payload.into() };
    let header = with_header.then(|| tag(from_ms, [&[0x17, 0, 0, 0, 0], &record[..]].concat()));
    let pictures = clip.units.iter().zip(0u32..).map(|(unit, n)| {
        let mut payload = vec![if unit.key_frame { 0x17 } else { 0x27 }, 1, 0, 0, 0];
        // With a header there is no need of them in band.
        for nal in unit.nals.iter().filter(|nal| !(with_header && is_parameter_set(nal, clip.coding))) {
            payload.extend((nal.len() as u32).to_be_bytes());
            payload.extend_from_slice(nal);
        }
        tag(from_ms + n * 40, payload)
    });
    header.into_iter().chain(pictures).collect()
}

/// Publishes these, and watches from the beginning.
fn publish(browser: &Browser, tags: Vec<Tag>, then: impl FnOnce(&Watched<'_>) -> Result<()>) -> Result<()> {
    let proxy =
        Proxy::configured("[rtmp]\nlisten = \"127.0.0.1:0\"\n[streams.cam]\npublish = { key = \"k\" }\n")?;
    let mut peer = Peer::publish_to(&proxy.push_authority("rtmp")?, "cam?key=k")?;
    peer.set_chunk_size(65_536)?;
    // It ends with the proxy, at the latest.
    let publisher = std::thread::spawn(move || peer.tags(tags));
    let result = watch(browser, &proxy).and_then(|watched| then(&watched));
    drop(proxy);
    // What it fails on is that the proxy is gone.
    let _ = publisher.join();
    result
}

fn another_resolution_comes_in_band_by_rtmp(browser: &Browser) -> Result<()> {
    let mut all = tags(&before(), 0, true);
    all.truncate(1 + 110);
    all.extend(tags(&larger(), 110 * 40, false));
    publish(browser, all, |watched| watched.assert_goes_on((800, 448)))
}

fn sound_comes_late_by_rtmp(browser: &Browser) -> Result<()> {
    const AFTER_MS: u32 = 110 * 40;
    let sound = Sound::encode()?;
    let mut all = tags(&before(), 0, true);
    all.truncate(1 + 110);
    all.extend(tags(&same(), AFTER_MS, true).split_off(1));
    let tag = |time_ms, payload: Vec<u8>| Tag { kind: AUDIO, time_ms, payload: payload.into() };
    all.push(tag(AFTER_MS, [&[0xaf, 0][..], &Sound::CONFIG].concat()));
    all.extend((0u32..600).zip(sound.frames.iter().cycle()).map(|(n, frame)| {
        tag(AFTER_MS + n * Sound::FRAME * 1000 / Sound::RATE, [&[0xaf, 1], &frame[..]].concat())
    }));
    all.sort_by_key(|tag| tag.time_ms);
    publish(browser, all, |watched| {
        ask_for_sound(&watched.page)?;
        watched.assert_goes_on((640, 360))?;
        unmute(&watched.page)
    })
}
