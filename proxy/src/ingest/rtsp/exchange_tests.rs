use proptest::prelude::*;

use super::*;

const LOCAL: &str = "rtsp://127.0.0.1:40001";
const REMOTE: &str = "rtsps://cam:322";

fn exchange(credentials: Option<(&str, &str)>) -> Exchange {
    let credentials = credentials.map(|(name, password)| (name.to_owned(), password.to_owned()));
    Exchange::new(LOCAL.into(), REMOTE.into(), "sightline/0 secret".into(), "sightline/0", credentials)
}

/// What the camera gets for what retina says.
fn ask(exchange: &mut Exchange, text: &str) -> String {
    let mut out = Vec::new();
    assert_eq!(exchange.requests(text.as_bytes(), &mut out), Ok(text.len()));
    String::from_utf8(out).expect("text")
}

/// What retina and the camera get for what the camera says.
fn answer(exchange: &mut Exchange, text: &str) -> (String, String) {
    let (mut to_retina, mut to_camera) = (Vec::new(), Vec::new());
    assert_eq!(exchange.answers(text.as_bytes(), &mut to_retina, &mut to_camera), Ok(text.len()));
    (String::from_utf8(to_retina).expect("text"), String::from_utf8(to_camera).expect("text"))
}

fn request(method: &str, url: &str, cseq: u32) -> String {
    format!("{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\nUser-Agent: sightline/0 secret\r\n\r\n")
}

fn challenge(cseq: u32, nonce: &str, more: &str) -> String {
    format!(
        "RTSP/1.0 401 Unauthorized\r\nCSeq: {cseq}\r\nWWW-Authenticate: Basic realm=\"cam\"\r\n\
         WWW-Authenticate: Digest realm=\"cam\", nonce=\"{nonce}\"{more}\r\n\r\n"
    )
}

#[test]
fn the_camera_hears_its_own_address_and_no_secret() {
    let mut exchange = exchange(None);
    let sent = ask(&mut exchange, &request("DESCRIBE", "rtsp://127.0.0.1:40001/live?x=1", 1));
    assert!(sent.starts_with("DESCRIBE rtsps://cam:322/live?x=1 RTSP/1.0\r\n"), "{sent}");
    assert!(sent.contains("User-Agent: sightline/0\r\n") && !sent.contains("secret"), "{sent}");
    let sent = ask(&mut exchange, &request("SETUP", "rtsps://other/live/track1", 2));
    assert!(sent.starts_with("SETUP rtsps://other/live/track1 RTSP/1.0\r\n"), "{sent}");
}

#[test]
fn only_who_knows_the_name_is_served() {
    let exchange = exchange(None);
    let ours = request("DESCRIBE", "rtsp://127.0.0.1:40001/live", 1);
    assert_eq!(exchange.is_ours(ours.as_bytes()), Ok(Some(true)));
    assert_eq!(exchange.is_ours(&ours.as_bytes()[..ours.len() - 1]), Ok(None));
    let stranger = ours.replace(" secret", "");
    assert_eq!(exchange.is_ours(stranger.as_bytes()), Ok(Some(false)));
    assert_eq!(exchange.is_ours(b"$\0\0\x01x"), Ok(Some(false)));
    assert_eq!(exchange.is_ours(b"\x16\x03\x01"), Err(Error::Malformed));
    assert_eq!(exchange.is_ours(&[b'A'; MAX_HEAD_LEN]), Err(Error::TooLong));
}

#[test]
fn a_challenge_is_answered_by_digest_for_the_cameras_own_address() {
    let mut exchange = exchange(Some(("u", "p")));
    let sent = ask(&mut exchange, &request("DESCRIBE", "rtsp://127.0.0.1:40001/live", 1));
    assert!(!sent.contains("Authorization"), "{sent}");
    let (to_retina, again) = answer(&mut exchange, &challenge(1, "n1", ""));
    assert_eq!(to_retina, "");
    assert!(again.contains("CSeq: 2\r\n"), "{again}");
    assert!(
        again.contains("Authorization: Digest ") && again.contains("uri=\"rtsps://cam:322/live\""),
        "{again}"
    );
    let (to_retina, _) = answer(&mut exchange, "RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 3\r\n\r\nv=0");
    assert_eq!(
        to_retina, "RTSP/1.0 200 OK\r\nContent-Length: 3\r\nCSeq: 1\r\n\r\nv=0",
        "retina's own number"
    );
    let sent = ask(&mut exchange, &request("SETUP", "rtsps://cam:322/live/1", 2));
    assert!(sent.contains("CSeq: 3\r\n") && sent.contains("Authorization"), "{sent}");
}

#[test]
fn a_camera_that_offers_two_qualities_of_protection_is_answered_in_the_one_that_works() {
    let mut exchange = exchange(Some(("u", "p")));
    ask(&mut exchange, &request("DESCRIBE", "rtsp://127.0.0.1:40001/live", 1));
    let (_, again) = answer(&mut exchange, &challenge(1, "n1", ", qop=\"auth,auth-int\""));
    assert!(again.contains("qop=auth,") || again.contains("qop=auth\r\n"), "{again}");
}

#[test]
fn what_the_camera_asks_answers_nothing_of_ours() {
    let mut exchange = exchange(None);
    ask(&mut exchange, &request("DESCRIBE", "rtsp://127.0.0.1:40001/live", 1));
    let theirs = "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n";
    assert_eq!(answer(&mut exchange, theirs), (theirs.to_owned(), String::new()));
    let (_, to_camera) =
        answer(&mut exchange, "RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://other/\r\n\r\n");
    assert_eq!((exchange.location(), to_camera.as_str()), (Some("rtsp://other/"), ""));
}

#[test]
fn a_refused_password_is_sent_once_and_an_expired_nonce_is_replaced() {
    let mut refused = exchange(Some(("u", "wrong")));
    ask(&mut refused, &request("DESCRIBE", "rtsp://127.0.0.1:40001/", 1));
    answer(&mut refused, &challenge(1, "n1", ""));
    let (to_retina, to_camera) = answer(&mut refused, &challenge(2, "n2", ""));
    assert!(to_retina.contains("401") && to_retina.contains("CSeq: 1\r\n"), "{to_retina}");
    assert_eq!(to_camera, "");

    let mut expired = exchange(Some(("u", "p")));
    ask(&mut expired, &request("DESCRIBE", "rtsp://127.0.0.1:40001/", 1));
    answer(&mut expired, &challenge(1, "n1", ""));
    let (_, again) = answer(&mut expired, &challenge(2, "n2", ", stale=TRUE"));
    assert!(again.contains("nonce=\"n2\""), "{again}");
    let (to_retina, again) = answer(&mut expired, &challenge(3, "n3", ", stale=true"));
    assert!(to_retina.contains("401") && again.is_empty(), "but not for ever");

    // A number that is good for one request, and nothing that says so.
    let mut once = exchange(Some(("u", "p")));
    ask(&mut once, &request("DESCRIBE", "rtsp://127.0.0.1:40001/", 1));
    answer(&mut once, &challenge(1, "n1", ""));
    answer(&mut once, "RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n");
    ask(&mut once, &request("SETUP", "rtsps://cam:322/1", 2));
    let (to_retina, again) = answer(&mut once, &challenge(3, "n2", ""));
    assert!(to_retina.is_empty() && again.contains("nonce=\"n2\""), "{again}");
}

#[test]
fn without_a_password_a_challenge_is_passed_on() {
    let mut exchange = exchange(None);
    ask(&mut exchange, &request("DESCRIBE", "rtsp://127.0.0.1:40001/", 1));
    let asked = challenge(1, "n1", "");
    assert_eq!(answer(&mut exchange, &asked), (asked, String::new()));
}

#[test]
fn where_a_redirect_leads_is_noted() {
    let mut exchange = exchange(None);
    ask(&mut exchange, &request("DESCRIBE", "rtsp://127.0.0.1:40001/", 1));
    let moved = "RTSP/1.0 302 Moved Temporarily\r\nCSeq: 1\r\nLocation:  rtsp://b/x \r\n\r\n";
    assert_eq!(answer(&mut exchange, moved).0, moved);
    assert_eq!(exchange.location(), Some("rtsp://b/x"));
}

#[test]
fn packets_and_what_is_between_pass_as_they_are() {
    let mut exchange = exchange(None);
    let bytes = b"$\0\0\x03abc\r\n$\x01\0\0ANNOUNCE rtsp://x RTSP/1.0\r\nCSeq: 9\r\n\r\n";
    for cut in 0..bytes.len() {
        let (mut to_retina, mut to_camera) = (Vec::new(), Vec::new());
        let used = exchange.answers(&bytes[..cut], &mut to_retina, &mut to_camera).expect("RTSP");
        let rest = exchange.answers(&bytes[used..], &mut to_retina, &mut to_camera).expect("RTSP");
        assert_eq!((used + rest, to_retina.as_slice()), (bytes.len(), &bytes[..]), "{cut}");
        assert!(to_camera.is_empty());
    }
}

#[test]
fn what_makes_no_sense_ends_it() {
    let mut exchange = exchange(None);
    let mut answers = |bytes: &[u8]| exchange.answers(bytes, &mut Vec::new(), &mut Vec::new());
    assert_eq!(answers(b"\0"), Err(Error::Malformed));
    assert_eq!(answers(b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n"), Err(Error::Malformed));
    assert_eq!(answers(b"RTSP/1.0 200 OK\r\nContent-Length: 9999999\r\n\r\n"), Err(Error::TooLong));
    assert_eq!(answers(&[b'R'; MAX_HEAD_LEN]), Err(Error::TooLong));
    let many = request("OPTIONS", "rtsp://x", 1).repeat(MAX_WAITING + 1);
    assert_eq!(exchange.requests(many.as_bytes(), &mut Vec::new()), Err(Error::TooMany));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_nothing_grows(
        asked in prop::collection::vec(any::<u8>(), 0..200),
        bytes in prop::collection::vec(
            prop_oneof![
                Just(b"RTSP/1.0 401 x\r\n".to_vec()),
                Just(b"WWW-Authenticate: Digest realm=\"\", nonce=\"\"\r\n".to_vec()),
                Just(b"CSeq: 1\r\n".to_vec()),
                Just(b"Content-Length: 2\r\n".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"$\0\0\x01".to_vec()),
                prop::collection::vec(any::<u8>(), 0..9),
            ],
            0..30,
        )
    ) {
        let mut exchange = exchange(Some(("u", "p")));
        ask(&mut exchange, &request("DESCRIBE", "rtsp://127.0.0.1:40001/", 1));
        let (mut to_retina, mut to_camera) = (Vec::new(), Vec::new());
        let _ = exchange.requests(&asked, &mut to_camera);
        let bytes = bytes.concat();
        if let Ok(used) = exchange.answers(&bytes, &mut to_retina, &mut to_camera) {
            prop_assert!(used <= bytes.len());
            // Bytes that are no text become three.
            prop_assert!(to_retina.len() <= 3 * bytes.len() + 16, "{} of {}", to_retina.len(), bytes.len());
        }
    }
}
