//! Writes the seeds that are committed below `corpus/`: what encoders send, and what is known to hurt parsers.
//!
//! usage: `cargo run --manifest-path proxy/fuzz/Cargo.toml --example seeds`. What it writes is the same each time.

use std::{fs, path::Path};

use rml_rtmp::{
    chunk_io::ChunkSerializer,
    messages::{MessagePayload, RtmpMessage, UserControlEventType},
    rml_amf0::{self, Amf0Value},
    time::RtmpTimestamp,
};

// What ffmpeg's encoders make of `testsrc2` at 64 by 48 pixels, and of a sine.
const AVC_CONFIG: &str =
    "17000000000164000affe100176764000aace411ec0440000003004000000c83c489448001000668ebe0652c8bfdf8f800";
const AVC_KEY: &str = "1701000028000000586588840f293d195838a022be419a2663ec49fece18adb8f411c0c772bc5576ae72542c8410d02704914ad67b9e7fd40ce5d86de579b2d5a7987c39367f9b83a4eade640c701dc01547c52e3f7bc654117d8d437d5041d871";
const AVC_P: &str = "270100005000000012419a29b1ffa2fac2c487a80df87e76470160";
const AVC_B: &str = "270100000000000007019e45e7ffbb81";
const AVC_END: &str = "1702000000";
const AAC_CONFIG: &str = "af00120856e500";
const AAC_FRAME: &str =
    "af0101482a92adef3c78fd6e4b9248910596597ac680c891ba06440ee91ba07740c0c0c0c0c8818181818181818181818181f0";
const HVCC: &str = "0101600000009000000000001ef000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003001e959809a10001002942010101600000030090000003000003001ea02083165959ae4caf016808000003000800000300c840a2000100064401c173d089";
const HEVC_NALS: &str = "000000692801af0658fc37a05be210ca9748b0e5e3ddbbe05000a39fec15f0dc2b8c42bdf2c7c145f908d3a3df3fbfd01974a38a5c1a2c573d56c2ee37cc74e339cf342a1d7ec96fb644a0392cda44555b195f0c5d40d8b2a248dd25a6bcfcc0f357c48d5e5f6061626364656667";
const AV1C: &str = "81000c000a0a00000002aff79b5f2008";
const AV1_UNIT: &str = "0a0a00000002aff79b5f2008323914003fe030c0000b2eb2c0c8121f5788f6619630b5c849d01af2d3d72be75166f2ef3101eafb4a2670e346081cd18c7c2bb3455d22ecac1d35";
const OPUS_HEAD: &str = "4f70757348656164010138010000000000000000000000";
const ON_METADATA: &str = "02000d40736574446174614672616d6502000a6f6e4d65746144617461080000000d00086475726174696f6e003fc999999999999a000577696474680040500000000000000006686569676874004048000000000000000d766964656f646174617261746500000000000000000000096672616d6572617465004039000000000000000c766964656f636f646563696400401c000000000000000d617564696f646174617261746500401f400000000000000f617564696f73616d706c65726174650040e5888000000000000f617564696f73616d706c6573697a65004030000000000000000673746572656f0100000c617564696f636f64656369640040240000000000000007656e636f64657202000d4c61766635392e32372e313030000866696c6573697a65004098300000000000000009";

/// x264, 3 slices a picture: NAL units of access units, of slices the beginning.
const SLICES: &str = "6742c00ada11ec0440000003004000000ca3c489a8 68ce0fc8 6588843a0c60016c4211e5051b8e 65288843a0c6038100088000112d 65122210e83180020b90025a0271, 419a228b 4129a228b0 4112688a2c";
/// x264, 3 B-frames and one of them a reference: NAL units of access units, of slices the beginning.
const PYRAMID: &str = "6764000aacd9447b011000000300100000030320f1225960 68ef8fcb 65888400dfd4d445abc4073c5372, 419a241893ffbcd9e6330a6358df, 419e424223fffedd20aa806c8f7b, 019e6144575cc0, 019e634457e9f76d, 419a68344c7fd77dad9ead81cd40, 419e8645112c9feb219a54da311b, 019ea544475941, 019ea744dffed1b97da0";
/// x264, interlaced: NAL units of access units, of slices the beginning.
const INTERLACED: &str = "674d4015f4227e5c0440000003004000000c87c50aa8 68de0fc8 0601013280 6588822c3a8630004440018e4102, 0601013280 419a2360897e3e, 0601014280 419a4561a5f8bf8adeb5afc56f5a";
/// x264, open GOPs: NAL units of access units, of slices the beginning.
const OPEN_GOP: &str = "6764000aacd9447b011000000300100000030320f1225960 68ef8fcb 6588840057e9d7ad090cefc866e7, 419a23188effc819807c01cdfd0e, 419e414212fffeead88688b26530, 019e62442dfffeed75ecc90a0cff, 6764000aacd9447b011000000300100000030320f1225960 68ef8fcb 060601c480 418899811fdae397d3c4073b52ba, 419e8445112c25ff7341, 019ea5442dff7bc1, 419aa9344ca22e10ffccd6189284, 419ec74212ff7340, 019ee8442dff7bc0, 419aeb344ca2616f1d71, 019f0a442dff7bc0";
/// x264, intra refresh: NAL units of access units, of slices the beginning.
const INTRA_REFRESH: &str = "6742c00ada11ec0440000003004000000c83c489a8 68ce0fc8 6588843a0c60016c4211e5051b8e, 419a2286c0, 419a40e8dd7093975ab8, 419a605af06103685cc99932520c, 419a8022bc6c7ddb92217a64072f, 419aa02abc3ddb6b8791660e1b42, 6742c00ada11ec0440000003004000000c83c489a8 68ce0fc8 0606017180 419ac032a1d9c0010001804801c1, 419ae036bc3b9301d5d7162fc690, 419b003ebc1077396846c0acef0b, 419b203ebc6f83d660dcca80b869, 419b4010af0ef8f0d0d7050fe338, 419b6010af0af84f97808001cb3c";
/// x264, cropped: NAL units of access units, of slices the beginning.
const CROPPED: &str =
    "6742c00ada11f9ab041000000300100000030320f1226a 68ce0fc8 6588843a0c6000f91002116668c2, 419a21a1b0";
/// x265, open GOPs: NAL units of access units, of slices the beginning.
const CRA: &str = "40010c01ffff01600000030090000003000003001e959009 42010101600000030090000003000003001ea0208316595912930bc05a020000030002000003003210 4401c073c089 2801ac76a0e6048a1f00da43e795, 0201d0195e20e4ddedeffff8da91, 0201e04497820490e12bff966221, 0001e024ffe89029809b68, 40010c01ffff01600000030090000003000003001e959009 42010101600000030090000003000003001ea0208316595912930bc05a020000030002000003003210 4401c073c089 2a01ac184b4919809a3a6f43bc9f, 1201e0a225d78204909b7c, 1001e086fffa240a609b68, 0201d0495e20ec9e5c, 0201e104978204909b7c, 0001e0e4ffe89028809b68, 40010c01ffff01600000030090000003000003001e959009 42010101600000030090000003000003001ea0208316595912930bc05a020000030002000003003210 4401c073c089 2a01ac304b4918809a3a6eb3be8f, 1201e16225d78204b09b7c, 1001e146fffa240a209b68, 0201d0697883909e5c";
/// x264, constrained baseline: NAL units of access units, of slices the beginning.
const BASELINE: &str =
    "6742c00ada11ec0440000003004000000c83c489a8 68ce0fc8 6588843a0c60016c4211e5051b8e, 419a2286c0";

/// How the harness is to read a seed: nothing said, in reads of 1 and of 7 bytes, as a stranger's.
const AT_ONCE: &[u8] = &[0];
const IN_PARTS: &[u8] = &[2, 1, 7];
const STRANGER: &[u8] = &[0x80];
const REFUSED: &[u8] = &[0x40];

fn main() {
    chunk();
    amf();
    flv();
    session();
    rtsp();
    sdp();
    rtp_video();
    rtp_aac();
    parameter_sets();
    access_units();
    aac();
    sound();
}

fn save(target: &str, name: &str, parts: &[&[u8]]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(name), parts.concat()).expect("the seed can be written");
}

/// Configurations that cameras and encoders send, and some that are wrong.
fn aac() {
    for (name, config) in [
        ("lc-48-khz-mono", "1188"),
        ("lc-16-khz-stereo", "1410"),
        ("lc-as-ffmpeg-writes-it", "118856e500"),
        ("lc-960-samples", "118c"),
        ("lc-six-channels", "11b0"),
        ("lc-eight-channels", "11b8"),
        ("lc-rate-of-its-own", "1780600010"),
        ("he-explicit", "2b118800"),
        ("he-rate-of-its-own", "2b9780600010"),
        ("ps-explicit", "eb098800"),
        ("ld", "b988"),
        ("no-channels", "1180"),
        ("no-such-rate", "1688"),
        ("escaped-object-type", "f880"),
        ("cut-off", "11"),
    ] {
        save("aac", name, &[&hex(config)]);
    }
}

/// A second of sound in packets of 20 ms, with a picture in front of every other one.
fn sound() {
    let octets: Vec<u8> = (0..160u8).map(|i| i.wrapping_mul(37)).collect();
    let step = |len: u8, us: i16| [&[len][..], &(us / 64).to_be_bytes()].concat();
    let second = |coding: u8, len: u8, skipped: std::ops::Range<u8>| {
        let mut out = vec![coding];
        for i in 0..50 {
            out.extend(step(255, if i == 0 { 0 } else { 20_000 }));
            if !skipped.contains(&i) {
                out.extend(step(len, 0));
                out.extend(&octets[..len.into()]);
            }
        }
        out
    };
    for (name, coding, len) in [
        ("a-law", 0x00, 160),
        ("mu-law", 0x01, 160),
        ("l16", 0x02, 160),
        ("l16-stereo-48-khz", 0x53, 160),
        ("l16-of-no-rate", 0x72, 160),
        ("g722", 0x04, 160),
        ("g726-16", 0x05, 40),
        ("g726-24", 0x06, 60),
        ("g726-32", 0x07, 80),
        ("g726-40", 0x08, 100),
        ("aac", 0x59, 100),
        ("aac-ld", 0x5a, 100),
        ("empty-packets", 0x00, 0),
    ] {
        save("sound", name, &[&second(coding, len, 0..0)]);
    }
    save("sound", "a-law-that-pauses", &[&second(0x00, 160, 10..40)]);
    save("sound", "aac-that-pauses", &[&second(0x59, 100, 10..40)]);
    save("sound", "a-law-that-never-comes", &[&second(0x00, 160, 0..50)]);
    let jump = step(160, i16::MAX);
    save(
        "sound",
        "a-law-that-jumps",
        &[&second(0x00, 160, 0..0), &jump, &octets, &step(160, i16::MIN), &octets],
    );
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hexadecimal") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// A header of type 0 on a chunk stream below 64.
fn full(id: u8, time: u32, len: u32, type_id: u8, stream_id: u32) -> Vec<u8> {
    let mut out = vec![id];
    out.extend_from_slice(&time.min(0x00ff_ffff).to_be_bytes()[1..]);
    out.extend_from_slice(&len.to_be_bytes()[1..]);
    out.push(type_id);
    out.extend_from_slice(&stream_id.to_le_bytes());
    if time >= 0x00ff_ffff {
        out.extend_from_slice(&time.to_be_bytes());
    }
    out
}

fn control(type_id: u8, number: u32) -> Vec<u8> {
    [full(2, 0, 4, type_id, 0), number.to_be_bytes().to_vec()].concat()
}

fn chunk() {
    let save = |name, how, parts: &[&[u8]]| save("chunk", name, &[how, &parts.concat()]);
    let (fives, sixes) = ([5; 128], [6; 128]);
    let video = full(6, 40, 300, 9, 1);
    let audio = full(4, 40, 200, 8, 1);
    save("one-message", AT_ONCE, &[&full(3, 0, 4, 20, 0), b"abcd"]);
    save("bytes-of-a-publisher", IN_PARTS, &[&publisher(None)]);
    save("bytes-of-a-publisher-chunk-size-1", AT_ONCE, &[&publisher(Some(1))]);
    save("bytes-of-a-publisher-chunk-size-4096", IN_PARTS, &[&publisher(Some(4096))]);
    let interleaved: &[&[u8]] =
        &[&video, &fives, &audio, &sixes, &[0xc6], &fives, &[0xc4], &sixes[..72], &[0xc6], &fives[..44]];
    save("interleaved", AT_ONCE, interleaved);
    save("interleaved-in-parts", IN_PARTS, interleaved);
    save("chunk-size-1", AT_ONCE, &[&control(1, 1), &full(6, 0, 3, 9, 1), b"a\xc6b\xc6c"]);
    save("chunk-size-0", AT_ONCE, &[&control(1, 0)]);
    save("chunk-size-2147483647", AT_ONCE, &[&control(1, 0x7fff_ffff)]);
    save("chunk-size-top-bit", AT_ONCE, &[&control(1, 0x8000_0080)]);
    save("chunk-size-1-mebibyte", AT_ONCE, &[&control(1, 1 << 20), &video, &[5; 300]]);
    save("chunk-size-amid-a-message", AT_ONCE, &[&video, &fives, &control(1, 1000), &[0xc6], &[5; 172]]);
    save("chunk-size-of-2-bytes", AT_ONCE, &[&full(2, 0, 2, 1, 0), &[0, 9]]);
    save(
        "abort",
        IN_PARTS,
        &[&video, &fives, &control(2, 6), &[0xc6], &sixes, &[0xc6], &sixes, &[0xc6], &sixes],
    );
    save("abort-nobodys", AT_ONCE, &[&control(2, 0xffff_ffff)]);
    save("new-message-amid-another", AT_ONCE, &[&video, &fives, &full(6, 80, 100, 9, 1), &sixes[..100]]);
    save("same-header-amid-a-message", AT_ONCE, &[&video, &fives, &video, &fives, &video, &fives]);
    save("empty-messages", AT_ONCE, &[&full(6, 40, 0, 9, 1), &[0xc6; 50]]);
    let late = full(6, 0x0123_4567, 200, 9, 1);
    save("extended-repeated", IN_PARTS, &[&late, &fives, &[0xc6, 1, 0x23, 0x45, 0x67], &fives]);
    save("extended-not-repeated", IN_PARTS, &[&late, &fives, &[0xc6], &fives]);
    save("extended-half-repeated", AT_ONCE, &[&late, &fives, &[0xc6, 1, 0x23]]);
    save("extended-small", AT_ONCE, &[&hex("06ffffff000001090100000000000005ff")]);
    save("extended-difference", AT_ONCE, &[&full(6, 5, 1, 9, 1), &hex("0086ffffff0200000001c60200000002")]);
    save("time-wraps", AT_ONCE, &[&full(6, u32::MAX, 1, 9, 1), &hex("0086000028010086ffffffffffffff02")]);
    save("type-3-first", AT_ONCE, &[&[0xc6], &fives]);
    save("type-2-first", AT_ONCE, &[&[0x86, 0, 0, 1], &fives]);
    save("type-1-first", AT_ONCE, &[&hex("42000000000006040006000000d0")]);
    save(
        "long-basic-headers",
        IN_PARTS,
        &[&[0], &full(9, 0, 1, 8, 1), b"a", &[1, 255], &full(255, 0, 1, 8, 1), b"b"],
    );
    let many: Vec<u8> =
        (2..64).chain([0]).flat_map(|id| [full(id, 0, 8 << 20, 9, 1), fives.to_vec()].concat()).collect();
    save("many-unfinished", AT_ONCE, &[&many]);
    save("many-unfinished-of-a-stranger", STRANGER, &[&many]);
    save("8-mebibytes-and-1", AT_ONCE, &[&full(6, 0, (8 << 20) + 1, 9, 1)]);
    save("64-kibibytes-and-1-of-a-stranger", STRANGER, &[&full(6, 0, (64 << 10) + 1, 9, 1)]);
}

fn amf() {
    let save = |name, bytes: &[u8]| save("amf", name, &[bytes]);
    let text = |text: &str| Amf0Value::Utf8String(text.to_owned());
    let write = |values: Vec<Amf0Value>| rml_amf0::serialize(&values).expect("short");
    save(
        "numbers",
        &write(vec![Amf0Value::Number(1.0), Amf0Value::Boolean(true), Amf0Value::Null, Amf0Value::Undefined]),
    );
    save("connect", &write(vec![text("connect"), Amf0Value::Number(1.0), object("app", text("live"))]));
    let publish = vec![
        text("publish"),
        Amf0Value::Number(5.0),
        Amf0Value::Null,
        text("studio?key=secret"),
        text("live"),
    ];
    save("publish", &write(publish));
    save("on-metadata", &hex(ON_METADATA));
    save("on-metadata-without-end", &hex(ON_METADATA.trim_end_matches("000009")));
    save(
        "strict-array",
        &write(vec![Amf0Value::StrictArray(vec![text("avc1"), text("hvc1"), object("a", Amf0Value::Null)])]),
    );
    save("nested-one-too-deep", &[[3, 0, 1, b'a'].repeat(17), vec![5]].concat());
    save("nested-objects", &[[3, 0, 1, b'a'].repeat(16), vec![5]].concat());
    save("bomb-of-objects", &[3, 0, 1, b'a'].repeat(4000));
    save("bomb-of-ecma-arrays", &[8, 0, 0, 0, 1, 0, 1, b'a'].repeat(2000));
    save("bomb-of-strict-arrays", &[10, 255, 255, 255, 255].repeat(3000));
    save("bomb-of-typed-objects", &[16, 0, 1, b'C', 0, 1, b'a'].repeat(2000));
    save("bomb-of-nulls", &[5; 2000]);
    save("array-of-4-milliards", &[&[10, 255, 255, 255, 255][..], &[5; 100]].concat());
    save("long-string-cut-off", &[12, 255, 255, 255, 255, b'a']);
    save("long-string", &[12, 0, 0, 0, 3, b'a', b'b', b'c']);
    save("not-utf-8", &[2, 0, 4, 0xc3, 0xff, 0xfe, 0x80]);
    save("date", &hex("0b42755e3f6b8000000000"));
    save("reference-unsupported-xml", &[7, 0, 1, 13, 15, 0, 0, 0, 4, b'<', b'a', b'/', b'>']);
    save("typed-object", &hex("100001430001610500000905"));
    save("amf3", &[5, 3, 0, 1, b'a', 0x11, 0x0a, 0x0b, 1]);
    save("reserved-markers", &[4]);
    save("object-end-alone", &[5, 9]);
    save("empty-names", &hex("0300000500000009"));
}

fn object(name: &str, value: Amf0Value) -> Amf0Value {
    Amf0Value::Object([(name.to_owned(), value)].into())
}

/// A tag as the harness frames it.
fn tag(video: bool, time: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&[u8::from(video)], &time.to_be_bytes()[..], &len, payload].concat()
}

fn flv() {
    let save = |name, tags: &[Vec<u8>]| save("flv", name, &[&tags.concat()]);
    let sound = |time, text: &str| tag(false, time, &hex(text));
    let video = |time, text: &str| tag(true, time, &hex(text));
    let config = || video(0, AVC_CONFIG);
    let both = [
        config(),
        sound(0, AAC_CONFIG),
        video(0, AVC_KEY),
        sound(17, AAC_FRAME),
        video(40, AVC_P),
        sound(40, AAC_FRAME),
        video(80, AVC_B),
        video(120, AVC_KEY),
        video(120, AVC_END),
    ];
    save("avc-and-aac", &both);
    // Without sound pictures wait for it a while.
    save("avc-alone", &[config(), video(0, AVC_KEY), video(40, AVC_P), video(300, AVC_B)]);
    // Without pictures sound waits for them a while.
    save(
        "aac-alone",
        &[sound(0, AAC_CONFIG), sound(17, AAC_FRAME), sound(5000, AAC_FRAME), sound(5023, AAC_FRAME)],
    );
    save("no-config", &[video(0, AVC_KEY), sound(0, AAC_FRAME)]);
    save("config-again", &[config(), video(0, AVC_KEY), config(), sound(10, AAC_CONFIG), video(40, AVC_KEY)]);
    save("config-cut-off", &[video(0, &AVC_CONFIG[..40]), video(0, AVC_KEY)]);
    save("nal-longer-than-its-tag", &[config(), video(0, "1701000000ffffffff65")]);
    save("negative-offset", &[config(), video(40, &AVC_KEY.replacen("1701000028", "1701ffffd8", 1))]);
    save(
        "time-goes-back",
        &[config(), video(5000, AVC_KEY), video(0, AVC_KEY), video(u32::MAX, AVC_KEY), video(3, AVC_P)],
    );
    save(
        "empty-tags",
        &[tag(true, 0, &[]), tag(false, 0, &[]), tag(true, 0, &[0x17]), tag(false, 0, &[0xaf])],
    );
    save("mp3", &[sound(0, "2ffffb90c400000000"), sound(26, "2ffffb90c400000000")]);
    save("h263-and-speex", &[video(0, "1200000084"), sound(0, "b2000000")]);
    save("command-frames", &[video(0, "5700"), video(0, "5701")]);
    // Enhanced RTMP: 0x80, the frame type, the packet type; then a FourCC.
    save(
        "hevc",
        &[
            video(0, &["90", "68766331", HVCC].concat()),
            video(0, &["91", "68766331", "000000", HEVC_NALS].concat()),
            video(300, &["a3", "68766331", HEVC_NALS].concat()),
            video(300, &["92", "68766331"].concat()),
        ],
    );
    save(
        "av1",
        &[
            video(0, &["90", "61763031", AV1C].concat()),
            video(0, &["91", "61763031", AV1_UNIT].concat()),
            video(300, &["91", "61763031", AV1_UNIT].concat()),
        ],
    );
    let avc_nals = &AVC_KEY[10..];
    save(
        "enhanced-avc",
        &[
            video(0, &["90", "61766331", &AVC_CONFIG[10..]].concat()),
            video(0, &["91", "61766331", "000028", avc_nals].concat()),
            video(300, &["93", "61766331", avc_nals].concat()),
        ],
    );
    save(
        "opus",
        &[
            sound(0, &["90", "4f707573", OPUS_HEAD].concat()),
            sound(0, &["91", "4f707573", "fcfffe"].concat()),
            sound(5000, &["91", "4f707573", "fcfffe"].concat()),
        ],
    );
    save(
        "enhanced-aac",
        &[
            sound(0, "906d703461120856e500"),
            sound(0, &["916d703461", &AAC_FRAME[4..]].concat()),
            sound(5000, &["916d703461", &AAC_FRAME[4..]].concat()),
        ],
    );
    let stream_info = ["10001000", "000000000000", "0ac442f000000000", &"00".repeat(16)].concat();
    save(
        "flac",
        &[
            sound(0, &["90", "664c6143", "664c6143", "80000022", &stream_info].concat()),
            sound(0, "91664c6143fff8c9180045"),
            sound(5000, "91664c6143fff8c9180045"),
        ],
    );
    let size = format!("{:06x}", 3 + HEVC_NALS.len() / 2);
    // Type 6, then how many tracks and the packet type inside.
    save(
        "multitrack",
        &[
            video(0, &["96", "00", "68766331", "00", HVCC].concat()),
            video(
                0,
                &["96", "11", "68766331", "00", &size, "000000", HEVC_NALS, "01", "000004", "000000ff"]
                    .concat(),
            ),
            video(300, &["93", "68766331", HEVC_NALS].concat()),
            video(340, &["96", "11", "68766331", "00", "ffffff", HEVC_NALS].concat()),
        ],
    );
    save("multichannel-config", &[sound(0, "94"), sound(0, "954f707573010200010203")]);
    // Type 7: a length less 1, so much of a modifier, then its kind and the next packet type.
    save(
        "modifiers",
        &[
            video(0, &["90", "61766331", &AVC_CONFIG[10..]].concat()),
            video(0, &["97", "02", "0f423f", "03", "61766331", avc_nals].concat()),
            video(300, &["97", "00", "00", "17", "00", "00", "03", "61766331", avc_nals].concat()),
            video(300, &["97", &["00", "00", "07"].concat().repeat(2000)].concat()),
        ],
    );
    save("metadata-in-video", &[video(0, "9468766331020009636f6c6f72496e666f0300000009")]);
    save("unknown-fourcc", &[video(0, "9058585858"), video(0, "9158585858"), sound(0, "9058585858")]);
}

fn message(writer: &mut ChunkSerializer, stream_id: u32, message: RtmpMessage) -> Vec<u8> {
    let payload = message.into_message_payload(RtmpTimestamp::new(0), stream_id).expect("it can be written");
    writer.serialize(&payload, false, false).expect("it can be written").bytes
}

fn command(
    writer: &mut ChunkSerializer,
    stream_id: u32,
    name: &str,
    transaction: f64,
    arguments: &[&str],
) -> Vec<u8> {
    let text = |text: &&str| Amf0Value::Utf8String((*text).to_owned());
    let command_object = match name {
        "connect" => object("app", Amf0Value::Utf8String("live".to_owned())),
        _ => Amf0Value::Null,
    };
    let additional_arguments = match name {
        "deleteStream" => vec![Amf0Value::Number(1.0)],
        _ => arguments.iter().map(text).collect(),
    };
    message(
        writer,
        stream_id,
        RtmpMessage::Amf0Command {
            command_name: name.to_owned(),
            transaction_id: transaction,
            command_object,
            additional_arguments,
        },
    )
}

fn media(writer: &mut ChunkSerializer, type_id: u8, time: u32, text: &str) -> Vec<u8> {
    let payload = MessagePayload {
        timestamp: RtmpTimestamp::new(time),
        type_id,
        message_stream_id: 1,
        data: hex(text).into(),
    };
    writer.serialize(&payload, false, false).expect("it can be written").bytes
}

/// Everything ffmpeg says after the handshake, from `connect` to `deleteStream`.
fn publisher(chunk_len: Option<u32>) -> Vec<u8> {
    let w = &mut ChunkSerializer::new();
    let mut out = vec![];
    if let Some(len) = chunk_len {
        out.extend(w.set_max_chunk_size(len, RtmpTimestamp::new(0)).expect("a legal size").bytes);
    }
    out.extend(command(w, 0, "connect", 1.0, &[]));
    out.extend(command(w, 0, "releaseStream", 2.0, &["studio"]));
    out.extend(command(w, 0, "FCPublish", 3.0, &["studio"]));
    out.extend(command(w, 0, "createStream", 4.0, &[]));
    out.extend(command(w, 1, "publish", 5.0, &["studio?key=secret", "live"]));
    out.extend(media(w, 18, 0, ON_METADATA));
    for (type_id, time, text) in [
        (9, 0, AVC_CONFIG),
        (8, 0, AAC_CONFIG),
        (9, 0, AVC_KEY),
        (8, 17, AAC_FRAME),
        (9, 40, AVC_P),
        (8, 40, AAC_FRAME),
        (9, 80, AVC_B),
        (9, 120, AVC_END),
    ] {
        out.extend(media(w, type_id, time, text));
    }
    out.extend(command(w, 0, "FCUnpublish", 6.0, &["studio"]));
    out.extend(command(w, 0, "deleteStream", 7.0, &[]));
    out
}

fn session() {
    let save = |name, how, parts: &[&[u8]]| save("session", name, &[how, &parts.concat()]);
    let w = || ChunkSerializer::new();
    let connect = |w: &mut ChunkSerializer| command(w, 0, "connect", 1.0, &[]);
    let hello = [&[3][..], &[0; 3072]].concat();
    save("publisher", AT_ONCE, &[&publisher(None)]);
    save("publisher-in-parts", IN_PARTS, &[&publisher(Some(4096))]);
    save("publisher-chunk-size-1", AT_ONCE, &[&publisher(Some(1))]);
    save("publisher-refused", REFUSED, &[&publisher(None)]);
    save("publisher-with-handshake", &[0x83, 255, 100, 3], &[&hello, &publisher(None)]);
    save("handshake-of-another-version", &[0x80], &[&[6], &hello[1..]]);
    save("handshake-cut-off", &[0x80], &[&hello[..2000]]);
    save("publish-before-connect", AT_ONCE, &[&command(&mut w(), 1, "publish", 5.0, &["studio"])]);
    let (first, second) = {
        let w = &mut w();
        (connect(w), connect(w))
    };
    save("connect-twice", AT_ONCE, &[&first, &second]);
    let publish = {
        let w = &mut w();
        let mut all = connect(w);
        all.extend(command(w, 1, "publish", 5.0, &["a"]));
        all.extend(command(w, 1, "publish", 5.0, &["b"]));
        all
    };
    save("publish-twice", AT_ONCE, &[&publish]);
    let play = {
        let w = &mut w();
        [connect(w), command(w, 1, "play", 5.0, &["studio"])].concat()
    };
    save("play", AT_ONCE, &[&play]);
    let streams = {
        let w = &mut w();
        let mut all = connect(w);
        for _ in 0..20 {
            all.extend(command(w, 0, "createStream", 2.0, &[]));
        }
        all
    };
    save("many-streams", AT_ONCE, &[&streams]);
    let unknown = {
        let w = &mut w();
        let mut all = connect(w);
        for n in 0..20 {
            all.extend(command(w, 0, "x", f64::from(n), &[]));
        }
        all
    };
    save("unknown-commands", AT_ONCE, &[&unknown]);
    let again = [publisher(None), {
        let w = &mut w();
        command(w, 1, "publish", 9.0, &["studio"])
    }]
    .concat();
    save("published-again", IN_PARTS, &[&again]);
    let pings = {
        let w = &mut w();
        let mut all = vec![];
        for n in 0..50 {
            all.extend(message(
                w,
                0,
                RtmpMessage::UserControl {
                    event_type: UserControlEventType::PingRequest,
                    stream_id: None,
                    buffer_length: None,
                    timestamp: Some(RtmpTimestamp::new(n)),
                },
            ));
        }
        all
    };
    save("pings", AT_ONCE, &[&pings]);
    save("window-of-1-byte", AT_ONCE, &[&control(5, 1), &publisher(None)]);
    save("short-command", AT_ONCE, &[&full(3, 0, 1, 20, 0), &[5]]);
    save("command-without-transaction", AT_ONCE, &[&full(3, 0, 10, 20, 0), &hex("020007636f6e6e656374")]);
    let bomb = [3, 0, 1, b'a'].repeat(30);
    save("amf-bomb", AT_ONCE, &[&full(3, 0, 120, 20, 0), &bomb]);
    save(
        "set-data-frame-cut-off",
        AT_ONCE,
        &[&connect(&mut w()), &full(5, 0, 16, 18, 1), &hex("02000d40736574446174614672616d65")],
    );
    let amf3 =
        [&[0][..], &hex("020007636f6e6e656374003ff0000000000000030003617070020004"), b"live", &[0, 0, 9]]
            .concat();
    save("amf3-connect", AT_ONCE, &[&full(3, 0, amf3.len() as u32, 17, 0), &amf3]);
    // An aggregate message: a tag with its header, and its length behind it.
    let inner = hex(AAC_FRAME);
    let tag =
        [&[8, 0, 0, inner.len() as u8, 0, 0, 23, 0, 0, 0, 0][..], &inner, &[0, 0, 0, inner.len() as u8 + 11]]
            .concat();
    let twice = tag.repeat(2);
    let start = {
        let w = &mut w();
        [connect(w), command(w, 1, "publish", 5.0, &["studio"])].concat()
    };
    let head = full(7, 40, twice.len() as u32, 22, 1);
    save("aggregate", AT_ONCE, &[&start, &control(1, 4096), &head, &twice]);
    let mut beyond = twice.clone();
    beyond[2] = 255;
    save("aggregate-beyond-its-end", AT_ONCE, &[&start, &control(1, 4096), &head, &beyond]);
}

/// What cameras answer to the three requests of the harness.
fn rtsp() {
    let answer = |cseq: u32, status: &str, fields: &str| {
        format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{fields}\r\n").into_bytes()
    };
    let digest = |nonce: &str, more: &str| {
        format!("WWW-Authenticate: Digest realm=\"cam\", nonce=\"{nonce}\"{more}\r\n")
    };
    let refused = |cseq, fields: &str| answer(cseq, "401 Unauthorized", fields);
    let ok =
        |cseq| answer(cseq, "200 OK", "Content-Length: 3\r\n").into_iter().chain(*b"v=0").collect::<Vec<_>>();
    let first = refused(1, &digest("n1", ""));
    save("rtsp", "digest", &[AT_ONCE, &first, &ok(4)]);
    save("rtsp", "digest-in-parts", &[IN_PARTS, &first, &ok(4)]);
    save("rtsp", "stranger", &[STRANGER, &first]);
    save("rtsp", "refused", &[AT_ONCE, &first, &refused(4, &digest("n2", ""))]);
    let stale = digest("n2", ", stale=true");
    save("rtsp", "stale", &[AT_ONCE, &first, &refused(4, &stale), &refused(5, &stale)]);
    let both = "WWW-Authenticate: Basic realm=\"cam\"\r\n".to_owned();
    save("rtsp", "basic", &[AT_ONCE, &refused(1, &both), &ok(4)]);
    let sha = both + &digest("n1", ", algorithm=SHA-256, qop=\"auth,auth-int\", opaque=\"x\"");
    save("rtsp", "sha-256", &[AT_ONCE, &refused(1, &sha), &ok(4)]);
    save("rtsp", "no-challenge", &[AT_ONCE, &refused(1, "")]);
    save("rtsp", "broken-challenge", &[AT_ONCE, &refused(1, "WWW-Authenticate: Digest realm=\"\\\r\n")]);
    save("rtsp", "redirect", &[AT_ONCE, &answer(1, "302 Moved", "Location: rtsp://other/live\r\n")]);
    let packet = b"$\x00\x00\x04abcd";
    save("rtsp", "packets", &[IN_PARTS, &ok(1), packet, b"\r\n", packet, &ok(2), packet]);
    save("rtsp", "asks-us", &[AT_ONCE, b"OPTIONS rtsp://us RTSP/1.0\r\nCSeq: 7\r\n\r\n", &ok(1)]);
    save("rtsp", "long-body", &[AT_ONCE, &answer(1, "200 OK", "Content-Length: 99999999999999999999\r\n")]);
    save("rtsp", "no-head", &[AT_ONCE, &b"RTSP/1.0 200 OK\r\n".repeat(1000)]);
}

/// What cameras offer.
fn sdp() {
    const TOP: &str =
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=Session\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n";
    const H264: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;\
        profile-level-id=64000A;sprop-parameter-sets=Z2QACqzkEexEAAADAAQAAAMAyDxIlEg=,aOvgZSyL\r\na=control:track1\r\n";
    const AAC: &str = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/44100/1\r\na=fmtp:97 streamtype=5;\
        profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1208\r\na=control:track2\r\n";
    let offered = |name: &str, media: &[&str]| {
        save("sdp", name, &[TOP.as_bytes(), media.concat().as_bytes()]);
    };
    offered("h264-and-aac", &[H264, AAC]);
    offered("h264-without-parameters", &["m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"]);
    let hevc = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=fmtp:96 sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwAelZgJ;\
        sprop-sps=QgEBAWAAAAMAkAAAAwAAAwAeoCCDFllZrkyvAWgIAAADAAgAAAMAyEA=;sprop-pps=RAHBc9CJ\r\n";
    offered("h265", &[hevc]);
    offered("g711", &["m=audio 0 RTP/AVP 0\r\n"]);
    offered("g726", &["m=audio 0 RTP/AVP 98\r\na=rtpmap:98 G726-16/8000\r\n"]);
    offered("l16", &["m=audio 0 RTP/AVP 98\r\na=rtpmap:98 L16/48000/2\r\n"]);
    offered("mjpeg", &["m=video 0 RTP/AVP 26\r\na=framerate:25.0\r\n"]);
    offered(
        "onvif-metadata",
        &[H264, "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"],
    );
    offered("control-elsewhere", &["a=control:rtsp://[::1]:1/x?y=z\r\n", H264]);
    offered(
        "broken-fmtp",
        &["m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets=Z2Q=,=,;;==\r\n"],
    );
    offered("broken-rtpmap", &["m=audio 0 RTP/AVP 99\r\na=rtpmap:99 mpeg4-generic/0/0\r\n"]);
    offered("nothing", &[]);
    save("sdp", "empty", &[]);
}

/// A packet: its marker and the step of its time, and 128 for one that is lost in front of it.
fn rtp(flags: u8, payload: &[u8]) -> Vec<u8> {
    [&[flags][..], &(payload.len() as u16).to_be_bytes(), payload].concat()
}

/// The clips of H.264 and H.265 in packets of each form, and packets that lie.
fn rtp_video() {
    const END: u8 = 3;
    for (name, clip, h265, _) in CLIPS {
        let units: Vec<Vec<Vec<u8>>> =
            clip.split(", ").map(|unit| unit.split(' ').map(hex).collect()).collect();
        let target = if h265 == 1 { "rtp_h265" } else { "rtp_h264" };
        let alone = units.iter().flat_map(|nals| {
            let last = nals.len() - 1;
            nals.iter()
                .enumerate()
                .flat_map(move |(i, nal)| rtp(u8::from(i == 0) << 1 | u8::from(i == last), nal))
        });
        save(target, &format!("{name}-alone"), &[&sized(b""), &alone.collect::<Vec<_>>()]);
        let together = units.iter().flat_map(|nals| {
            let head: &[u8] = if h265 == 1 { &[96, 1] } else { &[24] };
            rtp(END, &[head, &nals.iter().flat_map(|nal| sized(nal)).collect::<Vec<_>>()].concat())
        });
        save(target, &format!("{name}-together"), &[&sized(b""), &together.collect::<Vec<_>>()]);
        let fragments = units.iter().flat_map(|nals| {
            let last_nal = nals.len() - 1;
            nals.iter().enumerate().flat_map(move |(n, nal)| {
                let (head, kind, body) = if h265 == 1 {
                    (vec![nal[0] & 0x81 | 98, nal[1]], nal[0] >> 1 & 63, &nal[2..])
                } else {
                    (vec![nal[0] & 0xe0 | 28], nal[0] & 31, &nal[1..])
                };
                let last = body.chunks(4).len() - 1;
                let parts = body.chunks(4).enumerate().flat_map(move |(i, part)| {
                    let flags = u8::from(i == 0) << 7 | u8::from(i == last) << 6;
                    let step = u8::from(n == 0 && i == 0) << 1;
                    let payload = [&head[..], &[flags | kind], part].concat();
                    rtp(step | u8::from(n == last_nal && i == last), &payload)
                });
                parts.collect::<Vec<_>>()
            })
        });
        save(target, &format!("{name}-in-fragments"), &[&sized(b""), &fragments.collect::<Vec<_>>()]);
    }
    let described =
        sized(b"packetization-mode=1;sprop-parameter-sets=Z0LACtoR7ARAAAADAEAAAAyDxImo,aM4PyA==;");
    let slice = rtp(END, &hex("6588843a0c60"));
    for (name, packets) in [
        ("in-the-midst", rtp(END, &[0x7c, 0x45, 1])),
        ("without-an-end", rtp(2, &[0x7c, 0x85, 1])),
        (
            "of-start-codes",
            rtp(END, &hex("6742c00ada11ec0440000003004000000c83c489a80000000168ce0fc80000016588843a0c60")),
        ),
        ("aggregate-that-lies", rtp(END, &[24, 0xff, 0xff, 1])),
        ("interleaved", rtp(END, &[25, 0, 0, 0, 1, 9])),
        ("lost", rtp(0x80 | END, &hex("419a2286c0"))),
    ] {
        save("rtp_h264", name, &[&described, &packets, &slice]);
    }
    save("rtp_h265", "order-numbers", &[&sized(b"sprop-max-don-diff=3"), &rtp(END, &[2, 1, 0, 0, 0x80])]);
    save("rtp_h265", "paci", &[&sized(b""), &rtp(END, &[100, 1, 0, 0])]);
    save("rtp_h265", "in-the-midst", &[&sized(b""), &rtp(2, &[98, 1, 0x01, 5]), &rtp(1, &[98, 1, 0x41, 5])]);
    save("rtp_h265", "aggregate-that-lies", &[&sized(b""), &rtp(END, &[96, 1, 0, 9, 2])]);
    save("rtp_h265", "without-an-end", &[&sized(b""), &rtp(2, &[98, 1, 0x93, 5]), &rtp(END, &[2, 1, 0x80])]);
    save("rtp_h265", "lost", &[&sized(b""), &rtp(0x83, &[2, 1, 0x80])]);
    save("rtp_h265", "empty", &[&sized(b""), &rtp(END, &[])]);
}

/// AAC by RFC 3640.
fn rtp_aac() {
    const HIGH: &[u8] = b"mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1188";
    let one = rtp(3, &[0, 16, 0, 24, 1, 2, 3]);
    for (name, format, packet) in [
        ("one", HIGH, one.clone()),
        ("three", HIGH, rtp(3, &[0, 48, 0, 8, 0, 16, 0, 8, 1, 2, 3, 4])),
        ("low", b"mode=AAC-lbr", rtp(3, &[0, 16, 12, 8, 1, 2, 3, 4, 5])),
        ("in-parts", HIGH, [rtp(2, &[0, 16, 0, 40, 1, 2]), rtp(0, &[0, 16, 0, 40, 3, 4]), rtp(1, &[0, 16, 0, 40, 5])].concat()),
        ("a-part-lost", HIGH, [rtp(2, &[0, 16, 0, 40, 1, 2]), rtp(0x81, &[0, 16, 0, 40, 5])].concat()),
        ("interleaved", HIGH, rtp(3, &[0, 16, 0, 9, 1])),
        ("no-headers", HIGH, rtp(3, &[0, 0, 1, 2])),
        ("headers-that-lie", HIGH, rtp(3, &[0xff, 0xff, 0, 8, 1])),
        ("sizes-that-lie", HIGH, rtp(3, &[0, 32, 0, 8, 0xff, 0xf8, 1])),
        ("empty", HIGH, rtp(3, &[])),
        ("all-fields", b"sizelength=13;indexlength=3;ctsdeltalength=4;dtsdeltalength=4;randomaccessindication=1;streamstateindication=2;auxiliarydatasizelength=8", rtp(3, &[0, 21, 0, 16, 0, 0, 7, 8])),
    ] {
        save("rtp_aac", name, &[&sized(format), &packet, &one]);
    }
}

fn sized(nal: &[u8]) -> Vec<u8> {
    [&(nal.len() as u16).to_be_bytes(), nal].concat()
}

/// The clips, whether each is H.265, and when their pictures are shown, in frames.
const CLIPS: [(&str, &str, u8, &[i32]); 8] = [
    ("slices", SLICES, 0, &[0, 1]),
    ("pyramid", PYRAMID, 0, &[0, 4, 2, 1, 3, 8, 6, 5, 7]),
    ("interlaced", INTERLACED, 0, &[0, 1, 2]),
    ("open-gop", OPEN_GOP, 0, &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 11, 10]),
    ("intra-refresh", INTRA_REFRESH, 0, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ("cropped", CROPPED, 0, &[0, 1]),
    ("cra", CRA, 1, &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 13]),
    ("baseline", BASELINE, 0, &[0, 1]),
];

fn parameter_sets() {
    for (name, clip, h265, _) in CLIPS {
        let unit = clip.split(", ").next().expect("an access unit");
        let nals: Vec<_> = unit.split(' ').map(|nal| sized(&hex(nal))).collect();
        save("sps", name, &[&[h265], &nals.concat()]);
    }
    // Baseline of 64x48 without VUI, type 2 of counting: what is repaired.
    let bare = [sized(&hex("6742000af88a22")), sized(&hex("68ce0fc8"))].concat();
    save("sps", "to-be-repaired", &[&[0], &bare]);
    save("sps", "cut-off", &[&[0], &sized(&hex("6700")), &sized(&hex("68"))]);
    save("sps", "endless", &[&[0], &sized(&[&[0x67][..], &[0; 5000]].concat()), &sized(&hex("68ce0fc8"))]);
}

fn access_units() {
    let unit = |step: i32, nals: &str| {
        let nals: Vec<u8> = nals.split(' ').flat_map(|nal| sized(&hex(nal))).collect();
        [&step.to_be_bytes()[..], &(nals.len() as u16).to_be_bytes(), &nals].concat()
    };
    for (name, clip, h265, shown) in CLIPS {
        let mut last = 0;
        let units: Vec<_> = clip
            .split(", ")
            .zip(shown)
            .map(|(nals, shown)| unit((shown - std::mem::replace(&mut last, *shown)) * 3600, nals))
            .collect();
        save("nal", name, &[&[h265], &units.concat()]);
        if name == "pyramid" {
            // The camera's clock is set back and forth by 30 s.
            let jumps = [
                &units.concat()[..],
                &unit(-2_700_000, "419a68344c7fd7"),
                &unit(2_700_000, "419a68344c7fd7"),
            ];
            save("nal", "clock-jumps", &[&[h265], &jumps.concat()]);
        }
    }
    save("nal", "no-parameters", &[&[0], &unit(0, "6588843a0c60")]);
    save(
        "nal",
        "another-sps",
        &[
            &[0],
            &unit(0, BASELINE.split(", ").next().expect("one")),
            &unit(3600, PYRAMID.split(", ").next().expect("one")),
        ],
    );
}
