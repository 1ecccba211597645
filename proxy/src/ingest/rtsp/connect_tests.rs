use super::*;

fn offer(media: &str, encoding: &str) -> Offer {
    Offer {
        media: media.into(),
        encoding: encoding.into(),
        clock_rate_hz: 90_000,
        channels: None,
        played: false,
        not_played_because: Some("this version does not play its codec"),
        format: Format::default(),
    }
}

#[test]
fn a_camera_without_a_picture_that_is_played_is_told_what_to_do() {
    let said = |offers: &[Offer]| {
        let fault = unsupported(offers);
        assert_eq!(fault.code, "unsupported");
        fault.reason
    };
    let mjpeg = said(&[offer("video", "jpeg"), offer("audio", "pcmu")]);
    assert!(mjpeg.contains("MJPEG") && mjpeg.contains("set the camera to H.264"), "{mjpeg}");
    assert!(said(&[offer("video", "vp8")]).contains("VP8"));
    let sound = said(&[offer("audio", "pcmu")]);
    assert!(sound.contains("no picture") && sound.contains("PCMU"), "{sound}");
    assert!(said(&[]).contains("nothing"));
}

#[test]
fn transports_are_tried_by_what_is_wanted_and_what_was_learnt() {
    use config::Transport::{Auto, Tcp, Udp};
    let now = Instant::now();
    let plain: Source = "rtsp://cam/x".parse().expect("a source");
    let tls: Source = "rtsps://cam/x".parse().expect("a source");
    let order = |known: &Known, wanted| known.order(&plain, wanted, now).to_vec();
    let new = Known::default();
    assert_eq!(order(&new, Auto), [Carriage::Tcp, Carriage::Udp]);
    assert_eq!(order(&new, Tcp), [Carriage::Tcp]);
    assert_eq!(order(&new, Udp), [Carriage::Udp, Carriage::Tcp]);
    assert_eq!(new.order(&tls, Auto, now), [Carriage::Tcp]);

    let refused = Known { refuses_tcp: true, ..Known::default() };
    assert_eq!(order(&refused, Auto), [Carriage::Udp, Carriage::Tcp], "at once, the next time");
    assert_eq!(order(&refused, Tcp), [Carriage::Tcp], "its word is its word");
    let silent = Known { udp_silent: Some(now), ..Known::default() };
    assert_eq!(order(&silent, Udp), [Carriage::Tcp], "a reconnect does not wait for nothing");
    assert_eq!(silent.order(&plain, Udp, now + UDP_AGAIN), [Carriage::Udp, Carriage::Tcp]);
    let signs = Known { signs_anew: true, ..Known::default() };
    assert_eq!(order(&signs, Udp), [Carriage::Tcp], "what signs anew lies in the connection");
}
