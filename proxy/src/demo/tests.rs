//! The camera on a real socket, watched by retina as the proxy watches any camera, and by clients that misbehave.

use std::sync::atomic::Ordering::Relaxed;

use futures_util::StreamExt as _;
use retina::client::{PlayOptions, Session, SessionOptions, SetupOptions};
use retina::codec::{CodecItem, FrameFormat};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use clip::LENGTH_US;

/// A camera whose clip stands at this time of its minute now.
async fn camera_at(clip_us: i64) -> Camera {
    Camera::start_with((clip_us - unix_us()).rem_euclid(LENGTH_US), Limits::default()).await.unwrap()
}

async fn watch(camera: &Camera) -> retina::client::Demuxed {
    let url = camera.url().parse().unwrap();
    let mut session = Session::describe(url, SessionOptions::default()).await.unwrap();
    assert_eq!(session.streams().len(), 2);
    for track in 0..2 {
        session.setup(track, SetupOptions::default().frame_format(FrameFormat::MP4)).await.unwrap();
    }
    session.play(PlayOptions::default()).await.unwrap().demuxed().unwrap()
}

async fn request(camera: &Camera, bytes: &[u8]) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(camera.server().address()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = vec![0; 2048];
    let n = socket.read(&mut answer).await.unwrap();
    (socket, String::from_utf8_lossy(&answer[..n]).into_owned())
}

#[tokio::test]
async fn retina_sees_both_tracks_run_evenly_over_the_seam_of_the_loop() {
    let camera = camera_at(57_900_000).await;
    let mut items = watch(&camera).await;
    let (mut pictures, mut sound, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    while pictures.len() < 75 {
        match items.next().await.unwrap().unwrap() {
            CodecItem::VideoFrame(frame) => {
                assert_eq!(frame.loss(), 0);
                pictures.push((frame.timestamp().timestamp(), frame.is_random_access_point()));
            }
            CodecItem::AudioFrame(frame) => sound.push(frame.timestamp().timestamp()),
            CodecItem::Rtcp(packet) => reports.push(packet.stream_id()),
            _ => {}
        }
    }
    assert!(pictures.windows(2).all(|w| w[1].0 - w[0].0 == 3600), "{pictures:?}");
    assert!(sound.windows(2).all(|w| w[1] - w[0] == 1024), "{sound:?}");
    assert!(sound.len() > 80, "{}", sound.len());
    let key_frames: Vec<_> = pictures.iter().enumerate().filter(|(_, p)| p.1).map(|(n, _)| n).collect();
    assert_eq!(key_frames, [0, 50], "a client begins at a key frame and meets the next two seconds later");
    assert!(reports.contains(&0) && reports.contains(&1), "{reports:?}");
}

#[tokio::test]
async fn several_clients_see_the_same_pictures_and_leave_nothing_behind() {
    let camera = camera_at(1_900_000).await;
    let mut watching = Vec::new();
    for _ in 0..3 {
        watching.push(watch(&camera).await);
    }
    let mut first = Vec::new();
    for items in &mut watching {
        loop {
            if let CodecItem::VideoFrame(frame) = items.next().await.unwrap().unwrap() {
                first.push(frame.into_data());
                break;
            }
        }
    }
    assert!(first.iter().all(|picture| *picture == first[0] && !picture.is_empty()));
    assert_eq!(camera.server().stats().clients.load(Relaxed), 3);
    drop(watching);
    while camera.server().stats().clients.load(Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn bad_requests_get_their_status_and_harm_nobody_else() {
    let camera = camera_at(1_900_000).await;
    let mut items = watch(&camera).await;
    let url = camera.url();
    for (text, expected) in [
        (format!("DESCRIBE {url}x RTSP/1.0\r\nCSeq: 1\r\n\r\n"), "404"),
        (format!("BREW {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n"), "501"),
        (format!("RECORD {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n"), "405"),
        (
            format!(
                "SETUP {url}/track7 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n"
            ),
            "404",
        ),
        (
            format!(
                "SETUP {url}/track0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=4-5\r\n\r\n"
            ),
            "461",
        ),
        (format!("OPTIONS {url} RTSP/1.0\r\nX: {}", "a".repeat(20_000)), "413"),
        ("\u{16}\u{3}garbage".to_owned(), "400"),
    ] {
        let (_socket, answer) = request(&camera, text.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("RTSP/1.0 {expected}")),
            "{} -> {answer}",
            &text[..40.min(text.len())]
        );
    }
    assert_eq!(camera.server().stats().malformed.load(Relaxed), 2);
    loop {
        if let CodecItem::VideoFrame(_) = items.next().await.unwrap().unwrap() {
            break;
        }
    }
}

/// Connects, never reads, and waits until the camera lets go. The kernel's buffers hold minutes of so small a clip, so the
/// client asks for the description again and again, which fills them in a moment.
async fn never_read(limits: Limits) {
    let camera = Camera::start_with(0, limits).await.unwrap();
    let mut socket = TcpStream::connect(camera.server().address()).await.unwrap();
    let ask = format!("DESCRIBE {} RTSP/1.0\r\nCSeq: 1\r\n\r\n", camera.url()).repeat(20);
    while camera.server().stats().dropped_slow.load(Relaxed) == 0 {
        if socket.write_all(ask.as_bytes()).await.is_err() {
            break;
        }
    }
    while camera.server().stats().dropped_slow.load(Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(request(&camera, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").await.1.starts_with("RTSP/1.0 200"));
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_when_too_much_waits_for_it() {
    never_read(Limits { pending_bytes: 64 << 10, write_stall: Duration::MAX, ..Limits::default() }).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_when_it_accepts_nothing_for_too_long() {
    let write_stall = Duration::from_millis(50);
    never_read(Limits { pending_bytes: usize::MAX, write_stall, ..Limits::default() }).await;
}

#[tokio::test]
async fn clients_beyond_the_limit_are_refused_and_the_place_is_free_again_later() {
    let camera = Camera::start_with(0, Limits { clients: 1, ..Limits::default() }).await.unwrap();
    let ask = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n";
    let (first, answer) = request(&camera, ask).await;
    assert!(answer.starts_with("RTSP/1.0 200"));
    let mut second = TcpStream::connect(camera.server().address()).await.unwrap();
    assert!(matches!(second.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    assert_eq!(camera.server().stats().refused.load(Relaxed), 1);
    drop(first);
    while camera.server().stats().clients.load(Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(request(&camera, ask).await.1.starts_with("RTSP/1.0 200"));
}

#[tokio::test]
async fn a_dropped_camera_ends_its_clients_and_frees_its_port() {
    let camera = camera_at(1_900_000).await;
    let address = camera.server().address();
    let mut items = watch(&camera).await;
    drop(camera);
    while let Some(Ok(_)) = items.next().await {}
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a player that none of us wrote; returns what it printed. `make test` installs them.
async fn run(program: &str, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("this test needs {program}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

#[tokio::test]
async fn ffmpeg_decodes_sound_and_picture_without_one_error() {
    let camera = camera_at(58_900_000).await;
    let url = camera.url();
    let arguments = [
        "-v",
        "warning",
        "-nostdin",
        "-rtsp_transport",
        "tcp",
        "-i",
        &url,
        "-frames:v",
        "60",
        "-progress",
        "-",
    ];
    let text =
        run("ffmpeg", &[&arguments[..], &["-map", "0:v", "-map", "0:a", "-f", "null", "-"]].concat()).await;
    assert!(text.lines().any(|line| line == "frame=60"), "{text}");
    for complaint in ["error", "corrupt", "non-monoton", "missed", "concealing"] {
        assert!(!text.to_lowercase().contains(complaint), "{text}");
    }
}

#[tokio::test]
async fn gstreamer_plays_both_tracks() {
    let camera = camera_at(1_900_000).await;
    let location = format!("location={}", camera.url());
    let source = ["-q", "rtspsrc", "name=camera", &location, "protocols=tcp", "latency=100"];
    let video = "camera. ! rtph264depay ! h264parse ! avdec_h264 ! fakesink num-buffers=60 sync=false";
    let sound = "camera. ! rtpmp4gdepay ! aacparse ! avdec_aac ! fakesink num-buffers=60 sync=false";
    let branches: Vec<_> = video.split(' ').chain(sound.split(' ')).collect();
    run("gst-launch-1.0", &[&source[..], &branches[..]].concat()).await;
}
