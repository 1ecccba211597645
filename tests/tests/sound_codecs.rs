//! The codecs of sound that are decoded here give what ffmpeg's decoders give, and FLAC carries it without loss.

use std::io::Write as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sightline::media::Track;
use sightline::media::flac_encoder::Encoder;
use sightline::media::pcm::{Coding, Decoder};
use sightline::mux::fragment::{self, Sample};
use sightline::mux::init;

/// Speech-like: tones that come and go, noise, and a full-scale sweep that saturates.
const SOURCE: &str = "aevalsrc=0.4*sin(2*PI*300*t)*sin(2*PI*2*t)+0.3*sin(2*PI*(200+900*t)*t)+0.2*(random(0)-0.5)\
    +0.9*gt(t\\,2)*sin(2*PI*700*t*t):d=4:s=";

/// The same without saturation.
const QUIET: &str =
    "aevalsrc=0.2*sin(2*PI*300*t)*sin(2*PI*2*t)+0.1*sin(2*PI*(200+900*t)*t)+0.1*(random(0)-0.5):d=4:s=";

fn ffmpeg(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut kept = tempfile::NamedTempFile::new()?;
    kept.write_all(input)?;
    let name = kept.path().to_string_lossy().into_owned();
    let arguments: Vec<_> = arguments.iter().map(|a| if *a == "INPUT" { name.as_str() } else { a }).collect();
    let out =
        Command::new("ffmpeg").args(["-v", "error"]).args(arguments).output().context("cannot run ffmpeg")?;
    ensure!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(out.stdout)
}

fn samples(s16le: &[u8]) -> Vec<i16> {
    s16le.as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
}

/// `coding` as ffmpeg encodes it, decoded by ffmpeg and by us: both, sample for sample.
fn decoded(
    coding: Coding,
    (source, rate): (&str, &str),
    encoder: &[&str],
    format: &str,
    reading: &[&str],
) -> Result<(Vec<i16>, Vec<i16>)> {
    let source = format!("{source}{rate}");
    let coded = ffmpeg(&[&["-f", "lavfi", "-i", &source][..], encoder, &["-f", format, "-"]].concat(), &[])?;
    ensure!(coded.len() > 2_000, "{} octets", coded.len());
    let theirs = ffmpeg(&[reading, &["-i", "INPUT", "-f", "s16le", "-"]].concat(), &coded)?;
    let mut ours = vec![];
    let mut decoder = Decoder::new(coding).context("a coding")?;
    // In packets of whole codewords, whatever their size.
    for packet in coded.chunks(60) {
        decoder.decode(packet, &mut ours);
    }
    let theirs = samples(&theirs);
    ensure!(theirs.len() == ours.len(), "{coding:?}: {} samples instead of {}", ours.len(), theirs.len());
    Ok((theirs, ours))
}

fn both(coding: Coding, rate: &str, encoder: &[&str], format: &str, reading: &[&str]) -> Result<()> {
    let (theirs, ours) = decoded(coding, (SOURCE, rate), encoder, format, reading)?;
    let first = theirs.iter().zip(&ours).position(|(theirs, ours)| theirs != ours);
    ensure!(
        first.is_none(),
        "{coding:?}: sample {first:?} differs: {:?} {:?}",
        first.map(|at| &theirs[at..(at + 5).min(theirs.len())]),
        first.map(|at| &ours[at..(at + 5).min(ours.len())])
    );
    Ok(())
}

#[test]
fn g711_gives_the_samples_that_ffmpeg_gives() -> Result<()> {
    both(Coding::ALaw, "8000", &["-c:a", "pcm_alaw"], "alaw", &["-f", "alaw", "-ar", "8000", "-ac", "1"])?;
    both(
        Coding::MuLaw,
        "8000",
        &["-c:a", "pcm_mulaw"],
        "mulaw",
        &["-f", "mulaw", "-ar", "8000", "-ac", "1"],
    )?;
    // And each octet there is.
    let octets: Vec<u8> = (0..=255).collect();
    for (coding, format) in [(Coding::ALaw, "alaw"), (Coding::MuLaw, "mulaw")] {
        let theirs =
            ffmpeg(&["-f", format, "-ar", "8000", "-ac", "1", "-i", "INPUT", "-f", "s16le", "-"], &octets)?;
        let mut ours = vec![];
        Decoder::new(coding).context("a coding")?.decode(&octets, &mut ours);
        assert_eq!(ours, samples(&theirs), "{format}");
    }
    Ok(())
}

#[test]
fn l16_gives_the_samples_that_ffmpeg_gives() -> Result<()> {
    both(Coding::L16, "44100", &["-c:a", "pcm_s16be"], "s16be", &["-f", "s16be", "-ar", "44100", "-ac", "1"])
}

#[test]
fn g726_gives_what_ffmpeg_gives_at_the_rates_where_both_are_g726() -> Result<()> {
    // At 40 kbit/s ffmpeg, coding and decoding, lets the predictor forget by 2^-8 a sample in place of 2^-9 (G.726, block
    // UPB): what it codes only it decodes. There the decoder's own tests must do.
    for (bits, code_size) in [(2, "2"), (3, "3"), (4, "4")] {
        let encoder = ["-c:a", "adpcm_g726le", "-code_size", code_size];
        let reading = ["-f", "g726le", "-code_size", code_size, "-sample_rate", "8000"];
        let (theirs, ours) = decoded(Coding::G726(bits), (QUIET, "8000"), &encoder, "g726le", &reading)?;
        let energy = |samples: &mut dyn Iterator<Item = f64>| samples.map(|s| s * s).sum::<f64>();
        let signal = energy(&mut theirs.iter().map(|s| f64::from(*s)));
        let apart = energy(&mut theirs.iter().zip(&ours).map(|(t, o)| f64::from(*t) - f64::from(*o)));
        // ffmpeg rounds otherwise than the Recommendation, which the decoder's own tests hold to the bit.
        let ratio_db = 10.0 * (signal / apart.max(1.0)).log10();
        assert!(ratio_db > 25.0, "{bits} bits: only {ratio_db:.0} dB");
    }
    Ok(())
}

#[test]
fn g722_gives_the_samples_that_ffmpeg_gives() -> Result<()> {
    both(Coding::G722, "16000", &["-c:a", "g722"], "g722", &["-f", "g722"])
}

#[test]
fn flac_gives_the_very_samples_back() -> Result<()> {
    for (rate, channels) in [
        (8_000, 1),
        (11_025, 1),
        (16_000, 1),
        (22_050, 2),
        (32_000, 1),
        (44_100, 2),
        (48_000, 1),
        (96_000, 2),
    ] {
        let (rate_text, channels_text) = (rate.to_string(), channels.to_string());
        let source = format!("{SOURCE}{rate}");
        let pcm = ffmpeg(&["-f", "lavfi", "-i", &source, "-ac", &channels_text, "-f", "s16le", "-"], &[])?;
        let pcm = samples(&pcm);
        let mut encoder = Encoder::new(rate, channels)?;
        let track: Track = encoder.track()?;
        let mut file = init::segment(&track)?;
        let block = encoder.block_samples() as usize * usize::from(channels);
        let whole = pcm.len() / block * block;
        let mut octets = 0;
        for (sequence, block) in pcm[..whole].chunks(block).enumerate() {
            let frame = encoder.frame(block)?;
            octets += frame.len();
            let sample = Sample {
                sequence: sequence as u32,
                decode_time_ticks: sequence as u64 * u64::from(encoder.block_samples()),
                composition_offset_ticks: 0,
                declared_duration_ticks: encoder.block_samples(),
                key_frame: true,
            };
            fragment::write_head(&mut file, &sample, frame.len() as u32);
            file.extend_from_slice(&frame);
        }
        assert!(octets < whole * 2, "{rate}: {octets} octets of {}", whole * 2);
        let back = ffmpeg(&["-err_detect", "crccheck+explode", "-i", "INPUT", "-f", "s16le", "-"], &file)?;
        assert!(
            samples(&back) == pcm[..whole],
            "{rate_text} Hz, {channels} channels: other samples came back"
        );
    }
    Ok(())
}
