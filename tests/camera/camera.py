#!/usr/bin/python3
"""A real RTSP camera for tests: GStreamer's RTSP server, with the wall clock painted into each picture.

Along the top of each picture stand 40 squares of one fortieth of its width: 8 of a fixed pattern (10110010) and the
wall clock in milliseconds modulo 2^32, most significant bit first, white for 1. A page reads them back from the
decoded picture, so that capture-to-screen latency needs no code in common with what is measured.

Prints its address when it is ready; with `--port 0` the system chooses the port.
"""
import argparse
import array
import math
import os
import random
import sys
import threading
import time

import gi

gi.require_version('Gst', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PATTERN = [1, 0, 1, 1, 0, 0, 1, 0]
WHITE, GREY, BLACK = 235, 128, 16
SAMPLE_RATE = 48000
DIGEST = 2  # GstRTSPAuthMethod, which has no name in the bindings

options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument('--port', default='0', help='0: any free one')
options.add_argument('--path', default='cam', help='the mount point; with --mounts N: PATH0, PATH1 ...')
options.add_argument('--mounts', type=int, default=1, help='how many mount points')
options.add_argument('--size', default='640x360')
options.add_argument('--fps', type=int, default=25)
options.add_argument('--gop', type=int, default=50, help='frames from key frame to key frame')
options.add_argument('--kbps', type=int, default=1500)
options.add_argument('--bframes', type=int, default=0)
options.add_argument('--noise', action='store_true', help='pictures that do not compress: uses up --kbps')
options.add_argument('--audio', action='store_true', help='AAC: a hum, and a beep with each second')
options.add_argument('--user', default='', help='NAME:PASSWORD, asked for with Digest')
options.add_argument('--until-eof', action='store_true', help='end with the standard input, thus with who started it')
args = options.parse_args()

WIDTH, HEIGHT = map(int, args.size.split('x'))
SQUARE = WIDTH // 40

# A diagonal ramp, twice in a row: a picture is a window onto it that moves on, one slice instead of a loop.
if args.noise:
    ramp = os.urandom(WIDTH * HEIGHT * 2)
else:
    ramp = bytes((x * 255 // WIDTH + y * 255 // HEIGHT) // 2 for y in range(HEIGHT) for x in range(WIDTH)) * 2


def runs(bits):
    """One row of squares."""
    row = b''.join(bytes([WHITE if bit else BLACK]) * SQUARE for bit in bits)
    return row + bytes([BLACK]) * (WIDTH - len(row))


def picture(n):
    """The NV12 picture number `n`, of now."""
    now = time.time()
    clock_ms = int(now * 1000) & 0xFFFFFFFF
    # Noise jumps, or the encoder would find that it only moved.
    at = random.randrange(WIDTH * HEIGHT) if args.noise else n * 4 % WIDTH
    luma = bytearray(ramp[at:at + WIDTH * HEIGHT])
    luma[:WIDTH * SQUARE] = runs(PATTERN + [clock_ms >> (31 - i) & 1 for i in range(32)]) * SQUARE
    luma[WIDTH * SQUARE:WIDTH * (SQUARE + 4)] = bytes([GREY]) * (WIDTH * 4)
    # The bottom flashes with the beep, once a second.
    foot = HEIGHT // 8 * WIDTH
    luma[-foot:] = bytes([WHITE if now % 1 < 0.1 else BLACK]) * foot
    bar = n * 8 % (WIDTH - 32)
    chroma = bytearray([GREY]) * WIDTH
    chroma[bar:bar + 32] = bytes([90]) * 32
    return bytes(luma + chroma * (HEIGHT // 2))


def tone(hertz, level):
    """One second of a sine; whole periods, so that slices of it join."""
    return array.array('h', (int(level * math.sin(2 * math.pi * hertz * i / SAMPLE_RATE))
                             for i in range(SAMPLE_RATE)))


hum, beep = tone(200, 300), tone(1000, 20000)


def sound(n):
    """The samples that go with picture `n`."""
    count = SAMPLE_RATE // args.fps
    at = n * count % SAMPLE_RATE
    source = beep if time.time() % 1 < 0.1 else hum
    return (source[at:at + count] + source[:max(0, at + count - SAMPLE_RATE)]).tobytes()


# sliced-threads=false: else each slice is a NAL unit of its own and one picture looks like several.
video = (
    'appsrc name=video is-live=true do-timestamp=true format=time block=false max-bytes=2000000 '
    f'caps=video/x-raw,format=NV12,width={WIDTH},height={HEIGHT},framerate={args.fps}/1 '
    '! videoconvert n-threads=1 ! x264enc tune=zerolatency speed-preset=ultrafast sliced-threads=false threads=1 '
    f'bitrate={args.kbps} key-int-max={args.gop} bframes={args.bframes} byte-stream=true '
    f'! video/x-h264,profile={"main" if args.bframes else "baseline"} '
    '! rtph264pay name=pay0 pt=96 config-interval=-1'
)
# Sound comes from an appsrc too: a test source is seekable, and then PLAY with a Range fails with 503.
audio = (
    ' appsrc name=audio is-live=true do-timestamp=true format=time '
    f'caps=audio/x-raw,format=S16LE,layout=interleaved,channels=1,rate={SAMPLE_RATE} '
    '! audioconvert ! avenc_aac ! rtpmp4gpay name=pay1 pt=97'
) if args.audio else ''


class Factory(GstRtspServer.RTSPMediaFactory):
    """One mount point; everybody who asks for it gets the same encoder's stream."""

    def __init__(self):
        super().__init__()
        self.set_shared(True)
        self.set_latency(0)

    def do_create_element(self, _url):
        return Gst.parse_launch(f'( {video}{audio} )')

    def do_configure(self, media):
        media.set_reusable(True)
        element = media.get_element()
        pictures = element.get_by_name_recurse_up('video')
        sounds = element.get_by_name_recurse_up('audio')
        started = time.monotonic()
        state = {'n': 0, 'on': True}

        def tick():
            if not state['on']:
                return False
            n = state['n']
            pictures.emit('push-buffer', Gst.Buffer.new_wrapped(picture(n)))
            if sounds:
                sounds.emit('push-buffer', Gst.Buffer.new_wrapped(sound(n)))
            # By the clock and not by an interval, else the rate sinks with the machine's load.
            late = time.monotonic() - started - (n + 1) / args.fps
            state['n'] = n + 1 + max(0, int(late * args.fps))
            due = started + state['n'] / args.fps
            GLib.timeout_add(max(0, round((due - time.monotonic()) * 1000)), tick)
            return False

        GLib.idle_add(tick)
        media.connect('unprepared', lambda *_: state.update(on=False))


Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address('127.0.0.1')
server.set_service(args.port)
if args.user:
    name, password = args.user.split(':', 1)
    token = GstRtspServer.RTSPToken()
    token.set_string('media.factory.role', 'viewer')
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(DIGEST)
    auth.add_digest(name, password, token)
    server.set_auth(auth)
for i in range(args.mounts):
    factory = Factory()
    if args.user:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role('viewer', 'media.factory.access', True)
        permissions.add_permission_for_role('viewer', 'media.factory.construct', True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory(f'/{args.path}{i if args.mounts > 1 else ""}', factory)
if not server.attach(None):
    raise SystemExit(f'cannot listen on 127.0.0.1:{args.port}')
print(f'rtsp://127.0.0.1:{server.get_bound_port()}/{args.path}', flush=True)
if args.until_eof:
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
GLib.MainLoop().run()
