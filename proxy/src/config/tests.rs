use proptest::prelude::*;

use super::*;

fn mistakes(text: &str) -> Vec<(usize, String)> {
    let mistakes = Config::parse(text).expect_err("it holds mistakes");
    mistakes.into_iter().map(|m| (m.line, m.message)).collect()
}

fn credentials(stream: &Stream) -> Option<(String, String)> {
    let Input::Source { source, .. } = &stream.input else { panic!("{stream:?}") };
    source.credentials()
}

/// Asserts lines and a piece of each message.
fn expect(text: &str, wanted: &[(usize, &str)]) {
    let found = mistakes(text);
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for ((line, message), (wanted_line, piece)) in found.iter().zip(wanted) {
        assert!(
            line == wanted_line && message.contains(piece),
            "{line}: {message}\nis not\n{wanted_line}: {piece}"
        );
        assert!(!message.contains("hunter2"), "{message}");
    }
}

const EXAMPLE: &str = include_str!("../../sightline.example.toml");

#[test]
fn the_example_is_valid_and_names_every_option_with_its_default() {
    let config = Config::parse(EXAMPLE).unwrap();
    assert_eq!(config.server, Server::default());
    let gate = &config.streams[0];
    assert_eq!(*gate, Stream::new(gate.name.clone(), gate.input.clone()));
    let studio = config.streams.iter().find(|stream| stream.is_published()).unwrap();
    assert_eq!(*studio, Stream::new(studio.name.clone(), studio.input.clone()));
    let Input::Publish(publish) = &studio.input else { panic!() };
    assert_eq!(publish.second_publisher, SecondPublisher::default());

    let document = toml_edit::Document::parse(EXAMPLE).unwrap();
    for table in parse::TOP {
        assert!(document.contains_key(table), "[{table}]");
    }
    for key in parse::SERVER {
        assert!(document["server"].get(key).is_some(), "{key}");
    }
    for key in parse::RTMP {
        assert!(document["rtmp"].get(key).is_some(), "{key}");
    }
    for key in parse::RTMPS {
        assert!(document["rtmp"]["rtmps"].get(key).is_some(), "{key}");
    }
    for key in parse::PUBLISH {
        assert!(document["streams"]["studio"]["publish"].get(key).is_some(), "{key}");
    }
    for key in parse::QUALITY {
        let qualities = document["streams"]["park"]["quality"].as_array_of_tables().unwrap();
        assert!(qualities.iter().any(|quality| quality.get(key).is_some()), "{key}");
    }
    for key in parse::STREAM {
        let streams = document["streams"].as_table_like().unwrap();
        assert!(streams.iter().any(|(_, stream)| stream.get(key).is_some()), "{key}");
    }
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
    assert_eq!(Config::default().server.listen.to_string(), "127.0.0.1:8080");
}

#[test]
fn streams_keep_the_order_of_the_file_and_take_any_toml_spelling() {
    let config = Config::parse(
        "streams.b.source = 'rtsp://h/b'\nstreams.a = { source = \"rtsp://u:p@h/a\", on_demand = true, stall_timeout_ms = 9_000 }\n",
    )
    .unwrap();
    let [b, a] = &config.streams[..] else { panic!() };
    assert_eq!((b.name.as_str(), a.name.as_str()), ("b", "a"));
    assert_eq!((b.on_demand, b.connect_timeout_ms, b.stall_timeout_ms), (false, 5000, 4000));
    assert_eq!((a.on_demand, a.stall_timeout_ms), (true, 9000));
    assert_eq!(credentials(a), Some(("u".into(), "p".into())));
}

#[test]
fn every_mistake_is_found_in_one_go_each_with_its_line() {
    let text = r#"
[server]
listen = "localhost:8080"
auth = "maybe"
lisen = 1

[streams.gate]
source = "rtsp://admin:hunter2@169.254.169.254/"
on_demnd = true

[streams.".yard"]
source = "rtsps://admin:hunter2@h/"
transport = "udp"
on_demand = "yes"
connect_timeout_ms = 5

[streams."back door"]
stall_timeout_ms = "4s"

[streams.hall]
source = ["rtsp://admin:hunter2@h/"]
colour = 'hunter2'

[streams.studio]
publish = { key = "hunter2 ", second_publisher = "hunter2" }
source = "rtmp://h/hunter2"

[rtmp]
listen = "1935"
rtmps = { certificate = "" }

[sever]
"rtsp://admin:hunter2@h/" = 1
"#;
    expect(
        text,
        &[
            (3, "`listen` must be an IP address and port"),
            (4, "`auth` must be \"on\" or \"off\""),
            (5, "unknown key `lisen` in [server]; did you mean `listen`?"),
            (8, "`source`: link-local and metadata addresses"),
            (9, "unknown key `on_demnd` in a stream; did you mean `on_demand`?"),
            (11, "`.yard`: a stream name must not begin with a dot"),
            (13, "`transport`: an rtsps source is encrypted in its own connection"),
            (14, "`on_demand` must be true or false, not string"),
            (15, "`connect_timeout_ms` must be from 100 to 120000 milliseconds"),
            (17, "`back door`: a stream name consists of"),
            (17, "`back door` has no `source`, and no `publish` either"),
            (18, "`stall_timeout_ms` must be a whole number of milliseconds, not string"),
            (21, "`source` must be text in quotes, not array"),
            (22, "unknown key `colour` in a stream; known are source, quality, trust, transport, publish"),
            (24, "`studio` has both a `source` and `publish`"),
            (25, "`key`: a key has 1 to 256 printable characters"),
            (25, "`second_publisher` must be \"takeover\" or \"refuse\""),
            (26, "`source`: an RTMP source names an application and a stream"),
            (29, "`listen` must be an IP address and port, such as \"0.0.0.0:1935\""),
            (30, "`certificate` must name a PEM file"),
            (30, "`rtmps` has no `listen`"),
            (30, "`rtmps` has no `key`"),
            (32, "unknown key `sever` at the top of the file; did you mean `server`?"),
        ],
    );
}

#[test]
fn a_transport_is_chosen_for_rtsp_alone() {
    let transport = |config: &Config, number: usize| match &config.streams[number].input {
        Input::Source { transport, .. } => *transport,
        Input::Publish(_) | Input::Qualities(_) => panic!("a source"),
    };
    let text = "[streams.a]\nsource = 'rtsp://h'\ntransport = 'udp'\n[streams.b]\nsource = 'rtsps://h'\n\
                [streams.c]\nsource = 'rtsp://h'\n";
    let config = Config::parse(text).unwrap();
    assert_eq!(
        [0, 1, 2].map(|number| transport(&config, number)),
        [Transport::Udp, Transport::Auto, Transport::Auto]
    );
    let over = Overrides { transport: Some(Transport::Tcp), ..Overrides::default() };
    let config = Config::parse_with(text, over).unwrap();
    assert_eq!(
        [0, 1, 2].map(|number| transport(&config, number)),
        [Transport::Tcp, Transport::Auto, Transport::Tcp],
        "the command line's word is above the file's, where there is a choice"
    );
    expect(
        "[streams.a]\nsource = 'rtsp://h'\ntransport = 'hunter2'\n[streams.b]\nsource = 'rtmp://h/live/x'\n\
         transport = 'tcp'\n[streams.c]\nsource = 'rtsp://h'\ntransport = 1",
        &[
            (3, "`transport` must be \"auto\", \"tcp\" or \"udp\""),
            (6, "`transport` means something for an rtsp source only"),
            (9, "`transport` must be text in quotes"),
        ],
    );
}

#[test]
fn what_is_not_toml_is_named_with_its_line_and_without_its_text() {
    expect("[server]\nlisten = \"127.0.0.1:1\n", &[(2, "not TOML: ")]);
    expect("[streams.a]\nsource = rtsp://u:hunter2@h/\n", &[(2, "not TOML: ")]);
    expect("[streams.a]\nsource = 'rtsp://h/'\n[streams.a]\n", &[(3, "not TOML: ")]);
    expect("\n\"rtsp://u:hunter2@h/\" = 1\n", &[(2, "unknown key (not repeated here")]);
    expect("streams = 1\nserver = []", &[(1, "`streams` must be a table"), (2, "`server` must be a table")]);
    expect("[[streams]]\nname = 'a'", &[(1, "`streams` must be a table like [streams.NAME]")]);
    expect(
        "[streams]\na = 'rtsp://u:hunter2@h/'",
        &[(2, "`a` must be a table like [streams.NAME], not string")],
    );
    expect(&format!("a = {}", "[".repeat(100_000)), &[(1, "not TOML: ")]);
}

#[test]
fn listening_beyond_this_machine_needs_auth_off_by_name() {
    for (listen, auth, allowed) in [
        ("127.0.0.1:1", "on", true),
        ("127.8.8.8:1", "on", true),
        ("[::1]:1", "on", true),
        ("[::ffff:127.0.0.1]:1", "on", true),
        ("0.0.0.0:1", "on", false),
        ("[::]:1", "on", false),
        ("192.0.2.1:1", "on", false),
        ("0.0.0.0:1", "off", true),
    ] {
        let text = format!("[server]\nauth = \"{auth}\"\nlisten = \"{listen}\"");
        assert_eq!(Config::parse(&text).is_ok(), allowed, "{listen} {auth}");
    }
    expect("[server]\n\nlisten = '0.0.0.0:8443'", &[(3, "write auth = \"off\" under [server] (--auth off)")]);
}

#[test]
fn the_command_line_stands_above_the_file() {
    let text = "[server]\nlisten = '0.0.0.0:1'";
    let off = Overrides { auth: Some(Auth::Off), ..Overrides::default() };
    assert!(Config::parse_with(text, off).is_ok());
    let near = Overrides { listen: Some(([127, 0, 0, 1], 2).into()), ..Overrides::default() };
    assert_eq!(Config::parse_with(text, near).unwrap().server.listen.port(), 2);
    let far = Overrides { listen: Some(([0, 0, 0, 0], 2).into()), ..Overrides::default() };
    assert!(Config::parse_with("", far).is_err());
}

#[test]
fn cameras_on_the_command_line_get_the_names_that_are_free() {
    let config = Config::from_urls(
        &["rtsp://h/1?a=b", "cam2=rtsp://h/2", "rtsp://h/3", "gate=rtsp://u:p@h/4?x=y"],
        Overrides::default(),
    )
    .unwrap();
    let names: Vec<_> = config.streams.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["cam1", "cam2", "cam3", "gate"]);
    assert_eq!(credentials(&config.streams[3]), Some(("u".into(), "p".into())));

    let found = Config::from_urls(
        &["a=rtsp://h", "a=rtsp://h", "b c=http://u:hunter2@h", "hunter2"],
        Overrides::default(),
    )
    .unwrap_err();
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(text.lines().count(), 4, "{text}");
    for line in [
        "camera 2: the name a is given twice",
        "camera 3: a stream name consists of",
        "camera 3: a source begins with rtsp://",
        "camera 4: not a URL",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("hunter2"));
}

#[test]
fn a_file_is_loaded_or_its_mistakes_are_listed_as_path_and_line() {
    let path = std::env::temp_dir().join(format!("sightline-config-test-{}.toml", std::process::id()));
    let absent = Config::load(&path).unwrap_err();
    assert!(matches!(absent, LoadError::Unreadable { .. }) && absent.to_string().contains("cannot read"));
    std::fs::write(&path, "[server]\nx = 1\ny = 2\n").unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    std::fs::write(&path, EXAMPLE).unwrap();
    let loaded = Config::load(&path);
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines[0].starts_with(&format!("{}:2: unknown key `x`", path.display())), "{error}");
    assert_eq!(loaded.unwrap().streams.len(), 5);
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Config::parse(&text);
    }

    #[test]
    fn no_table_panics(lines in prop::collection::vec(
        "(\\[server\\]|\\[\\[?streams(\\.[a-z\"]{1,3}){0,2}\\]\\]?|\\[rtmp\\]|(listen|auth|source|on_demand|publish|streams|stall_timeout_ms|x)( = |\\.a = )(1|-9223372036854775808|true|'rtsp://[ -&(-~]{0,20}'|\\{\\}|\\[1\\]|1979-05-27|nan))",
        0..12)) {
        if let Err(mistakes) = Config::parse(&lines.join("\n")) {
            prop_assert!(mistakes.iter().all(|m| (1..=lines.len().max(1)).contains(&m.line)), "{mistakes:?}");
        }
    }

    #[test]
    fn one_byte_changed_in_the_example_never_panics_nor_tells_the_password(at in 0usize..EXAMPLE.len(), byte in 0u8..128) {
        let mut text = EXAMPLE.as_bytes().to_vec();
        text[at] = byte;
        if let Ok(text) = String::from_utf8(text) {
            for mistake in Config::parse(&text).err().unwrap_or_default() {
                prop_assert!(!mistake.message.contains("secret"), "{mistake}");
            }
        }
    }

    #[test]
    fn no_argument_panics(arguments in prop::collection::vec("([a-z.]{0,3}=)?(rtsp://)?\\PC{0,20}", 0..4)) {
        let _ = Config::from_urls(&arguments, Overrides::default());
    }
}

#[test]
fn encoders_need_a_door_a_stream_and_beyond_this_machine_a_key() {
    let door = "[rtmp]\nlisten = \"0.0.0.0:1935\"\n";
    let open = "[streams.studio]\npublish = {}\n";
    let locked = "[streams.studio]\npublish = { key = \"hunter2\" }\n";
    expect(open, &[(1, "nothing listens for it")]);
    expect(door, &[(1, "there is no stream to publish")]);
    expect(&[door, open].concat(), &[(3, "studio has no key")]);
    let config = Config::parse(&[door, locked].concat()).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let off = "[server]\nauth = \"off\"\n";
    Config::parse(&[off, door, open].concat()).unwrap();
    Config::parse(&[open, "[rtmp]\nlisten = \"[::1]:1935\"\n"].concat()).unwrap();

    let rtmp = Some("127.0.0.1:0".parse().unwrap());
    let config = Config::from_urls(&["studio=publish"], Overrides { rtmp, ..Overrides::default() }).unwrap();
    assert!(config.streams[0].is_published());
    let mistakes = Config::from_urls(&["studio=publish"], Overrides::default()).unwrap_err();
    assert!(mistakes[0].message.contains("--rtmp"), "{mistakes:?}");
    let rtmp = Some("0.0.0.0:1935".parse().unwrap());
    assert!(Config::from_urls(&["studio=publish"], Overrides { rtmp, ..Overrides::default() }).is_err());
}

#[test]
fn files_are_looked_for_beside_the_configuration() {
    let folder = std::env::temp_dir().join(format!("sightline-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("sightline.toml");
    std::fs::write(&file, EXAMPLE).unwrap();
    let config = Config::load(&file).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(config.rtmp.rtmps.unwrap().certificate, folder.join("certificate.pem"));
    let trusts: Vec<_> = config
        .streams
        .iter()
        .flat_map(|stream| match &stream.input {
            Input::Source { trust, .. } => trust.iter().cloned().collect(),
            Input::Publish(_) => Vec::new(),
            Input::Qualities(all) => {
                all.iter().filter_map(|quality| quality.trust.clone()).collect::<Vec<_>>()
            }
        })
        .collect();
    assert_eq!(trusts, ["camera.pem", "authority.pem"].map(|name| folder.join(name)));
}

#[test]
fn limits_are_whole_numbers_that_make_sense_and_leave_room_for_the_streams() {
    let text = "[server]\nmax_viewers = 5\nmax_history_mib = 16\n[streams.a]\nsource = 'rtsp://h'\nmax_viewers = 2\n";
    let config = Config::parse(text).unwrap();
    assert_eq!((config.server.max_viewers, config.server.max_history_mib), (5, 16));
    assert_eq!(config.streams[0].max_viewers, Some(2));
    let over = Overrides { max_viewers: Some(7), ..Overrides::default() };
    assert_eq!(Config::parse_with(text, over).unwrap().server.max_viewers, 7);
    expect(
        "[server]\nmax_viewers = 0\nmax_history_mib = 'all'\n[streams.a]\nsource = 'rtsp://h'\nmax_viewers = 1.5\n",
        &[
            (2, "`max_viewers` must be from 1 to 1000000 viewers"),
            (3, "`max_history_mib` must be a whole number of MiB, not string"),
            (6, "`max_viewers` must be a whole number of viewers, not float"),
        ],
    );
    let many = |count: usize| {
        let streams = (0..count).map(|i| format!("[streams.cam{i}]\nsource = 'rtsp://h'\n"));
        streams.collect::<Vec<_>>().concat()
    };
    let text = ["[server]\nmax_history_mib = 16\n", &many(17)].concat();
    expect(&text, &[(35, "17 streams do not fit max_history_mib = 16")]);
    let text = ["[server]\nmax_history_mib = 2000\n", &many(1_001)].concat();
    expect(&text, &[(2_003, "1001 streams are too many for one proxy: 1000 at most")]);
    let urls: Vec<_> = (0..=1_000).map(|i| format!("rtsp://h/{i}")).collect();
    assert!(Config::from_urls(&urls, Overrides::default()).is_err());
}

#[test]
fn a_stream_may_have_several_qualities_each_with_its_own_source() {
    let text = "[streams.a]\non_demand = true\n[[streams.a.quality]]\nname = 'main'\nsource = 'rtsp://u:hunter2@h/1'\n\
                transport = 'udp'\n[[streams.a.quality]]\nname = 'sub'\nsource = 'rtmp://h/live/2'\n";
    let config = Config::parse(text).unwrap();
    let Input::Qualities(qualities) = &config.streams[0].input else { panic!("{config:?}") };
    assert_eq!(qualities[0].transport, Transport::Udp);
    let names: Vec<_> = config.streams[0].qualities().map(StreamName::as_str).collect();
    assert_eq!((names, config.streams[0].on_demand), (vec!["main", "sub"], true));
    assert!(!format!("{config:?}").contains("hunter2"));
    let over = Overrides { transport: Some(Transport::Tcp), ..Overrides::default() };
    let config = Config::parse_with(text, over).unwrap();
    let Input::Qualities(qualities) = &config.streams[0].input else { panic!("{config:?}") };
    assert_eq!([0, 1].map(|i| qualities[i].transport), [Transport::Tcp, Transport::Auto]);
}

#[test]
fn mistakes_in_qualities_are_named_with_their_lines() {
    expect(
        "[streams.a]\nsource = 'rtsp://h'\n[[streams.a.quality]]\nname = 'main'\nsource = 'rtsp://h'\n\
         [[streams.a.quality]]\nname = 'main'\nurl = 'rtsp://h:hunter2'\n[streams.b]\nquality = 1\n\
         [[streams.c.quality]]\nname = 'x y'\nsource = 'rtmp://h/live/2'\ntransport = 'udp'\n\
         [streams.d]\ntrust = 'x'\n[[streams.d.quality]]\nname = 'n'\nsource = 'rtsp://h'\n\
         [[streams.d.quality]]\nname = 'n'\nsource = 'rtsp://h'\n",
        &[
            (1, "`a` has both a `source` and `quality`"),
            (6, "a quality has no `source`"),
            (8, "unknown key `url` in a quality; known are name, source, trust, transport"),
            (10, "`quality` must be written as [[streams.NAME.quality]], not integer"),
            (11, "a stream has from 2 to 4 qualities, not 1"),
            (12, "`name`: a stream name consists of"),
            (15, "`d` has `quality`: `trust` and `transport` belong to each quality's source"),
            (20, "a quality called n is there already"),
        ],
    );
}
