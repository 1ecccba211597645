#!/usr/bin/python3
"""A real RTSP camera for tests: GStreamer's RTSP server that shows what scene.py paints.

Prints its address when it is ready; with `--port 0` the system chooses the port.
"""
import os
import sys
import threading

import gi

import scene

gi.require_version('Gst', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

DIGEST = 2  # GstRTSPAuthMethod, which has no name in the bindings

options = scene.encoding(scene.parser(__doc__))
options.add_argument('--port', default='0', help='0: any free one')
options.add_argument('--path', default='cam', help='the mount point; with --mounts N: PATH0, PATH1 ...')
options.add_argument('--mounts', type=int, default=1, help='how many mount points')
options.add_argument('--user', default='', help='NAME:PASSWORD, asked for with Digest')
options.add_argument('--codec', choices=['h264', 'h265'], default='h264')
options.add_argument('--encoder', default='', help='more properties of x264enc or x265enc')
options.add_argument('--until-eof', action='store_true', help='end with the standard input, thus with who started it')
args = options.parse_args()
shown = scene.Scene(args)

# sliced-threads=false: else each slice is a NAL unit of its own and one picture looks like several.
if args.codec == 'h264':
    encoder = (
        'x264enc tune=zerolatency speed-preset=ultrafast sliced-threads=false threads=1 '
        f'bitrate={args.kbps} key-int-max={args.gop} bframes={args.bframes} byte-stream=true {args.encoder} '
        f'! video/x-h264,profile={"main" if args.bframes or "interlaced" in args.encoder else "baseline"} '
        '! rtph264pay name=pay0 pt=96 config-interval=-1'
    )
else:
    # Its zero latency would rule B-frames out.
    tune = 'tune=zerolatency'
    if args.bframes:
        tune = f'option-string=bframes={args.bframes}:b-adapt=0:rc-lookahead={args.bframes + 1}:frame-threads=1'
    encoder = (
        f'x265enc {tune} speed-preset=ultrafast bitrate={args.kbps} key-int-max={args.gop} {args.encoder} '
        '! h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1'
    )
video = (
    'appsrc name=video is-live=true do-timestamp=true format=time block=false max-bytes=2000000 '
    f'caps=video/x-raw,format=NV12,width={shown.width},height={shown.height},framerate={args.fps}/1 '
    f'! videoconvert n-threads=1 ! {encoder}'
)
# Sound comes from an appsrc too: a test source is seekable, and then PLAY with a Range fails with 503.
audio = (
    ' appsrc name=audio is-live=true do-timestamp=true format=time '
    f'caps=audio/x-raw,format=S16LE,layout=interleaved,channels=1,rate={scene.SAMPLE_RATE} '
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

        began = []

        def tick(n):
            picture = Gst.Buffer.new_wrapped(shown.picture(n))
            # Cameras with such an encoder stamp pictures by their sensor's clock: evenly. There is none before it plays.
            if args.bframes and element.get_state(0).state == Gst.State.PLAYING:
                if not began:
                    began.append(element.get_current_running_time() - n * Gst.SECOND // args.fps)
                picture.pts = began[0] + n * Gst.SECOND // args.fps
            pictures.emit('push-buffer', picture)
            if sounds:
                sounds.emit('push-buffer', Gst.Buffer.new_wrapped(shown.sound(n)))

        ticker = scene.Ticker(args.fps, tick)
        media.connect('unprepared', lambda *_: ticker.stop())


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
