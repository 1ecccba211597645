//! RTMP servers that we pull from: nginx's rtmp module, by itself and behind TLS.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use common::{assert_live_within, in_both_browsers, unmute};
use sightline_tests::browser::Browser;
use sightline_tests::encoder::{Encoder, Options};
use sightline_tests::flv::Clip;
use sightline_tests::peer::Replay;
use sightline_tests::proxy::Proxy;
use sightline_tests::relay::{Certificate, Nginx, Tunnel};
use sightline_tests::viewer::Viewer;
use sightline_tests::{judge, wait};

/// A proxy that pulls `url` as `pulled`.
fn pulling(url: &str, more: &str) -> Result<Proxy> {
    Proxy::configured(&format!("[streams.pulled]\nsource = \"{url}\"\n{more}\n"))
}

/// A clip on nginx, as `name`.
fn replay(nginx: &Nginx, name: &str) -> Result<Replay> {
    Replay::start(&format!("127.0.0.1:{}", nginx.port()), name, Clip::small())
}

in_both_browsers![a_stream_of_a_server_is_shown_in_order_with_sound];

fn a_stream_of_a_server_is_shown_in_order_with_sound(browser: &Browser) -> Result<()> {
    let nginx = Nginx::start()?;
    let options = Options { b_frames: 2, audio: true, ..Options::default() };
    let encoder = Encoder::ffmpeg(&nginx.url("cam"), &options, &[])?;
    let proxy = pulling(&nginx.url("cam"), "")?;
    proxy.wait_for_state("pulled", "live").with_context(|| format!("{}\n{}", encoder.log(), nginx.log()))?;
    let page = browser.open(&proxy.url("/embed/pulled"))?;
    assert_live_within(&page, 3_000.0)?;
    unmute(&page)?;
    assert_live_within(&page, 3_000.0)?;
    assert_eq!(page.errors()?, Vec::<String>::new());
    Ok(())
}

/// So many frames come and decode.
fn assert_plays(proxy: &Proxy, frames: usize) -> Result<()> {
    proxy.wait_for_state("pulled", "live")?;
    let viewer = Viewer::watch(proxy, "pulled")?;
    viewer.wait_fragments(frames)?;
    let files = viewer.files()?;
    assert_eq!(files.len(), 2);
    for (track, file) in files {
        assert_eq!(judge::decode(&file)?.complaints, "", "{track:?}");
    }
    Ok(())
}

#[test]
fn tls_is_spoken_to_a_server_whose_certificate_is_trusted_and_to_no_other() -> Result<()> {
    let nginx = Nginx::start()?;
    let _replay = replay(&nginx, "cam")?;
    let certificate = Certificate::make()?;
    let tunnel = Tunnel::before(nginx.port(), &certificate)?;
    let url = format!("rtmps://127.0.0.1:{}/live/cam", tunnel.port());
    let trust = format!("trust = {:?}", certificate.certificate());
    let proxy = pulling(&url, &trust)?;
    assert_plays(&proxy, 50).with_context(|| tunnel.log())?;

    let stranger = format!("trust = {:?}", Certificate::make()?.certificate());
    for more in ["", &stranger] {
        let proxy = pulling(&url, more)?;
        let told = proxy.wait_for_state("pulled", "offline")?;
        assert_eq!(told["error"]["code"], "connect_failed", "{told}");
        let reason = told["error"]["reason"].as_str().context("a reason")?;
        assert!(reason.to_lowercase().contains("certificate"), "the reason should say why: {reason}");
    }
    Ok(())
}

#[test]
fn a_server_that_dies_and_one_where_nobody_publishes_are_told_of_and_pulled_again() -> Result<()> {
    let mut nginx = Nginx::start()?;
    let first = replay(&nginx, "cam")?;
    let proxy = pulling(&nginx.url("cam"), "stall_timeout_ms = 3000")?;
    proxy.wait_for_state("pulled", "live")?;
    let viewer = Viewer::watch(&proxy, "pulled")?;
    viewer.wait_fragments(25)?;

    // The publisher goes and another comes: nginx keeps us connected, and says nothing.
    drop(first);
    proxy.wait_for_state("pulled", "offline")?;
    let count = viewer.record().fragments(0).count();
    let _second = replay(&nginx, "cam")?;
    viewer.wait_fragments(count + 25)?;

    let killed = Instant::now();
    nginx.process().kill()?;
    proxy.wait_for_state("pulled", "offline")?;
    assert!(killed.elapsed() < Duration::from_secs(6), "told after {:?}", killed.elapsed());
    assert_eq!(viewer.record().end, None, "the viewer's socket stayed open");
    let told = wait::until("why", || {
        let told = proxy.stream("pulled").ok()?;
        (told["error"]["code"] == "connect_failed").then_some(told)
    })?;
    assert!(told["error"]["reason"].as_str().context("a reason")?.contains("127.0.0.1"), "{told}");
    Ok(())
}
