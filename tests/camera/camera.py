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
options.add_argument('--audio-from', type=float, default=0, metavar='S', help='sound begins so many seconds late')
options.add_argument('--audio-pause', type=float, nargs=2, default=(0, 0), metavar='S', help='no sound from then to then')
options.add_argument('--until-eof', action='store_true', help='end with the standard input, thus with who started it')
args = options.parse_args()
shown = scene.Scene(args)

# sliced-threads=false: else each slice is a NAL unit of its own and one picture looks like several.
video = (
    'appsrc name=video is-live=true do-timestamp=true format=time block=false max-bytes=2000000 '
    f'caps=video/x-raw,format=NV12,width={shown.width},height={shown.height},framerate={args.fps}/1 '
    '! videoconvert n-threads=1 ! x264enc tune=zerolatency speed-preset=ultrafast sliced-threads=false threads=1 '
    f'bitrate={args.kbps} key-int-max={args.gop} bframes={args.bframes} byte-stream=true '
    f'! video/x-h264,profile={"main" if args.bframes else "baseline"} '
    '! rtph264pay name=pay0 pt=96 config-interval=-1'
)
def audible(seconds):
    """Whether there is sound so long after the start."""
    pause_from, pause_to = args.audio_pause
    return seconds >= args.audio_from and not pause_from <= seconds < pause_to


# Sound comes from an appsrc too: a test source is seekable, and then PLAY with a Range fails with 503.
def coded(rate, encoder):
    """Sound at another rate than the scene's."""
    return f'audioresample ! audio/x-raw,rate={rate} ! {encoder}'


# avenc_g726 packs as ATM does (I.366.2); without force-aal2 the payloader turns that into RTP's own order.
sounds = {
    'aac': 'avenc_aac ! rtpmp4gpay name=pay1 pt=97',
    'pcma': coded(8000, 'alawenc ! rtppcmapay name=pay1 pt=8'),
    'pcmu': coded(8000, 'mulawenc ! rtppcmupay name=pay1 pt=0'),
    'l16': 'audio/x-raw,format=S16BE ! rtpL16pay name=pay1 pt=97',
    'g722': coded(16000, 'avenc_g722 ! rtpg722pay name=pay1 pt=9'),
    'opus': 'opusenc ! rtpopuspay name=pay1 pt=97',
    **{f'g726-{kbps}': coded(8000, f'avenc_g726 bitrate={kbps}000 ! rtpg726pay force-aal2=false name=pay1 pt=97')
       for kbps in (16, 24, 32, 40)},
}
audio = (
    ' appsrc name=audio is-live=true do-timestamp=true format=time '
    f'caps=audio/x-raw,format=S16LE,layout=interleaved,channels=1,rate={scene.SAMPLE_RATE} '
    f'! audioconvert ! {sounds[args.audio]}'
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

        def tick(n):
            # Both of one instant: painting takes a while.
            clock = element.get_clock()
            instant = clock.get_time() - element.get_base_time() if clock else Gst.CLOCK_TIME_NONE
            for source, data in ((pictures, shown.picture(n)), (sounds if audible(n / args.fps) else None, shown.sound(n))):
                if source:
                    buffer = Gst.Buffer.new_wrapped(data)
                    buffer.pts = instant
                    source.emit('push-buffer', buffer)

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
