#!/usr/bin/python3
"""A real RTSP camera for tests: GStreamer's RTSP server that shows what scene.py paints.

Prints its address when it is ready; with `--port 0` the system chooses the port.
"""
import os
import sys
import threading

import gi

import g726
import scene

gi.require_version('Gst', '1.0')
gi.require_version('GstRtsp', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

METHODS = {'basic': 1, 'digest': 2}  # GstRTSPAuthMethod, which has no name in the bindings
TRANSPORTS = {'tcp': GstRtsp.RTSPLowerTrans.TCP, 'udp': GstRtsp.RTSPLowerTrans.UDP}

options = scene.encoding(scene.parser(__doc__))
options.add_argument('--port', default='0', help='0: any free one')
options.add_argument('--path', default='cam', help='the mount point; with --mounts N: PATH0, PATH1 ...')
options.add_argument('--mounts', type=int, default=1, help='how many mount points')
options.add_argument('--user', default='', help='NAME:PASSWORD')
options.add_argument('--codec', choices=['h264', 'h265'], default='h264')
options.add_argument('--offers', default='', metavar='LIST',
                     help='a mount point each, in place of --codec and --audio: PATH/h264 PATH/h265+aac ...')
options.add_argument('--encoder', default='', help='more properties of x264enc or x265enc')
options.add_argument('--auth', default='digest', choices=METHODS, help='how they are asked for')
options.add_argument('--transport', choices=TRANSPORTS, help='the only one it agrees to [default: both]')
options.add_argument('--tls', nargs=2, metavar=('CERT', 'KEY'), help='RTSPS, with these PEM files')
options.add_argument('--address', default='127.0.0.1')
options.add_argument('--session-timeout', type=int, default=60, help='seconds until a session without a word is ended')
options.add_argument('--max-sessions', type=int, default=0, help='that it has at a time; 0: any number')
options.add_argument('--slices', type=int, default=1, help='of each picture')
options.add_argument('--audio-from', type=float, default=0, metavar='S', help='sound begins so many seconds late')
options.add_argument('--audio-pause', type=float, nargs=2, default=(0, 0), metavar='S', help='no sound from then to then')
options.add_argument('--alternate', nargs=2, default=(0, 0), metavar=('FPS', 'S'),
                     help='another rate for S seconds, then --fps again for as long, and so on; --fps is a multiple of it')
options.add_argument('--until-eof', action='store_true', help='end with the standard input, thus with who started it')
args = options.parse_args()
shown = scene.Scene(args)



def picture(codec):
    """What makes, codes and packs the picture."""
    # sliced-threads=false: else each slice is a NAL unit of its own and one picture looks like several.
    if codec == 'h264':
        encoder = (
            'x264enc tune=zerolatency speed-preset=ultrafast sliced-threads=false threads=1 '
            f'bitrate={args.kbps} key-int-max={args.gop} bframes={args.bframes} byte-stream=true {args.encoder} '
            + (f'option-string=slices={args.slices} ' if args.slices > 1 else '') +
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
    return (
        'appsrc name=video is-live=true do-timestamp=true format=time block=false max-bytes=2000000 '
        f'caps=video/x-raw,format=NV12,width={shown.width},height={shown.height},framerate={args.fps}/1 '
        f'! videoconvert n-threads=1 ! {encoder}'
    )


def coded(rate, encoder):
    """Sound at another rate than the scene's."""
    return f'audioresample ! audio/x-raw,rate={rate} ! {encoder}'


SOUNDS = {
    'aac': 'avenc_aac ! rtpmp4gpay name=pay1 pt=97',
    'pcma': coded(8000, 'alawenc ! rtppcmapay name=pay1 pt=8'),
    'pcmu': coded(8000, 'mulawenc ! rtppcmupay name=pay1 pt=0'),
    'l16': 'audio/x-raw,format=S16BE ! rtpL16pay name=pay1 pt=97',
    'l24': 'audio/x-raw,format=S24BE ! rtpL24pay name=pay1 pt=97',
    'g722': coded(16000, 'avenc_g722 ! rtpg722pay name=pay1 pt=9'),
    'opus': 'opusenc ! rtpopuspay name=pay1 pt=97',
}
# What no encoder of GStreamer's makes, g726.py does. Without force-aal2 the payloader packs in RTP's own order.
G726 = {f'g726-{kbps}': kbps for kbps in (16, 24, 32, 40)}


# So much later than its time stamps say an encoder's sound is heard: avenc_aac begins with 1024 samples of its own and does
# not take them off (a tick that goes in at 960.1 ms is decoded at 981.4). A camera that means its time stamps does.
LATE_NS = {'aac': 1024 * 10**9 // scene.SAMPLE_RATE}


def sound(codec):
    """The same of the sound, if there is to be any. From an appsrc too: a test source is seekable, and then PLAY with a
    Range fails with 503."""
    if not codec:
        return ''
    if codec in G726:
        return (
            ' appsrc name=audio is-live=true do-timestamp=true format=time '
            f'caps=audio/x-adpcm,layout=g726,channels=1,rate={g726.SAMPLE_RATE},bitrate={G726[codec]}000 '
            '! rtpg726pay force-aal2=false name=pay1 pt=97'
        )
    return (
        ' appsrc name=audio is-live=true do-timestamp=true format=time '
        f'caps=audio/x-raw,format=S16LE,layout=interleaved,channels=1,rate={scene.SAMPLE_RATE} '
        f'! audioconvert ! {SOUNDS[codec]}'
    )


def audible(seconds):
    """Whether there is sound so long after the start."""
    pause_from, pause_to = args.audio_pause
    return seconds >= args.audio_from and not pause_from <= seconds < pause_to


def visible(n):
    """Whether the camera takes picture `n`."""
    fps, seconds = int(args.alternate[0]), float(args.alternate[1])
    return not fps or int(n / args.fps / seconds) % 2 == 0 or n % (args.fps // fps) == 0


class Factory(GstRtspServer.RTSPMediaFactory):
    """One mount point; everybody who asks for it gets the same encoder's stream."""

    def __init__(self, codec, audio):
        super().__init__()
        self.late_ns = LATE_NS.get(audio, 0)
        self.codec, self.audio = codec, audio
        self.set_shared(True)
        self.set_latency(0)

    def do_create_element(self, _url):
        return Gst.parse_launch(f'( {picture(self.codec)}{sound(self.audio)} )')

    def do_configure(self, media):
        media.set_reusable(True)
        if args.transport:
            media.set_protocols(TRANSPORTS[args.transport])
        element = media.get_element()
        pictures = element.get_by_name_recurse_up('video')
        sounds = element.get_by_name_recurse_up('audio')

        g726_encoder = g726.Encoder(G726[self.audio]) if self.audio in G726 else None
        began = []

        def tick(n):
            if not scene.plays(pictures):
                return
            # Both of one instant: painting takes a while.
            clock = element.get_clock()
            instant = clock.get_time() - element.get_base_time()
            if args.bframes:
                # Cameras with such an encoder stamp pictures by their sensor's clock: evenly.
                if not began:
                    began.append(instant - n * Gst.SECOND // args.fps)
                instant = began[0] + n * Gst.SECOND // args.fps
            if visible(n):
                scene.push(pictures, shown.picture(n), instant)
            if not sounds or not audible(n / args.fps):
                return
            sound = shown.sound(n)
            if g726_encoder:
                for i, packet in enumerate(g726_encoder.packets(sound, scene.SAMPLE_RATE)):
                    scene.push(sounds, packet, instant + i * g726.PACKET_MS * Gst.MSECOND)
            else:
                scene.push(sounds, sound, max(0, instant - self.late_ns))

        ticker = scene.Ticker(args.fps, tick)
        media.connect('unprepared', lambda *_: ticker.stop())


Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address(args.address)
server.set_service(args.port)
if args.user or args.tls:
    token = GstRtspServer.RTSPToken()
    token.set_string('media.factory.role', 'viewer')
    auth = GstRtspServer.RTSPAuth()
    if args.tls:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*args.tls))
    if args.user:
        name, password = args.user.split(':', 1)
        auth.set_supported_methods(METHODS[args.auth])
        auth.add_digest(name, password, token)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(name, password), token)
    else:
        auth.set_default_token(token)
    server.set_auth(auth)


def limit(_server, client):
    client.connect('new-session', lambda _, session: session.set_timeout(args.session_timeout))


server.connect('client-connected', limit)
server.get_session_pool().set_max_sessions(args.max_sessions)
GLib.timeout_add(500, lambda: server.get_session_pool().cleanup() >= 0)
if args.offers:
    mounts = {f'{args.path}/{offer}': Factory(*(offer + '+').split('+')[:2]) for offer in args.offers.split(',')}
else:
    mounts = {f'{args.path}{i if args.mounts > 1 else ""}': Factory(args.codec, args.audio) for i in range(args.mounts)}
for path, factory in mounts.items():
    if args.user or args.tls:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role('viewer', 'media.factory.access', True)
        permissions.add_permission_for_role('viewer', 'media.factory.construct', True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory(f'/{path}', factory)
if not server.attach(None):
    raise SystemExit(f'cannot listen on {args.address}:{args.port}')
scheme, host = 'rtsps' if args.tls else 'rtsp', f'[{args.address}]' if ':' in args.address else args.address
print(f'{scheme}://{host}:{server.get_bound_port()}/{args.path}', flush=True)
if args.until_eof:
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
GLib.MainLoop().run()
