#!/usr/bin/python3
"""A real RTMP encoder for tests: GStreamer's x264enc, flvmux and rtmp2sink, showing what scene.py paints.

Pushes to its one argument, such as rtmp://127.0.0.1:1935/live/cam?key=secret. Says `publishing` once it does.
"""
import os
import sys
import threading

import gi

import scene

gi.require_version('Gst', '1.0')
from gi.repository import GLib, Gst  # noqa: E402

options = scene.encoding(scene.parser(__doc__))
options.add_argument('url')
options.add_argument('--until-eof', action='store_true', help='end with the standard input, thus with who started it')
args = options.parse_args()
shown = scene.Scene(args)

# The muxer takes the older of a picture and a piece of sound: the queues are there for the other to wait in.
#
# zerolatency forbids B-frames. With them only what reordering takes is to be waited for: no look-ahead, and no frame
# held back for the next one's time, which x264 does unless frames come at a constant rate. And no pyramid: x264 would
# declare one frame more of reordering than two B-frames take, and decoders would wait for it.
coding = (f'tune=0 bframes={args.bframes} b-adapt=false rc-lookahead=0 sync-lookahead=0 option-string=force-cfr=1:b-pyramid=0'
          if args.bframes else 'tune=zerolatency')
video = (
    'appsrc name=video is-live=true do-timestamp=true format=time block=false max-bytes=2000000 '
    f'caps=video/x-raw,format=NV12,width={shown.width},height={shown.height},framerate={args.fps}/1 '
    f'! videoconvert n-threads=1 ! x264enc {coding} speed-preset=ultrafast sliced-threads=false threads=1 '
    f'bitrate={args.kbps} key-int-max={args.gop} '
    f'! video/x-h264,stream-format=avc,profile={"main" if args.bframes else "baseline"} ! queue ! mux.'
)
audio = (
    'appsrc name=audio is-live=true do-timestamp=true format=time '
    f'caps=audio/x-raw,format=S16LE,layout=interleaved,channels=1,rate={scene.SAMPLE_RATE} '
    '! audioconvert ! avenc_aac ! aacparse ! queue ! mux.'
) if args.audio else ''

# Sound is encoded before the pictures that B-frames hold back. The muxer would not wait for those, and give them the
# newest sound's time.
waiting = f'latency={(args.bframes + 2) * 1_000_000_000 // args.fps}' if args.audio and args.bframes else ''

Gst.init(None)
pipeline = Gst.parse_launch(
    f'flvmux name=mux streamable=true {waiting} ! rtmp2sink name=sink sync=false async=false {video} {audio}')
sink = pipeline.get_by_name('sink')
sink.set_property('location', args.url)
pictures, sounds = pipeline.get_by_name('video'), pipeline.get_by_name('audio')


def tick(n):
    if not scene.plays(pictures) or sounds and not scene.plays(sounds):
        return
    scene.push(pictures, shown.picture(n))
    if sounds:
        scene.push(sounds, shown.sound(n))


def heard(_bus, message):
    if message.type in (Gst.MessageType.ERROR, Gst.MessageType.WARNING):
        parse = message.parse_error if message.type == Gst.MessageType.ERROR else message.parse_warning
        error, detail = parse()
        print(f'{error.message} ({detail})', file=sys.stderr, flush=True)
        if message.type == Gst.MessageType.ERROR:
            os._exit(1)


def sent():
    if sink.get_property('stats').get_value('out-bytes-total') < 10_000:
        return True
    print('publishing', flush=True)
    return False


bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect('message', heard)
pipeline.set_state(Gst.State.PLAYING)
scene.Ticker(args.fps, tick)
GLib.timeout_add(20, sent)
if args.until_eof:
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
GLib.MainLoop().run()
