//! With the first bytes of what real encoders send. Access units are NAL units in hexadecimal.

use proptest::prelude::*;

use super::{super::Media, *};
use crate::media::bits::BitWriter;

/// x264, 3 slices a picture. Of each slice only the beginning.
const SLICES: &[&str] = &[
    "6742c00ada11ec0440000003004000000ca3c489a8 68ce0fc8 6588843a0c60016c4211e5051b8e 65288843a0c6038100088000112d 65122210e83180020b90025a0271",
    "419a228b 4129a228b0 4112688a2c",
];

/// x264, 3 B-frames, one of them a reference.
const PYRAMID: &[&str] = &[
    "6764000aacd9447b011000000300100000030320f1225960 68ef8fcb 65888400dfd4d445abc4073c5372",
    "419a241893ffbcd9e6330a6358df",
    "419e424223fffedd20aa806c8f7b",
    "019e6144575cc0",
    "019e634457e9f76d",
    "419a68344c7fd77dad9ead81cd40",
    "419e8645112c9feb219a54da311b",
    "019ea544475941",
    "019ea744dffed1b97da0",
];

/// x264, interlaced (MBAFF).
const INTERLACED: &[&str] = &[
    "674d4015f4227e5c0440000003004000000c87c50aa8 68de0fc8 0601013280 6588822c3a8630004440018e4102",
    "0601013280 419a2360897e3e",
    "0601014280 419a4561a5f8bf8adeb5afc56f5a",
];

/// x264, 2 B-frames, open GOPs of 6 pictures.
const OPEN_GOP: &[&str] = &[
    "6764000aacd9447b011000000300100000030320f1225960 68ef8fcb 6588840057e9d7ad090cefc866e7",
    "419a23188effc819807c01cdfd0e",
    "419e414212fffeead88688b26530",
    "019e62442dfffeed75ecc90a0cff",
    "6764000aacd9447b011000000300100000030320f1225960 68ef8fcb 060601c480 418899811fdae397d3c4073b52ba",
    "419e8445112c25ff7341",
    "019ea5442dff7bc1",
    "419aa9344ca22e10ffccd6189284",
    "419ec74212ff7340",
    "019ee8442dff7bc0",
    "419aeb344ca2616f1d71",
    "019f0a442dff7bc0",
];

/// x264, intra refresh over 6 pictures.
const INTRA_REFRESH: &[&str] = &[
    "6742c00ada11ec0440000003004000000c83c489a8 68ce0fc8 6588843a0c60016c4211e5051b8e",
    "419a2286c0",
    "419a40e8dd7093975ab8",
    "419a605af06103685cc99932520c",
    "419a8022bc6c7ddb92217a64072f",
    "419aa02abc3ddb6b8791660e1b42",
    "6742c00ada11ec0440000003004000000c83c489a8 68ce0fc8 0606017180 419ac032a1d9c0010001804801c1",
    "419ae036bc3b9301d5d7162fc690",
    "419b003ebc1077396846c0acef0b",
    "419b203ebc6f83d660dcca80b869",
    "419b4010af0ef8f0d0d7050fe338",
    "419b6010af0af84f97808001cb3c",
];

/// x264, 54x46 with samples of 16:11.
const CROPPED: &[&str] =
    &["6742c00ada11f9ab041000000300100000030320f1226a 68ce0fc8 6588843a0c6000f91002116668c2", "419a21a1b0"];

/// x265, 2 B-frames, open GOPs of 6 pictures.
const CRA: &[&str] = &[
    "40010c01ffff01600000030090000003000003001e959009 42010101600000030090000003000003001ea0208316595912930bc05a020000030002000003003210 4401c073c089 2801ac76a0e6048a1f00da43e795",
    "0201d0195e20e4ddedeffff8da91",
    "0201e04497820490e12bff966221",
    "0001e024ffe89029809b68",
    "40010c01ffff01600000030090000003000003001e959009 42010101600000030090000003000003001ea0208316595912930bc05a020000030002000003003210 4401c073c089 2a01ac184b4919809a3a6f43bc9f",
    "1201e0a225d78204909b7c",
    "1001e086fffa240a609b68",
    "0201d0495e20ec9e5c",
    "0201e104978204909b7c",
    "0001e0e4ffe89028809b68",
    "40010c01ffff01600000030090000003000003001e959009 42010101600000030090000003000003001ea0208316595912930bc05a020000030002000003003210 4401c073c089 2a01ac304b4918809a3a6eb3be8f",
    "1201e16225d78204b09b7c",
    "1001e146fffa240a209b68",
    "0201d0697883909e5c",
];

/// x264, constrained baseline.
const BASELINE: &[&str] =
    &["6742c00ada11ec0440000003004000000c83c489a8 68ce0fc8 6588843a0c60016c4211e5051b8e", "419a2286c0"];

const FRAME: i64 = 3_600;

fn nals(unit: &str) -> Vec<Vec<u8>> {
    unit.split(' ').map(h265::tests::bytes).collect()
}

/// NAL units as they come from the network.
fn prefixed(nals: &[Vec<u8>]) -> Bytes {
    nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes(), nal.as_slice()].concat()).collect()
}

/// A decoder's configuration made of the parameter sets among these.
fn record(nals: &[Vec<u8>], coding: Coding) -> Option<Vec<u8>> {
    let sized = |nal: &Vec<u8>| [&(nal.len() as u16).to_be_bytes(), nal.as_slice()].concat();
    if coding == Coding::H265 {
        let mut out = h265::tests::bytes(h265::tests::HVCC)[..22].to_vec();
        out.push(3);
        for nal_unit_type in [h265::VPS, h265::SPS, h265::PPS] {
            let nal = nals.iter().find(|nal| nal[0] >> 1 & 63 == nal_unit_type)?;
            out.extend([nal_unit_type, 0, 1]);
            out.extend(sized(nal));
        }
        return Some(out);
    }
    let sps = nals.iter().find(|nal| nal[0] & 31 == 7)?;
    let pps = nals.iter().find(|nal| nal[0] & 31 == 8)?;
    Some([vec![1, sps[1], sps[2], sps[3], 0xff, 0xe1], sized(sps), vec![1], sized(pps)].concat())
}

/// A track, as far as it came.
struct Camera {
    pictures: Pictures,
    track: Option<Track>,
}

impl Camera {
    fn new(coding: Coding) -> Self {
        Self { pictures: Pictures::new(coding), track: None }
    }

    /// Takes an access unit as retina gives it, shown as the so-many-th frame.
    fn read(&mut self, unit: &str, shown: i64) -> Result<Option<Unit>, Error> {
        let mut nals = nals(unit);
        let coding = self.pictures.coding();
        if let Some(record) = record(&nals, coding) {
            self.track = Some(self.pictures.configure(&record).expect("a configuration"));
        }
        nals.retain(|nal| match coding {
            Coding::H265 => !(32..35).contains(&(nal[0] >> 1 & 63)),
            _ => !(7..9).contains(&(nal[0] & 31)),
        });
        self.pictures.read(prefixed(&nals), shown * FRAME)
    }

    fn picture(&mut self, unit: &str, shown: i64) -> Picture {
        let unit = self.read(unit, shown).expect("good").expect("a picture");
        assert!(!unit.continues);
        self.pictures.place(unit, shown * FRAME)
    }

    /// Which of these are key frames; decode times must rise and stay before presentation.
    fn keys(&mut self, units: &[&str], shown: &[i64]) -> Vec<usize> {
        let (mut keys, mut last) = (vec![], i64::MIN);
        for (i, (unit, shown)) in units.iter().zip(shown).enumerate() {
            let picture = self.picture(unit, *shown);
            let dts = picture.dts_ticks.unwrap_or(shown * FRAME);
            assert!(dts > last && dts <= shown * FRAME, "{dts} after {last}, shown at {}", shown * FRAME);
            last = dts;
            if picture.key_frame {
                keys.push(i);
            }
        }
        keys
    }
}

#[test]
fn a_pyramid_of_b_frames_is_decoded_two_frames_before_it_is_shown() {
    let mut camera = Camera::new(Coding::H264);
    let shown = [0, 4, 2, 1, 3, 8, 6, 5, 7];
    let dts: Vec<_> =
        PYRAMID.iter().zip(shown).map(|(unit, shown)| camera.picture(unit, shown).dts_ticks).collect();
    assert_eq!(dts[..3], [None, Some(1), Some(2)], "as close as they can be until the shift is made up");
    assert_eq!(dts[3..], [1, 2, 3, 4, 5, 6].map(|frame| Some(frame * FRAME)));
}

#[test]
fn slices_of_one_picture_may_come_one_by_one() {
    let mut camera = Camera::new(Coding::H264);
    let whole = camera.picture(SLICES[0], 0);
    assert!(whole.key_frame && whole.dts_ticks.is_none());
    let slices: Vec<&str> = SLICES[1].split(' ').collect();
    let mut first = camera.read(slices[0], 1).expect("good").expect("a slice");
    assert!(!first.continues);
    for slice in &slices[1..] {
        let part = camera.read(slice, 1).expect("good").expect("a slice");
        assert!(part.continues, "its first macroblock is not the picture's");
        first.append(&part);
    }
    assert_eq!(first.data, prefixed(&nals(SLICES[1])));
}

#[test]
fn interlaced_frames_are_whole_and_their_size_is_that_of_both_fields() {
    let mut camera = Camera::new(Coding::H264);
    assert_eq!(camera.keys(INTERLACED, &[0, 1, 2]), [0]);
    let media = camera.track.expect("a track").media;
    assert_eq!(media, Media::Video { width: 64, height: 48, sample_aspect: (1, 1) });
}

/// A field's slice by the parameter sets of [`INTERLACED`].
fn field(sps: &h264::sps::Sps, idr: bool, bottom: bool, frame_num: u32) -> Vec<u8> {
    let mut slice = BitWriter::default();
    let fixed = |slice: &mut BitWriter, value: u32, bits: u32| {
        (0..bits).rev().for_each(|bit| slice.flag(value >> bit & 1 == 1));
    };
    slice.exp_golombs(&[0, 7, 0]); // the first macroblock, an I slice, the PPS
    fixed(&mut slice, frame_num, sps.frame_num_bits);
    slice.flag(true); // field_pic_flag
    slice.flag(bottom);
    if idr {
        slice.exp_golomb(0);
    }
    let h264::sps::OrderCount::InSlices(bits) = sps.order_count else { panic!("counts are in slices") };
    fixed(&mut slice, frame_num * 2 + u32::from(bottom), bits);
    [&[if idr { 0x65 } else { 0x41 }][..], &slice.finish()].concat()
}

#[test]
fn decoding_never_begins_with_a_second_field() {
    let mut camera = Camera::new(Coding::H264);
    camera.picture(INTERLACED[0], 0);
    let sps = h264::sps::read(&nals(INTERLACED[0])[0]).expect("an SPS");
    let mut read = |idr, bottom, frame_num, pts_ticks| {
        let data = prefixed(&[field(&sps, idr, bottom, frame_num)]);
        camera.pictures.read(data, pts_ticks).expect("good").expect("a field")
    };
    let fields = [read(true, false, 0, 7_200), read(true, true, 0, 7_200), read(false, false, 1, 10_800)];
    assert_eq!(fields.each_ref().map(|field| field.continues), [false, true, false], "one time, one frame");
    // With a time of its own it goes on its own way, but nobody begins there.
    let second = read(false, true, 1, 12_600);
    let (first, idr_second) = (read(true, false, 0, 14_400), read(true, true, 0, 16_200));
    assert_eq!([&second, &first, &idr_second].map(|field| field.continues), [false; 3]);
    let keys =
        [(first, 14_400), (idr_second, 16_200)].map(|(unit, pts)| camera.pictures.place(unit, pts).key_frame);
    assert_eq!(keys, [true, false]);
}

#[test]
fn an_open_gop_can_be_joined_at_its_recovery_point() {
    let shown = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 11, 10];
    assert_eq!(Camera::new(Coding::H264).keys(OPEN_GOP, &shown), [0, 4]);
}

#[test]
fn an_intra_refresh_is_joined_where_there_is_nothing_better() {
    let shown: Vec<_> = (0..12).collect();
    let mut camera = Camera::new(Coding::H264);
    assert_eq!(camera.keys(INTRA_REFRESH, &shown), [0], "another IDR picture may follow");
    let again = camera.picture(INTRA_REFRESH[6], 12);
    assert!(again.key_frame && again.gradual, "none did");
    let mut late = Camera::new(Coding::H264);
    assert_eq!(late.keys(&INTRA_REFRESH[6..], &shown[..6]), [0], "there was none");
}

#[test]
fn h265_is_joined_at_cra_pictures_and_its_b_frames_are_in_order() {
    let shown = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 13];
    let mut camera = Camera::new(Coding::H265);
    assert_eq!(camera.keys(CRA, &shown), [0, 4, 10]);
    assert_eq!(camera.track.expect("a track").coding, Coding::H265);
}

#[test]
fn a_cropped_picture_has_its_own_size_and_shape() {
    let mut camera = Camera::new(Coding::H264);
    camera.picture(CROPPED[0], 0);
    let media = camera.track.expect("a track").media;
    assert_eq!(media, Media::Video { width: 54, height: 46, sample_aspect: (16, 11) });
}

#[test]
fn parameter_sets_that_come_again_change_nothing_and_others_join_them() {
    let mut camera = Camera::new(Coding::H264);
    camera.picture(BASELINE[0], 0);
    let first = camera.track.clone().expect("a track");
    camera.picture(BASELINE[0], 1);
    assert_eq!(camera.track.as_ref(), Some(&first));

    // A picture parameter set 1 beside number 0, which stays.
    let mut nals = nals(BASELINE[0]);
    let mut pps = BitWriter::default();
    pps.exp_golombs(&[1, 0, 0]);
    nals[1] = [&[0x68][..], &pps.finish()].concat();
    let both =
        camera.pictures.configure(&record(&nals, Coding::H264).expect("both sets")).expect("a configuration");
    let read = h264::Record::read(&both.decoder_config).expect("a record");
    assert_eq!(read.pps.len(), 2);
    // Cameras that repeat them one by one do not change the track each time.
    camera.picture(BASELINE[0], 2);
    assert_eq!(camera.track.as_ref(), Some(&both));

    // Another SPS is another beginning.
    camera.picture(CROPPED[0], 3);
    let track = camera.track.clone().expect("a track");
    assert_eq!(h264::Record::read(&track.decoder_config).expect("a record").pps.len(), 1);
}

#[test]
fn a_picture_whose_parameters_never_came_is_refused() {
    let mut camera = Camera::new(Coding::H264);
    camera.picture(BASELINE[0], 0);
    let mut slice = BitWriter::default();
    slice.exp_golombs(&[0, 7, 3, 0, 0]);
    let data = prefixed(&[[&[0x41][..], &slice.finish(), &[0; 4]].concat()]);
    assert_eq!(camera.pictures.read(data, FRAME), Err(Error::NoPps(3)));
    assert_eq!(camera.pictures.read(prefixed(&[vec![0x41]]), FRAME), Err(Error::Slice));
    assert_eq!(camera.pictures.read(prefixed(&[vec![0x06, 5]]), FRAME), Ok(None), "no picture at all");
}

proptest! {
    #[test]
    fn no_flipped_bits_make_the_reader_panic(
        at in 0usize..400, flip in 1u8.., which in 0usize..7, drop in 0usize..3,
    ) {
        let clips = [PYRAMID, SLICES, INTERLACED, OPEN_GOP, INTRA_REFRESH, CROPPED, CRA];
        let coding = if which == 6 { Coding::H265 } else { Coding::H264 };
        let mut pictures = Pictures::new(coding);
        for (i, unit) in clips[which].iter().enumerate() {
            let mut nals = nals(unit);
            let mut at = at;
            for nal in &mut nals {
                if let Some(byte) = nal.get_mut(at) {
                    *byte ^= flip;
                }
                at = at.wrapping_sub(nal.len());
            }
            if let Some(record) = record(&nals, coding) {
                let _ = pictures.configure(&record);
            }
            if i % 3 >= drop && let Ok(Some(unit)) = pictures.read(prefixed(&nals), i as i64 * FRAME) {
                let _ = pictures.place(unit, i as i64 * FRAME);
            }
        }
    }
}
