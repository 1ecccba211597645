#!/bin/sh
# Makes the clip of the built-in camera: clip.h264 (Annex B, 640x360, 25 fps, 1500 pictures) and clip.aac (ADTS,
# 32 kHz mono, 1875 frames). Both last 60 s to the sample: 60 s of 32 kHz are exactly 1875 frames of 1024 samples,
# which neither 48 kHz nor 44.1 kHz give, so the loop has no seam and sound never drifts against picture.
#
# The files are kept in the repository; run this only to change how the clip looks.
# Needs ffmpeg with libx264 and the DejaVu fonts (Debian: ffmpeg fonts-dejavu-core).
set -eu
cd "$(dirname "$0")"
font=${FONT_DIR:-/usr/share/fonts/truetype/dejavu}
bold=$font/DejaVuSans-Bold.ttf
plain=$font/DejaVuSans.ttf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Along the top: 40 squares of 16x16, a page's machine-readable clock. 8 bits of pattern (10110010 = 178), then the
# picture's time within the minute in milliseconds, 32 bits, most significant first; below them a grey line of 4 px.
squares="geq=lum='if(gte(Y,16),128,16+219*if(lt(X,128),mod(floor(178/pow(2,7-floor(X/16))),2),mod(floor(N*40/pow(2,39-floor(X/16))),2)))':cb=128:cr=128"

# The dial: a ring with 12 marks, drawn once; and its hand, one turn a minute, 6 degrees each second. X and Y are
# measured from the middle; each edge is one pixel soft.
r="hypot(X-109.5,Y-109.5)"
turn="mod(atan2(X-109.5,109.5-Y)/(2*PI)+1,1)"
ring="clip(2-abs($r-104),0,1)*255"
mark="between($r,88,97)*clip(2.2-abs(mod($turn*12+0.5,1)-0.5)/12*2*PI*$r,0,1)*170"
hand_angle="(2*PI*N/1500)"
along="((X-109.5)*sin($hand_angle)-(Y-109.5)*cos($hand_angle))"
across="((X-109.5)*cos($hand_angle)+(Y-109.5)*sin($hand_angle))"
hand="255*max(clip(2.2-abs($across),0,1)*clip($along+18,0,1)*clip(84-$along,0,1),clip(6-$r,0,1))"

digits="fontfile=$bold:fontcolor=0xe8eef4"
ffmpeg -hide_banner -loglevel warning -y -filter_complex "
color=0x10161d:s=640x360:r=25:d=60,format=yuv420p[ground];
color=black:s=640x20:r=25:d=60,format=yuv420p,$squares[squares];
color=black:s=220x220:r=25:d=0.04,format=gray,geq=lum='max($ring,$mark)',loop=1499:1:0[ringmask];
color=0x3d8f8a:s=220x220:r=25:d=60,format=yuva420p[ringink];
[ringink][ringmask]alphamerge[ring];
color=black:s=220x220:r=25:d=60,format=gray,geq=lum='$hand'[handmask];
color=0xf2b84b:s=220x220:r=25:d=60,format=yuva420p[handink];
[handink][handmask]alphamerge[hand];
color=0x3d8f8a:s=640x4:r=25:d=60[bar];
color=0xe8eef4:s=14x14:r=25:d=60[beep];
[ground][ring]overlay=56:74[a];
[a][hand]overlay=56:74[b];
[b]drawtext=$digits:fontsize=128:x=326:y=104:text='%{eif\\:mod(floor(n/25)\\,60)\\:d\\:2}',
   drawtext=$digits:fontsize=52:x=508:y=164:text='.%{eif\\:mod(floor(n*10/25)\\,10)\\:d}',
   drawtext=fontfile=$plain:fontcolor=0x8fa3b5:fontsize=20:x=334:y=236:text='seconds of the minute',
   drawtext=fontfile=$bold:fontcolor=0xc9d5e0:fontsize=22:x=28:y=316:text='Sightline demo camera',
   drawtext=fontfile=$plain:fontcolor=0x8fa3b5:fontsize=16:x=W-tw-58:y=320:text='beep'[c];
[c][beep]overlay=598:320:enable='lt(mod(n,25),3)'[d];
[d][bar]overlay=x='-640+640*(mod(n,25)+1)/25':y=356[e];
[e][squares]overlay=0:0,format=yuv420p[out]" \
  -map '[out]' -frames:v 1500 -r 25 -c:v libx264 -profile:v high -preset veryslow -crf "${CRF:-25}" \
  -x264-params "keyint=50:min-keyint=50:scenecut=0:bframes=0:ref=2:aud=1:force-cfr=1:repeat-headers=1:open-gop=0:sliced-threads=0:threads=1" \
  -bsf:v 'filter_units=remove_types=6' -f h264 "$work/clip.h264"

# A quiet hum, and a beep in the first 100 ms of each second (each full ten seconds a higher one). Encoded three times
# round; the middle round is kept, so that its first frame overlaps with what is truly before it. The encoder's
# first frame is priming, hence 1876.
ffmpeg -hide_banner -loglevel warning -y -f lavfi -i "aevalsrc='0.006*sin(2*PI*200*t)+if(lt(mod(t,1),0.1),0.35*sin(2*PI*if(lt(mod(t,10),1),1500,1000)*t)*min(1,min(mod(t,1),0.1-mod(t,1))*200),0)':s=32000:d=180" \
  -ac 1 -c:a aac -b:a 24k -f adts "$work/three.aac"
python3 - "$work/three.aac" "$work/clip.aac" <<'PY'
import sys
data, frames, at = open(sys.argv[1], 'rb').read(), [], 0
while at + 7 <= len(data):
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    frames.append(data[at:at + size]); at += size
open(sys.argv[2], 'wb').write(b''.join(frames[1876:1876 + 1875]))
PY
mv "$work/clip.h264" "$work/clip.aac" .
ls -l clip.h264 clip.aac
