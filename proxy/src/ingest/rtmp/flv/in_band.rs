//! PURE: parameter sets of H.264 that come with the pictures.
//!
//! A sequence header should announce them (Adobe's FLV specification 10.1, E.4.3.1), and some encoders announce another
//! resolution only in band. A decoder that was set up by the header then shows nonsense or nothing.

/// ITU-T H.264, table 7-1.
const SPS: u8 = 7;
/// ITU-T H.264, table 7-1.
const PPS: u8 = 8;

/// The most sets of a kind that a record names (ISO/IEC 14496-15, 5.3.3.1: 5 bits).
const MAX_SETS: usize = 31;

/// The record that an access unit of 4-byte lengths needs, where that is another than `avcc`. Sets that do not come
/// are those of `avcc`.
pub(super) fn record(avcc: &[u8], unit: &[u8]) -> Option<Vec<u8>> {
    let (known_sps, known_pps) = sets(avcc)?;
    let of_kind = |kind| nals(unit).filter(move |nal: &&[u8]| nal[0] & 31 == kind).take(MAX_SETS);
    let is_news = of_kind(SPS).any(|set| !known_sps.contains(&set))
        || of_kind(PPS).any(|set| !known_pps.contains(&set));
    if !is_news {
        return None;
    }
    let either = |sent: Vec<_>, known: Vec<_>| if sent.is_empty() { known } else { sent };
    let sps = either(of_kind(SPS).collect(), known_sps);
    let pps = either(of_kind(PPS).collect(), known_pps);
    let first = sps.first().filter(|sps| sps.len() >= 4)?;
    let mut record = vec![1, first[1], first[2], first[3], 0xff, 0xe0 | sps.len() as u8];
    put(&mut record, &sps)?;
    record.push(pps.len() as u8);
    put(&mut record, &pps)?;
    Some(record)
}

fn put(record: &mut Vec<u8>, sets: &[&[u8]]) -> Option<()> {
    for set in sets {
        record.extend(u16::try_from(set.len()).ok()?.to_be_bytes());
        record.extend_from_slice(set);
    }
    Some(())
}

/// Parameter sets of one kind.
type Sets<'a> = Vec<&'a [u8]>;

/// SPS and PPS of a record.
fn sets(avcc: &[u8]) -> Option<(Sets<'_>, Sets<'_>)> {
    let (count, rest) = avcc.get(5..)?.split_first()?;
    let (sps, rest) = take(usize::from(count & 31), rest)?;
    let (count, rest) = rest.split_first()?;
    let (pps, _) = take(usize::from(*count), rest)?;
    Some((sps, pps))
}

/// So many sets, each behind 2 bytes of length, and what is behind them.
fn take(count: usize, mut rest: &[u8]) -> Option<(Sets<'_>, &[u8])> {
    let mut sets = Vec::new();
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk()?;
        let (set, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
        sets.push(set);
        rest = behind;
    }
    Some((sets, rest))
}

/// The NAL units of an access unit with lengths of 4 bytes; none is empty.
fn nals(mut unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, behind) = unit.split_first_chunk()?;
        let (nal, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        unit = behind;
        Some(nal)
    })
    .filter(|nal| !nal.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AVCC: &[u8] = &[1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 5, 0x67, 0x42, 0xc0, 0x1e, 9, 1, 0, 2, 0x68, 7];

    fn unit(nals: &[&[u8]]) -> Vec<u8> {
        nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes()[..], nal].concat()).collect()
    }

    #[test]
    fn what_is_known_already_needs_no_other_record() {
        let same: [&[u8]; 3] = [&[0x67, 0x42, 0xc0, 0x1e, 9], &[0x68, 7], &[0x65, 1, 2]];
        assert_eq!(record(AVCC, &unit(&same)), None);
        assert_eq!(record(AVCC, &unit(&same[2..])), None);
    }

    #[test]
    fn another_sps_makes_another_record_and_keeps_the_pps_that_does_not_come() {
        let other = record(AVCC, &unit(&[&[0x67, 0x64, 0, 0x28, 4, 4], &[0x65, 1]]));
        let expected: &[u8] =
            &[1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 6, 0x67, 0x64, 0, 0x28, 4, 4, 1, 0, 2, 0x68, 7];
        assert_eq!(other.as_deref(), Some(expected));
        assert_eq!(record(expected, &unit(&[&[0x67, 0x64, 0, 0x28, 4, 4]])), None);
    }

    #[test]
    fn another_pps_alone_does_too() {
        let other = record(AVCC, &unit(&[&[0x68, 8], &[0x65, 1]])).expect("news");
        assert!(other.ends_with(&[1, 0, 2, 0x68, 8]) && other.starts_with(&AVCC[..13]));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(avcc: Vec<u8>, unit: Vec<u8>) {
            let _ = record(&avcc, &unit);
            let _ = record(AVCC, &unit);
            let _ = record(&avcc, &super::tests::unit(&[&[0x67, 1, 2, 3, 4], &unit]));
        }
    }
}
